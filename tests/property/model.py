"""The behaviour of a stack of Timeout and Retry with a scripted leaf, as plainly as it can be written.

Time stands still in the model, but for a leaf that hangs, which takes all of it. So a stack has at most one limit that
can pass: which of two real ones passes first would be a matter of luck.
"""

from dataclasses import dataclass
from typing import Any, Literal

from mountain_runtime import Policy, Retry, Timeout, constant
from mountain_runtime.errors import Rejected, ShuttingDown, TimedOut


class A(Exception): ...


class B(A): ...


class C(Exception): ...


ERRORS: dict[str, type[Exception]] = {
    "A": A,
    "B": B,
    "C": C,
    "Rejected": Rejected,
    "ShuttingDown": ShuttingDown,
    "MemoryError": MemoryError,
}

#: A limit that is far away, one that is up at once, one that a leaf that hangs meets.
FAR, NOW, NEAR = 1000.0, 0.0, 0.02


@dataclass(frozen=True)
class Limit:
    seconds: float


@dataclass(frozen=True)
class Again:
    on: tuple[str, ...]
    attempts: int


Layer = Limit | Again


@dataclass(frozen=True)
class Step:
    """One call of the leaf: whether it suspends before it ends, and how it ends; one that hangs never does."""

    end: str  # "value", or the name of an error
    how: Literal["at once", "suspends", "hangs"]


@dataclass(frozen=True)
class Value:
    call: int


@dataclass(frozen=True)
class Failed:
    error: str
    #: The limit by whose hand, if it is a TimedOut.
    layer: int | None = None


class _Stopped:
    """The limit above was up while the leaf ran."""


def policies(stack: list[Layer]) -> list[Policy]:
    """The real ones."""
    return [_policy(layer) for layer in stack]


def _policy(layer: Layer) -> Policy:
    if isinstance(layer, Limit):
        return Timeout(layer.seconds)
    return Retry(on=tuple(ERRORS[name] for name in layer.on), attempts=layer.attempts, backoff=constant(0))


def expected(stack: list[Layer], script: list[Step]) -> tuple[Value | Failed, int]:
    """How it ends, and how often the leaf is called."""
    model = _Model(stack, script)
    ended = model.run(0, None)
    assert not isinstance(ended, _Stopped)
    return ended, model.calls


class _Model:
    def __init__(self, stack: list[Layer], script: list[Step]) -> None:
        self.stack = stack
        self.script = script
        self.calls = 0

    def run(self, at: int, over: int | None) -> Value | Failed | _Stopped:
        """The layers from `at` inwards; `over` is the limit around them that can pass."""
        if at == len(self.stack):
            return self.leaf(over)
        layer = self.stack[at]
        if isinstance(layer, Again):
            return self.again(layer, at, over)
        mine = at if layer.seconds < FAR else over
        ended = self.run(at + 1, mine)
        return Failed("TimedOut", at) if isinstance(ended, _Stopped) and mine == at else ended

    def leaf(self, over: int | None) -> Value | Failed | _Stopped:
        step = self.script[self.calls % len(self.script)]
        self.calls += 1
        if step.how == "hangs" or (step.how == "suspends" and over is not None and self.seconds(over) == NOW):
            return _Stopped()
        return Value(self.calls) if step.end == "value" else Failed(step.end)

    def again(self, layer: Again, at: int, over: int | None) -> Value | Failed | _Stopped:
        for attempt in range(1, layer.attempts + 1):
            ended = self.run(at + 1, over)
            last = attempt == layer.attempts
            if not isinstance(ended, Failed) or last or not self.retries(layer, at, ended):
                return ended
            if over is not None and self.seconds(over) == NOW:
                return Failed("TimedOut", over)  # the next attempt would begin when its time is up
        raise AssertionError("there is at least one attempt")

    def retries(self, layer: Again, at: int, ended: Failed) -> bool:
        if ended.layer is not None:
            return ended.layer > at  # a limit inside need not be named, one outside is the end
        error = ERRORS[ended.error]
        if error is MemoryError:
            return False
        named = [ERRORS[name] for name in layer.on]
        if issubclass(error, Rejected):
            named = [each for each in named if issubclass(each, Rejected)]
        return issubclass(error, tuple(named))

    def seconds(self, at: int) -> float:
        layer = self.stack[at]
        assert isinstance(layer, Limit)
        return layer.seconds


def seen(error: BaseException, stack: list[Layer]) -> tuple[Any, Any]:
    """A real error in the model's words: its name, and the limit that raised it."""
    if isinstance(error, TimedOut):
        return "TimedOut", error.policy
    return type(error).__name__, None
