"""`run`: a whole program, from its event loop to its signals."""

import asyncio
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Literal, NoReturn, TypeVar

from .._native import check_call
from .._tasks import scope as _scope
from .._tasks.exits import EXITS
from ..errors import ConfigError, ShuttingDown
from ..policy._base import name_of
from ..policy._given import not_a_function, shown, to_make
from ..telemetry import _logs
from .runtime import Runtime

__all__ = ["run"]

T = TypeVar("T")

_log = _logs.logger("shutdown")


def run(
    main: Callable[[Runtime], Awaitable[T]],
    /,
    *,
    runtime: Runtime | None = None,
    loop: Literal["asyncio", "uvloop"] = "asyncio",
) -> T:
    """Runs `main(runtime)` in an event loop of its own and gives what it returns.

    The first SIGINT or SIGTERM begins the shutdown: no new work is taken, while `main` goes on, and is cancelled when
    the time to drain is over. The second ends everything at once, with KeyboardInterrupt or SystemExit(143), as does a
    `main` that the shutdown has ended. SIGUSR1 writes a dump of what is under way to stderr, unless the program handles
    it. In a thread other than the main one signals are left alone.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("run() starts an event loop of its own: within one, write `async with Runtime() as rt:`")
    if not isinstance(runtime, Runtime | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"run(runtime={shown(runtime)}): must be a Runtime(...){to_make(runtime, Runtime)}")
    rt = Runtime() if runtime is None else runtime
    _check_main(main, rt)
    if rt._phase != _scope.NEW:
        raise RuntimeError("a Runtime is entered once: make another")
    program = _Program(rt)
    with _HandlersRestored(), asyncio.Runner(loop_factory=_factory(loop)) as runner:
        return program.run(runner, main)


def _check_main(main: Any, runtime: Runtime) -> None:
    """A TypeError, unless `main(runtime)` is a call that can be made."""
    if not callable(main):
        raise TypeError(not_a_function(main, "run"))
    try:
        check_call(main, (runtime,), None)
    except TypeError as error:
        raise TypeError(f"{error}. run() calls it with the Runtime: write `async def main(rt: Runtime)`") from None


def _factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop == "asyncio":
        return None
    if loop != "uvloop":
        raise ConfigError(f"run(loop={loop!r}): must be 'asyncio' or 'uvloop'")
    try:
        import uvloop
    except ImportError as error:
        raise ImportError("run(loop='uvloop') needs uvloop: pip install 'mountain-runtime[uvloop]'") from error
    return uvloop.new_event_loop


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class _HandlersRestored(AbstractContextManager[None]):
    """A block after which the user's own signal handlers are back."""

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS} if _in_main_thread() else {}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: installed by other means than Python's
                signal.signal(number, handler)


def _nothing() -> None:
    """A callback that only wakes the loop."""


def _ended_by(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


class _Program:
    """A main with its runtime, and the signals that have arrived."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._first: int | None = None
        self._second: int | None = None
        #: The numbers of signals that arrived, and that the loop has handled. A loop that is stuck handles none.
        self._arrived = self._heard = 0
        self._main: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self, runner: asyncio.Runner, main: Callable[[Runtime], Awaitable[T]]) -> T:
        """Runs it to its end. An exit out of a callback or a foreign task stops the loop, which is run again."""
        try:
            return runner.run(self.supervise(main))
        except EXITS as error:
            if not self._may_go_on():
                raise
            exit = error  # noqa: A001
        loop, task = runner.get_loop(), self._task
        assert task is not None
        while True:
            loop.call_soon(self._runtime._exits, exit)
            try:
                loop.run_until_complete(task)
            except EXITS as error:
                if not self._may_go_on():
                    raise
                exit = error  # noqa: A001
            else:
                raise exit  # it came when everything had stopped

    def _may_go_on(self) -> bool:
        """Whether an exit stopped the loop before the shutdown was over."""
        rt = self._runtime
        return self._task is not None and not self._task.done() and rt._phase != _scope.NEW and not rt._aborted

    async def supervise(self, main: Callable[[Runtime], Awaitable[T]]) -> T:
        self._task = asyncio.current_task()
        try:
            stop_listening = self._listen()
            try:
                async with self._runtime as runtime:
                    value = await self._finished(runtime, main)
            finally:
                stop_listening()
        except BaseException as error:
            self._log_report()
            if self._second is not None:
                raise _ended_by(self._second) from None
            if self._first is not None and isinstance(error, (asyncio.CancelledError, ShuttingDown)):
                raise _ended_by(self._first) from error
            raise
        self._log_report()
        if self._second is not None:
            raise _ended_by(self._second)
        return value

    async def _finished(self, runtime: Runtime, main: Callable[[Runtime], Awaitable[T]]) -> T:
        """Main's result; or CancelledError, when the shutdown is over and main has still not ended."""
        # An exit need not cancel this task: it ends when main does, whose error is kept.
        runtime._holder = None
        task = self._main = runtime._start(_called(main, runtime), "main")
        try:
            while not task.done():
                waited: set[asyncio.Future[Any]] = {task}
                if runtime._closing is not None:
                    waited.add(runtime._closing)
                    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                    if runtime._closing.done() and not task.done():
                        raise asyncio.CancelledError
                else:
                    stopping = asyncio.ensure_future(runtime.wait_stopping())
                    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    stopping.cancel()
            value: T = task.result()
            return value
        except asyncio.CancelledError:
            if not task.done():
                task.cancel()
            raise
        finally:
            del task

    def _log_report(self) -> None:
        report = self._runtime.report
        if report is not None and not report.ok:
            _log.warning("%s", report)

    # -- signals ----------------------------------------------------------------------------------------------------

    def _listen(self) -> Callable[[], None]:
        """Handles signals from now on; the function that it gives ends that."""
        if not _in_main_thread():
            return _nothing
        loop = asyncio.get_running_loop()
        dumps = signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        if dumps:
            loop.add_signal_handler(signal.SIGUSR1, _nothing)  # wakes the loop, whatever it waits for
            signal.signal(signal.SIGUSR1, self._dump)
        listened = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in listened:
            loop.add_signal_handler(number, self._hear, number)  # wakes the loop, whatever it waits for
            signal.signal(number, self._arrive)

        def stop() -> None:
            for number in listened:
                loop.remove_signal_handler(number)
            if dumps:
                loop.remove_signal_handler(signal.SIGUSR1)

        return stop

    def _dump(self, number: int, frame: FrameType | None) -> None:
        """Runs at once, wherever the main thread is, so that a dump shows a loop that is stuck."""
        print(self._runtime._dump_from(frame), file=sys.stderr, flush=True)  # noqa: T201 - for the terminal

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        """Runs at once, wherever the main thread is. A loop that has not handled the first signal is stuck."""
        self._arrived += 1
        if self._arrived - self._heard > 1:
            self._interrupt(number)

    def _interrupt(self, number: int) -> NoReturn:
        self._second = number
        self._runtime._aborted = True
        raise _ended_by(number)

    def _hear(self, number: int) -> None:
        """Runs on the loop: the first signal begins the shutdown, the second aborts it."""
        self._heard += 1
        if self._first is None:
            self._first = number
            self._runtime._begin_close(drain=True).add_done_callback(_log_failure)
            return
        if self._second is None:
            self._second = number
            self._runtime._abort()
            if self._main is not None:
                self._main.cancel()


def _log_failure(closing: "asyncio.Task[None]") -> None:
    if not closing.cancelled() and (error := closing.exception()) is not None:
        _log.error("the shutdown failed", exc_info=error)


async def _called(main: Callable[[Runtime], Awaitable[T]], runtime: Runtime) -> T:
    work = main(runtime)
    if not isinstance(work, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"run({name_of(main)}): gave {type(work).__name__}, which cannot be awaited. Make it `async def`, or put "
            "@blocking on it"
        )
    return await work
