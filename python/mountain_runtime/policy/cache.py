"""Cache: keeps the value of a call for a time, and gives it to all who make the same call."""

from math import inf
from typing import Any, Literal, ParamSpec, TypedDict, cast, final

from .._native import CacheState, Layer
from ._arguments import bound, check_name, is_method, whole
from ._asked import KeyFunction
from ._base import Asks, Policy
from ._functions import check_function
from ._numbers import Seconds, count, seconds, written
from ._part import Part, span

__all__ = ["Cache"]

P = ParamSpec("P")


class CacheStatistics(TypedDict):
    """The counters of a cache since it was made, and its `size` now."""

    hits: int
    misses: int
    stale_hits: int
    evicted: int
    size: int


@final
class Cache(Policy):
    """Keeps values for `ttl` seconds, at most `max_size` of them: the one not asked for the longest goes first.

    All who miss the same value at the same time wait for one run, on whatever loops and threads they are. That run has
    a task of its own, in the context of the caller that came first but without its deadline: it ends early only when
    no caller waits for it any more. Errors go to those who wait, and are not kept. A value is one object for all: copy
    what you change.

    For `stale` seconds after `ttl` a value is given out still, at once, while one run fetches another; should that
    fail, be it because a breaker or a limit inside refuses it, the stale one stays for that time.

    The key is the function with its arguments, which must be hashable; a method's `self` counts by identity, and
    lives as long as its values. Or `key` makes the key from the arguments. A cached call that needs its own value is
    refused with `errors.Reentered`.

    `name` is what metrics and the live page call it.

    An object with state: share it to share its room; each function's values stay its own.
    """

    __slots__ = ("__weakref__", "_key", "_max_size", "_name", "_stale", "_store", "_ttl")

    _stateful = True

    def __init__(
        self,
        *,
        ttl: Seconds,
        max_size: int = 1024,
        stale: Seconds = 0,
        key: KeyFunction[P] | None = None,
        name: str | None = None,
    ) -> None:
        check_name(name, "Cache")
        self._name = name
        self._ttl = seconds(ttl, "Cache", "ttl")
        self._stale = seconds(stale, "Cache", "stale")
        self._max_size = min(count(max_size, "Cache", "max_size"), 2**31)
        check_function(key, "Cache", "key")
        self._key = key
        self._store = CacheState(self._ttl, self._stale, self._max_size, name)

    def invalidate(self, *args: Any, **kwargs: Any) -> None:
        """Forgets what calls with these arguments gave, of every function that shares this cache.

        A run that is under way goes on for those who wait for it, and is not kept.
        """
        for function in self._store.functions():
            try:
                if self._key is None:
                    key = whole(function, is_method(function), args, kwargs)
                else:
                    given, named = bound(function, args, kwargs) if kwargs else (args, None)
                    key = (self._key(*given, **(named or {})),)
            except TypeError:  # no call of this function has such arguments
                continue
            self._store.invalidate((function, *key))

    def clear(self) -> None:
        """Forgets everything."""
        self._store.clear()

    def statistics(self) -> CacheStatistics:
        """`hits`, `misses`, `stale_hits` and `evicted` since it was made; `size` now."""
        return cast("CacheStatistics", self._store.statistics())

    def __repr__(self) -> str:
        parts = [f"ttl={written(self._ttl)}"]
        if self._max_size != 1024:
            parts.append(f"max_size={self._max_size}")
        if self._stale:
            parts.append(f"stale={written(self._stale)}")
        if self._key is not None:
            parts.append(f"key={getattr(self._key, '__qualname__', cast('object', self._key))}")
        if self._name is not None:
            parts.append(f"name={self._name!r}")
        return f"Cache({', '.join(parts)})"

    def _asks(self) -> Asks:
        return {"key": self._key} if self._key is not None else {"the arguments as its key": None}

    def _only(self) -> Literal["effect"]:
        return "effect"

    def _part(self) -> Part:
        kept = "as long as there is room" if self._ttl == inf else f"for {span(self._ttl)}"
        stale = f"; a stale one for {span(self._stale)} more while it is fetched anew" if self._stale else ""
        does = f"keeps {self._max_size} values {kept}{stale}; one run for all who wait"
        return Part(kind="cache", text=repr(self), does=does, stale=self._stale > 0)

    def _layer(self) -> Layer:
        return Layer.cache(self._store, self._key)
