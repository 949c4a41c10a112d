"""testing.watch, and a real watch in virtual time."""

import asyncio
from pathlib import Path

import pytest

from mountain_runtime import Idle, Timeout, errors, fs, testing
from mountain_runtime.testing import VirtualClock

NEW = fs.Change("tree/new", "made")
LATER = fs.Change("tree/new", "changed")


async def test_a_watch_tells_what_the_test_tells() -> None:
    with testing.watch("tree", existing=[NEW]) as watched:
        watched.tell(LATER)
        async with fs.watch("./tree", existing=True) as batches:
            assert await anext(batches) == (NEW,)
            assert await anext(batches) == (LATER,)
            waiting = asyncio.ensure_future(anext(batches))
            await asyncio.sleep(0)
            watched.tell(NEW, LATER)
            assert await waiting == (NEW, LATER)
        async with fs.watch("tree") as batches:
            assert [await anext(batches) for _ in range(2)] == [(LATER,), (NEW, LATER)]
        with pytest.raises(errors.ConfigError, match="already"), testing.watch("tree"):
            pass
    with pytest.raises(FileNotFoundError):
        async for _ in fs.watch("tree"):
            pass


async def test_a_watch_fails_as_the_test_says() -> None:
    with testing.watch("tree") as watched:
        watched.fail(FileNotFoundError(2, "gone", "tree"))
        watched.tell(NEW)
        told = []
        with pytest.raises(FileNotFoundError, match="gone"):
            async for batch in fs.watch("tree"):
                told.append(batch)
    assert told == [(NEW,)]


async def test_it_waits_in_virtual_time(virtual_clock: VirtualClock) -> None:
    with testing.watch("tree") as watched:
        asyncio.get_running_loop().call_later(3600, watched.tell, NEW)
        told = []
        with pytest.raises(errors.TimedOut):
            async for batch in fs.watch("tree").under(Idle(7200)):
                told.append((virtual_clock.time(), batch))
    assert told == [(pytest.approx(3600), (NEW,))]
    assert virtual_clock.time() == pytest.approx(3600 + 7200)


async def test_a_real_watch_holds_no_time_still(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    with pytest.raises(errors.TimedOut):
        async for _ in fs.watch(tmp_path).under(Timeout(3600)):
            pass
    assert virtual_clock.time() == pytest.approx(3600)


async def test_what_is_under_way_comes_before_time_passes(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    async with fs.watch(tmp_path, settle=0.02, existing=True).under(Timeout(1)) as batches:
        assert await anext(batches) == ()
        (tmp_path / "x").touch()
        assert await anext(batches) == (fs.Change(tmp_path / "x", "made"),)
        assert virtual_clock.time() == 0
