"""Records of breakers' changes: which one, for which key, what it did and why; in the log and on the page."""

import asyncio
import errno
import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mountain_runtime import (
    CircuitBreaker,
    Effect,
    Retry,
    Runtime,
    Timeout,
    _native,
    constant,
    deadline,
    effect,
    errors,
    fs,
    gather,
)
from mountain_runtime.testing import VirtualClock, open_circuit
from tests.lifecycle.support import until

from .looks import HERE, looking

Said = Callable[[], list[str]]


class ConnectError(Exception):
    """As httpx calls it."""


class Key:
    """A key of the user's."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        if not self.text:
            raise RuntimeError("no words")
        return self.text


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    """The records since the last time."""

    def take() -> list[str]:
        records = [record for record in caplog.records if record.name == "mountain_runtime.policy"]
        caplog.clear()
        assert all(record.levelno == logging.INFO for record in records)
        return [record.getMessage() for record in records]

    with caplog.at_level(logging.INFO, "mountain_runtime.policy"):
        yield take


def calls(breaker: CircuitBreaker) -> Callable[..., Any]:
    """Makes calls: `x` fails, `.` succeeds, `s` is slow, `t` runs out of time, `c` is cancelled."""

    @effect(breaker, Timeout(10))
    async def one(key: Any, what: str) -> None:
        if what == "x":
            raise ConnectError
        await asyncio.sleep({"s": 5, "t": 20}.get(what, 0))
        if what == "c":
            raise asyncio.CancelledError

    async def all_of(outcomes: str, key: Any = None) -> None:
        for what in outcomes:
            await asyncio.gather(one(key, what), return_exceptions=True)

    return all_of


def named(what: str = "upstreams") -> str:
    """A name that no other test has: of two with one name the later is another."""
    return f"{what}-{uuid4().hex[:8]}"


SLOW = {"slow_call": 0.25, "slow_rate": 0.1}


def by_key(key: Any, _what: str) -> Any:
    return key


@pytest.mark.parametrize(("key", "shown"), [(None, ""), ("b.example", " [b.example]"), (("db", 2), " [('db', 2)]")])
async def test_it_opens_half_opens_and_closes(key: Any, shown: str, said: Said, virtual_clock: VirtualClock) -> None:
    name = named()
    breaker = CircuitBreaker(
        name=name, failure_rate=0.5, minimum_calls=8, cooldown=30, key=None if key is None else by_key
    )
    call = calls(breaker)
    await call("..x.xxxx", key)
    right = ["opened: 5 of 8 failed (ConnectError)"]
    await virtual_clock.advance(30)
    assert breaker.state(key) == "half_open"
    await call("x", key)
    right += ["half-open: a probe may pass", "opened again: the probe failed (ConnectError)"]
    await virtual_clock.advance(30)
    await call(".", key)
    right += ["half-open: a probe may pass", "closed: the probe passed"]
    assert said() == [f"breaker {name!r}{shown} {did}" for did in right]


async def test_the_page_says_the_same(said: Said, client: httpx.AsyncClient) -> None:
    name = named()
    breaker = CircuitBreaker(name=name, failures=3, cooldown=0.01, key=by_key)
    call = calls(breaker)
    async with Runtime(dashboard=HERE) as rt:
        await call("xxx", "a.example")
        await call("xxx", "b.example")
        await asyncio.sleep(0.02)  # real, as is the page's server: its cooldown
        await call(".", "b.example")
        async with looking(client, rt) as look:
            await look.until(lambda state: len(state["changes"]) == 4)
            listed = [look.state["changes"][n]["text"] for n in sorted(look.state["changes"], key=int)]
    did = [
        ("a", "opened: 3 failed in a row (ConnectError)"),
        ("b", "opened: 3 failed in a row (ConnectError)"),
        ("b", "half-open: a probe may pass"),
        ("b", "closed: the probe passed"),
    ]
    assert listed == said() == [f"breaker {name!r} [{key}.example] {text}" for key, text in did]


@pytest.mark.parametrize(
    ("settings", "outcomes", "did"),
    [
        ({"failures": 1}, "x", "opened: a call failed (ConnectError)"),
        ({"failures": 3}, "xxx", "opened: 3 failed in a row (ConnectError)"),
        # Each word is of the call that was one too many.
        ({"failures": 2}, "xt", "opened: 2 failed in a row (TimedOut)"),
        ({"failure_rate": 0.5, "minimum_calls": 4}, "xxc..", "opened: 2 of 4 failed"),
        ({"failure_rate": 0.5, "minimum_calls": 4}, "..xx", "opened: 2 of 4 failed (ConnectError)"),
        ({"slow_call": 2, "slow_rate": 0.5, "minimum_calls": 4}, "..ss", "opened: 2 of 4 took longer than 2 s"),
        ({**SLOW, "failures": 9, "minimum_calls": 3}, "s.x", "opened: 1 of 3 took longer than 0.25 s"),
    ],
)
async def test_the_cause_is_what_was_counted(
    settings: dict[str, Any], outcomes: str, did: str, said: Said, virtual_clock: VirtualClock
) -> None:
    name = named()
    breaker = CircuitBreaker(name=name, **settings)
    await calls(breaker)(outcomes)
    assert breaker.state() == "open"
    assert said() == [f"breaker {name!r} {did}"]


@pytest.mark.parametrize(
    ("settings", "outcomes", "did"),
    [
        ({}, "c.", ["closed: the probe passed"]),  # a probe that says nothing changes nothing
        ({}, "t", ["opened again: the probe failed (TimedOut)"]),
        ({"slow_call": 2}, "s", ["opened again: the probe took longer than 2 s"]),
        ({"probes": 3}, "...", ["closed: all 3 probes passed"]),
        ({"probes": 3}, ".x", ["opened again: a probe failed (ConnectError)"]),
        ({"probes": 3, "slow_call": 2, "slow_rate": 0.5}, "s.s", ["opened again: 2 of 3 probes took longer than 2 s"]),
    ],
)
async def test_probes(
    settings: dict[str, Any], outcomes: str, did: list[str], said: Said, virtual_clock: VirtualClock
) -> None:
    name = named()
    call = calls(CircuitBreaker(name=name, failures=1, cooldown=30, **settings))
    await call("x")
    await virtual_clock.advance(30)
    said()
    await call(outcomes)
    many = settings.get("probes", 1)
    may = "a probe may pass" if many == 1 else f"{many} probes may pass"
    assert said() == [f"breaker {name!r} {text}" for text in [f"half-open: {may}", *did]]


async def test_time_that_runs_out_around_it_is_named(said: Said, virtual_clock: VirtualClock) -> None:
    """No error has been there when it was counted: the call was asked to end."""
    name = named()
    breaker = CircuitBreaker(name=name, failures=1)

    @effect(Timeout(5), breaker)
    async def hangs() -> None:
        await asyncio.sleep(60)

    @effect(breaker)
    async def hangs_in_a_block() -> None:
        await asyncio.sleep(60)

    with pytest.raises(errors.TimedOut):
        await hangs()
    breaker.reset()
    with pytest.raises(errors.TimedOut):
        async with deadline(5):
            await hangs_in_a_block()
    opened = f"breaker {name!r} opened: a call failed (TimedOut)"
    assert said() == [opened, f"breaker {name!r} closed by hand", opened]


def test_by_hand_it_is_said_at_once_without_a_loop(said: Said) -> None:
    """Once for each change: what is so already does not change."""
    breaker = CircuitBreaker(name=named(), failures=1, key=by_key)
    for _ in range(2):
        breaker.isolate("a")
    open_circuit(breaker, "b")
    for _ in range(2):
        breaker.reset("a")
        breaker.reset("b")
    breaker.reset("never seen")
    did = ["[a] isolated", "[b] opened", "[a] closed", "[b] closed"]
    assert said() == [f"breaker {breaker._name!r} {text} by hand" for text in did]
    unnamed = CircuitBreaker(failures=1)
    thread = threading.Thread(target=unnamed.isolate)
    thread.start()
    thread.join()
    assert said() == ["breaker isolated by hand"]


async def test_native_work_says_it_alike(said: Said) -> None:
    """On its worker nothing of Python's can be asked: what a key is called is said later, on a loop's thread."""
    name = named()
    breaker = CircuitBreaker(name=name, failures=2, on=OSError)
    missing = fs.read_bytes("/no such file").under(breaker)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            await missing
    seen = said()
    await until(lambda: bool(seen.extend(said()) or seen))
    assert seen == [f"breaker {name!r} opened: 2 failed in a row (FileNotFoundError)"]
    breaker.reset()
    part = _native.trial_fail(errno.EAGAIN).under(breaker)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            await gather([part, _native.trial_noop(1)])
    seen = said()
    await until(lambda: bool(seen.extend(said()) or len(seen) == 2))
    assert seen[1] == f"breaker {name!r} opened: 2 failed in a row (BlockingIOError)"


async def test_a_retry_inside_is_one_call_whose_last_error_is_named(said: Said) -> None:
    name = named()
    left: list[Exception] = [ValueError(), ConnectError()]

    @effect(CircuitBreaker(name=name, failures=1), Retry(on=Exception, attempts=2, backoff=constant(0)))
    async def fails() -> None:
        raise left.pop(0)

    with pytest.raises(ConnectError):
        await fails()
    assert f"breaker {name!r} opened: a call failed (ConnectError)" in said()


def opens(
    breaker: CircuitBreaker, error: BaseException | type[BaseException] = ConnectError
) -> Callable[[Any], Effect[None]]:
    @effect(breaker)
    async def fails(key: Any) -> None:
        raise error

    return fails


async def test_what_is_said_has_a_bounded_length_and_one_line(said: Said) -> None:
    """Whatever a key, a name and an error's type are called."""
    huge = type("E" * 10_000_000, (Exception,), {})
    breaker = CircuitBreaker(name="n" * 10_000_000, failures=1, key=lambda key: key)
    with pytest.raises(huge):
        await opens(breaker, huge)(Key("k" * 10_000_000))
    [text] = said()
    assert len(text) < 600
    assert text.startswith("breaker 'nnn")
    assert " [kkk" in text
    assert text.endswith("E…)")
    forged = CircuitBreaker(name=named("a\nb"), failures=1, key=lambda key: key)
    with pytest.raises(ConnectError):
        await opens(forged)("x\r\nERROR root: all is lost\x1b[2J ü")
    [text] = said()
    assert text.isprintable()
    assert r"[x\r\nERROR root: all is lost\u{1b}[2J ü]" in text


async def test_a_key_that_cannot_be_shown_is_said_by_its_type(said: Said, complaints: list[str]) -> None:
    with pytest.raises(ConnectError):
        await opens(CircuitBreaker(name=named(), failures=1, key=lambda key: key))(Key(""))
    [text] = said()
    assert "[<Key cannot be shown>] opened: a call failed (ConnectError)" in text
    assert complaints == []


async def test_of_two_with_one_name_the_later_is_called_as_metrics_call_it(said: Said) -> None:
    name = named()
    first, second = (CircuitBreaker(name=name, failures=1, key=lambda key: key) for _ in range(2))
    for breaker in (first, second):
        with pytest.raises(ConnectError):
            await opens(breaker)("k")
    assert [text.split(" [")[0] for text in said()] == [f"breaker '{name}'", f"breaker '{name}#2'"]
    assert f'breaker="{name}#2"' in _native.metrics_text(openmetrics=False)


async def test_without_a_name_it_has_that_of_its_effect(said: Said) -> None:
    name = named("asks")

    @effect(CircuitBreaker(failures=1), name=name)
    async def asks() -> None:
        raise ConnectError

    with pytest.raises(ConnectError):
        await asks()
    assert said() == [f"breaker {name!r} opened: a call failed (ConnectError)"]


async def test_what_waits_to_be_said_keeps_the_key_and_lets_go_of_it(said: Said) -> None:
    keys = [Key("kept")]
    there = weakref.ref(keys[0])
    breaker = CircuitBreaker(name=named(), failures=1, on=OSError, key=lambda _: keys[0])
    try:
        await fs.read_bytes("/no such file").under(breaker)
    except FileNotFoundError:
        pass
    del breaker
    keys.clear()
    gc.collect()
    seen = said()
    await until(lambda: bool(seen.extend(said()) or seen))
    assert "[kept] opened: a call failed (FileNotFoundError)" in seen[0]
    gc.collect()
    await _native.trial_noop()
    assert there() is None


@pytest.mark.processes
def test_a_child_of_a_fork_says_nothing_of_its_parents(said: Said) -> None:
    breaker = CircuitBreaker(name=named(), failures=1, key=lambda key: key)

    async def parent() -> int:
        with pytest.raises(ConnectError):
            await opens(breaker)("k")
        pid = os.fork()
        if pid == 0:
            try:
                said()
                breaker.reset("k")
                os._exit(0 if said() == [f"breaker {breaker._name!r} [k] closed by hand"] else 1)
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert asyncio.run(parent()) == 0
