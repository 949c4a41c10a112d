"""P5: what waits for something that never comes can be cancelled, and the pool stays usable."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mountain_runtime import Effect, Timeout, _native, errors, fs, gather
from tests.providers.support import gauge, names, within

WAITING: dict[str, Callable[[Path], Effect[object]]] = {
    "read": fs.read_bytes,
    "text": fs.read_text,
    "hash": fs.hash,
    "many": lambda path: fs.read_many([path]),
    "write": lambda path: fs.write_bytes(path, b"x"),
}


@pytest.fixture
def pipes(tmp_path: Path) -> list[Path]:
    """Pipes whose other end is closed."""
    made = [tmp_path / f"pipe {number}" for number in range(8)]
    for path in made:
        os.mkfifo(path)
    return made


async def all_came_back() -> None:
    """Waits until no thread counts as abandoned: the pipes' threads look up at their next turn."""
    async with asyncio.timeout(5):
        while gauge("abandoned_threads"):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", WAITING)
async def test_eight_opens_of_pipes_are_cancelled(tmp_path: Path, pipes: list[Path], kind: str) -> None:
    tasks = [asyncio.create_task(WAITING[kind](path)) for path in pipes]
    await asyncio.sleep(0.02)  # so that each is in its open, on a thread
    assert not any(task.done() for task in tasks)
    for task in tasks:
        with within(1):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    (tmp_path / "file").write_bytes(b"still usable")
    with within(1):
        assert await gather([fs.read_bytes(tmp_path / "file") for _ in range(100)]) == [b"still usable"] * 100
    await all_came_back()
    assert all(stat.S_ISFIFO(path.stat().st_mode) for path in pipes)
    assert len(names(tmp_path)) == 9


async def test_the_pool_is_usable_while_they_wait(tmp_path: Path, pipes: list[Path]) -> None:
    (tmp_path / "file").write_bytes(b"x")
    tasks = [asyncio.create_task(fs.read_bytes(path)) for path in pipes]
    await asyncio.sleep(0.02)  # so that each is in its open
    with within(1):
        assert await fs.read_many([tmp_path / "file"] * 50) == [b"x"] * 50
    writers = [os.open(path, os.O_WRONLY) for path in pipes]
    for number, writer in enumerate(writers):
        os.write(writer, b"%d" % number)
        os.close(writer)
    assert await asyncio.gather(*tasks) == [b"%d" % number for number in range(8)]


async def test_who_was_cancelled_does_not_take_the_next_ones_data(pipes: list[Path]) -> None:
    with pytest.raises(errors.TimedOut):
        await fs.read_bytes(pipes[0]).under(Timeout(0.02))
    await all_came_back()
    reading = asyncio.create_task(fs.read_bytes(pipes[0]))
    await fs.write_bytes(pipes[0], b"for the second")
    assert await reading == b"for the second"


async def test_a_pipe_is_written_into(pipes: list[Path]) -> None:
    data = b"more than a pipe holds at once " * 20_000
    writing = asyncio.create_task(fs.write_bytes(pipes[0], data))
    assert await fs.read_bytes(pipes[0]) == data
    await writing
    assert stat.S_ISFIFO(pipes[0].stat().st_mode)


async def test_a_timeout_of_a_native_wait_is_told_by_its_policy(pipes: list[Path]) -> None:
    effect = fs.read_bytes(pipes[0]).under(Timeout(5), Timeout(0.02))
    assert _native.is_native(effect)
    with within(1), pytest.raises(TimeoutError) as caught:
        await effect
    assert isinstance(caught.value, errors.TimedOut)
    assert caught.value.policy == "Timeout(0.02)"


async def test_a_tree_that_is_being_removed_can_be_cancelled(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in range(50):
        (tree / str(folder)).mkdir(parents=True)
        for file in range(100):
            (tree / str(folder) / str(file)).touch()
    task = asyncio.create_task(fs.remove(tree, tree=True))
    await asyncio.sleep(0.001)  # so that it is in the middle, or at least likely to be
    task.cancel()
    await asyncio.wait([task])
    left = sum(len(files) for _, _, files in os.walk(tree))
    await asyncio.sleep(0.01)  # a removal that went on would show
    assert sum(len(files) for _, _, files in os.walk(tree)) == left
    assert task.cancelled() or not tree.exists()
