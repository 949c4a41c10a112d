"""A failure by chaos: in place of the call, and an ordinary one to the policies around it."""

import errno
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Cache, CircuitBreaker, Fallback, Retry, constant, effect, errors, fs
from mountain_runtime.errors import CircuitOpen
from mountain_runtime.testing import chaos

from .support import Asked

AT_ONCE = constant(0)


class Refusal(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ConnectionError, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
        (OSError, OSError(errno.EIO, "Input/output error")),
        (PermissionError, PermissionError(errno.EACCES, "Permission denied")),
        (ValueError, ValueError("chaos")),
        (lambda: Refusal(503, "busy"), Refusal(503, "busy")),
        (errors.QueueFull, errors.QueueFull("chaos")),
    ],
)
async def test_a_failure_comes_in_place_of_the_call(error: Any, raised: Exception, tmp_path: Path) -> None:
    faults = chaos(fail=1, error=error)
    asked = Asked()
    (tmp_path / "file").touch()
    with faults.on():
        for work in (effect(faults)(asked)(), fs.read_bytes(tmp_path / "file").under(faults)):
            with pytest.raises(type(raised)) as failed:
                await work
            assert type(failed.value) is type(raised)
            assert failed.value.args == raised.args
            assert failed.value.__notes__ == [f"raised in place of the call, by {faults!r}"]
    assert asked.calls == 0


async def test_of_an_error_that_is_shared_no_frames_pile_up() -> None:
    shared = KeyError("k")
    faults = chaos(fail=1, error=lambda: shared)
    work = effect(faults)(Asked())
    lengths = set()
    with faults.on():
        for _ in range(5):
            with pytest.raises(KeyError) as failed:
                await work()
            lengths.add(len(failed.traceback))
    assert len(lengths) == 1


@pytest.mark.parametrize(
    ("error", "raised", "match"),
    [
        (lambda: "text", TypeError, "error= of chaos gave 'text': it must make an exception"),
        (lambda: KeyboardInterrupt, TypeError, "it must make an exception"),
        (lambda: StopIteration(1), RuntimeError, "the error= of chaos raised StopIteration"),
        (lambda: 1 / 0, ZeroDivisionError, "division"),
    ],
)
async def test_what_a_function_makes_instead_of_an_exception(error: Any, raised: type[Exception], match: str) -> None:
    with (faults := chaos(fail=1, error=error)).on():
        with pytest.raises(raised, match=match):
            await effect(faults)(Asked())()


async def test_a_retry_tries_it_again_and_its_attempts_count() -> None:
    faults, asked = chaos(fail=0.9, seed=7), Asked()
    with faults.on():
        assert await effect(Retry(on=ConnectionError, attempts=None, backoff=AT_ONCE), faults)(asked)() == 1
    found = faults.statistics()
    assert asked.calls == 1
    assert found.failed == found.calls - 1 > 2
    with (faults := chaos(fail=1)).on():
        with pytest.raises(ConnectionError) as failed:
            await effect(Retry(on=ConnectionError, backoff=AT_ONCE), faults, name="work")(asked)()
        assert failed.value.__notes__ == [
            "raised in place of the call, by chaos(fail=1)",
            "effect 'work' was attempted 3 times; this is the last failure",
        ]


async def test_a_native_retry_tries_it_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    faults = chaos(fail=0.9, seed=7)
    native = fs.read_bytes(tmp_path / "file").under(Retry(on=OSError, attempts=None, backoff=AT_ONCE), faults)
    with faults.on():
        assert await native == b"here"
    found = faults.statistics()
    assert found.failed == found.calls - 1 > 2


async def test_a_breaker_opens_and_a_fallback_stands_in() -> None:
    faults, asked = chaos(fail=1), Asked()
    breaker = CircuitBreaker(failures=2)
    work = effect(Fallback(lambda error: type(error).__name__, on=(OSError, CircuitOpen)), breaker, faults)(asked)
    with faults.on():
        assert [await work() for _ in range(3)] == ["ConnectionResetError", "ConnectionResetError", "CircuitOpen"]
    assert (breaker.state(), asked.calls, faults.statistics().calls) == ("open", 0, 2)


async def test_a_cache_keeps_no_failure_and_gives_what_it_has() -> None:
    faults, asked = chaos(fail=1), Asked()
    work = effect(Cache(ttl=60), faults)(asked)
    with faults.on():
        with pytest.raises(ConnectionError):
            await work(1)
    assert await work(1) == 1
    with faults.on():
        assert await work(1) == 1
    assert (asked.calls, faults.statistics().calls) == (1, 0)


async def test_outside_a_cache_it_fails_what_is_cached() -> None:
    faults = chaos(fail=1)
    work = effect(faults, Cache(ttl=60))(Asked())
    assert await work(1) == 1
    with faults.on(), pytest.raises(ConnectionError):
        await work(1)
    assert await work(1) == 1
