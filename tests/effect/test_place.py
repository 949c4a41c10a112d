"""A decorated function stands where a coroutine function may: taken for one, found by name, its own copy."""

import asyncio
import copy
import functools
import inspect
import pickle
import pydoc
import subprocess
import sys
import typing
import unittest
import weakref
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import pytest

from mountain_runtime import Timeout, blocking, effect, need

from .support import value


class Store: ...


@effect(Timeout(30))
async def fetch(url: str, *, tries: int = 3, store: Store = need(Store)) -> bytes:
    """Fetches it."""
    return url.encode() * tries


@blocking
def read(name: str, times: int = 1) -> str:
    return name * times


class Api:
    @effect
    async def get(self, n: int) -> int:
        """Gets it."""
        return n

    @blocking
    def slow(self, n: int) -> int:
        return n

    @classmethod
    @effect
    async def of_class(cls, n: int) -> int:
        return n

    @staticmethod
    @effect
    async def of_none(n: int) -> int:
        return n

    class Inner:
        @effect
        async def get(self) -> int:
            return 1

    @effect
    async def __call__(self) -> int:
        return 1


class Doubles:
    async def __call__(self, n: int) -> int:
        return n * 2


def hands_on(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(fn)
    def inner(*args: Any) -> Awaitable[Any]:
        return fn(*args)

    return inner


api = Api()
FUNCTIONS: dict[str, Any] = {
    "an effect": fetch,
    "a blocking function": read,
    "one decorated twice": effect(Timeout(1))(read),
    "a method": Api.get,
    "a bound method": api.get,
    "a bound blocking method": api.slow,
    "a class method": Api.of_class,
    "a static method": Api.of_none,
    "an object's call": api.__call__,
    "a partial of one": functools.partial(fetch, "a"),
    "a partial of a method": functools.partial(api.get, 1),
    "one of a partial": effect(functools.partial(value, 1)),
    "one of an object": effect(Doubles()),
    "one of a wrapper": effect(hands_on(value)),
    "one of a builtin": blocking(max),
    "one of a class": blocking(Store),
    "one of a mock": effect(mock.AsyncMock()),
}


#: Deprecated from CPython 3.14 on, where frameworks may ask asyncio all the same.
STILL_ASKED = pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning")


@STILL_ASKED
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_whoever_asks_hears_of_a_coroutine_function(function: Any) -> None:
    assert inspect.iscoroutinefunction(function)
    assert asyncio.iscoroutinefunction(function)
    assert not inspect.isgeneratorfunction(function)
    assert not inspect.isasyncgenfunction(function)


@STILL_ASKED
def test_a_function_that_wraps_one_is_what_it_is() -> None:
    """A mark that `functools.wraps` copies would say that this is a coroutine function."""

    @functools.wraps(fetch)
    def plain(*_: Any) -> int:
        return 1

    assert not inspect.iscoroutinefunction(plain)
    assert not asyncio.iscoroutinefunction(plain)
    assert plain.__name__ == "fetch"
    assert inspect.signature(plain) == inspect.signature(fetch)
    assert not inspect.iscoroutinefunction(functools.update_wrapper(functools.partial(plain), fetch))

    @functools.wraps(read)
    async def same(*args: Any) -> Any:
        return await read(*args)

    assert inspect.iscoroutinefunction(same)
    assert inspect.unwrap(same)("a") == "a"


@pytest.mark.parametrize("case", ["effect", "blocking"])
def test_a_test_of_unittest_runs(case: str) -> None:
    """3.11 takes what is no coroutine function for a test that has passed."""
    ran: list[str] = []

    class Tests(unittest.IsolatedAsyncioTestCase):
        @effect
        async def asyncSetUp(self) -> None:  # type: ignore[override]
            ran.append("set up")

        if case == "effect":

            @effect(Timeout(30))
            async def test_it(self) -> None:
                ran.append("test")
                await asyncio.sleep(0)
                self.fail("as it is meant to")
        else:

            @blocking
            def test_it(self) -> None:
                ran.append("test")
                self.fail("as it is meant to")

        @effect
        async def asyncTearDown(self) -> None:  # type: ignore[override]
            ran.append("torn down")

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(result)
    assert ran == ["set up", "test", "torn down"]
    assert [trace.splitlines()[-1] for _, trace in result.failures] == ["AssertionError: as it is meant to"]
    assert result.errors == []


BY_NAME = (fetch, read, Api.get, Api.slow, Api.of_none, Api.Inner.get)


@pytest.mark.parametrize("function", BY_NAME, ids=[each.__qualname__ for each in BY_NAME])
def test_copies_are_the_function_itself(function: Any) -> None:
    assert copy.copy(function) is function
    assert copy.deepcopy({"handler": [function]})["handler"][0] is function
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function


def test_pickles_of_methods_go_by_name() -> None:
    bound = pickle.loads(pickle.dumps(api.get))
    assert isinstance(bound.__self__, Api)
    assert bound.__func__ is Api.get
    assert pickle.loads(pickle.dumps(Api.of_class)) == Api.of_class
    assert pickle.loads(pickle.dumps(functools.partial(fetch, "a"))).func is fetch


def test_what_has_no_name_to_go_by_is_refused() -> None:
    @effect
    async def local() -> None: ...

    renamed = effect(value)
    unnamed = effect(functools.partial(value, 1))
    for function in (local, renamed, unnamed):
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(function)
        assert copy.deepcopy(function) is function


MAIN = """
import pickle, sys
from mountain_runtime import effect

@effect
async def here() -> int:
    return 1

class Api:
    @effect
    async def get(self) -> int:
        return 2

assert pickle.loads(pickle.dumps(here)) is here
assert pickle.loads(pickle.dumps(Api.get)) is Api.get
assert pickle.loads(pickle.dumps(Api().get)).__func__ is Api.get
assert b"__main__" in pickle.dumps(here)
print("ok")
"""


@pytest.mark.processes
def test_pickles_of_the_main_module() -> None:
    ended = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("ok\n", "")


def test_what_it_says_of_itself() -> None:
    hints = typing.get_type_hints(fetch)
    assert hints == {"url": str, "tries": int, "store": Store, "return": bytes}
    assert str(inspect.signature(fetch)) == "(url: str, *, tries: int = 3) -> bytes"
    assert str(inspect.signature(read, follow_wrapped=False)) == "(name: str, times: int = 1) -> str"
    assert weakref.ref(fetch)() is fetch
    told = pydoc.render_doc(fetch, renderer=pydoc.plaintext)
    assert "async fetch(url: str, *, tries: int = 3) -> bytes\n    Fetches it." in told
    told = pydoc.render_doc(Api, renderer=pydoc.plaintext)
    assert "async get(self, n: int) -> int\n |      Gets it." in told
    assert inspect.getsource(Api.get).startswith("    @effect\n    async def get(self")
    assert inspect.getdoc(api.get) == "Gets it."
    assert fetch.__code__ is inspect.unwrap(fetch).__code__  # type: ignore[attr-defined]  # where a debugger breaks


async def test_mocks_of_it_are_asynchronous() -> None:
    mocked = mock.create_autospec(fetch, return_value=b"x")
    assert inspect.iscoroutinefunction(mocked)
    assert await mocked("a") == b"x"
    of_class = mock.create_autospec(Api)
    of_class.return_value.get.return_value = 5
    assert await of_class().get(1) == 5
    with mock.patch.object(Api, "get", autospec=True) as get:
        get.return_value = 6
        assert await api.get(1) == 6
    with mock.patch(f"{__name__}.fetch") as patched:
        patched.return_value = b"y"
        assert isinstance(patched, mock.AsyncMock)
        assert await fetch("a") == b"y"
