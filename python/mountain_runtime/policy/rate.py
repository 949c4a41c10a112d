"""RateLimit: how many calls may start in a time."""

import math
from collections.abc import Hashable
from math import inf
from typing import ParamSpec, final

from .._native import Effect, Layer, RateState, call_effect
from ..errors import ConfigError
from ._arguments import check_name
from ._asked import CostFunction, KeyFunction
from ._base import Asks, Policy, plan
from ._forks import note
from ._functions import check_function
from ._keys import check_key
from ._numbers import Seconds, number, seconds, written
from ._part import Part, span

__all__ = ["RateLimit"]

P = ParamSpec("P")
Q = ParamSpec("Q")


@final
class RateLimit(Policy):
    """Lets calls start at a limited rate; the others wait for their turn, by priority.

    Strict: no time of `per` seconds sees more than `n` starts. With `burst` it is a token bucket instead, which holds
    at most `burst` tokens, gets `n` of them each `per` seconds, and starts full: in any time t up to `burst + n * t /
    per` calls may start. Put it inside concurrency limits: outside of one, calls that have had their turn wait and
    then start together.

    Waiting calls go by `priority`, and within one first come, first served; a lower one that was passed over often
    enough goes next, as in a `ConcurrencyLimit`.

    With `key`, a function of the call's arguments, each key has a rate of its own. `cost`, likewise, says how much a
    call counts, 1 by default. A call whose turn comes after its deadline, or after `max_wait` seconds, is refused at
    once with `errors.RateLimited`, which says when there may be room.

    `name` is what messages, metrics and the live page call it.

    An object with state: share it to share the rate, among functions, event loops and threads.
    """

    __slots__ = ("__weakref__", "_burst", "_cost", "_key", "_max_wait", "_n", "_name", "_per", "_rates")

    _stateful = True
    _instead = "write `await limit.acquire()`"

    def __init__(
        self,
        n: float,
        per: Seconds,
        *,
        burst: float | None = None,
        key: KeyFunction[P] | None = None,
        cost: CostFunction[Q] | None = None,
        max_wait: Seconds | None = None,
        name: str | None = None,
    ) -> None:
        check_name(name, "RateLimit")
        self._name = name
        self._burst = None if burst is None else _above_0(burst, "RateLimit", "burst")
        check_function(key, "RateLimit", "key")
        check_function(cost, "RateLimit", "cost")
        self._key = key
        self._cost = cost
        self._n, self._per = self._rate(n, per, "RateLimit")
        self._max_wait = None if max_wait is None else seconds(max_wait, "RateLimit", "max_wait")
        self._rates = RateState(self._n, self._per, self._burst, self._max_wait, name)
        note(self)

    def acquire(self, key: Hashable = None, *, cost: float = 1) -> Effect[None]:
        """An effect that waits for a turn, for work that is no call of an effect.

        A limit with `key=` takes the key here and in `charge` and `pause`, as that function would give it; one without
        takes none. Otherwise they raise ConfigError.
        """
        check_key(self, key, "acquire()")
        price = _finite(cost, "RateLimit.acquire", "cost", 0)
        return call_effect(
            _nothing, (), None, plan((_Turn(self, key, price),), f"{self._name or 'RateLimit'}.acquire", _nothing)
        )

    def charge(self, cost: float, key: Hashable = None) -> None:
        """Corrects what a call has cost, after the fact: more than was counted, or less, if negative."""
        check_key(self, key, "charge()")
        self._rates.charge(_finite(cost, "RateLimit.charge", "cost", -math.inf), key)

    def pause(self, seconds: Seconds, key: Hashable = None) -> None:
        """Nothing starts for so many seconds, as a server's Retry-After asks."""
        check_key(self, key, "pause()")
        self._rates.pause(_seconds(seconds, "RateLimit.pause", "seconds"), key)

    def change(self, n: float, per: Seconds) -> None:
        """From now on `n` in each `per` seconds; waiting calls get new turns."""
        self._n, self._per = self._rate(n, per, "RateLimit.change")
        self._rates.change(self._n, self._per)

    def __repr__(self) -> str:
        parts = [f"{self._n:.12g}", f"per={written(self._per)}"]
        if self._burst is not None:
            parts.append(f"burst={self._burst:.12g}")
        for name, function in (("key", self._key), ("cost", self._cost)):
            if function is not None:
                parts.append(f"{name}={getattr(function, '__qualname__', function)}")
        if self._max_wait is not None:
            parts.append(f"max_wait={written(self._max_wait)}")
        if self._name is not None:
            parts.append(f"name={self._name!r}")
        return f"RateLimit({', '.join(parts)})"

    def _rate(self, n: float, per: Seconds, owner: str) -> tuple[float, float]:
        """A ConfigError if no call could ever start at that rate."""
        n, per = _above_0(n, owner, "n"), seconds(per, owner, "per")
        if self._cost is None and per:
            never = "no call could ever start, as each costs 1 if no cost= says otherwise"
            if self._burst is not None and self._burst < 1:
                raise ConfigError(f"{owner}(burst={self._burst!r}): {never}. It must be 1 or more")
            if self._burst is None and n < 1:
                instead = f"{owner}(1, per={written(per / n)})"
                raise ConfigError(f"{owner}({n!r}, per={written(per)}): {never}. Write {instead}")
        return n, per

    def _after_fork(self) -> None:
        self._rates.after_fork()

    def _asks(self) -> Asks:
        return {name: each for name, each in (("key", self._key), ("cost", self._cost)) if each is not None}

    def _part(self) -> Part:
        wait = inf if self._max_wait is None else self._max_wait
        each = "" if self._key is None else " for each key"
        burst = "" if self._burst is None else f", {self._burst:.12g} at once after a rest"
        queue = "the others wait" if wait == inf else f"the others wait, no longer than {span(wait)}"
        does = f"{self._n:.12g} starts in {span(self._per)}{each}{burst}; {queue}"
        return Part(kind="rate", text=repr(self), does=does, wait=wait)

    def _layer(self) -> Layer:
        return Layer.rate(self._rates, self._key, self._cost)


_seconds = seconds


def _above_0(value: float, owner: str, setting: str) -> float:
    found = number(value, owner, setting, least=0)
    if not found:
        raise ConfigError(f"{owner}({setting}={value!r}): must be more than 0. With 0 nothing ever starts")
    return found


def _finite(value: float, owner: str, setting: str, least: float) -> float:
    found = number(value, owner, setting, least=least, what="a finite number")
    if math.isinf(found):
        raise ConfigError(f"{owner}({setting}={value!r}): must be a finite number")
    return found


async def _nothing() -> None: ...


class _Turn(Policy):
    """One turn of a rate limit, for a key and a cost that are known."""

    __slots__ = ("_cost", "_key", "_limit")

    def __init__(self, limit: RateLimit, key: Hashable, cost: float) -> None:
        self._limit = limit
        self._key = key
        self._cost = cost

    def __repr__(self) -> str:
        return repr(self._limit)

    def _layer(self) -> Layer:
        key = None if self._key is None else (lambda: self._key)
        return Layer.rate(self._limit._rates, key, lambda: self._cost)
