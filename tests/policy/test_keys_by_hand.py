"""A key by hand: what has `key=` is asked for one key, and what has none has one state for all."""

from collections.abc import Callable
from typing import Any, Self

import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, RateLimit, Runtime, testing
from mountain_runtime.errors import ConfigError

POLICIES: dict[str, Callable[..., Any]] = {
    "limit": lambda **key: ConcurrencyLimit(1, **key),
    "rate": lambda **key: RateLimit(1, per=1, **key),
    "breaker": CircuitBreaker,
}
#: The methods that take a key, and their calls with one, and without.
CALLS: list[tuple[str, str, Callable[..., Any]]] = [
    ("limit", "slot()", lambda limit, *key: limit.slot(*key)),
    ("rate", "acquire()", lambda limit, *key: limit.acquire(*key).close()),
    ("rate", "charge()", lambda limit, *key: limit.charge(1, *key)),
    ("rate", "pause()", lambda limit, *key: limit.pause(1, *key)),
    ("rate", "exhaust(limit)", testing.exhaust),
    ("breaker", "state()", lambda breaker, *key: breaker.state(*key)),
    ("breaker", "isolate()", lambda breaker, *key: breaker.isolate(*key)),
    ("breaker", "reset()", lambda breaker, *key: breaker.reset(*key)),
    ("breaker", "open_circuit(breaker)", testing.open_circuit),
]


@pytest.mark.parametrize(("which", "said", "call"), CALLS, ids=[said for _, said, _ in CALLS])
def test_it_is_refused_where_it_could_have_no_effect(which: str, said: str, call: Callable[..., Any]) -> None:
    keyed, alone = POLICIES[which](key=lambda host: host), POLICIES[which]()
    call(keyed, "a.example")
    call(alone)
    with pytest.raises(ConfigError) as missing:
        call(keyed)
    assert f"{keyed!r}: {said} is for one key, and got none. Name it: {said[:-1]}" in str(missing.value)
    assert str(missing.value).endswith("key=...)")
    with pytest.raises(ConfigError) as extra:
        call(alone, "a.example")
    assert f"{alone!r}: {said} got the key 'a.example'" in str(extra.value)
    assert "Leave the key out, or give the policy a key=" in str(extra.value)


async def test_a_services_breaker_by_key_says_nothing_of_the_service() -> None:
    class Api:
        breaker = CircuitBreaker(key=lambda host: host)

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    class Spare(Api): ...

    async with Runtime().provide(Api, Api, fallback=Spare) as rt:
        Api.breaker.isolate("a.example")
        assert type(rt.get(Api)) is Api


async def test_a_slot_is_no_value_and_no_plain_block() -> None:
    limit: Any = ConcurrencyLimit(1)
    with pytest.raises(TypeError, match=r"write `async with limit.slot\(\):`"):
        await limit.slot()
    with pytest.raises(TypeError, match=r"write `async with limit.slot\(\):`"):
        with limit.slot():
            pass
    assert limit.statistics().in_flight == 0
