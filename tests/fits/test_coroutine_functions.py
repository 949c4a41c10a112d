"""The checks by which frameworks tell coroutine functions: all take a decorated one for one, and await it."""

import functools
from typing import Annotated, Any

import httpx
import pytest
from aiohttp import web
from fastapi import Depends, FastAPI
from starlette._utils import is_async_callable

from mountain_runtime import Timeout, blocking, effect

from .support import quiet

pytest_plugins = ["pytester"]


@effect(Timeout(30))
async def handle(request: Any) -> web.Response:
    return web.Response(text=str(request))


@blocking
def on_thread(request: Any) -> web.Response:
    return web.Response(text=str(request))


class Shop:
    @effect
    async def handle(self, request: Any) -> web.Response:
        return web.Response(text=str(request))


HANDLERS = (handle, on_thread, Shop().handle, functools.partial(handle))


@pytest.mark.parametrize("handler", HANDLERS, ids=["effect", "blocking", "method", "partial"])
def test_servers(handler: Any) -> None:
    assert is_async_callable(handler)
    app = web.Application()
    app.router.add_get("/", handler)  # one that is none is refused or warned of
    assert len(app.router.routes()) == 2


@effect
async def injected() -> str:
    return "injected"


@effect(Timeout(30))
async def endpoint(what: Annotated[str, Depends(injected)]) -> str:
    return f"endpoint, {what}"


async def test_fastapi() -> None:
    """A function on a thread would give an effect that is never awaited."""
    app = FastAPI()
    app.get("/")(endpoint)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        assert (await client.get("/")).json() == "endpoint, injected"


TESTS = """
import pytest
from mountain_runtime import Timeout, effect
{mark}
@effect(Timeout(30))
async def test_alone() -> None:
    assert False, "it ran"

class TestOfAClass:
    {mark}
    @effect
    async def test_method(self) -> None:
        assert False, "it ran"
"""
SCOPE = ["-o", "asyncio_default_fixture_loop_scope=function"]
PLUGINS = {
    "pytest-asyncio, auto": ("", [*SCOPE, "-o", "asyncio_mode=auto"]),
    "pytest-asyncio, strict": ("@pytest.mark.asyncio", [*SCOPE, "-o", "asyncio_mode=strict"]),
    "anyio": ("@pytest.mark.anyio", ["-p", "no:asyncio", "-k", "not trio"]),
}


@pytest.mark.processes
@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_of_pytest_run_it(plugin: str, pytester: pytest.Pytester) -> None:
    mark, options = PLUGINS[plugin]
    pytester.makepyfile(TESTS.format(mark=mark))
    without = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    result = pytester.runpytest_subprocess(*without, "-W", "error::RuntimeWarning", *options)
    result.assert_outcomes(failed=2, deselected=2 if plugin == "anyio" else 0)
    result.stdout.fnmatch_lines(["*AssertionError: it ran*"])
    quiet(result.stderr.str())
