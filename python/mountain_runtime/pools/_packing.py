"""Objects on their way between processes: pickle 5, with large bytes and buffers in shared memory.

An object up to `INLINE` bytes is a text of pickle's. A larger one lies in a memory file: first the text, with large
bytes within it, then the buffers that pickle gives out of band. The sender writes each once, from where it lies. The
receiver reads large bytes into the objects that they become, and maps buffers as they are.
"""

import contextlib
import ctypes
import io
import mmap
import os
import pickle
import struct
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["INLINE", "Packed", "pack", "unpack", "unpack_pieces"]

#: Bytes up to which an object goes with its message.
INLINE = 1 << 16
#: Buffers begin at such places, as those of arrays want it.
_ALIGNED = 64

#: Bytes from which large pages are asked for.
_HUGE = 4 << 20

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

_Piece = bytes | bytearray | memoryview
_LARGE = (bytes, bytearray, str)


class Packed:
    """An object as it crosses: a text, or pieces for a memory file, and how they lie in it."""

    __slots__ = ("_pieces", "_places", "text")

    def __init__(self, text: bytes, pieces: list[tuple[int, _Piece]], places: bytes) -> None:
        #: All of it, where it is small.
        self.text = text
        self._pieces = pieces
        self._places = places

    @property
    def body(self) -> bytes:
        """The part that goes with the message."""
        return self._places or self.text

    @property
    def large(self) -> bool:
        """Whether it needs a memory file."""
        return bool(self._places)

    @property
    def maps(self) -> bool:
        """Whether its receiver maps the file, and keeps it."""
        return len(self._places) > 8

    @property
    def pieces(self) -> list[pickle.PickleBuffer]:
        """The memory of a large one, for an engine that carries it beside the message."""
        return [pickle.PickleBuffer(piece) for _, piece in self._pieces]

    def write(self, fd: int) -> None:
        """Writes its pieces into a memory file."""
        for at, piece in self._pieces:
            view = memoryview(piece).cast("B")
            while view:
                written = os.pwrite(fd, view, at)
                at, view = at + written, view[written:]


class _Pieces(list[_Piece]):
    """A file for pickle, which writes large bytes by themselves, without a copy."""

    def write(self, piece: _Piece) -> None:
        """Keeps a piece."""
        self.append(piece)


def pack(value: object, *parts: object) -> Packed:
    """Packs `value`, and raises what its pickling raises. Large bytes among `parts`, its own, are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    keep = _out_of_band(buffers)
    for part in parts:
        if type(part) in _LARGE and len(part) > INLINE:  # type: ignore[arg-type]
            pieces = _Pieces()
            pickle.Pickler(pieces, 5, buffer_callback=keep).dump(value)
            break
    else:
        text = pickle.dumps(value, 5, buffer_callback=keep)
        if len(text) <= INLINE and not buffers:
            return Packed(text, [], b"")
        pieces = _Pieces((text,))
    placed: list[tuple[int, _Piece]] = []
    at = 0
    for piece in pieces:
        placed.append((at, piece))
        at += memoryview(piece).nbytes
    places = [at]
    for buffer in buffers:
        raw = buffer.raw()
        at = -(-at // _ALIGNED) * _ALIGNED
        placed.append((at, raw))
        places += at, raw.nbytes, raw.readonly
        at += raw.nbytes
    return Packed(b"", placed, struct.pack(f"<{len(places)}Q", *places))


def _out_of_band(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    def small(buffer: pickle.PickleBuffer) -> bool:
        """Keeps a large buffer. Pickle writes those for which this is true into its text."""
        try:
            if buffer.raw().nbytes <= INLINE:
                return True
        except BufferError:  # it is not contiguous
            return True
        buffers.append(buffer)
        return False

    return small


def unpack(body: bytes | memoryview, fd: int | None) -> Any:
    """The object of a message's `body`, and of its memory file, which it closes."""
    if fd is None:
        return pickle.loads(body)
    try:
        length, *places = struct.unpack(f"<{len(body) // 8}Q", body)
        buffers: list[memoryview] = []
        if places:
            # Copied page by page where it is written to: the sender's is not changed.
            whole = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_COPY))
            for at, size, readonly in zip(places[::3], places[1::3], places[2::3], strict=True):
                view = whole[at : at + size]
                buffers.append(view.toreadonly() if readonly else view)
        return pickle.Unpickler(_Text(fd, length), buffers=buffers).load()
    finally:
        os.close(fd)


def unpack_pieces(body: bytes | memoryview, pieces: Sequence[Any]) -> Any:
    """The object of `body` and of the pieces of one that is large, which it refers to."""
    if not pieces:
        return pickle.loads(body)
    views = [memoryview(piece).cast("B") for piece in pieces]
    (length,) = struct.unpack_from("<Q", body)
    texts = 0
    while length:
        length -= views[texts].nbytes
        texts += 1
    text = views[0] if texts == 1 else b"".join(views[:texts])
    return pickle.loads(text, buffers=views[texts:])


def _in_huge_pages(view: memoryview) -> None:
    """Asks for large pages for memory that is not touched yet: to fault in small ones takes longer than the copy."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    with contextlib.suppress(AttributeError, OSError):
        _madvise(first, len(view) - (first - address), mmap.MADV_HUGEPAGE)


class _Text(io.RawIOBase):
    """The text in a memory file, read for pickle: large bytes go where they will stay."""

    def __init__(self, fd: int, length: int) -> None:
        self._fd, self._length, self._at = fd, length, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._length - self._at]
        if len(view) >= _HUGE:
            _in_huge_pages(view)
        done = 0
        while done < len(view) and (count := os.preadv(self._fd, [view[done:]], self._at)):
            done, self._at = done + count, self._at + count
        return done

    def read(self, size: int = -1) -> bytes:
        size = self._length - self._at if size < 0 else min(size, self._length - self._at)
        data = os.pread(self._fd, size, self._at)
        self._at += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = os.pread(self._fd, self._length - self._at, self._at)
        line = data[: data.find(b"\n") + 1] or data
        self._at += len(line)
        return line
