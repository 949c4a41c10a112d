"""RateLimit: how many calls may start in a time."""

from collections.abc import Callable, Hashable
from math import inf
from typing import final

from .._native import Effect, Layer, Rates, call_effect
from ..errors import ConfigError
from ._arguments import check_function
from ._base import Policy, plan
from ._numbers import Seconds, number, seconds, written
from ._part import Part, span

__all__ = ["RateLimit"]


@final
class RateLimit(Policy):
    """Lets calls start at a limited rate; the others wait for their turn, first come, first served.

    Strict: no time of `per` seconds sees more than `n` starts. With `burst` it is a token bucket instead, which holds
    at most `burst` tokens, gets `n` of them each `per` seconds, and starts full: in any time t up to `burst + n * t /
    per` calls may start. Put it inside concurrency limits: outside of one, calls that have had their turn wait and
    then start together.

    With `key`, a function of the call's arguments, each key has a rate of its own. `cost`, likewise, says how much a
    call counts, 1 by default. A call whose turn comes after its deadline, or after `max_wait` seconds, is refused at
    once with `errors.RateLimited`, which says when there may be room.

    An object with state: share it to share the rate, among functions, event loops and threads.
    """

    __slots__ = ("__weakref__", "_burst", "_cost", "_key", "_max_wait", "_n", "_per", "_rates")

    _stateful = True

    def __init__(
        self,
        n: float,
        per: Seconds,
        *,
        burst: float | None = None,
        key: Callable[..., Hashable] | None = None,
        cost: Callable[..., float] | None = None,
        max_wait: Seconds | None = None,
    ) -> None:
        self._n = number(n, "RateLimit", "n", least=0)
        self._per = seconds(per, "RateLimit", "per")
        self._burst = None if burst is None else number(burst, "RateLimit", "burst", least=0)
        check_function(key, "RateLimit", "key")
        check_function(cost, "RateLimit", "cost")
        self._key = key
        self._cost = cost
        self._max_wait = None if max_wait is None else seconds(max_wait, "RateLimit", "max_wait")
        self._rates = Rates(self._n, self._per, self._burst, self._max_wait)

    def acquire(self, key: Hashable = None, *, cost: float = 1) -> Effect[None]:
        """An effect that waits for a turn, for work that is no call of an effect."""
        price = _cost(cost, "RateLimit.acquire")
        return call_effect(_nothing, (), None, plan((_Turn(self, key, price),), "RateLimit.acquire", _nothing))

    def charge(self, cost: float, key: Hashable = None) -> None:
        """Corrects what a call has cost, after the fact: more than was counted, or less, if negative."""
        given = number(cost, "RateLimit.charge", "cost", least=float("-inf"))
        if given in (float("inf"), float("-inf")):
            raise ConfigError(f"RateLimit.charge(cost={cost!r}): must be a finite number")
        self._rates.charge(given, key)

    def pause(self, seconds: Seconds, key: Hashable = None) -> None:
        """Nothing starts for so many seconds, as a server's Retry-After asks."""
        self._rates.pause(_seconds(seconds, "RateLimit.pause", "seconds"), key)

    def change(self, n: float, per: Seconds) -> None:
        """From now on `n` in each `per` seconds; who waits has his new turn."""
        self._n = number(n, "RateLimit.change", "n", least=0)
        self._per = seconds(per, "RateLimit.change", "per")
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
        return f"RateLimit({', '.join(parts)})"

    def _asks(self) -> str | None:
        return "key" if self._key is not None else "cost" if self._cost is not None else None

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


def _cost(cost: float, owner: str) -> float:
    found = number(cost, owner, "cost", least=0)
    if found == float("inf"):
        raise ConfigError(f"{owner}(cost={cost!r}): must be a finite number")
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
