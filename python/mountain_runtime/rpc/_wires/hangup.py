"""The other side of a descriptor that is not read has gone: its loop, which waits for bytes, would not hear of it."""

import asyncio
import select
import sys
from collections.abc import Callable

__all__ = ["HangUp"]

#: Seconds between two looks, where the system does not tell.
_LOOK = 0.5


class HangUp:
    """Calls `found` in each turn of the loop in which the other side is gone, until `stop`.

    Both directions of a socket are meant, or the readers of a pipe. A TCP socket that was closed looks as one whose
    input has ended, until something is sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, found: Callable[[], object]) -> None:
        self._loop, self._fd, self._found = loop, fd, found
        self._timer: asyncio.TimerHandle | None = None
        self._stop: Callable[[], None] | None = self._told()
        if self._stop is None:
            self._look()

    def _told(self) -> Callable[[], None] | None:
        """Has the system tell. Gives the way to end that; None where it cannot."""
        if sys.platform != "linux":
            return None
        try:
            epoll = select.epoll()
        except OSError:  # no descriptors are left
            return None
        try:
            epoll.register(self._fd, 0)  # of hang-ups and errors it tells always
        except OSError:  # a regular file
            epoll.close()
            return None
        self._loop.add_reader(epoll.fileno(), self._found)

        def stop() -> None:
            if not self._loop.is_closed():
                self._loop.remove_reader(epoll.fileno())
            epoll.close()

        return stop

    def _look(self) -> None:
        self._timer = self._loop.call_later(_LOOK, self._look)
        poll = select.poll()
        poll.register(self._fd, 0)
        if any(found & (select.POLLHUP | select.POLLERR) for _, found in poll.poll(0)):
            self._found()

    def stop(self) -> None:
        """Looks no more."""
        if self._stop is not None:
            self._stop()
        if self._timer is not None:
            self._timer.cancel()
