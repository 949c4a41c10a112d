"""CircuitBreaker: leaves alone what has failed too often."""

from collections.abc import Hashable
from typing import Literal, ParamSpec, cast, final

from .._native import BreakerState, Layer
from ..errors import ConfigError
from ._arguments import check_name
from ._asked import KeyFunction
from ._backoff import Backoff, constant
from ._base import Asks, Policy
from ._errors import check_classes, named
from ._forks import note
from ._functions import check_function
from ._keys import check_key
from ._numbers import Seconds, count, part, seconds, written
from ._part import Part

__all__ = ["CircuitBreaker"]

P = ParamSpec("P")


@final
class CircuitBreaker(Policy):
    """Refuses calls with `errors.CircuitOpen` for `cooldown` seconds after too many failed, then tries a few.

    It opens after `failures` failures in a row; without that number, when of at least `minimum_calls` calls (20) in
    the last `window` seconds the part `failure_rate` (0.5) failed. With `slow_call` it also opens when the part
    `slow_rate` (1.0) of at least so many calls took longer than so many seconds. After the cooldown exactly `probes`
    calls are let through: if all succeed it closes, and if one fails it opens again. A `cooldown` that is a backoff
    grows with each opening in a row.

    Failures are the errors that `on` names, and time that ran out, whichever Timeout's it was. A caller's cancel,
    `Rejected` and errors that `on` does not name say nothing of what is called. A call that ends in another state than
    the one in which it began counts as nothing.

    An object with state: share it to share what is known, among functions, event loops and threads. With `key`, a
    function of the call's arguments, each key has a state of its own.
    """

    __slots__ = ("__weakref__", "_circuit", "_cooldown", "_key", "_name", "_on", "_opens", "_text")

    _stateful = True

    def __init__(
        self,
        *,
        name: str | None = None,
        failures: int | None = None,
        failure_rate: float | None = None,
        minimum_calls: int | None = None,
        slow_call: Seconds | None = None,
        slow_rate: float | None = None,
        window: Seconds = 60,
        cooldown: Seconds | Backoff = 30,
        probes: int = 1,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        key: KeyFunction[P] | None = None,
    ) -> None:
        owner = "CircuitBreaker"
        check_name(name, owner)
        check_function(key, owner, "key")
        check_classes(on, owner)
        share = None if failure_rate is None else part(failure_rate, owner, "failure_rate", zero=False)
        slow_share = None if slow_rate is None else part(slow_rate, owner, "slow_rate", zero=False)
        least = None if minimum_calls is None else min(count(minimum_calls, owner, "minimum_calls"), 2**31)
        if failures is not None and share is not None:
            raise ConfigError(
                f"{owner}(failures={failures!r}, failure_rate={failure_rate!r}): counts failures in a row or by their "
                "part; leave one of them out"
            )
        if failures is not None and least is not None and slow_call is None:
            raise ConfigError(
                f"{owner}(failures={failures!r}, minimum_calls={minimum_calls!r}): failures in a row need no other "
                "calls; leave one of them out"
            )
        if slow_share is not None and slow_call is None:
            raise ConfigError(
                f"{owner}(slow_rate={slow_rate!r}): needs slow_call=, from how many seconds a call is slow"
            )
        share, slow_share, least = share or 0.5, slow_share or 1.0, least or 20
        wait = cooldown if isinstance(cooldown, Backoff) else constant(seconds(cooldown, owner, "cooldown"))
        self._name = name
        self._on = on
        self._key = key
        self._cooldown = wait._initial if wait._jitter == "none" else 0.0
        self._circuit = BreakerState(
            name=name,
            failures=None if failures is None else min(count(failures, owner, "failures"), 2**31),
            failure_rate=share,
            minimum_calls=least,
            slow_call=None if slow_call is None else seconds(slow_call, owner, "slow_call"),
            slow_rate=slow_share,
            window=_positive(window, owner, "window"),
            cooldown=(wait._initial, wait._factor, wait._max, wait._jitter),
            probes=min(count(probes, owner, "probes"), 2**31),
        )
        note(self)
        self._opens = (
            f"{share:.4%} of at least {least} calls in {written(window)} s failed".replace(".0000%", "%")
            if failures is None
            else f"{failures} failed in a row"
        )
        if slow_call is not None:
            self._opens += f", or {slow_share:.4%} took longer than {written(slow_call)} s".replace(".0000%", "%")
        settings = {
            "name": (name, None, repr(name)),
            "failures": (failures, None, repr(failures)),
            "failure_rate": (failure_rate, None, repr(failure_rate)),
            "minimum_calls": (minimum_calls, None, repr(minimum_calls)),
            "slow_call": (slow_call, None, "" if slow_call is None else written(slow_call)),
            "slow_rate": (slow_rate, None, repr(slow_rate)),
            "window": (window, 60, written(window)),
            "cooldown": (cooldown, 30, repr(cooldown) if isinstance(cooldown, Backoff) else written(cooldown)),
            "probes": (probes, 1, repr(probes)),
            "on": (on, Exception, named(on)),
            "key": (key, None, getattr(key, "__qualname__", repr(key))),
        }
        self._text = ", ".join(f"{each}={text}" for each, (is_, usual, text) in settings.items() if is_ != usual)

    def state(self, key: Hashable = None) -> Literal["closed", "open", "half_open", "isolated"]:
        """How it is now. Half-open lasts from the end of a cooldown until its probes have ended.

        A breaker with `key=` takes the key here, in `isolate` and in `reset`, as that function would give it; one
        without takes none. Otherwise they raise ConfigError.
        """
        check_key(self, key, "state()")
        return self._circuit.state(key)

    def isolate(self, key: Hashable = None) -> None:
        """Refuses every call until `reset`."""
        check_key(self, key, "isolate()")
        self._circuit.isolate(key)

    def reset(self, key: Hashable = None) -> None:
        """Closes it, with nothing counted."""
        check_key(self, key, "reset()")
        self._circuit.reset(key)

    def __repr__(self) -> str:
        return f"CircuitBreaker({self._text})"

    def _after_fork(self) -> None:
        self._circuit.after_fork()

    def _asks(self) -> Asks:
        return {} if self._key is None else {"key": self._key}

    def _part(self) -> Part:
        each = "" if self._key is None else ", each key for itself"
        does = f"refuses calls for a while when {self._opens}{each}"
        return Part(kind="breaker", text=repr(self), does=does, cooldown=self._cooldown)

    def _layer(self) -> Layer:
        return Layer.breaker(self._circuit, self._on, self._key)


def _positive(value: Seconds, owner: str, setting: str) -> float:
    found = seconds(value, owner, setting)
    if not found:
        raise ConfigError(f"{owner}({setting}={cast('object', value)!r}): must be more than 0 seconds")
    return found
