"""A relay: hands on the items of a stream that runs in a task of its own, one for each pull of the call that waits."""

import asyncio
import contextlib
from typing import Any

from .._native import Landing, Stream
from .._tasks.outlast import outlast, shielded

__all__ = ["Relay"]


class Relay:
    """The side of the task: `run` is driven by it."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        #: One that is ready.
        self.item: tuple[Any] | None = None
        #: The pull that waits for the next.
        self.puller: asyncio.Future[None] | None = None
        self.error: BaseException | None = None
        self._left = False
        self._wanted: asyncio.Future[None] | None = None

    async def run(self, stream: Stream[Any], landing: Landing) -> None:
        """Runs the stream to its end, or until its items are left."""
        given = False
        self.task.add_done_callback(lambda _: self._tell())
        try:
            async with stream as items:
                async for item in items:
                    self.item = (item,)
                    if not given:
                        landing.gives(_Items(self))
                        given = True
                    self._tell()
                    if not await self._is_wanted():
                        break
        except BaseException as error:
            self.error = error
            raise
        if not given:
            landing.gives(_Items(self))

    async def _is_wanted(self) -> bool:
        """Waits for the next pull. False: there is none any more."""
        while self.puller is None and not self._left:
            self._wanted = asyncio.get_running_loop().create_future()
            try:
                await self._wanted
            finally:
                self._wanted = None
        return not self._left

    def wakes(self) -> None:
        """The task goes on: there is a pull."""
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def leaves(self) -> None:
        """The task goes on, and ends the stream."""
        self._left = True
        self.item = None
        self.wakes()

    def dropped(self) -> None:
        """Its items are gone, perhaps in the middle of a pull."""
        at_work = self._wanted is None
        self.leaves()
        if at_work:
            self.task.cancel()

    def _tell(self) -> None:
        puller, self.puller = self.puller, None
        if puller is not None and not puller.done():
            puller.set_result(None)


class _Items:
    """The side of the call: an async iterator. Dropped unclosed, it ends the stream."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __aiter__(self) -> "_Items":
        return self

    async def __anext__(self) -> Any:
        relay = self._relay
        while relay.item is None:
            if relay.task.done():
                error, relay.error = relay.error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            pull = relay.puller = self._loop().create_future()
            relay.wakes()
            try:
                await pull
            except asyncio.CancelledError as error:
                if not await self._passes_on(error):
                    raise
            finally:
                del pull
        item, relay.item = relay.item[0], None
        return item

    async def _passes_on(self, cancel: asyncio.CancelledError) -> bool:
        """Passes a cancel of the pull, and each that follows, to the source, and waits for its answer.

        False: the source has no other answer than the cancel. An item, its end and an error of its own are the pull's.
        """
        relay = self._relay
        with shielded(cancel):
            answered = False
            while not answered:
                # An item of the very turn of the cancel is dropped: the source could not see the cancel before.
                relay.item = relay.error = None
                if relay.task.done():
                    return False
                relay.task.cancel()
                answer = relay.puller = self._loop().create_future()
                try:
                    await answer
                    answered = True
                except asyncio.CancelledError:
                    pass
        if relay.item is None and isinstance(relay.error, asyncio.CancelledError):
            relay.error = None
            return False
        return True

    async def aclose(self) -> None:
        relay = self._relay
        if relay.task.done() or relay.task.get_loop() is not asyncio.get_running_loop():
            return
        relay.leaves()
        cancelled = await outlast([relay.task], asked=False, notice=lambda: _cancel(relay.task))
        error, relay.error = relay.error, None
        if cancelled is not None:
            raise cancelled
        if error is not None:
            raise error

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._relay.task.get_loop() is not loop:
            raise RuntimeError("a stream under a Hedge is pulled on the loop on which it was opened")
        return loop

    def __del__(self) -> None:
        relay = self._relay
        if not relay.task.done():
            with contextlib.suppress(RuntimeError):  # its loop is closed
                relay.task.get_loop().call_soon_threadsafe(relay.dropped)


def _cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
