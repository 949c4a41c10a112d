"""Ends that Python treats in ways of its own: StopIteration, subinterpreters, panics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Effect, Ok, Retry, Runtime, Timeout, _native, blocking, effect, gather
from mountain_runtime.errors import InternalError

from .support import AT_ONCE, LONG, Boom, execute


def stops(*_: Any) -> Any:
    raise StopIteration("no value")


@blocking
def stops_on_a_thread() -> None:
    raise StopIteration("no value")


@effect
async def stops_in_a_coroutine() -> None:
    raise StopIteration("no value")


@effect(Timeout(LONG), Retry(on=Boom))
async def stops_later_under_policies() -> None:
    await asyncio.sleep(0)
    raise StopIteration("no value")


STOPS: dict[str, Callable[[], Effect[Any]]] = {
    "coroutine": stops_in_a_coroutine,
    "later, under policies": stops_later_under_policies,
    "thread": stops_on_a_thread,
    "thread, under policies": lambda: stops_on_a_thread().under(Timeout(LONG)),
    "function of an awaitable": lambda: Timeout(LONG).call(stops),
    "map": lambda: _native.trial_noop().map(stops),
    "map of a coroutine": lambda: effect(asyncio.sleep)(0).map(stops),
    "then": lambda: _native.trial_noop().then(stops),
    "gathered": lambda: gather([stops_on_a_thread(), stops_in_a_coroutine()]),
}


async def awaits(work: Awaitable[Any]) -> Any:
    return await work


@pytest.mark.parametrize("name", STOPS)
async def test_a_stopiteration_is_a_runtimeerror_with_its_cause(name: str) -> None:
    """As PEP 479 has it for generators. As it is, it would be taken for a value, or hang a future for ever."""
    async with Runtime() as runtime:
        for start in (lambda: asyncio.create_task(awaits(STOPS[name]())), lambda: runtime.submit(STOPS[name]())):
            with pytest.raises(RuntimeError) as raised:
                await asyncio.wait_for(start(), AT_ONCE)
            assert isinstance(raised.value.__cause__, StopIteration)


async def test_a_value_that_is_a_stopiteration_is_a_value() -> None:
    error = StopIteration("a value like any other")

    async def gives() -> StopIteration:
        return error

    assert await effect(gives)() is error
    assert await effect(Timeout(LONG))(gives)() is error
    assert await blocking(lambda: error)() is error
    assert await effect(gives)().attempt(Boom) == Ok(error)


async def test_a_panic_is_a_typed_error_and_the_next_effect_works() -> None:
    """B14."""
    async with Runtime(workers=1) as runtime:
        for start in (
            lambda: asyncio.create_task(awaits(_native.trial_panic())),
            lambda: runtime.submit(_native.trial_panic()),
        ):
            with pytest.raises(InternalError) as raised:
                await asyncio.wait_for(start(), AT_ONCE)
            assert raised.value.effect == "panic"
            assert await runtime.submit(_native.trial_noop(3)) == 3
            assert await _native.trial_noop(4) == 4


@pytest.mark.processes
def test_a_subinterpreter_can_import_it_or_gets_a_clean_importerror() -> None:
    """B11."""
    ended = execute(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        code = '''
        try:
            import mountain_runtime as m
        except ImportError as error:
            print("ImportError:", error, flush=True)
        else:
            import asyncio
            async def main():
                return await m._native.trial_noop(5)
            print("works:", asyncio.run(main()), flush=True)
        '''
        import textwrap
        number = interpreters.create()
        failed = interpreters.run_string(number, textwrap.dedent(code))
        assert failed is None, failed
        interpreters.destroy(number)
        print("main:", asyncio.run(_native.trial_noop(6)))
        """
    )
    first, main = ended.quietly().lines
    assert first == "works: 5" or first.startswith("ImportError: ")
    assert main == "main: 6"
