"""Retry on a result: a value that is not accepted is tried again, and the last one is an error that has it."""

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    Runtime,
    Timeout,
    blocking,
    constant,
    deadline,
    effect,
    errors,
    fs,
)
from mountain_runtime.errors import NotAccepted, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, Boom, forever, outcome

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


@dataclass
class Job:
    n: int
    done: bool = False


def done(job: Job) -> bool:
    return job.done


class Polled:
    """A job that is done at its n-th look, or never; an error in place of a number is raised."""

    def __init__(self, after: int | None = None, *errors: Exception) -> None:
        self.looks = 0
        self.after = after
        self.errors = errors

    async def __call__(self) -> Job:
        await asyncio.sleep(0)
        self.looks += 1
        if self.looks <= len(self.errors):
            raise self.errors[self.looks - 1]
        return Job(self.looks, self.looks == self.after)


AT_ONCE = constant(0)
EACH_SECOND = constant(1)


async def test_a_job_is_polled_until_it_is_done(virtual_clock: VirtualClock) -> None:
    work = effect(Timeout(60), Retry(until=lambda job: job.done, attempts=None, backoff=EACH_SECOND))(Polled(5))
    assert await work() == Job(5, True)
    assert virtual_clock.time() == 4


async def test_what_is_accepted_at_first_is_the_value() -> None:
    polled = Polled(1)
    assert await effect(Retry(until=done))(polled)() == Job(1, True)
    assert polled.looks == 1


@pytest.mark.parametrize(("until", "taken"), [(bool, 1), (len, [1]), (lambda n: n, "a"), (lambda n: n > 0, 1)])
async def test_what_is_true_is_accepted(until: Any, taken: Any) -> None:
    values = [0 if taken == 1 else taken[:0], taken]

    async def gives() -> Any:
        return values.pop(0)

    assert await effect(Retry(until=until, backoff=AT_ONCE))(gives)() == taken


# -- no attempt is left ----------------------------------------------------------------------------------------


async def test_the_last_value_is_in_the_error() -> None:
    retry = Retry(until=done, attempts=3, backoff=AT_ONCE)
    with pytest.raises(NotAccepted, match="gave in attempt 3 a result that Retry") as caught:
        await effect(retry, name="job")(Polled())()
    error = caught.value
    assert (error.value, error.effect, error.policy, error.attempt) == (Job(3), "job", repr(retry), 3)
    assert error.__notes__ == ["effect 'job' was attempted 3 times; this is the last failure"]
    for made in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(made), made.value, str(made)) == (NotAccepted, Job(3), str(error))
    assert not isinstance(error, errors.Rejected | TimeoutError)


async def test_it_can_be_stood_in_for_and_tried_again() -> None:
    once = Retry(until=done, attempts=1)
    assert await effect(Fallback(lambda error: error, on=Boom), once)(Polled(1))() == Job(1, True)
    last: Any = Fallback(lambda error: error.value if isinstance(error, NotAccepted) else None, on=NotAccepted)
    assert await effect(last, Retry(until=done, attempts=2, backoff=AT_ONCE))(Polled())() == Job(2)
    assert await effect(Retry(on=NotAccepted, backoff=AT_ONCE), once)(Polled(3))() == Job(3, True)
    assert await effect(Retry(on=Exception, backoff=AT_ONCE), once)(Polled(3))() == Job(3, True)
    with pytest.raises(NotAccepted) as caught:
        await effect(Retry(on=Boom, backoff=AT_ONCE), once)(Polled(3))()
    assert caught.value.policy == repr(once)
    asked: list[Any] = []
    await outcome(effect(Retry(on=lambda e: bool(asked.append(e)), backoff=AT_ONCE), once)(Polled())())
    assert [type(each) for each in asked] == [NotAccepted]


# -- beside on= ------------------------------------------------------------------------------------------------


async def test_without_on_no_error_is_tried_again() -> None:
    for policies in ([Retry(until=done)], [Retry(until=done), Timeout(1)]):
        polled = Polled(2, Boom())
        with pytest.raises(Boom):
            await effect(*policies)(polled)()
        assert polled.looks == 1

    async def hangs() -> Job:
        return await forever()  # type: ignore[return-value, func-returns-value]

    with pytest.raises(TimedOut):
        await effect(Retry(until=done), Timeout(1))(hangs)()


async def test_errors_and_values_share_the_attempts(virtual_clock: VirtualClock) -> None:
    retry = Retry(on=Boom, until=done, attempts=4, backoff=EACH_SECOND)
    assert await effect(retry)(Polled(4, Boom(), Boom()))() == Job(4, True)
    assert virtual_clock.time() == 3
    with pytest.raises(NotAccepted):
        await effect(retry)(Polled(5, Boom()))()
    with pytest.raises(KeyError):
        await effect(retry)(Polled(5, Boom(), KeyError()))()


async def test_an_error_out_of_until_propagates() -> None:
    polled = Polled()
    with pytest.raises(ZeroDivisionError):
        await effect(Retry(on=Exception, until=lambda _: 1 / 0))(polled)()
    assert polled.looks == 1

    def stops(_: Any) -> bool:
        raise StopIteration(5)

    with pytest.raises(RuntimeError, match="until= raised StopIteration"):
        await effect(Retry(until=stops))(Polled())()


async def test_an_answer_that_must_be_awaited_is_an_error() -> None:
    async def later(job: Job) -> bool:
        return job.done

    with pytest.raises(TypeError, match="until= of effect 'job' gave coroutine: it must answer at once"):
        await effect(Retry(until=lambda job: later(job)), name="job")(Polled())()  # noqa: PLW0108


# -- limits ----------------------------------------------------------------------------------------------------


async def test_a_wait_that_does_not_fit_is_not_slept(virtual_clock: VirtualClock) -> None:
    polled = Polled()
    with pytest.raises(NotAccepted) as caught:
        await effect(Timeout(5), Retry(until=done, attempts=None, backoff=constant(3)), name="job")(polled)()
    assert (virtual_clock.time(), polled.looks, caught.value.value) == (3, 2, Job(2))
    assert caught.value.__notes__[0] == (
        "effect 'job' was not tried again: the wait of 3 s does not fit Timeout(5), of which 2 s are left"
    )
    with pytest.raises(NotAccepted):
        async with deadline(2):
            await effect(Retry(until=done, backoff=constant(3)))(Polled())()


async def test_a_limit_that_passes_has_the_value_before_in_its_cause() -> None:
    async def hangs_at_last() -> Job:
        job = await polled()
        if job.n == 2:
            await forever()
        return job

    polled = Polled()
    with pytest.raises(TimedOut) as caught:
        await effect(Timeout(5), Retry(until=done, backoff=EACH_SECOND))(hangs_at_last)()
    assert isinstance(caught.value.__cause__, NotAccepted)
    assert caught.value.__cause__.value == Job(1)


async def test_a_cancel_at_any_point_is_a_cancel() -> None:
    ended = []
    for after in range(1, 14):
        task = asyncio.create_task(effect(Retry(until=done, attempts=None, backoff=AT_ONCE))(Polled(4))())
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        ended.append(task.cancelled())
        assert task.cancelled() or task.result().done
    assert ended[0]
    assert not ended[-1]
    waiting = asyncio.create_task(effect(Retry(until=done, backoff=constant(LONG)))(Polled())())
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


# -- beside other policies -------------------------------------------------------------------------------------


async def test_what_is_not_accepted_is_never_cached() -> None:
    polled = Polled(3)
    cached = effect(Cache(ttl=LONG), Retry(until=done, attempts=2, backoff=AT_ONCE))(polled)
    with pytest.raises(NotAccepted) as caught:
        await cached()
    assert caught.value.value == Job(2)
    assert await cached() == await cached() == Job(3, True)
    assert polled.looks == 3


async def test_a_value_that_is_cached_inside_is_still_judged() -> None:
    """Also one that is at hand, for which no engine runs."""
    polled = Polled()
    cached = effect(Retry(until=done, attempts=2, backoff=AT_ONCE), Cache(ttl=LONG))(polled)
    for _ in range(2):
        with pytest.raises(NotAccepted):
            await cached()
    assert polled.looks == 1


async def test_a_breaker_inside_sees_successes_and_one_outside_a_failure() -> None:
    inside, outside = CircuitBreaker(failures=1), CircuitBreaker(failures=1)
    await outcome(effect(outside, Retry(until=done, attempts=3, backoff=AT_ONCE), inside)(Polled())())
    assert (outside.state(), inside.state()) == ("open", "closed")


async def test_permits_are_given_back_between_attempts() -> None:
    limit = ConcurrencyLimit(1)
    polled = effect(Retry(until=done, backoff=EACH_SECOND, attempts=None), limit)(Polled(3))
    task = asyncio.create_task(polled())
    await asyncio.sleep(0.5)
    assert limit.statistics().in_flight == 0
    assert (await task).done
    rate = RateLimit(1, per=10, max_wait=0)
    with pytest.raises(errors.RateLimited):
        await effect(Retry(until=done, backoff=AT_ONCE), rate)(Polled(2))()


async def test_a_budget_bounds_them_too() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    polled = Polled()
    with pytest.raises(NotAccepted):
        await effect(Retry(until=done, attempts=5, backoff=AT_ONCE, budget=budget))(polled)()
    assert polled.looks == 2


async def test_a_fallback_inside_gives_values_that_are_judged() -> None:
    name = "judged fallback"
    polled = Polled(3, Boom())
    ladder = effect(Retry(until=done, backoff=AT_ONCE), Fallback(lambda error: Job(0), on=Boom), name=name)(polled)
    assert await ladder() == Job(3, True)
    async with Runtime() as rt:
        assert rt.statistics().effects[name].degraded == 0, "its value was not the result"
        assert rt.statistics().effects[name].retried == 2


# -- everywhere ------------------------------------------------------------------------------------------------


async def test_threads_pipelines_and_calls() -> None:
    left = [False, True]
    assert await blocking(Retry(until=bool, backoff=AT_ONCE))(left.pop)(0)
    line = Pipeline(Retry(until=done, backoff=AT_ONCE), name="poll")
    assert (await line.call(Polled(2))).done
    assert (await effect(Polled(2))().under(line)).done


async def test_a_native_effect_is_judged_by_python(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("held")
    freed: Callable[[str], bool] = lambda text: text == "free"  # noqa: E731
    reads = fs.read_text(tmp_path / "lock").under(Retry(until=freed, backoff=constant(0.01), attempts=None))
    task = asyncio.create_task(reads)
    await asyncio.sleep(0.05)
    assert not task.done()
    (tmp_path / "lock").write_text("free")
    assert await task == "free"
    with pytest.raises(NotAccepted):
        await fs.read_text(tmp_path / "lock").under(Retry(until=lambda _: False, backoff=AT_ONCE))


async def test_the_log_says_that_a_result_was_not_accepted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mountain_runtime.policy"):
        await outcome(effect(Retry(until=done, attempts=2, backoff=constant(0.5)), name="job")(Polled())())
        await asyncio.sleep(0)
    said = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "mountain_runtime.policy"]
    assert said[0] == (
        "DEBUG",
        "effect 'job' gave a result that is not accepted in attempt 1 and is tried again in 0.5 s",
    )
    assert said[1][0] == "INFO"
    assert said[1][1].startswith("effect 'job' gave up after attempt 2, it may make no more: ")
    assert said[1][1].endswith("does not accept")
    assert "NotAccepted" in said[1][1]


async def test_it_says_what_it_does() -> None:
    retry = Retry(until=done, backoff=EACH_SECOND, attempts=None)
    assert repr(retry) == "Retry(until=done, attempts=None, backoff=constant(1))"
    assert repr(Retry(on=Boom, until=done)) == "Retry(on=Boom, until=done)"
    assert retry == Retry(until=done, backoff=EACH_SECOND, attempts=None)

    def says(*policies: Any) -> str:
        return Pipeline(*policies, name="p").describe()

    assert "tries again until done accepts the result: without end" in says(retry)
    assert "tries again on Boom, and until done accepts the result: 3 attempts" in says(Retry(on=Boom, until=done))
    assert "an attempt that hangs" not in says(Retry(until=done))
    assert "an attempt that hangs" in says(Retry(on=Boom, until=done))
    cached = says(Retry(until=done), Cache(ttl=1))
    assert "a value that until= does not accept is kept" in cached.replace("\n     ", " ")
    assert "tries again by itself" not in cached
    assert "is kept" not in says(Cache(ttl=1), Retry(until=done))
