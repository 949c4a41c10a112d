"""Effects made of effects: the functions behind `map`, `then` and `attempt`; `gather` and `race`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import cache
from typing import Any, TypeVar, cast, overload

from .._native import Effect, Plan, Stream, adopt, call_effect, first_end, gather_native, own_name, race_native
from .._tasks.exits import result_of
from ..errors import ConfigError
from ..policy._base import plan
from . import children as _children
from .misused import instead, not_an_effect
from .outcome import Err, Ok

__all__ = ["attempt", "gather", "map_", "race", "then"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
X = TypeVar("X", bound=Exception)


async def map_(inner: Awaitable[A], f: Callable[[A], B], /) -> B:
    """The body of `effect.map(f)`."""
    return f(await inner)


async def then(inner: Awaitable[A], f: Callable[[A], Effect[B]], /) -> B:
    """The body of `effect.then(f)`."""
    following = f(await inner)
    if not isinstance(following, Effect):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            "then() needs a function that gives an effect, "
            f"{instead(following, 'gather(effects)')}; for values there is map()"
        )
    return await following


async def attempt(inner: Awaitable[A], errors: tuple[type[X], ...], /) -> Ok[A] | Err[X]:
    """The body of `effect.attempt(*errors)`."""
    try:
        return Ok(await inner)
    except errors as error:
        return Err(error)


@overload
def gather(a: Effect[A], b: Effect[B], /) -> Effect[tuple[A, B]]: ...
@overload
def gather(a: Effect[A], b: Effect[B], c: Effect[C], /) -> Effect[tuple[A, B, C]]: ...
@overload
def gather(a: Effect[A], b: Effect[B], c: Effect[C], d: Effect[D], /) -> Effect[tuple[A, B, C, D]]: ...
@overload
def gather(a: Effect[A], b: Effect[B], c: Effect[C], d: Effect[D], e: Effect[E], /) -> Effect[tuple[A, B, C, D, E]]: ...
@overload
def gather(
    a: Effect[A], b: Effect[B], c: Effect[C], d: Effect[D], e: Effect[E], f: Effect[F], /
) -> Effect[tuple[A, B, C, D, E, F]]: ...
@overload
def gather(
    a: Effect[A], b: Effect[B], c: Effect[C], d: Effect[D], e: Effect[E], f: Effect[F], g: Effect[G], /
) -> Effect[tuple[A, B, C, D, E, F, G]]: ...
@overload
def gather(
    a: Effect[A], b: Effect[B], c: Effect[C], d: Effect[D], e: Effect[E], f: Effect[F], g: Effect[G], h: Effect[H], /
) -> Effect[tuple[A, B, C, D, E, F, G, H]]: ...
@overload
def gather(effects: Iterable[Effect[A]], /) -> Effect[list[A]]: ...
def gather(*effects: Any) -> Effect[Any]:
    """Runs effects side by side and gives all results, in the order of the arguments.

    The first failure cancels the others; it is raised when their cleanup has ended. An effect given twice runs twice.
    """
    if len(effects) == 1 and not isinstance(effects[0], Effect):
        return _gathered(_effects("gather", effects[0]), list)
    if len(effects) < 2:
        raise TypeError("gather() needs two effects or more, or one iterable of effects")
    return _gathered(_effects("gather", effects), tuple)


def _gathered(children: list[Effect[Any]], shape: Callable[[Iterable[Any]], Any]) -> Effect[Any]:
    native = gather_native(children) if children else None
    if native is None:
        return call_effect(_gather, (children, shape), None, _plan("gather"))
    return native if shape is list else native.map(shape)


def race(*effects: Effect[A]) -> Effect[A]:
    """Runs effects side by side and gives the first success; the others are cancelled, and their cleanup awaited.

    When all fail, an ExceptionGroup has their errors in the order of the arguments.
    """
    children = _effects("race", effects)
    if not children:
        raise ConfigError("race() needs at least one effect: with none, there is no winner")
    native = race_native(children)
    return call_effect(_race, (children,), None, _plan("race")) if native is None else native


@cache
def _plan(verb: str) -> Plan:
    """Made as it is first used: statistics list a name from then on."""
    own_name(verb)
    return plan((), verb)


def _effects(verb: str, given: Iterable[Any]) -> list[Effect[Any]]:
    if isinstance(cast("object", given), Stream) or not isinstance(given, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise not_an_effect(f"{verb}()", given)
    children = list(given)
    for child in children:
        if not isinstance(child, Effect):
            for other in children:  # none of them will run, and that is said once
                if isinstance(other, Effect):
                    adopt(other)  # pyright: ignore[reportUnknownArgumentType] - of whatever it gives
                elif isinstance(other, Coroutine):
                    other.close()
            raise not_an_effect(f"{verb}()", child)
    return children


async def _gather(effects: list[Effect[Any]], shape: Callable[[Iterable[Any]], Any]) -> Any:
    tasks: list[asyncio.Future[Any]] = []
    failed = None
    succeeded = False
    try:
        _children.start_all(effects, tasks)
        failed = await first_end(tasks, False)
        succeeded = failed is None
    finally:
        if not succeeded:
            await _children.end(tasks)
    try:
        return result_of(failed) if failed is not None else shape([task.result() for task in tasks])
    finally:
        del tasks, failed  # an error's traceback holds this frame


async def _race(effects: list[Effect[Any]]) -> Any:
    tasks: list[asyncio.Future[Any]] = []
    winner = None
    try:
        _children.start_all(effects, tasks)
        winner = await first_end(tasks, True)
    finally:
        await _children.end(tasks)
    try:
        if winner is not None:
            return result_of(winner)
        errors = [error for task in tasks if isinstance(error := task.exception(), Exception)]
        raise ExceptionGroup(f"all {len(tasks)} effects of a race failed", errors)
    finally:
        del tasks, winner
