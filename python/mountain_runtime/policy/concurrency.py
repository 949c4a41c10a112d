"""ConcurrencyLimit: how many calls may be at work at the same time, and who goes next."""

from collections.abc import Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from math import inf
from typing import Literal, ParamSpec, cast, final
from weakref import WeakSet

from .._native import Layer, LimitState, slot
from ..errors import ConfigError
from ._arguments import check_name
from ._asked import KeyFunction
from ._base import Asks, Policy
from ._forks import note
from ._functions import check_function
from ._keys import wrong_key
from ._numbers import count
from ._part import Part
from ._priority import Priority

__all__ = ["ConcurrencyLimit", "LimitStatistics", "by_name", "places"]

P = ParamSpec("P")

#: More than any program has at work.
_MOST = 2**31

_named: "WeakSet[ConcurrencyLimit]" = WeakSet()


@dataclass(frozen=True, slots=True)
class LimitStatistics:
    """A limit as it is now, over all its keys."""

    in_flight: int
    waiting: Mapping[Priority, int]


@final
class ConcurrencyLimit(Policy):
    """At most `n` calls inside it at a time; the others wait, by priority and then in their order.

    A call holds its place until it has ended, cleanup included; a blocking function does so when its caller has long
    been released. Higher priorities go first, but a Low call that is first of its kind starts within 17 starts, however
    many High ones come; one with k before it within 17 * (k + 1).

    With `key`, a function of the call's arguments, there are `n` places for each key. `max_waiting` callers of a key
    may wait (None: any number); beyond that `overflow="reject"` refuses who comes, and "shed" the newest of the lowest
    priority, with `errors.QueueFull`. A call that would wait for itself is refused with `errors.Reentered`.

    An object with state: share it to share the places, among functions, event loops and threads.
    """

    __slots__ = ("__weakref__", "_key", "_max_waiting", "_n", "_name", "_overflow", "_permits")

    _stateful = True
    _instead = "write `async with limit.slot():`"

    def __init__(
        self,
        n: int,
        *,
        key: KeyFunction[P] | None = None,
        max_waiting: int | None = 1000,
        overflow: Literal["reject", "shed"] = "reject",
        name: str | None = None,
    ) -> None:
        self._n = places(n, "ConcurrencyLimit", "n")
        check_name(name, "ConcurrencyLimit")
        check_function(key, "ConcurrencyLimit", "key")
        if max_waiting is not None:
            given = cast("object", max_waiting)
            if not isinstance(given, int) or isinstance(given, bool) or given < 0:
                raise ConfigError(
                    f"ConcurrencyLimit(max_waiting={max_waiting!r}): must be a whole number, 0 or more, or None"
                )
            max_waiting = min(max_waiting, _MOST)
        if overflow not in ("reject", "shed"):
            raise ConfigError(f"ConcurrencyLimit(overflow={overflow!r}): must be 'reject' or 'shed'")
        self._key = key
        self._max_waiting = max_waiting
        self._overflow = overflow
        self._name = name
        self._permits = LimitState(self._n, max_waiting, overflow == "shed", name, key is not None)
        note(self)
        if name is not None:
            _named.add(self)

    def slot(self, key: Hashable = None) -> AbstractAsyncContextManager[None]:
        """`async with limit.slot():` holds a place for a block of code. It is entered once.

        A limit with `key=` takes the key here, as that function would give it; one without takes none. Otherwise it
        raises ConfigError.
        """
        return slot(self._permits, self, key)

    def _wrong_key(self, key: object) -> ConfigError:  # pyright: ignore[reportUnusedFunction] - raised natively
        return wrong_key(self, key, "slot()")

    def resize(self, n: int, /) -> None:
        """From now on `n` places. Calls that are at work beyond that end in their own time."""
        self._n = places(n, "ConcurrencyLimit.resize", "n")
        self._permits.resize(self._n)

    def statistics(self) -> LimitStatistics:
        """How many are at work, and how many wait."""
        in_flight, waiting = self._permits.counts()
        return LimitStatistics(in_flight, dict(zip(Priority, waiting, strict=True)))

    def __repr__(self) -> str:
        parts = [str(self._n)]
        if self._key is not None:
            parts.append(f"key={getattr(self._key, '__qualname__', self._key)}")
        if self._max_waiting != 1000:
            parts.append(f"max_waiting={self._max_waiting}")
        if self._overflow != "reject":
            parts.append(f"overflow={self._overflow!r}")
        if self._name is not None:
            parts.append(f"name={self._name!r}")
        return f"ConcurrencyLimit({', '.join(parts)})"

    def _after_fork(self) -> None:
        self._permits.after_fork()

    def _asks(self) -> Asks:
        return {} if self._key is None else {"key": self._key}

    def _part(self) -> Part:
        each = "" if self._key is None else " for each key"
        queue = "any number wait" if self._max_waiting is None else f"{self._max_waiting} wait, and more are refused"
        does = f"{self._n} at work at a time{each}; {queue}"
        return Part(kind="places", text=repr(self), does=does, wait=0.0 if self._max_waiting == 0 else inf)

    def _layer(self) -> Layer:
        return Layer.limit(self._permits, self._key)


def places(n: int, owner: str, setting: str) -> int:
    """A number of places that can work; more than any program uses are as many as the native side counts."""
    return min(count(n, owner, setting), _MOST)


def by_name() -> Mapping[str, LimitStatistics]:
    """The limits that have a name, as they are now. Of two with one name, both are counted."""
    found: dict[str, LimitStatistics] = {}
    for limit in list(_named):
        now = limit.statistics()
        before = found.get(name := limit._name or "")
        if before is not None:
            waiting = {p: before.waiting[p] + now.waiting[p] for p in Priority}
            now = LimitStatistics(before.in_flight + now.in_flight, waiting)
        found[name] = now
    return found
