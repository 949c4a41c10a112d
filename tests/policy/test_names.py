"""A policy that holds state is called by its name in what it says of itself, in errors and in metrics."""

import inspect
import re
from collections.abc import Callable

import pytest

import mountain_runtime
from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    _native,
    effect,
)
from mountain_runtime.errors import ConfigError, RateLimited
from mountain_runtime.policy import Policy

from .support import LONG, suspends

STATEFUL: dict[str, Policy] = {
    "limit": ConcurrencyLimit(1, name="names-limit"),
    "rate": RateLimit(100, per=LONG, name="names-rate"),
    "breaker": CircuitBreaker(name="names-breaker"),
    "cache": Cache(ttl=LONG, name="names-cache"),
    "hedge": Hedge(LONG, name="names-hedge"),
    "budget": Retry(on=OSError, budget=RetryBudget(name="names-budget")),
}


@pytest.mark.parametrize(("label", "policy"), STATEFUL.items(), ids=STATEFUL)
async def test_a_name_is_what_it_is_called_everywhere(label: str, policy: Policy) -> None:
    name = f"names-{label}"
    assert f"name={name!r}" in repr(policy)
    assert f"name={name!r}" in Pipeline(policy, name="all").describe()

    @effect(policy)
    async def named() -> int:
        return await suspends()

    assert await named() == 1
    assert re.search(rf'^mountain_\w+{{.*{label}="{name}".*}}', _native.metrics_text(openmetrics=False), re.MULTILINE)


def test_every_policy_with_state_takes_one() -> None:
    stateful = {
        each for each in vars(mountain_runtime).values() if isinstance(each, type) and vars(each).get("_stateful")
    }
    assert stateful == {type(policy) for policy in STATEFUL.values()} - {Retry}
    assert all("name" in inspect.signature(each).parameters for each in (*stateful, RetryBudget))


async def test_errors_and_turns_say_it() -> None:
    limit = RateLimit(1, per=LONG, max_wait=0, name="upstream")
    await limit.acquire()
    with pytest.raises(RateLimited, match=r"RateLimit\(1, per=30, max_wait=0, name='upstream'\)") as raised:
        await limit.acquire()
    assert raised.value.effect == "upstream.acquire"


@pytest.mark.parametrize(
    "make", [lambda: RateLimit(1, per=1, name=""), lambda: Cache(ttl=1, name=""), lambda: RetryBudget(name="")]
)
def test_a_name_says_something(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="must be a name"):
        make()
