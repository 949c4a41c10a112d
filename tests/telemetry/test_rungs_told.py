"""Which rung of a ladder answered, in spans, metrics and on the live page; and results that are not accepted."""

import asyncio
from typing import Any

import httpx
import pytest
from opentelemetry.trace import StatusCode

from mountain_runtime import Fallback, Retry, Runtime, _native, constant, effect, errors, fs
from mountain_runtime._runtime.statistics import snapshot
from mountain_runtime.telemetry import _made

from .looks import HERE, looking
from .scrapes import named, shown, value
from .tracing import Boom, Spans, attributes


@effect(name="small")
async def small(fail: bool) -> str:
    if fail:
        raise KeyError
    return "small"


def last(error: Exception) -> str:
    return "last"


def ladder(name: str) -> Any:
    @effect(Fallback(last, on=KeyError), Fallback(small, on=Boom), name=name)
    async def ask(fail: bool) -> str:
        raise Boom

    return ask


async def test_a_span_says_which_rung_answered(spans: Spans) -> None:
    ask = ladder("ask")
    assert [await ask(False), await ask(True)] == ["small", "last"]
    first, second = spans.named("ask")
    assert attributes(first) == {"mountain.fallback": "small"}
    assert attributes(second) == {"mountain.fallback": "last"}
    policies = {"small": f"Fallback(small, on={Boom.__name__})", "last": "Fallback(last, on=KeyError)"}
    for span, rungs in ((first, ["small"]), (second, ["small", "last"])):
        assert [event.name for event in span.events] == ["degraded"] * len(rungs)
        assert [event.attributes for event in span.events] == [
            {"mountain.policy": policies[rung], "mountain.fallback": rung} for rung in rungs
        ]
    assert [spans.parent_of(span) for span in spans.named("small")] == ["ask", "ask"]


async def test_a_rung_that_failed_answered_nothing(spans: Spans) -> None:
    @effect(Fallback(small, on=Boom), name="ask")
    async def ask(fail: bool) -> str:
        raise Boom

    with pytest.raises(KeyError):
        await ask(True)
    assert attributes(spans.one("ask")) == {"error.type": "KeyError"}
    left = [Boom(), None]

    @effect(Retry(on=KeyError, backoff=constant(0)), Fallback(small, on=Boom), name="again")
    async def again(fail: bool) -> str:
        if error := left.pop(0):
            raise error
        return "itself"

    assert await again(True) == "itself"
    assert "mountain.fallback" not in attributes(spans.one("again"))


async def test_a_native_effect_says_it_too(spans: Spans) -> None:
    assert await fs.read_text("/nowhere").under(Fallback(lambda _: "instead", on=OSError)) == "instead"
    assert attributes(spans.one("fs.read_text"))["mountain.fallback"] == "<lambda>"


async def test_a_value_that_is_not_accepted_is_an_event_and_no_error(spans: Spans) -> None:
    values = [0, 0, 1]

    @effect(Retry(until=bool, backoff=constant(0)), name="poll")
    async def poll() -> int:
        return values.pop(0)

    assert await poll() == 1
    span = spans.one("poll")
    assert [event.name for event in span.events] == ["not accepted", "backs off"] * 2
    assert span.events[0].attributes == {"mountain.policy": "Retry(until=bool, backoff=constant(0))"}
    attempts = spans.named("poll attempt")
    assert [each.status.status_code for each in attempts] == [StatusCode.UNSET] * 3
    values[:] = [0, 0, 0]
    with pytest.raises(errors.NotAccepted):
        await poll()
    failed = spans.named("poll")[1]
    assert attributes(failed)["error.type"] == "mountain_runtime.errors.NotAccepted"
    assert [each.status.status_code.name for each in spans.named("poll attempt")[3:]] == ["UNSET", "UNSET", "ERROR"]


def test_a_fallback_whose_value_was_not_accepted_is_not_what_answered() -> None:
    def told(*events: str) -> list[_made.Told]:
        return [(event, "policy", "rung" * (event == "degraded"), 0, 0) for event in events]

    assert _made.stood_in(told("attempt", "degraded")) == "rung"
    assert _made.stood_in(told("attempt", "degraded", "backs off")) == "rung"
    assert _made.stood_in(told("attempt", "degraded", "not accepted", "backs off", "attempt")) == ""
    assert _made.stood_in(told("attempt")) == _made.stood_in([]) == ""


async def test_a_metric_has_each_rung() -> None:
    name, odd = named(), named('a"\n\\')
    ask = ladder(name)
    for fail in (False, False, True):
        await ask(fail)
    assert value("mountain_effect_degraded_total", effect=name) == 3
    assert value("mountain_effect_degraded_total", effect=name, fallback="small") == 2
    assert value("mountain_effect_degraded_total", effect=name, fallback="last") == 1
    assert snapshot().effects[name].fallbacks == {"small": 2, "last": 1}

    @effect(name=odd * 20)
    async def rung() -> int:
        return 1

    @effect(Fallback(rung, on=Boom), name=odd)
    async def fails() -> int:
        raise Boom

    await fails()
    for newer in (True, False):
        [labels] = [
            dict(labels)
            for sample, labels, _ in shown("effect", odd, newer=newer)
            if sample.startswith("mountain_effect_degraded")
        ]
        assert labels["fallback"].startswith(odd)
        assert len(labels["fallback"].encode()) <= 200
    assert list(_native.fallback_statistics()[odd]) == list(snapshot().effects[odd].fallbacks)


async def test_the_live_page_has_each_rung_and_what_falls_back(client: httpx.AsyncClient) -> None:
    name, inside = named(), named()
    release = asyncio.Event()

    @effect(name=inside)
    async def waits(fail: bool) -> str:
        await release.wait()
        return "waited"

    @effect(Fallback(waits, on=Boom), name=name)
    async def ask(fail: bool) -> str:
        raise Boom

    async with Runtime(dashboard=HERE) as rt, looking(client, rt) as look:
        task = asyncio.create_task(ask(True))
        state = await look.until(lambda state: len(state["running"]) == 2)
        outer, inner = sorted(state["running"].values(), key=lambda call: call["name"] != name)
        assert (outer["state"], outer["on"], outer.get("parent")) == (
            "falling back",
            f"Fallback({inside}, on={Boom.__name__})",
            None,
        )
        assert inner["state"] == "running"
        assert inner["parent"] is not None
        release.set()
        assert await task == "waited"
        state = await look.until(lambda state: state["effects"].get(name, {}).get("degraded") == 1)
        assert state["effects"][name]["fallbacks"] == {inside: 1}
        assert state["effects"][inside]["fallbacks"] == {}
