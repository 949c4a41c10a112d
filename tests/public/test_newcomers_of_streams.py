"""The same for those who begin with streams, batches, hedges, growing work and chaos."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    Fallback,
    Hedge,
    Idle,
    Pipeline,
    Retry,
    RetryBudget,
    Runtime,
    Timeout,
    Work,
    amap,
    batch,
    blocking,
    chunked,
    effect,
    gather,
    race,
    stream,
)
from mountain_runtime.errors import ConfigError
from mountain_runtime.testing import chaos


class Lost(Exception): ...


@stream
async def tokens(n: int = 3) -> AsyncGenerator[int]:
    for each in range(n):
        yield each


@stream(Timeout(60))
async def slow_tokens(n: int = 3) -> AsyncGenerator[int]:
    for each in range(n):
        await asyncio.sleep(0)
        yield each


class Log:
    @stream
    async def lines(self, name: str) -> AsyncGenerator[str]:
        yield name


@batch(5)
async def load(ids: list[int]) -> list[int]:
    return ids


@effect
async def fetch(x: int = 1) -> int:
    return x


@blocking
def sync(x: list[int]) -> list[int]:
    return x


async def rows(n: int = 1) -> AsyncGenerator[int]:
    yield n


async def of_list(ids: list[int]) -> list[int]:
    return ids


async def of_two(ids: list[int], more: int) -> list[int]:
    return ids


def plain(ids: list[int]) -> list[int]:
    return ids


def generates(ids: list[int]) -> Generator[list[int]]:
    yield ids


#: Anything: what is wrong here, a type checker refuses.
any_: Any = None
stream_: Any = stream
batch_: Any = batch
effect_: Any = effect
blocking_: Any = blocking
amap_: Any = amap
gather_: Any = gather
race_: Any = race
chunked_: Any = chunked
work: Any = Work
fallback: Any = Fallback
hedge: Any = Hedge
retry: Any = Retry
breaker: Any = CircuitBreaker
chaos_: Any = chaos
idle: Any = Idle
tokens_: Any = tokens
lines: Any = Log().lines
call: Any = Timeout(1).call

OPEN = "write `async with tokens(...) as items:`, and `async for item in items:`"
ONE = "tokens gives many values: open it in a function under @effect, `async with tokens(...) as items:`"
PART = "must be a part of the calls, from 0 to 1"

WRITTEN: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # -- a stream in the place of another thing
    (lambda: list(tokens_()), TypeError, f"stream 'tokens' gives its items asynchronously: {OPEN}"),
    (lambda: anext(tokens_()), TypeError, f"stream 'tokens' gives its items once it is open: {OPEN}"),
    (lambda: (*tokens_(),), TypeError, OPEN),
    (lambda: tokens_().__enter__(), TypeError, f"stream 'tokens' is opened by an asynchronous block: {OPEN}"),
    (lambda: tokens_().map(str), AttributeError, f"map() is for the one value of an effect: {OPEN}"),
    (lambda: tokens_().then(fetch), AttributeError, f"then() is for the one value of an effect: {OPEN}"),
    (lambda: tokens_().attempt(Lost), AttributeError, f"attempt() is for the one value of an effect: {OPEN}"),
    (lambda: tokens_().aclose(), AttributeError, f"stream 'tokens' ends where its block is left: {OPEN}"),
    (lambda: tokens_().other, AttributeError, "'Stream' object has no attribute 'other'"),
    (tokens_.__aiter__, TypeError, f"tokens is a function of streams, which was not called: {OPEN}"),
    (tokens_.__aenter__, TypeError, f"tokens is a function of streams, which was not called: {OPEN}"),
    (lambda: tokens_.under(Timeout(1)), AttributeError, "write tokens(...).under(...)"),
    (lambda: list(chunked_(tokens(), 2)), TypeError, "write `async with chunked(...) as items:`"),
    (lambda: gather_(tokens()), TypeError, f"gather() takes effects, and {ONE}"),
    (lambda: gather_([tokens()]), TypeError, f"gather() takes effects, and {ONE}"),
    (lambda: gather_(fetch(), tokens()), TypeError, f"gather() takes effects, and {ONE}"),
    (lambda: gather_(tokens, tokens), TypeError, f"gather() takes effects, and {ONE}"),
    (lambda: race_(tokens()), TypeError, f"race() takes effects, and {ONE}"),
    (lambda: gather_(lines, lines), TypeError, "Log.lines gives many values: open it"),
    (lambda: Runtime().from_thread(tokens_()), TypeError, f"from_thread() takes effects, and {ONE}"),
    (lambda: call(tokens), TypeError, "call() makes an effect, which has one value, and tokens gives many"),
    (lambda: call(tokens, 3), TypeError, "write tokens(...).under(Timeout(1))"),
    (lambda: call(tokens()), TypeError, "write tokens(...).under(Timeout(1))"),
    (lambda: call(lines, "a"), TypeError, "write Log.lines(...).under(Timeout(1))"),
    (lambda: call(chunked(tokens(), 2)), TypeError, "write chunked(...).under(Timeout(1))"),
    (lambda: call(rows), TypeError, "rows gives many: write stream(Timeout(1))(rows)(...)"),
    (lambda: call(rows()), TypeError, "got a generator of it, rows(): write call(rows, ...)"),
    (lambda: call(load(3)), TypeError, "got an effect of it, load(): write call(load, ...)"),
    (lambda: Pipeline(Timeout(1), name="p").call(tokens_), TypeError, "under(Pipeline(Timeout(1), name='p'))"),
    (lambda: amap_(tokens, [1], limit=1), ConfigError, "amap(tokens, ...): gives a stream for each item"),
    (lambda: amap_(lines, ["a"], limit=1), ConfigError, "read it in a function under @effect, and give that"),
    (lambda: amap_(fetch, tokens, limit=1), TypeError, f"a function of streams, which was not called: {OPEN}"),
    (lambda: iter(amap_(fetch, [1], limit=1)), TypeError, "write `async for item, result in results:`"),
    # -- stream
    (lambda: effect_(rows), ConfigError, "an effect has one result: write @stream for many"),
    (lambda: effect_(tokens), ConfigError, "an effect has one result: write @stream for many"),
    (lambda: effect_(tokens()), ConfigError, "policies go around a stream by tokens(...).under(...)"),
    (lambda: effect_(Timeout(1), tokens()), ConfigError, "policies go around a stream by tokens(...).under(...)"),
    (lambda: effect_(rows()), ConfigError, "got a generator of it, rows(): write effect(rows)"),
    (lambda: blocking_(rows), ConfigError, "which is an async generator function: write @stream"),
    (lambda: stream_(of_list), ConfigError, "a coroutine function: write @effect, or `yield` its items"),
    (lambda: stream_(plain), ConfigError, "a function: make it `async def`, and `yield` its items"),
    (lambda: stream_(generates), ConfigError, "a generator function: make it `async def`"),
    (lambda: stream_(fetch), ConfigError, "@stream on fetch, which makes effects of one value: leave out @effect"),
    (lambda: stream_(load), ConfigError, "@blocking or @batch below it, and `yield` its items"),
    (lambda: stream_(rows()), ConfigError, "got a generator of it, rows(): write stream(rows)"),
    (lambda: stream_(Timeout(1))(rows()), ConfigError, "got a generator of it, rows(): write stream(rows)"),
    (lambda: stream_(Timeout(1), rows), ConfigError, "comes after its policies, write stream(...)(rows)"),
    (lambda: stream_(Timeout(1), [Timeout(2)]), ConfigError, "given one by one, as in stream(*policies)"),
    (lambda: stream_(Cache(ttl=1))(rows), ConfigError, "is about one value, and stream rows gives many items"),
    (lambda: stream_(Retry(until=bool))(rows), ConfigError, "is about one value, and stream rows gives many items"),
    (lambda: fetch().under(Idle(5)), ConfigError, "Idle(5) stands around fetch, which gives one value: write Timeout"),
    (lambda: idle("5"), ConfigError, "Idle(seconds='5'): must be seconds, as a number or a timedelta, 0 or more: conv"),
    (lambda: idle(-1), ConfigError, "Idle(seconds=-1): must be seconds"),
    (lambda: idle(5).__enter__(), ConfigError, "Idle(5) is no block: give it to @stream(...)"),
    # -- fallbacks
    (lambda: fallback(rows("x"), on=Lost), ConfigError, "got a generator of it, rows(): write Fallback(rows, on=...)"),
    (lambda: fallback(tokens(3), on=Lost), ConfigError, "got a stream of it, tokens(): write Fallback(tokens, on=...)"),
    (lambda: fallback(load(3), on=Lost), ConfigError, "got an effect of it, load(): write Fallback(load, on=...)"),
    (lambda: fallback(of_list([]), on=Lost), ConfigError, "a coroutine of it, of_list(): write Fallback(of_list, on"),
    (lambda: fallback(rows, on=Lost), ConfigError, "put the async generator function rows under @stream"),
    (lambda: fallback(Lost, plain), ConfigError, "the function comes first: write Fallback(plain, on=Lost)"),
    (lambda: effect_(Fallback(tokens, on=Lost))(of_list), ConfigError, "collect the items in an effect"),
    # -- batch
    (lambda: batch_(of_list), ConfigError, "@batch on of_list without a size: write @batch(50), for at most 50 items"),
    (lambda: batch_(Timeout(1)), ConfigError, "the size comes first, as in batch(50, Timeout(1))"),
    (lambda: batch_(Timeout(1), 5), ConfigError, "the size comes first, as in batch(50, Timeout(1))"),
    (lambda: batch_(Timeout), ConfigError, "the size comes first, as in batch(50, Timeout)"),
    (lambda: batch_(0), ConfigError, "batch(size=0): must be a whole number, 1 or more"),
    (lambda: batch_("5"), ConfigError, "batch(size='5'): must be a whole number, 1 or more: convert a text by int()"),
    (lambda: batch_(0.5), ConfigError, "batch(size=0.5): must be a whole number, 1 or more"),
    (lambda: batch_(5, wait=-1), ConfigError, "batch(wait=-1): must be seconds"),
    (lambda: batch_(5, wait="1"), ConfigError, "batch(wait='1'): must be seconds"),
    (lambda: batch_(5, [Timeout(1)]), ConfigError, "given one by one, as in batch(size, *policies)"),
    (lambda: batch_(5, of_list), ConfigError, "comes after its policies, write batch(...)(of_list)"),
    (lambda: batch_(5)(of_list([1])), ConfigError, "got a coroutine of it, of_list(): write batch(size)(of_list)"),
    (lambda: batch_(5)(fetch()), ConfigError, "got an effect of it, fetch(): write batch(size)(fetch)"),
    (lambda: batch_(5)(Timeout(1)), ConfigError, "write @batch(size, *policies) above one"),
    (lambda: batch_(5)(plain), ConfigError, "a function: write @blocking below it, or make it `async def`"),
    (lambda: batch_(5)(generates), ConfigError, "@batch on generates, which is a generator function"),
    (lambda: batch_(5)(rows), ConfigError, "@batch on rows, which is an async generator function"),
    (lambda: batch_(5)(of_two), ConfigError, "with one list alone: write defaults for its other parameters, or need()"),
    (lambda: batch_(5, Cache(ttl=1)), ConfigError, "as in load(7).under(cache)"),
    (lambda: batch_(5, Idle(1))(of_list), ConfigError, "which gives one value: write Timeout"),
    # -- chunked and work that grows
    (lambda: chunked_(tokens, 2), TypeError, "not tokens: call it, tokens()"),
    (lambda: chunked_(rows, 2), TypeError, "not rows: call it, rows()"),
    (lambda: chunked_([1, 2], 2), TypeError, "itertools.batched or slices make lists"),
    (lambda: chunked_(Work([1]), 2), TypeError, "give it to amap(), and the results to chunked()"),
    (lambda: chunked_(2, tokens()), ConfigError, "chunked(size=<Stream tokens()>): must be a whole number"),
    (lambda: chunked_(tokens(), 0), ConfigError, "chunked(size=0): must be a whole number, 1 or more"),
    (lambda: chunked_(tokens(), 2, within="1"), ConfigError, "chunked(within='1'): must be seconds"),
    (lambda: chunked_(tokens(), 2, within=-1), ConfigError, "chunked(within=-1): must be seconds"),
    (lambda: iter(work([1])), TypeError, "a Work is read by amap: write `async with amap(function, work, limit=n)"),
    (lambda: aiter(work([1])), TypeError, "a Work is read by amap: write `async with amap(function, work, limit=n)"),
    (lambda: work(tokens()), TypeError, "as they are at hand, not <Stream tokens()>: give that to amap()"),
    (lambda: work("/"), TypeError, "not '/': write Work([item])"),
    (lambda: work(5), TypeError, "not 5: write Work([item])"),
    (lambda: work([1], key="id"), ConfigError, "Work(key='id'): must be a plain function of one item"),
    (lambda: work([[1]]), TypeError, "make its key= give something hashable"),
    (lambda: amap_(fetch, Work, limit=1), TypeError, "not Work: call it, Work(...)"),
    # -- hedges
    (lambda: hedge(budget=5), ConfigError, f"Hedge(budget=5): {PART}, or a RetryBudget(...), or None for no bound"),
    (lambda: hedge(budget=5), ConfigError, "5 % is budget=0.05"),
    (lambda: hedge(budget=1.5), ConfigError, "1.5 % is budget=0.015"),
    (lambda: hedge(budget="5%"), ConfigError, "convert a text by float()"),
    (lambda: hedge(budget=-1), ConfigError, f"Hedge(budget=-1): {PART}"),
    (lambda: hedge(budget=True), ConfigError, f"Hedge(budget=True): {PART}"),
    (lambda: hedge(budget=RetryBudget), ConfigError, "RetryBudget is a class, write RetryBudget(...)"),
    (lambda: hedge(percentile=95), ConfigError, "more than 0 and less than 1: 95 % is percentile=0.95"),
    (lambda: hedge(percentile=1), ConfigError, "must be a part of the calls, more than 0 and less than 1"),
    (lambda: hedge(-1), ConfigError, "Hedge(after=-1): must be seconds"),
    (lambda: hedge("0.1"), ConfigError, "Hedge(after='0.1'): must be seconds"),
    (lambda: hedge(0.1, percentile=0.9), ConfigError, "leave one of them out"),
    (lambda: hedge(0.1, attempts=1), ConfigError, "the first attempt counts"),
    (lambda: hedge(0.1, attempts=2.5), ConfigError, "Hedge(attempts=2.5): must be a whole number"),
    (lambda: breaker(failure_rate=50), ConfigError, "more than 0 and at most 1: 50 % is failure_rate=0.5"),
    # -- chaos
    (lambda: chaos_(fail="a"), ConfigError, f"chaos(fail='a'): {PART}: convert a text by float()"),
    (lambda: chaos_(fail=10), ConfigError, f"chaos(fail=10): {PART}: 10 % is fail=0.1"),
    (lambda: chaos_(hang=-1), ConfigError, f"chaos(hang=-1): {PART}"),
    (lambda: chaos_(slow=2, delay=1), ConfigError, f"chaos(slow=2): {PART}: 2 % is slow=0.02"),
    (lambda: chaos_(fail=0.6, hang=0.6), ConfigError, "must add up to at most 1"),
    (chaos_, ConfigError, "give it a part of the calls, such as fail=0.1"),
    (lambda: chaos_(delay=1), ConfigError, "chaos(delay=1): needs slow=, the part of the calls that are late"),
    (lambda: chaos_(slow=0.1), ConfigError, "needs delay=, the seconds by which a call is late"),
    (lambda: chaos_(slow=0.1, delay="1"), ConfigError, "chaos(delay='1'): must be seconds"),
    (lambda: chaos_(slow=0.1, delay=(2, 1)), ConfigError, "the least comes first"),
    (lambda: chaos_(fail=0.1, error=Lost()), ConfigError, "write error=lambda: Lost(...)"),
    (lambda: effect_(chaos_), ConfigError, "chaos, a function that makes a policy, was not called: write chaos(...)"),
    (lambda: stream_(chaos_), ConfigError, "chaos, a function that makes a policy, was not called: write chaos(...)"),
    (lambda: chaos_(fail=0.1).__enter__(), ConfigError, "write `with faults.on():`, where `faults` is its name"),
    # -- a result that is not there yet
    (lambda: retry(until="done"), ConfigError, "Retry(until='done'): must be a function of the result, such as lambda"),
    (lambda: retry(until=of_list), ConfigError, "Retry(until=of_list): must be a plain function"),
    (lambda: retry(until=[1]), ConfigError, "must be a function of the result"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "error", "way"), WRITTEN, ids=[f"{n} {way}" for n, (*_, way) in enumerate(WRITTEN)]
)
def test_it_is_refused_where_it_is_written(written: Callable[[], Any], error: type[Exception], way: str) -> None:
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        with pytest.raises(error) as caught:
            written()
        assert way in str(caught.value)
        assert " at 0x" not in str(caught.value)
        del caught
        gc.collect()
    assert [str(each.message) for each in complaints if str(each.message).startswith("coroutine ")] == []
