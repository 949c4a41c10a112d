"""Objects that cross between a caller and its worker, and the errors of those that cannot."""

import asyncio
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import On, blocking
from mountain_runtime.errors import ConfigError, RemoteError
from mountain_runtime.pools._files import Files
from mountain_runtime.pools._frames import frame, frames
from mountain_runtime.pools._packing import INLINE, pack, unpack

from . import work

pytestmark = pytest.mark.processes

LARGE = INLINE + 1


def crossed(value: Any) -> Any:
    packed = pack((value,), value)
    return unpack(packed.body, Files().write(packed) if packed.large else None)[0]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"x" * INLINE,
        b"x" * LARGE,
        bytearray(b"y" * LARGE),
        "z" * LARGE,
        ["s" * LARGE, b"q" * LARGE, {"k": b"r" * LARGE}],
        [b"a" * (INLINE // 2 + 10), b"b" * (INLINE // 2 + 10)],
        list(range(40_000)),
        pickle.PickleBuffer(b"in band"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_packed_is_unpacked(value: Any) -> None:
    found = crossed(value)
    assert found == (b"in band" if isinstance(value, pickle.PickleBuffer) else value)


@pytest.mark.parametrize("size", [10, LARGE, 3 * LARGE + 7])
def test_buffers_cross_as_they_are(size: int) -> None:
    writable, readonly = bytearray(b"w" * size), b"r" * size
    a, b = crossed([work.Buffers(writable), work.Buffers(readonly)])
    assert (bytes(a.data), bytes(b.data)) == (writable, readonly)
    view = memoryview(a.data)
    assert not view.readonly
    view[0:1] = b"?"
    assert writable[0:1] == b"w"
    assert memoryview(b.data).readonly


def test_a_packet_that_is_cut_is_refused() -> None:
    whole = frame(1, 7, b"body") + frame(2, 8)  # type: ignore[arg-type]
    assert [(kind, number, bytes(body)) for kind, number, _, body in frames(whole)] == [(1, 7, b"body"), (2, 8, b"")]
    for cut in range(1, len(whole)):
        if cut != len(frame(1, 7, b"body")):  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="ends within"):
                list(frames(whole[:cut]))


@pytest.mark.parametrize("size", [0, 10, INLINE, LARGE, 20 << 20])
async def test_bytes_of_each_size_go_there_and_back(size: int) -> None:
    data = b"x" * size
    assert await work.echo(data) == data
    assert await work.echo([data, bytearray(data)]) == [data, data]


async def test_memory_files_are_used_again_and_then_closed() -> None:
    def files() -> int:
        return sum("memfd:mountain " in os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())

    for size in (3 * LARGE, LARGE, 2 * LARGE, 5 * LARGE):
        data = os.urandom(size)
        assert await work.echo(data) == data
    assert files() == 1
    for _ in range(100):
        if not files():
            break
        await asyncio.sleep(0.05)  # real: they are closed when none was used for a while
    assert files() == 0


async def test_buffers_go_there_and_back() -> None:
    data = bytearray(b"w" * LARGE)
    found = await work.echo(work.Buffers(data))
    memoryview(found.data)[0:1] = b"?"
    assert bytes(found.data) == b"?" + b"w" * INLINE
    assert data[0:1] == b"w"


async def test_an_error_comes_back_as_itself_with_its_traceback() -> None:
    with pytest.raises(KeyError, match="x") as caught:
        await work.raises("key")
    text = str(caught.value.__cause__)
    assert "raise made[error]" in text
    assert "pools/_" not in text
    with pytest.raises(work.Frozen):
        await work.raises("frozen")


@pytest.mark.parametrize(("error", "kind", "text"), [("odd", "Odd", "3: odd"), ("holds", "Holds", "held")])
async def test_an_error_that_cannot_be_built_anew_is_told(error: str, kind: str, text: str) -> None:
    """W2."""
    with pytest.raises(RemoteError, match=f"{kind}: {text}") as caught:
        await work.raises(error)
    assert caught.value.type.endswith(f"work.{kind}")
    assert caught.value.text == text
    assert "raise made[error]" in caught.value.traceback
    assert await work.add(1) == 2


async def test_a_cancel_that_a_function_raises_is_its_error() -> None:
    with pytest.raises(asyncio.CancelledError):
        await work.raises("cancelled")
    assert await work.add(1) == 2


async def test_what_cannot_be_packed_is_named() -> None:
    """W6."""
    with pytest.raises(pickle.PicklingError, match="argument 'b' of add cannot be pickled"):
        await work.add(1, lambda: 2)  # type: ignore[arg-type]
    with pytest.raises(pickle.PicklingError, match="the result of gives_lock cannot be pickled"):
        await work.gives_lock()
    assert await work.add(1) == 2


async def test_a_function_that_no_worker_can_find_is_named() -> None:
    @blocking(On(work.one))
    def local() -> None: ...

    made = blocking(On(work.one), name="made")(lambda: None)
    with pytest.raises(ConfigError, match=r"test_travels.*local is made within another function"):
        await local()
    with pytest.raises(ConfigError, match="<lambda> is made within"):
        await made()


SCRIPT = """
import asyncio
from dataclasses import dataclass
from mountain_runtime import On, blocking, pools

pool = pools.Processes(1)

@dataclass
class Point:
    x: int

@blocking(On(pool))
def moved(point: Point) -> Point:
    return Point(point.x + 1)

async def main():
    print(await moved(Point(1)))

{guard}asyncio.run(main())
"""


def ran(*argv: str, code: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], input=code, capture_output=True, text=True, timeout=30, check=False)


def test_a_programs_own_functions_and_classes_are_found(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(SCRIPT.format(guard='if __name__ == "__main__":\n    '))
    done = ran(str(path))
    assert (done.stdout, done.stderr) == ("Point(x=2)\n", "")


def test_a_program_without_a_guard_is_told(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(SCRIPT.format(guard=""))
    done = ran(str(path))
    assert done.returncode == 1
    assert "if __name__ ==" in done.stderr.splitlines()[-1]


def test_a_session_without_a_file_is_told() -> None:
    """W3."""
    done = ran("-", code=SCRIPT.format(guard=""))
    assert done.returncode == 1
    assert "__main__.moved is of a program without a file" in done.stderr.splitlines()[-1]
