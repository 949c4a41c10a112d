"""pytest-asyncio in its modes and loop scopes, each in a pytest of its own: a runtime as a fixture, and none."""

import pytest

from .support import quiet

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.processes

#: An async generator fixture is entered and left in tasks and contexts that are not the test's.
TESTS = """
import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest
{imports}
from mountain_runtime import Runtime, Timeout, blocking, deadline, effect, fs, gather
from mountain_runtime.errors import ShuttingDown, TimedOut

done = []

@blocking
def thread() -> str:
    return threading.current_thread().name

@effect
async def job(number: int) -> int:
    await asyncio.sleep(0.05)
    done.append(number)
    return number

{fixture}
async def rt() -> AsyncGenerator[Runtime]:
    async with Runtime(threads=1) as runtime:
        yield runtime
    assert runtime.report.ok

{fixture}
async def user(rt: Runtime) -> str:
    return await rt.submit(effect(asyncio.sleep)(0, "ada"))

{mark}
async def test_submitted_work_and_native_work(rt: Runtime, user: str) -> None:
    handle = rt.submit(job(1))
    rt.submit(job(2))  # nobody waits for it but the fixture's end
    assert await handle == 1
    assert await gather(fs.stat("/").map(lambda about: about.size > 0), job(3)) == (True, 3)
    assert user == "ada"

{mark}
async def test_it_is_the_runtime_of_the_test(rt: Runtime) -> None:
    assert len(set(await gather(thread() for _ in range(8)))) == 1  # its own one thread
    with pytest.raises(TimedOut):
        async with deadline(0.05):
            await asyncio.sleep(5)

{mark}
async def test_work_in_flight_when_a_test_fails(rt: Runtime) -> None:
    rt.submit(job(4))
    assert False, "as it is meant to"

{mark}
async def test_without_a_runtime() -> None:
    assert sorted(done) == [1, 2, 3, 4]  # each fixture's end has waited
    assert await thread().under(Timeout(5))
"""
LIMIT = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "error", "--timeout", "30"]


def check(pytester: pytest.Pytester, *arguments: str, **parts: str) -> None:
    pytester.makepyfile(TESTS.format(**{"imports": "", "fixture": "@pytest.fixture", "mark": ""} | parts))
    result = pytester.runpytest_subprocess(*LIMIT, *arguments)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: as it is meant to*"])
    quiet(result.stderr.str())
    assert result.duration < 20


def test_auto_mode(pytester: pytest.Pytester) -> None:
    check(pytester, "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


def test_strict_mode(pytester: pytest.Pytester) -> None:
    check(
        pytester,
        *("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function"),
        imports="import pytest_asyncio",
        fixture="@pytest_asyncio.fixture",
        mark="@pytest.mark.asyncio",
    )


def test_one_runtime_for_many_tests_on_one_loop(pytester: pytest.Pytester) -> None:
    """Leftover work of one test is drained at the end of the last."""
    settings = [f"asyncio_default_{what}_loop_scope=session" for what in ("fixture", "test")]
    fixture = "@pytest.fixture(scope='session')"
    options = ("-o", "asyncio_mode=auto", "-o", settings[0], "-o", settings[1])
    pytester.makepyfile(
        TESTS.format(imports="", fixture=fixture, mark="")
        .replace("# each fixture's end has waited", "")
        # The failed test's work is still under way: it is the runtime's, which lives on.
        .replace("sorted(done) == [1, 2, 3, 4]", "{1, 2, 3} <= set(done)")
    )
    result = pytester.runpytest_subprocess(*LIMIT, *options)
    result.assert_outcomes(passed=3, failed=1)
    quiet(result.stderr.str())


def test_uvloop_by_a_loop_factory(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import uvloop
        def pytest_asyncio_loop_factories(config, item):
            return {"uvloop": uvloop.new_event_loop}
    """)
    check(pytester, "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
