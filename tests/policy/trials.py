"""Calls under a breaker that end as they are told."""

from typing import Any

from mountain_runtime import CircuitBreaker, effect

from .support import Boom, outcome


async def does(what: Any) -> Any:
    """Raises an error, gives anything else."""
    if isinstance(what, BaseException):
        raise what
    return what


async def feed(breaker: CircuitBreaker, *results: bool) -> list[str]:
    """Calls under it that succeed or fail so; its state after each."""
    call = effect(breaker)(does)
    states = []
    for ok in results:
        await outcome(call(None if ok else Boom()))
        states.append(breaker.state())
    return states
