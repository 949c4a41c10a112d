"""The spans of a hedged call: its attempts below it, and the one that won."""

import asyncio

import pytest

from mountain_runtime import Hedge, effect

from .tracing import Spans, attributes

pytestmark = pytest.mark.usefixtures("virtual_clock")

LATER = 0.1


async def test_each_attempt_is_below_its_call_and_the_winner_is_said(spans: Spans) -> None:
    count = 0

    @effect(Hedge(LATER, budget=None, name="asks"), name="ask")
    async def ask() -> None:
        nonlocal count
        count += 1
        with spans.tracer.start_as_current_span(f"inside {count}"):
            await asyncio.sleep(10 if count == 1 else LATER)

    with spans.tracer.start_as_current_span("caller"):
        await ask()
    calls = spans.named("ask")
    assert [spans.parent_of(span) for span in calls] == ["caller", "ask"], "the second attempt is a call of its own"
    assert spans.parent("inside 1") == "ask attempt"
    assert spans.parent_of(spans.one("ask attempt")) == "ask"
    call = calls[0]
    assert attributes(call)["mountain.attempts"] == 2
    events = [(event.name, dict(event.attributes or {})) for event in call.events]
    policy = "Hedge(0.1, budget=None, name='asks')"
    assert events == [
        ("hedged", {"mountain.policy": policy, "mountain.attempt": 2}),
        ("attempt won", {"mountain.policy": policy, "mountain.attempt": 2}),
    ]


async def test_a_call_that_was_not_hedged_says_nothing(spans: Spans) -> None:
    @effect(Hedge(LATER), name="ask")
    async def ask() -> None:
        await asyncio.sleep(LATER / 2)

    await ask()
    assert not spans.one("ask").events
