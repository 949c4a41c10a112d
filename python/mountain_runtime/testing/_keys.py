"""The input of a test's terminal, which treats it as the system does: lines, their mending, and signals."""

import signal
from collections.abc import Callable

__all__ = ["Keys"]

_SIGNALS = {0x03: signal.SIGINT, 0x1C: signal.SIGQUIT, 0x1A: signal.SIGTSTP}
_END, _ENTER, _NEWLINE, _TAB = 0x04, 0x0D, 0x0A, 0x09
#: Backspace erases a character, Ctrl-W a word, Ctrl-U a line.
_BACKSPACE, _WORD, _LINE = 0x7F, 0x17, 0x15


class Keys:
    """Gives a line when it is done, and shows what is typed. `raw`: every byte at once, as it is, and not shown."""

    def __init__(self, show: Callable[[bytes], None], tell: Callable[[int], None]) -> None:
        self.raw = False
        self._show, self._tell = show, tell
        self._line = bytearray()

    def typed(self, data: bytes) -> tuple[bytes, bool]:
        """The part that the program reads now, and whether its input ends then."""
        if self.raw:
            line = bytes(self._line) + data
            self._line.clear()
            return line, False
        done = bytearray()
        for key in data:
            if key in _SIGNALS:
                self._show(_seen(key))
                self._line.clear()
                done.clear()
                self._tell(_SIGNALS[key])
            elif key == _END:
                done += self._line
                self._line.clear()
                if not done:
                    return b"", True
            elif key in (_ENTER, _NEWLINE):
                self._show(b"\r\n")
                done += bytes(self._line) + b"\n"
                self._line.clear()
            elif key in (_BACKSPACE, _WORD, _LINE):
                self._erase(key)
            else:
                self._line.append(key)
                self._show(_seen(key))
        return bytes(done), False

    def _erase(self, key: int) -> None:
        line = self._line
        if key == _WORD:
            while line.endswith(b" "):
                self._erase_one()
        while line and not (key == _WORD and line.endswith(b" ")):
            self._erase_one()
            if key == _BACKSPACE:
                break

    def _erase_one(self) -> None:
        """A character of any length."""
        last = self._line.pop()
        while 0x80 <= last < 0xC0 and self._line:
            last = self._line.pop()
        self._show(b"\b \b" * len(_seen(last)))


def _seen(key: int) -> bytes:
    """The bytes that a terminal shows of it: control characters as ^X."""
    return bytes((0x5E, key ^ 0x40)) if key < 0x20 and key != _TAB else bytes((key,))
