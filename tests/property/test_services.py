"""Services of any graph, whatever they do as they start and stop: the order holds, and each that began ends once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mountain_runtime import Key, Runtime, Shutdown
from mountain_runtime.testing import _virtual
from tests.services.support import Boom, needing

#: The limit of a start and of a stop, in seconds of virtual time: one that only takes turns of the loop takes none.
MOMENT = 1.0


@dataclass(frozen=True)
class Plan:
    """One service: the earlier ones that it needs, how it starts and how it stops."""

    needs: tuple[int, ...]
    start: str
    stop: str


@st.composite
def graphs(draw: st.DrawFn) -> list[Plan]:
    starts = st.sampled_from(["at once"] * 4 + ["slowly", "fails", "cancels itself", "hangs"])
    stops = st.sampled_from(["at once", "slowly", "fails", "hangs"])
    plans: list[Plan] = []
    for number in range(draw(st.integers(1, 7))):
        needs = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        plans.append(Plan(tuple(needs), draw(starts), draw(stops)))
    return plans


class World:
    """The events, in order."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plans = plans
        self.happened: list[tuple[str, int]] = []
        self.errors: list[BaseException] = []

    def make(self, number: int) -> Any:
        plan = self.plans[number]

        @asynccontextmanager
        async def service(**_: Any) -> AsyncGenerator[int]:
            self.happened.append(("begins", number))
            try:
                await self._does(plan.start)
                self.happened.append(("up", number))
                yield number
                self.happened.append(("stops", number))
                await self._does(plan.stop)
            finally:
                self.happened.append(("gone", number))

        return needing(service, tuple(str(need) for need in plan.needs))

    async def _does(self, what: str) -> None:
        if what == "slowly":
            for _ in range(3):
                await asyncio.sleep(0)
        elif what == "hangs":
            await asyncio.sleep(1000)
        elif what == "fails":
            error = Boom("as planned")
            self.errors.append(error)
            raise error
        elif what == "cancels itself":
            raise asyncio.CancelledError

    async def play(self, cancel_after: int | None) -> tuple[Runtime, BaseException | None, float]:
        runtime = Runtime(shutdown=Shutdown(deadline=20 * MOMENT, drain=0))
        for number in range(len(self.plans)):
            timeouts = {"start_timeout": MOMENT, "stop_timeout": MOMENT}
            runtime.provide(Key[int](str(number)), self.make(number), **timeouts)

        async def enter() -> None:
            async with runtime:
                self.happened.append(("inside", -1))

        entering = asyncio.create_task(enter())
        begun = asyncio.get_running_loop().time()
        if cancel_after is not None:
            for _ in range(cancel_after):
                await asyncio.sleep(0)
            entering.cancel()
        await asyncio.wait([entering])
        took = asyncio.get_running_loop().time() - begun
        error = asyncio.CancelledError() if entering.cancelled() else entering.exception()
        return runtime, error, took


@settings(max_examples=max(settings.default.max_examples // 3, 1))  # type: ignore[union-attr]
@given(plans=graphs(), cancel_after=st.one_of(st.none(), st.none(), st.integers(0, 12)))
def test_the_order_holds_and_each_that_began_ends_once(plans: list[Plan], cancel_after: int | None) -> None:
    world = World(plans)
    with _virtual():
        runtime, error, took = asyncio.run(world.play(cancel_after))
    at = {what: place for place, what in enumerate(world.happened)}
    begun = [number for what, number in world.happened if what == "begins"]
    assert len(set(begun)) == len(begun)
    assert sorted(number for what, number in world.happened if what == "gone") == sorted(begun)
    for number in begun:
        for need in plans[number].needs:
            assert at["up", need] < at["begins", number], "needs are up before"
            assert at["gone", number] < at.get(("stops", need), at["gone", need]), "and stop after"
    inside = ("inside", -1) in at
    if inside:
        assert {what for what in at if what[0] == "up"} == {("up", number) for number in range(len(plans))}
    elif cancel_after is None:
        assert error is not None
        assert any(plan.start in ("fails", "hangs", "cancels itself") for plan in plans)
        failing = [e for e in world.errors if e is error]
        assert failing or isinstance(error, (TimeoutError, asyncio.CancelledError)), "the first error is what is raised"
    elif error is not None:
        assert isinstance(error, (asyncio.CancelledError, Boom, TimeoutError))
    if ("begins", begun[0] if begun else -1) in at:
        assert runtime.report is not None
        assert took < 20 * MOMENT + 8 * MOMENT
        stopped = {step.name for step in runtime.report.steps if step.name.startswith("stop ")}
        late = {f"stop {number}" for what, number in at if what == "up"}
        assert late <= stopped, "each that was up has a step of its own"
