"""Chaos: a part of the calls fails, is late or hangs, while it is entered."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, NoReturn, cast, final

from .. import _native
from .._native import ChaosState, Layer
from ..errors import ConfigError
from ..policy import Policy
from ..policy._errors import named
from ..policy._functions import takes_none
from ..policy._given import shown
from ..policy._numbers import Seconds, part, seconds, written
from ..policy._part import Part

__all__ = ["Chaos", "ChaosStatistics", "chaos"]

_INFO, _WARNING = 20, 30


@dataclass(frozen=True, slots=True)
class ChaosStatistics:
    """The calls of a chaos since it was last turned on."""

    #: All that came to it, also those without a fault.
    calls: int
    failed: int
    delayed: int
    hung: int


@final
class Chaos(Policy):
    """Gives a part of the calls a fault, in front of what it encloses; made by `chaos(...)`.

    It acts only while it is entered, `with chaos.on():`, and is not there otherwise. To the policies around it a fault
    is one of the call: tried again by a Retry, counted by a breaker, ended by a Timeout.

    An object with state: what shares it takes its faults from one sequence.
    """

    __slots__ = ("_does", "_make", "_state", "_text")

    _stateful = True
    _instead = "give it to @effect(...), and write `with faults.on():`, where `faults` is its name"

    def __init__(self, state: ChaosState, make: Callable[[], Exception], text: str, does: str) -> None:
        self._state = state
        self._make = make
        self._text = text
        self._does = does

    def on(self) -> AbstractContextManager[None]:
        """While the block runs, it acts on every call of the process, of all tasks, threads and event loops.

        Blocks may nest or overlap: it is on until the last one is left, and then calls that hang go on. When the first
        one is entered its sequence of faults begins anew. Both are logged, the entry as a warning.
        """
        return _On(self)

    def statistics(self) -> ChaosStatistics:
        """Its calls since it was last turned on."""
        return ChaosStatistics(*self._state.figures())

    def __repr__(self) -> str:
        return self._text

    def _part(self) -> Part:
        return Part(kind="chaos", text=self._text, does=f"while it is on, {self._does}")

    def _layer(self) -> Layer:
        return Layer.chaos(self._state, self._make)


class _On:
    """The block in which a chaos is on. It may be entered again."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos

    if not TYPE_CHECKING:  # type checkers say by themselves that it is no asynchronous block

        async def __aenter__(self) -> NoReturn:
            raise TypeError("on() of a chaos is a plain block: write `with faults.on():`")

        async def __aexit__(self, *_: object) -> None: ...

    def __enter__(self) -> None:
        chaos = self._chaos
        if chaos._state.enter():
            _native.log_change(_WARNING, f"{chaos!r} is on: it {chaos._does}")

    def __exit__(self, *_: object) -> None:
        chaos = self._chaos
        if chaos._state.leave():
            _native.log_change(_INFO, f"{chaos!r} is off")


def chaos(
    *,
    fail: float = 0,
    error: type[Exception] | Callable[[], Exception] = ConnectionError,
    hang: float = 0,
    slow: float = 0,
    delay: Seconds | tuple[Seconds, Seconds] | None = None,
    seed: int = 0,
) -> Chaos:
    """A policy that gives calls a fault, for tests and game days: nothing happens before `with chaos.on():`.

    `fail`, `hang` and `slow` are parts of all calls, and add up to at most 1. A call that fails does not begin: it
    raises `error`, a class or a function that makes the exception; a builtin OSError has its errno. A call that hangs
    begins when the chaos is off again, unless a Timeout or its caller ends it before. A slow one begins `delay` seconds
    later, or so many between two bounds.

    The same `seed` and the same order of calls give the same faults. Raises ConfigError for settings that cannot work.
    """
    parts = {each: part(value, "chaos", each) for each, value in (("fail", fail), ("hang", hang), ("slow", slow))}
    settings = ", ".join(f"{setting}={share:g}" for setting, share in parts.items() if share)
    if not settings and delay is None:
        raise ConfigError("chaos(): does nothing; give it a part of the calls, such as fail=0.1, hang= or slow=")
    if fsum(parts.values()) > 1 + 1e-9:
        raise ConfigError(f"chaos({settings}): the parts of all calls must add up to at most 1")
    given = cast("object", seed)
    if not isinstance(given, int) or isinstance(given, bool):
        raise ConfigError(f"chaos(seed={shown(given)}): must be a whole number")
    least, most = _delay(delay, parts["slow"])
    make = _maker(error)
    late = written(least) if least == most else f"{written(least)} to {written(most)}"
    does = {
        "fail": f"fails {_percent(parts['fail'])} of the calls with {named(error)}",
        "hang": f"lets {_percent(parts['hang'])} of the calls hang",
        "slow": f"begins {_percent(parts['slow'])} of the calls late, by {late} s",
    }
    texts = {
        "fail": f"{parts['fail']:g}",
        "error": "" if error is ConnectionError else named(error),
        "hang": f"{parts['hang']:g}",
        "slow": f"{parts['slow']:g}",
        "delay": "" if delay is None else (written(least) if least == most else f"({written(least)}, {written(most)})"),
        "seed": str(seed) if seed else "",
    }
    text = ", ".join(f"{setting}={text}" for setting, text in texts.items() if text and parts.get(setting) != 0)
    state = ChaosState(
        **parts,
        least=least,
        most=most,
        seed=seed % 2**64,
        error=error if isinstance(error, type) else None,
    )
    return Chaos(state, make, f"chaos({text})", ", ".join(does[setting] for setting, share in parts.items() if share))


def _percent(part: float) -> str:
    return f"{part * 100:.4g}%"


def _delay(given: object, slow: float) -> tuple[float, float]:
    """The shortest and the longest delay."""
    if given is None:
        if slow:
            raise ConfigError(f"chaos(slow={slow:g}): needs delay=, the seconds by which a call is late")
        return 0.0, 0.0
    if not slow:
        raise ConfigError(f"chaos(delay={shown(given)}): needs slow=, the part of the calls that are late")
    bounds = cast("tuple[Seconds, ...]", given if isinstance(given, tuple) else (given, given))
    if len(bounds) != 2:
        raise ConfigError(f"chaos(delay={shown(given)}): must be seconds, or the least and the most of them")
    least, most = (seconds(bound, "chaos", "delay") for bound in bounds)
    if least > most:
        raise ConfigError(f"chaos(delay={shown(given)}): the least comes first, then the most")
    return least, most


def _maker(error: Any) -> Callable[[], Exception]:
    """The function that makes an exception for a call."""
    if isinstance(error, type) and issubclass(error, Exception):
        made = error
        try:
            made("chaos")
        except Exception as problem:
            name = named(made)
            raise ConfigError(
                f"chaos(error={name}): {name}('chaos') cannot be made: {problem}. Write error=lambda: {name}(...)"
            ) from problem
        return lambda: made("chaos")
    must = "must be a subclass of Exception, or a function that makes one"
    if isinstance(error, Exception):
        raise ConfigError(f"chaos(error={shown(error)}): {must}: write error=lambda: {type(error).__name__}(...)")
    if isinstance(error, type) or not callable(error):
        raise ConfigError(f"chaos(error={shown(error)}): {must}")
    if inspect.iscoroutinefunction(error) or inspect.isgeneratorfunction(error) or inspect.isasyncgenfunction(error):
        raise ConfigError(f"chaos(error={named(error)}): must be a plain function, which answers at once")
    if not takes_none(error):
        raise ConfigError(f"chaos(error={named(error)}): is called without arguments: write lambda: ...")

    def make() -> Exception:
        found = error()
        if not isinstance(found, Exception):
            raise TypeError(f"error= of chaos gave {shown(found)}: it must make an exception")
        return found.with_traceback(None)

    return make
