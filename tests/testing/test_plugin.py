"""The fixture beside pytest-asyncio in both its modes and beside anyio's plugin, each in a pytest of its own."""

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.processes

TESTS = """
import asyncio
import pytest
from mountain_runtime import Retry, constant
from mountain_runtime.testing import VirtualClock

async def fails():
    raise OSError(1, "down")

{fixture}
async def waited(virtual_clock):
    await asyncio.sleep(10)                       # fixtures of their own jump too
    with pytest.raises(OSError):
        await Retry(on=OSError, backoff=constant(5)).call(fails)
    yield virtual_clock.time()
    await asyncio.sleep(3600)

{mark}
async def test_jumps(virtual_clock: VirtualClock, waited):
    assert waited == 20.0
    await asyncio.sleep(3600)
    await virtual_clock.advance(60)
    assert virtual_clock.time() == 3680.0

{mark}
async def test_fails(virtual_clock):
    await asyncio.sleep(3600)
    assert virtual_clock.time() == 1.0

{mark}
async def test_is_real_again():
    loop = asyncio.get_running_loop()
    assert "time" not in vars(loop)
    before = loop.time()
    await asyncio.sleep(0.01)
    assert 0.01 <= loop.time() - before < 5

class TestMethods:
    {mark}
    async def test_begins_anew(self, virtual_clock):
        assert virtual_clock.time() == 0.0
        await asyncio.sleep(5)
        assert virtual_clock.time() == 5.0

def test_without_a_loop_of_its_own(virtual_clock):
    asyncio.run(asyncio.sleep(50))
    assert virtual_clock.time() == 50.0
"""
#: Hypothesis, which these do not use, takes a third of the start.
LIMIT = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "error", "--timeout", "30"]
FUNCTION = ["-o", "asyncio_default_fixture_loop_scope=function"]


def check(pytester: pytest.Pytester, *arguments: str, fixture: str = "@pytest.fixture", mark: str = "") -> None:
    pytester.makepyfile(TESTS.format(fixture=fixture, mark=mark))
    result = pytester.runpytest_subprocess(*LIMIT, *arguments)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["E * assert 3600.0 == 1.0"])
    assert result.duration < 50  # hours of it, were it not virtual


def test_beside_pytest_asyncio_in_auto_mode(pytester: pytest.Pytester) -> None:
    check(pytester, *FUNCTION, "-o", "asyncio_mode=auto")


def test_beside_pytest_asyncio_in_strict_mode(pytester: pytest.Pytester) -> None:
    check(
        pytester,
        *FUNCTION,
        *("-o", "asyncio_mode=strict"),
        fixture="import pytest_asyncio\n@pytest_asyncio.fixture",
        mark="@pytest.mark.asyncio",
    )


@pytest.mark.parametrize("scope", ["module", "session"])
def test_on_a_loop_that_many_tests_share(pytester: pytest.Pytester, scope: str) -> None:
    settings = [f"asyncio_default_{what}_loop_scope={scope}" for what in ("fixture", "test")]
    check(pytester, "-o", "asyncio_mode=auto", "-o", settings[0], "-o", settings[1])


def test_beside_anyio(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'")
    check(pytester, "-p", "no:asyncio", mark="@pytest.mark.anyio")


WRONG_LOOP = """
import asyncio
import pytest
import uvloop

{setup}
async def test_on_uvloop(virtual_clock):
    await asyncio.sleep(3600)
"""


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_on_uvloop_a_test_fails_at_once_and_says_what_to_do(pytester: pytest.Pytester, plugin: str) -> None:
    if plugin == "asyncio":
        setup = ""
        pytester.makeconftest("""
            import uvloop
            def pytest_asyncio_loop_factories(config, item):
                return {"uvloop": uvloop.new_event_loop}
        """)
        arguments = [*FUNCTION, "-o", "asyncio_mode=auto"]
    else:
        setup = "@pytest.fixture\ndef anyio_backend(): return 'asyncio', {'use_uvloop': True}\n@pytest.mark.anyio"
        arguments = ["-p", "no:asyncio"]
    pytester.makepyfile(WRONG_LOOP.format(setup=setup))
    result = pytester.runpytest_subprocess(*LIMIT, *arguments)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * virtual_clock needs asyncio's own selector event loop, * uvloop.Loop: give it *"])


def test_importing_the_package_imports_no_pytest(pytester: pytest.Pytester) -> None:
    program = pytester.makepyfile(
        "import sys, mountain_runtime, mountain_runtime.testing\n"
        "assert not [name for name in sys.modules if name.startswith(('pytest', '_pytest'))]"
    )
    assert pytester.runpython(program).ret == 0
