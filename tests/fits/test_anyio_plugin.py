"""anyio's plugin for pytest on asyncio, with and without uvloop: a runtime as a fixture, task groups, cancel scopes."""

import pytest

from .support import quiet

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.processes

TESTS = """
import asyncio
import threading

import anyio
import pytest
from mountain_runtime import Runtime, Timeout, amap, blocking, effect, fs, gather
from mountain_runtime.errors import TimedOut

pytestmark = pytest.mark.anyio
said = []

@blocking
def thread() -> str:
    return threading.current_thread().name

@effect
async def nap(name: str, seconds: float) -> str:
    try:
        await anyio.sleep(seconds)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)  # cleanup that anyio lets end
        said.append(f"{name} cancelled")
        raise
    said.append(name)
    return name

@pytest.fixture
async def rt():
    async with Runtime(threads=1) as runtime:
        yield runtime
    assert runtime.report.ok

async def test_the_runtime_of_a_fixture(rt: Runtime) -> None:
    rt.submit(nap("submitted", 0.05))
    assert len(set(await gather(thread() for _ in range(8)))) == 1
    assert await rt.submit(fs.stat("/").map(lambda about: about.size > 0))

async def test_what_it_was_given_has_ended() -> None:
    assert "submitted" in said

async def test_a_task_group_takes_effects() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(nap, "one", 0.01)
        group.start_soon(nap("two", 0.01).under, Timeout(1))
    assert {"one", "two"} <= set(said)

async def test_a_cancel_scope_cancels_an_effect_and_waits_for_its_cleanup() -> None:
    with anyio.move_on_after(0.05) as scope:
        await nap("scoped", 60).under(Timeout(70))
    assert scope.cancelled_caught
    assert said[-1] == "scoped cancelled"
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.05):
            await nap("late", 60)

async def test_a_timeout_inside_a_scope_is_its_own() -> None:
    with anyio.move_on_after(5) as scope:
        with pytest.raises(TimedOut):
            await nap("timed", 60).under(Timeout(0.05))
        assert await nap("after", 0) == "after"
    assert not scope.cancelled_caught

async def test_a_failure_in_a_group_cancels_effects_beside_it() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with anyio.create_task_group() as group:
            group.start_soon(nap, "beside", 60)
            group.start_soon(effect(fails))
    assert raised.value.subgroup(OSError)
    assert said[-1] == "beside cancelled"

async def fails() -> None:
    await anyio.sleep(0.01)
    raise OSError("down")

async def test_amap_under_a_scope() -> None:
    seen = []
    with anyio.move_on_after(0.1) as scope:
        async with amap(lambda number: nap(str(number), 0.01), range(1_000_000), limit=3) as results:
            async for number, _ in results:
                seen.append(number)
    assert scope.cancelled_caught
    assert seen
"""
LIMIT = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:asyncio", "-W", "error", "--timeout", "30"]


@pytest.mark.parametrize("backend", ["'asyncio'", "('asyncio', {'use_uvloop': True})"], ids=["asyncio", "uvloop"])
def test_beside_anyio(pytester: pytest.Pytester, backend: str) -> None:
    pytester.makeconftest(f"import pytest\n@pytest.fixture\ndef anyio_backend(): return {backend}")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess(*LIMIT)
    result.assert_outcomes(passed=7)
    quiet(result.stderr.str())
    assert result.duration < 20
