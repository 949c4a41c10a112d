"""Random stacks of Timeout and Retry over scripted leaves do as the model says: who wins, after how many calls."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop
from hypothesis import event, example, given
from hypothesis import strategies as st

from mountain_runtime import Pipeline, _native, effect
from mountain_runtime.errors import TimedOut

from . import model
from .model import Again, Layer, Limit, Step, Value

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

agains = st.builds(
    Again,
    on=st.lists(st.sampled_from(sorted({*model.ERRORS} - {"MemoryError"})), min_size=1, max_size=2).map(tuple),
    attempts=st.integers(1, 3),
)
far = st.just(Limit(model.FAR))
ends = st.sampled_from(["value", *model.ERRORS])


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Layer], list[Step]]:
    """A stack with at most one limit that can pass, and a leaf that hangs only where something ends that."""
    stack: list[Layer] = draw(st.lists(agains | far, max_size=4))
    passing = draw(st.sampled_from([None, model.NOW, model.NEAR]))
    hows = ["at once", "suspends"]
    if passing is not None:
        stack.insert(draw(st.integers(0, len(stack))), Limit(passing))
        # A suspension under the near limit would have to be quicker than it: that is no business of the model's.
        hows = ["at once", "suspends"] if passing == model.NOW else ["at once", "at once", "at once", "hangs"]
    script = draw(st.lists(st.builds(Step, end=ends, how=st.sampled_from(hows)), min_size=1, max_size=6))
    return stack, script


async def really(stack: list[Layer], script: list[Step], piped: bool) -> tuple[object, int]:
    calls = 0

    async def leaf() -> int:
        nonlocal calls
        step = script[calls % len(script)]
        calls += 1
        mine = calls
        if step.how == "hangs":
            await asyncio.get_running_loop().create_future()
        if step.how == "suspends":
            await asyncio.sleep(0)
        if step.end == "value":
            return mine
        raise model.ERRORS[step.end]

    policies = model.policies(stack)
    work = effect(leaf)().under(Pipeline(*policies, name="all")) if piped else effect(*policies, name="leaf")(leaf)()
    task = asyncio.current_task()
    assert task is not None
    try:
        ended: object = await work
    except Exception as error:
        ended = error
    assert task.cancelling() == 0
    return ended, calls


def check(
    factory: Callable[[], asyncio.AbstractEventLoop], stack: list[Layer], script: list[Step], piped: bool
) -> None:
    should, calls = model.expected(stack, script)
    with asyncio.Runner(loop_factory=factory) as runner:
        ended, called = runner.run(really(stack, script, piped))
        assert _native.statistics()["timers"] == 0
    if isinstance(should, Value):
        assert ended == should.call
    else:
        assert isinstance(ended, Exception)
        assert type(ended).__name__ == should.error
    assert called == calls
    if isinstance(ended, TimedOut):
        assert not isinstance(should, Value)
        assert should.layer is not None
        assert ended.policy == repr(model.policies(stack)[should.layer])
        assert ended.attempt == calls
    event(f"ended as {should.error if not isinstance(should, Value) else 'value'} after {calls} calls")


@pytest.mark.parametrize("loop", LOOPS)
@given(case=cases(), piped=st.booleans())
@example(case=([Limit(0.0), Again(("A",), 2)], [Step("A", "at once")]), piped=False)
@example(case=([Again(("A",), 3), Limit(0.0)], [Step("A", "suspends")]), piped=False)
@example(
    case=([Again(("A",), 2), Limit(0.02), Again(("C",), 2)], [Step("C", "at once"), Step("value", "hangs")]), piped=True
)
@example(case=([Again(("A", "Rejected"), 3)], [Step("ShuttingDown", "suspends")]), piped=False)
def test_a_stack_does_what_the_model_says(loop: str, case: tuple[list[Layer], list[Step]], piped: bool) -> None:
    check(LOOPS[loop], *case, piped)
