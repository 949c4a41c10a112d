"""Policies around native effects: native where only builtin OS errors are named, else inline, and alike in the end."""

import errno
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Effect, Retry, Timeout, _native, constant, fs
from mountain_runtime.errors import TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, Watch, outcome

NOW = constant(0)


class Odd(OSError):
    """Not what an errno makes."""


NATIVE: list[Any] = [
    OSError,
    FileNotFoundError,
    (FileNotFoundError, PermissionError),
    ConnectionError,
    BrokenPipeError,
    TimeoutError,
    (OSError, FileExistsError),
]
INLINE: list[Any] = [
    Odd,
    (Odd, FileNotFoundError),
    Exception,
    ValueError,
    (FileNotFoundError, Boom),
    lambda error: isinstance(error, OSError),
]


@pytest.mark.parametrize("on", NATIVE, ids=lambda on: str(on).partition(" at 0x")[0])
async def test_builtin_os_errors_run_natively(on: Any) -> None:
    work = _native.trial_noop(3).under(Timeout(LONG), Retry(on=on, backoff=NOW), Timeout(LONG))
    assert _native.is_native(work)
    assert await work == 3


@pytest.mark.parametrize("on", INLINE, ids=lambda on: str(on).partition(" at 0x")[0])
async def test_other_classes_and_functions_run_inline_with_the_same_result(on: Any) -> None:
    work = _native.trial_noop(3).under(Timeout(LONG), Retry(on=on, backoff=NOW))
    assert not _native.is_native(work)
    assert await work == 3


async def retried(work: Effect[Any], **settings: Any) -> tuple[Any, int]:
    """The outcome, and the number of attempts beyond the first."""
    name = work.__name__
    before = _native.effect_statistics().get(name, (0,) * 9)[5]
    found = await outcome(work.under(Retry(attempts=3, backoff=NOW, **settings)))
    return found, _native.effect_statistics()[name][5] - before


@pytest.mark.parametrize(
    ("code", "on", "again"),
    [
        (errno.ENOENT, FileNotFoundError, 2),
        (errno.ENOENT, OSError, 2),
        (errno.ENOENT, PermissionError, 0),
        (errno.EACCES, PermissionError, 2),
        (errno.EPERM, PermissionError, 2),
        (errno.EPIPE, ConnectionError, 2),
        (errno.ECONNRESET, (FileExistsError, ConnectionResetError), 2),
        (errno.ETIMEDOUT, TimeoutError, 2),
        (errno.ENOSPC, OSError, 2),
        (errno.ENOSPC, (FileNotFoundError, PermissionError), 0),
    ],
)
async def test_native_and_inline_agree(code: int, on: Any, again: int) -> None:
    """The same failure judged by its errno, and by its class."""
    classes = on if isinstance(on, tuple) else (on,)
    native, times = await retried(_native.trial_fail(code), on=on)
    inline, times_inline = await retried(_native.trial_fail(code), on=(Odd, *classes))
    assert times == times_inline == again
    assert isinstance(native, OSError)
    assert type(native) is type(inline) is type(OSError(code, ""))
    assert native.errno == inline.errno == code
    assert native.strerror == inline.strerror
    assert getattr(native, "__notes__", None) == getattr(inline, "__notes__", None)
    assert bool(again) == any("3" in note for note in getattr(native, "__notes__", []))


async def test_a_limit_names_itself_on_both_ways() -> None:
    for on in (OSError, (Odd, OSError)):
        work = _native.trial_sleep(LONG).under(Timeout(LONG), Retry(on=on, attempts=2, backoff=NOW), Timeout(SOON))
        with Watch() as watch, pytest.raises(TimedOut) as ended:
            await work
        assert watch.took < AT_ONCE
        assert (ended.value.effect, ended.value.policy, ended.value.attempt) == ("sleep", f"Timeout({SOON})", 2)


async def test_a_wait_that_does_not_fit_is_given_up_on_both_ways() -> None:
    for on in (FileNotFoundError, (Odd, FileNotFoundError)):
        work = _native.trial_fail(errno.ENOENT).under(Timeout(LONG), Retry(on=on, backoff=constant(LONG * 2)))
        with Watch() as watch, pytest.raises(FileNotFoundError) as ended:
            await work
        assert watch.took < AT_ONCE
        [note] = ended.value.__notes__
        assert note.startswith(
            "effect 'fail' was not tried again: the wait of 60 s does not fit Timeout(30), of which "
        )


async def test_a_total_has_the_last_failure_as_its_cause_on_both_ways() -> None:
    for on in (FileNotFoundError, (Odd, FileNotFoundError)):
        work = _native.trial_fail(errno.ENOENT).under(Timeout(SOON), Retry(on=on, attempts=None, backoff=constant(0)))
        with pytest.raises(TimedOut) as ended:
            await work
        assert isinstance(ended.value.__cause__, FileNotFoundError)
        assert ended.value.policy == f"Timeout({SOON})"


async def test_files_are_native_under_policies(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("text")
    policies = Timeout(LONG), Retry(on=OSError, backoff=NOW)
    read = fs.read_text(there).under(*policies)
    assert _native.is_native(read)
    assert await read == "text"
    missing = fs.read_text(tmp_path / "missing").under(*policies)
    assert _native.is_native(missing)
    with pytest.raises(FileNotFoundError) as raised:
        await missing
    assert raised.value.filename == str(tmp_path / "missing")
    assert any("3" in note for note in raised.value.__notes__)


async def test_a_retry_sees_a_file_that_appears(tmp_path: Path) -> None:
    """The function form runs here: between two attempts it can change the world."""
    late = tmp_path / "late"

    def on(error: Exception) -> float:
        assert isinstance(error, FileNotFoundError)
        late.write_text("now")
        return 0

    assert await fs.read_text(late).under(Retry(on=on)) == "now"
