"""The native module: effects as Rust runs them. Its private names are for the package, its tests and its benchmarks."""

import os
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import Context, ContextVar
from types import CodeType, FrameType, GenericAlias, MethodType, TracebackType
from typing import Any, Generic, Literal, Never, NoReturn, ParamSpec, Self, TypeAlias, final, overload

from typing_extensions import TypeVar, disjoint_base

from ._effect.outcome import Err, Ok
from .policy._base import Policy

__all__ = [
    "CallerFigures",
    "Calls",
    "Change",
    "Collector",
    "BudgetState",
    "Child",
    "BreakerState",
    "CommandFigures",
    "Completed",
    "DEBUG",
    "Dashboard",
    "Effect",
    "EffectFunction",
    "Entry",
    "Handle",
    "Headers",
    "HedgeState",
    "HttpBody",
    "HttpClient",
    "Progress",
    "Response",
    "close_idle",
    "http_answers_with",
    "http_progressed",
    "http_response",
    "http_transient_is",
    "needs",
    "Job",
    "Jobs",
    "Landing",
    "Layer",
    "InheritedDeadline",
    "LimitState",
    "PHASES",
    "Over",
    "OwnCancel",
    "Plan",
    "PoolFigures",
    "RateState",
    "RouterFigures",
    "Run",
    "Screen",
    "Scope",
    "Slot",
    "Items",
    "Stream",
    "StreamFunction",
    "CacheState",
    "ChaosState",
    "Tracing",
    "WorkProgress",
    "Batches",
    "Beneath",
    "Match",
    "fs_walk",
    "fs_walk_beneath",
    "Search",
    "Locked",
    "fs_append",
    "fs_copy",
    "fs_glob",
    "fs_lock",
    "OpenFile",
    "fs_move",
    "fs_open",
    "fs_private_folder",
    "PermitContext",
    "accepted_var",
    "adopt",
    "advance",
    "after_fork",
    "after_fork_in_parent",
    "ask_for_tracing",
    "at_rest",
    "at_work",
    "before_fork",
    "bind",
    "call_effect",
    "call_stream",
    "check_call",
    "count_effects",
    "counts_gained",
    "current_deadline",
    "current_permit_context",
    "current_scope",
    "effect_statistics",
    "fallback_statistics",
    "forget_unused_names",
    "fs_hash",
    "fs_mkdir",
    "fs_read",
    "fs_read_many",
    "fs_remove",
    "fs_remove_private",
    "fs_remove_private_now",
    "fs_stat",
    "fs_watch",
    "fs_write",
    "gather_native",
    "hand_back",
    "first_end",
    "has_priorities",
    "is_native",
    "deadline_var",
    "log_change",
    "metrics_catalogue",
    "metrics_text",
    "next_deadline",
    "note_failure",
    "now",
    "own_name",
    "priority_var",
    "process_open",
    "process_run",
    "process_terminal",
    "process_worker",
    "race_native",
    "record_lost",
    "scope_var",
    "serving_var",
    "slot",
    "spans_dropped",
    "start_without_task",
    "start_without_tasks",
    "statistics",
    "stream_statistics",
    "sweep_groups",
    "take_over",
    "trial_fail",
    "trial_noop",
    "trial_panic",
    "trial_sleep",
    "trial_tick",
    "trace",
    "permit_context_var",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_D = TypeVar("_D", default=Never)
_A = TypeVar("_A")
_X = TypeVar("_X", bound=Exception)
_Y = TypeVar("_Y", bound=Exception)
_Z = TypeVar("_Z", bound=Exception)
_StrPath: TypeAlias = str | os.PathLike[str]

#: Built without optimisation.
DEBUG: bool

# -- the values that users build ------------------------------------------------------------------------------------

@final
class Effect(Coroutine[Any, Any, _T_co]):
    """Work as a value: immutable, and building one runs nothing; each `await` runs it once more.

    asyncio sees a coroutine, so `create_task`, `TaskGroup`, `asyncio.run` and `asyncio.gather` take it. Dropped without
    ever having been run or composed, it warns as a coroutine does.
    """

    __name__: str
    __qualname__: str
    @property
    def cr_await(self) -> Any: ...
    @property
    def cr_code(self) -> CodeType | None: ...
    @property
    def cr_frame(self) -> FrameType | None: ...
    @property
    def cr_running(self) -> bool: ...
    @property
    def _made_of(self) -> tuple[Any, tuple[Any, ...] | None, dict[str, Any] | None, tuple[Effect[Any], ...] | None]: ...
    @property
    def _plan(self) -> Plan: ...
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    def map(self, f: Callable[[_T_co], _A], /) -> Effect[_A]:
        """An effect of `f(value)`."""

    def then(self, f: Callable[[_T_co], Effect[_A]], /) -> Effect[_A]:
        """An effect that goes on with the effect `f(value)`."""

    @overload
    def attempt(self, e: type[_X], /) -> Effect[Ok[_T_co] | Err[_X]]:
        """An effect whose value is `Ok(value)`, or `Err(error)` when it fails with one of these errors."""

    @overload
    def attempt(self, e: type[_X], e2: type[_Y], /) -> Effect[Ok[_T_co] | Err[_X | _Y]]: ...
    @overload
    def attempt(self, e: type[_X], e2: type[_Y], e3: type[_Z], /) -> Effect[Ok[_T_co] | Err[_X | _Y | _Z]]: ...
    def under(self, *policies: Policy[_D]) -> Effect[_T_co | _D]:
        """The same under more policies, the outermost first, around those it has."""

@final
class EffectFunction(Generic[_P, _T]):
    """The object that `effect` and `blocking` make of a function. Called, it gives an Effect; as a method it binds."""

    def __new__(
        cls, function: Callable[_P, object], plan: Plan, call: Callable[..., Awaitable[Any]] | None = None
    ) -> Self: ...
    @property
    def __code__(self) -> CodeType: ...
    @property
    def __defaults__(self) -> tuple[Any, ...] | None: ...
    @property
    def __kwdefaults__(self) -> dict[str, Any] | None: ...
    def __reduce__(self) -> str: ...
    @property
    def plan(self) -> Plan: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> Effect[_T]: ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> MethodType: ...

@final
class Stream(Generic[_T_co]):
    """Work that gives many items, as a value: immutable, and building one runs nothing.

    Each `async with` runs it once more and gives its items, an async iterator; leaving the block ends it, and waits for
    its cleanup. The work begins with the first pull.
    """

    __name__: str
    __qualname__: str
    @property
    def _made_of(self) -> tuple[Any, tuple[Any, ...] | None, dict[str, Any] | None, None]: ...
    @property
    def _plan(self) -> Plan: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    async def __aenter__(self) -> AsyncIterator[_T_co]: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __aiter__(self) -> AsyncIterator[_T_co]:
        """Runs it for a loop that reads it to its end: to leave earlier, write `async with`."""

    def under(self, *policies: Policy[_D]) -> Stream[_T_co | _D]:
        """The same under more policies, the outermost first, around those it has."""

@final
class StreamFunction(Generic[_P, _T]):
    """The object that `stream` makes of a function. Called, it gives a Stream; as a method it binds."""

    def __new__(cls, function: Callable[_P, object], plan: Plan) -> Self: ...
    def __reduce__(self) -> str: ...
    @property
    def plan(self) -> Plan: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> Stream[_T]: ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> MethodType: ...

@final
class Over:
    """The close of a stream that has ended already."""

    def __await__(self) -> Generator[Any, Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class Items(AsyncIterator[_T_co]):
    """The items of one run of a stream."""

    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @property
    def cr_await(self) -> Any: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Self: ...
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    def aclose(self) -> Awaitable[None]: ...
    def _tells(self, waiter: object, /) -> None: ...

@final
class Layer:
    """One policy as the engine runs it."""

    @staticmethod
    def timeout(seconds: float, /) -> Layer: ...
    @staticmethod
    def idle(seconds: float, /) -> Layer: ...
    @staticmethod
    def retry(
        on: object,
        until: Callable[[Any], object] | None,
        attempts: int | None,
        backoff: tuple[float, float, float, str] | Callable[[int], object],
        max_retry_after: float,
        budget: BudgetState | None,
        /,
    ) -> Layer: ...
    @staticmethod
    def limit(permits: LimitState, key: Callable[..., object] | None, /) -> Layer: ...
    @staticmethod
    def rate(rates: RateState, key: Callable[..., object] | None, cost: Callable[..., float] | None, /) -> Layer: ...
    @staticmethod
    def breaker(circuit: BreakerState, on: object, key: Callable[..., object] | None, /) -> Layer: ...
    @staticmethod
    def cache(store: CacheState, key: Callable[..., object] | None, /) -> Layer: ...
    @staticmethod
    def fallback(to: Callable[..., object], name: str, by_arguments: bool, on: object, /) -> Layer: ...
    @staticmethod
    def chaos(state: ChaosState, make: Callable[[], Exception], /) -> Layer: ...
    @staticmethod
    def hedge(hedge: HedgeState, key: Callable[..., object] | None, /) -> Layer: ...

@final
class ChaosState:
    """The state of a chaos. Delays are between `least` and `most` seconds."""

    def __new__(
        cls,
        *,
        fail: float,
        hang: float,
        slow: float,
        least: float,
        most: float,
        seed: int,
        error: type[Exception] | None,
    ) -> Self: ...
    def enter(self) -> bool:
        """Turns it on. True: it was off."""

    def leave(self) -> bool:
        """Turns it off, unless it was entered more often. True: it is off."""

    def figures(self) -> tuple[int, int, int, int]:
        """The calls since it was turned on; those that failed, were delayed, and hung."""

@final
class WorkProgress:
    """The progress of a `Work` of that name, for metrics and the live page."""

    def __new__(cls, name: str, /) -> Self: ...
    def add(self) -> None:
        """An item was added."""

    def take(self) -> None:
        """An item's result was taken."""

@final
class RateState:
    """The state of a rate limit."""

    def __new__(
        cls, n: float, per: float, burst: float | None, max_wait: float | None, name: str | None, /
    ) -> Self: ...
    @property
    def keys(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    def charge(self, cost: float, key: object, /) -> None: ...
    def pause(self, seconds: float, key: object, /) -> None: ...
    def change(self, n: float, per: float, /) -> None: ...
    def after_fork(self) -> None: ...

@final
class BreakerState:
    """The state of a circuit breaker."""

    def __new__(
        cls,
        *,
        name: str | None,
        failures: int | None,
        failure_rate: float,
        minimum_calls: int,
        slow_call: float | None,
        slow_rate: float,
        window: float,
        cooldown: tuple[float, float, float, str],
        probes: int,
    ) -> Self: ...
    @property
    def keys(self) -> int: ...
    def state(self, key: object, /) -> Literal["closed", "open", "half_open", "isolated"]: ...
    def isolate(self, key: object, /) -> None: ...
    def reset(self, key: object, /) -> None: ...
    def open(self, key: object, /) -> None: ...
    def after_fork(self) -> None: ...

@final
class HedgeState:
    """The state of a hedge."""

    def __new__(
        cls, after: float | None, percentile: float, attempts: int, budget: BudgetState | None, name: str | None, /
    ) -> Self: ...
    @property
    def keys(self) -> int: ...
    def delay(self, key: object, /) -> float | None: ...
    def statistics(self) -> dict[str, int]: ...

@final
class CacheState:
    """The state of a cache."""

    def __new__(cls, ttl: float, stale: float, max_size: int, name: str | None, /) -> Self: ...
    def functions(self) -> list[object]: ...
    def invalidate(self, key: tuple[object, ...], /) -> None: ...
    def clear(self) -> None: ...
    def statistics(self) -> dict[str, int]: ...

@final
class BudgetState:
    """The state of a retry budget."""

    def __new__(cls, ratio: float, min_per_second: float, name: str | None, /) -> Self: ...

@final
class Calls:
    """Calls of one item each that become one call of a list."""

    def begin(self) -> tuple[list[Any], InheritedDeadline | None, PermitContext | None] | None:
        """The items, the latest of their deadlines if all have one, and what waits for the call of the list."""

    @property
    def receiver(self) -> Any: ...
    @property
    def waiting(self) -> int: ...
    def runs(self, task: Task[None], /) -> None: ...
    def answer(self, values: list[Any], /) -> None: ...
    def fail(self, error: BaseException, /) -> None: ...
    def land(self, _task: object = None, /) -> None: ...

@final
class Collector:
    """Collects the items of one batch function."""

    def __new__(
        cls,
        plan: Plan,
        size: int,
        of_method: bool,
        opens: Callable[[Calls], tuple[Callable[[], None], Callable[[], None], Callable[[], None] | None]],
        /,
    ) -> Collector: ...
    def __call__(self, *args: object) -> Handle[Any]: ...

@final
class Landing:
    """Where a flight ends."""

    @property
    def asked(self) -> bool: ...
    def flies(self, task: object, /) -> None: ...
    def permit_context(self) -> PermitContext: ...
    def gives(self, given: object, /) -> None: ...
    def succeed(self, value: object, /) -> None: ...
    def fail(self, exc: BaseException, /) -> None: ...
    def lose(self, _task: object = None, /) -> None: ...

@final
class LimitState:
    """The state of a concurrency limit."""

    def __new__(cls, n: int, max_waiting: int | None, shed: bool, name: str | None, keyed: bool = False, /) -> Self: ...
    @property
    def keys(self) -> int: ...
    def resize(self, n: int) -> None: ...
    def counts(self) -> tuple[int, list[int]]: ...
    def after_fork(self) -> None: ...

def slot(permits: LimitState, limit: object, key: object = None, /) -> Slot: ...

@final
class Slot(AbstractAsyncContextManager[None]):
    """`async with limit.slot():` holds a place for a block of code. It is entered once."""

    def __enter__(self) -> NoReturn: ...
    def __exit__(self, *_raised: object) -> None: ...
    def __aenter__(self) -> Coroutine[Any, Any, None]: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def __aexit__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, _kind: object, _error: object, _traceback: object, /
    ) -> Coroutine[Any, Any, None]: ...
    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    @property
    def cr_await(self) -> Any: ...
    def disown(self) -> None: ...

@final
class PermitContext:
    """The permits and the flight that wait for a task."""

    def here(self) -> PermitContext: ...
    def begin(self) -> None: ...
    def over(self) -> None: ...

@final
class Plan:
    """How an effect runs: its policies with their layers, outermost first, and its name."""

    def __new__(
        cls,
        policies: tuple[object, ...],
        layers: list[Layer],
        name: str,
        function: object = None,
        skip: int = 0,
        method: bool = False,
        arity: int | None = None,
        before_services: int | None = None,
        streams: bool = False,
    ) -> Self: ...
    @property
    def streams(self) -> bool: ...
    @property
    def added(self) -> int: ...
    @property
    def function(self) -> object: ...
    @property
    def skip(self) -> int: ...
    @property
    def method(self) -> bool: ...
    @property
    def arity(self) -> int | None: ...
    @property
    def before_services(self) -> int | None: ...
    @property
    def policies(self) -> tuple[object, ...]: ...
    @property
    def name(self) -> str: ...

def check_call(callable: object, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, /) -> None: ...  # noqa: A002
def own_name(name: str, /) -> None:
    """Says that the package gives this name itself: however many others there are, it is counted by its own."""

def call_stream(
    callable: Callable[..., object],  # noqa: A002
    args: tuple[object, ...],
    kwargs: dict[str, object] | None,
    plan: Plan,
    /,
) -> Stream[Any]: ...
def call_effect(
    callable: Callable[..., Awaitable[_T]],  # noqa: A002
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None,
    plan: Plan,
    /,
) -> Effect[_T]:
    """An effect of any callable that gives an awaitable."""

def gather_native(effects: list[Effect[_T]], /) -> Effect[list[_T]] | None:
    """One native effect of all results, when all of them are native."""

def race_native(effects: list[Effect[_T]], /) -> Effect[_T] | None:
    """One native effect of the first success, when all of them are native."""

def adopt(effect: Effect[Any], /) -> None:
    """It is a part of something now: one that is never come to, as its task was cancelled before, is not forgotten."""

def is_native(effect: Effect[Any], /) -> bool:
    """Whether it runs wholly on native workers."""

def start_without_task(effect: Effect[_T], /) -> Handle[_T] | None:
    """Starts one run of it by a handle alone: of a native one, or of a batched call. None: it needs a task."""

def start_without_tasks(effects: list[Effect[_T]], started: list[Future[_T]], /) -> None:
    """Starts them so, up to the first that needs a task, and adds the handles to `started`."""

# -- what one waits on ----------------------------------------------------------------------------------------------

def first_end(futures: list[Future[_T]], of_race: bool, /) -> Handle[Future[_T] | None]:
    """Ends with the first of them to decide: a failure in a gather, a success in a race. None: all ended, none did."""

@final
class Handle(Generic[_T_co]):
    """Work that has started; it is an asyncio Future to all of asyncio."""

    @property
    def _asyncio_future_blocking(self) -> bool: ...
    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value: bool) -> None: ...
    @property
    def _task(self) -> Task[Any] | None: ...
    @property
    def _under_way(
        self,
    ) -> tuple[str, float, Literal["running", "waiting", "backing off", "falling back"], str | None] | None: ...
    def _awaited_here(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __iter__(self) -> Generator[Any, Any, _T_co]: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    def cancel(self, msg: str | None = None) -> bool: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def result(self) -> _T_co: ...
    def exception(self) -> BaseException | None: ...
    def get_loop(self) -> AbstractEventLoop: ...
    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None: ...
    def remove_done_callback(self, fn: Callable[[Self], object], /) -> int: ...

@final
class Run:
    """One await of an effect."""

    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @property
    def cr_await(self) -> Any: ...
    @property
    def cr_code(self) -> CodeType | None: ...
    @property
    def cr_frame(self) -> FrameType | None: ...
    @property
    def cr_running(self) -> bool: ...
    @property
    def _under_way(
        self,
    ) -> tuple[str, float, Literal["running", "waiting", "backing off", "falling back"], str | None, int] | None: ...
    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    def _close_stream(self) -> Self: ...

@final
class Job:
    """A call of a blocking function, on its way to a thread and back."""

    def __new__(
        cls,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str,
        ask: Callable[[], object] | None = None,
        /,
    ) -> Self:
        """Of a call of another process `ask` is called when it is to end. It answers in any case."""

    @property
    def fn(self) -> Callable[..., Any]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def kwargs(self) -> dict[str, Any]: ...
    @property
    def name(self) -> str: ...
    @property
    def context(self) -> Context: ...
    @property
    def handle(self) -> Handle[Any]: ...
    @property
    def abandoned(self) -> bool: ...
    def begin(self) -> bool:
        """To be asked on the thread before the call: False if it was cancelled meanwhile."""

    def succeed(self, value: Any, /) -> None: ...
    def fail(self, exc: BaseException, /) -> None: ...

@final
class Jobs(Generic[_T]):
    """Jobs that wait for a thread, the most urgent first."""

    def __new__(cls) -> Self: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def put(self, item: _T, priority: int | None = None, /) -> None: ...
    def take(self) -> _T | None: ...
    def take_all(self) -> list[tuple[int, _T]]: ...

# -- where code runs ------------------------------------------------------------------------------------------------

@final
class InheritedDeadline:
    """A deadline, so many seconds from now, of a block in the code of that name."""

    def __new__(cls, seconds: float, name: str, /) -> Self: ...
    def expired(self) -> bool: ...
    def remaining(self) -> float: ...

@final
class OwnCancel:
    """The cancel with which a limit may end a block of its task; made in the task, as the block begins."""

    def __new__(cls, task: Task[Any], /) -> Self: ...
    def send(self) -> None: ...
    def settle(self, error: BaseException | None, /) -> bool:
        """Take the cancel back, if it was sent, as the block ends. True: `error` is the answer to it."""

deadline_var: ContextVar[InheritedDeadline | None]
#: The runtime that the current code runs in.
priority_var: ContextVar[int]
permit_context_var: ContextVar[PermitContext | None]
scope_var: ContextVar[Scope | None]
#: The runtime whose accepted work the current code descends from.
accepted_var: ContextVar[Scope | None]
serving_var: ContextVar[Scope | None]

def current_deadline() -> InheritedDeadline | None:
    """The earliest deadline over the current code."""

@disjoint_base
class Scope:
    """The native part of a Runtime."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    @property
    def _number(self) -> int:
        """No other runtime of the process has it."""

    @property
    def _phase(self) -> int: ...
    @_phase.setter
    def _phase(self, value: int) -> None: ...
    def submit(self, effect: Effect[_T], /, *, name: str | None = None) -> Handle[_T]:
        """Starts it now; the runtime owns it, goes on when the handle is dropped, and drains it at shutdown."""

    def _setup(self, workers: int | None = None, max_in_flight: int | None = None) -> None: ...
    def _admits(self) -> bool: ...
    def _refusal(self, effect: str, verb: str) -> BaseException: ...
    def _refuse_queued(self) -> bool: ...
    def _after_fork(self) -> None: ...
    def _own(self, task: Task[Any]) -> None: ...
    def _enter(self) -> None: ...
    def _leave(self) -> None: ...
    def _in_flight(self) -> list[Handle[Any] | Task[Any]]: ...
    def _end_workers(self, timeout: float) -> bool: ...

#: The phases of a Scope, in their order: new, running, draining, cancelling, closed.
PHASES: tuple[int, int, int, int, int]

def current_scope() -> Scope | None:
    """The runtime of the current code: by context variable, else by the running loop."""

def statistics() -> dict[str, int]: ...
def fallback_statistics() -> dict[str, dict[str, int]]: ...
def stream_statistics() -> dict[str, tuple[int, int, float]]:
    """By name: streams that are open, items, and the p50 in seconds of the time to the first item."""

def effect_statistics() -> dict[str, tuple[int, int, int, int, int, int, int, int, float, float]]: ...
def forget_unused_names() -> None: ...
def count_effects(on: bool, /) -> None: ...
def counts_gained() -> list[tuple[str, list[int], int, list[tuple[int, int]]]]:
    """The counts that effects have gained since the last call. By name: the counts in the order of
    `effect_statistics`, the nanoseconds that runs took, and how many took as long as which bucket says.
    """

@final
class PoolFigures:
    """The figures of one pool of workers, from its first worker to its last."""

    def __new__(cls, name: str, /) -> Self: ...
    def now(self, workers: int, running: int, waiting: int, /) -> None: ...
    def add(self, lost: int, restarted: int, calls: list[int], /) -> None:
        """The calls have succeeded, failed, were cancelled, were lost, and refused."""

    def effects(self, gained: list[tuple[str, list[int], int, list[tuple[int, int]]]], /) -> None:
        """Adds what `counts_gained` gave in a worker."""

@final
class RouterFigures:
    """The figures of one router, for as long as the program has it."""

    def __new__(cls, name: str, /) -> Self: ...
    def command(self, name: str | None = None, /) -> CommandFigures:
        """Those of one command; of requests that name none, without a name."""

    def caller(self, caller: str, address: str, /) -> CallerFigures:
        """Those of one connection, until it is closed or dropped."""

    def here(self) -> CallerFigures:
        """Those of the program itself."""

@final
class CommandFigures:
    """The figures of one command."""

@final
class CallerFigures:
    """The figures of one caller, by which requests are counted."""

    def begin(self, command: CommandFigures, /) -> int:
        """A request has come. What it gives is passed to `succeeded` or `ended`, of which one is called, once."""

    def succeeded(self, command: CommandFigures, began: int, /) -> None: ...
    def ended(self, command: CommandFigures, began: int, end: str, /) -> None:
        """It has ended with an error. ValueError for an end that is none."""

    def refuse(self, command: CommandFigures, end: str, /) -> None:
        """A request was refused at once. ValueError for an end that is none."""

    def close(self) -> None:
        """The connection has ended."""

def record_lost(lines: int, /) -> None:
    """Counts lines of recorded requests that were not written."""

def metrics_text(*, openmetrics: bool) -> str:
    """All figures, as a scrape has them."""

def metrics_catalogue() -> list[tuple[str, str, list[str], str]]:
    """Of each metric: its name, kind, labels and meaning."""

def log_change(level: int, message: str, /) -> None:
    """Logs a policy's change, and shows it on the live page."""

def note_failure(effect: str, kind: str, message: str, traceback: str, /) -> None: ...

@final
class Dashboard:
    """The server of a live page; it ends with `close`."""

    def __new__(cls, address: str, token: str, program: str, tick: float, /) -> Self:
        """`tick`: the seconds between two states of the page."""

    @property
    def url(self) -> str: ...
    @property
    def made_token(self) -> bool: ...
    def push(
        self, services: Mapping[str, tuple[str, str | None]], shutdown: str, ready: bool, late: float | None, /
    ) -> None: ...
    @property
    def watched(self) -> bool:
        """A page is open."""

    def set_workers(self, workers: str, /) -> None:
        """By pool, as JSON."""

    def close(self) -> None: ...

@final
class Tracing:
    """The application's tracing. Ended spans are added to `ended`, which `first` and `many` have emptied."""

    def __new__(
        cls,
        *,
        current: tuple[object, str] | None,
        fates: tuple[int, int, int],
        start: Callable[[str], object],
        attach: Callable[..., object],
        detach: Callable[..., None],
        ended: list[Any],
        first: Callable[[], None],
        many: Callable[[], None],
    ) -> Self: ...

def trace(tracing: Tracing | None, /) -> None:
    """Spans are made so from now on; with None no longer."""

def ask_for_tracing() -> None:
    """Whether there is tracing is asked again."""

def spans_dropped(n: int) -> None:
    """So many spans were ended and will not be exported."""

def before_fork() -> None:
    """No program is started from now on until `after_fork_in_parent`."""

def after_fork_in_parent() -> None: ...
def after_fork() -> None: ...
def current_permit_context() -> PermitContext | None: ...
def has_priorities() -> None: ...
def bind(**names: object) -> None: ...

# -- files ----------------------------------------------------------------------------------------------------------

@final
class Entry:
    """One entry of a folder."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def is_file(self) -> bool: ...
    @property
    def is_dir(self) -> bool: ...
    @property
    def is_symlink(self) -> bool: ...
    @property
    def modified(self) -> float: ...

@final
class Batches(Generic[_T_co]):
    """Items that threads find, batch by batch, in the order in which they find them."""

    def next(self) -> Effect[list[_T_co] | None]: ...
    def take_notes(self) -> list[tuple[str, bool]]:
        """The notes since the last call, each with whether it is a warning."""

    def close(self) -> None: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Beneath:
    """A path beneath a root. The functions of files take it in place of a path; it is none to Python."""

    def __new__(cls, root: str, path: _StrPath, by_steps: bool, /) -> Self: ...
    @property
    def path(self) -> _StrPath: ...

@final
class Change:
    """A difference of a tree that is watched: its path was "made", "changed" or "removed".

    An "overflow" says that changes at the path or below it were lost, or cannot be seen there: look at it again.
    """

    def __new__(cls, path: _StrPath, kind: Literal["made", "changed", "removed", "overflow"]) -> Self: ...
    __match_args__ = ("path", "kind")
    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> Literal["made", "changed", "removed", "overflow"]: ...

def fs_watch(root: _StrPath, settle: float, ignore_files: bool, existing: bool, /) -> Batches[tuple[Change, ...]]: ...
def fs_walk(root: _StrPath, ignore_files: bool, follow_symlinks: bool, /) -> Batches[Entry]: ...
def fs_glob(pattern: str, root: _StrPath, ignore_files: bool, follow_symlinks: bool, /) -> Batches[Entry]: ...
def fs_walk_beneath(place: _StrPath, pattern: str | None, /) -> Batches[Entry]:
    """`place` is a `Beneath`."""

@overload
def fs_read(path: _StrPath, encoding: None = None, errors: None = None, /) -> Effect[bytes]: ...
@overload
def fs_read(path: _StrPath, encoding: str, errors: str, /) -> Effect[str]: ...
def fs_read_many(paths: list[_StrPath], /) -> Effect[list[bytes]]: ...
def fs_write(path: _StrPath, data: bytes, durable: bool, text: bool, /) -> Effect[None]: ...
def fs_hash(path: _StrPath, algorithm: str, /) -> Effect[bytes]: ...
def fs_stat(path: _StrPath, follow_symlinks: bool, /) -> Effect[Entry]: ...
def fs_mkdir(path: _StrPath, parents: bool, exist_ok: bool, /) -> Effect[None]: ...
def fs_remove(path: _StrPath, tree: bool, missing_ok: bool, /) -> Effect[None]: ...
def fs_append(path: _StrPath, data: bytes, durable: bool, /) -> Effect[None]: ...
def fs_copy(source: _StrPath, target: _StrPath, durable: bool, /) -> Effect[None]: ...
def fs_move(source: _StrPath, target: _StrPath, durable: bool, /) -> Effect[None]: ...
def fs_private_folder(path: _StrPath, /) -> Effect[None]: ...
def fs_remove_private(path: _StrPath, /) -> Effect[None]: ...
def fs_remove_private_now(path: _StrPath, /) -> None: ...

@final
class OpenFile:
    """A file that is open."""

    @property
    def position(self) -> int | None: ...
    def read(self, size: int, /) -> Effect[bytes]: ...
    def write(self, data: bytes, /) -> Effect[None]: ...
    def seek(self, offset: int, from_end: bool, /) -> Effect[int]: ...
    def truncate(self, size: int, /) -> Effect[None]: ...
    def close(self, keep: bool, durable: bool, /) -> Effect[None]: ...

def fs_open(path: _StrPath, mode: str, /) -> Effect[OpenFile]: ...

@final
class Locked:
    """A lock on a file, held until it is released."""

    def release(self) -> None: ...

def fs_lock(path: _StrPath, shared: bool, wait: bool, /) -> Effect[Locked]: ...

# -- searches -------------------------------------------------------------------------------------------------------

@final
class Match:
    """A line that matches, or with `multiline` a run of lines.

    `line` is the number of the first, counted from 1; `column` is where the match begins in it, in bytes, counted from
    0. `text`, and the lines `before` and `after` it, have no line ends. Bytes that are no UTF-8 are surrogate-escaped,
    in `path`, too.

    Of more than 8 KiB, `text` is a part that begins with or before the match: `cut` is then how many bytes are left out
    before and after it, and None otherwise.
    """

    def __new__(
        cls,
        path: _StrPath,
        line: int,
        column: int,
        text: str,
        before: Sequence[str] = ...,
        after: Sequence[str] = ...,
        cut: tuple[int, int] | None = None,
    ) -> Self: ...
    __match_args__ = ("path", "line", "column", "text", "before", "after", "cut")
    @property
    def path(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def before(self) -> tuple[str, ...]: ...
    @property
    def after(self) -> tuple[str, ...]: ...
    @property
    def cut(self) -> tuple[int, int] | None: ...

@final
class Search:
    """A search that has not begun."""

    def __new__(cls, pattern: str, root: _StrPath, options: Mapping[str, object], /) -> Self: ...
    def begin(self) -> Batches[Match]: ...

# -- HTTP -----------------------------------------------------------------------------------------------------------

@final
class Headers(Mapping[str, str]):
    """The headers of an answer: a mapping that takes names in any case. Several values of one name are one, with
    commas."""

    def __getitem__(self, name: str, /) -> str: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...
    @overload
    def get(self, name: str, default: _T, /) -> str | _T: ...
    def all(self, name: str, /) -> list[str]:
        """All values of one name, as they came."""

@final
class Response:
    """A whole answer."""

    @property
    def status(self) -> int: ...
    @property
    def url(self) -> str:
        """The address that answered, after redirects."""
    @property
    def method(self) -> str:
        """The method of the request that was answered, after redirects."""
    @property
    def version(self) -> str:
        """Of HTTP: "1.0", "1.1" or "2"."""
    @property
    def headers(self) -> Headers: ...
    @property
    def content(self) -> bytes:
        """The body, unpacked."""
    @property
    def text(self) -> str:
        """The body by the charset of its Content-Type, or as UTF-8; what cannot be read is replaced."""
    def json(self) -> Any:
        """The body as JSON, as `json.loads` reads it. Raises ValueError where it is none.

        Of a body of more than 256 KB whose type is JSON, the value was built before the answer came, and the first call
        hands it out. Each further call reads the body anew.
        """
    @property
    def retry_after(self) -> float | None:
        """The wait that the server asks for, in seconds."""
    @property
    def repeatable(self) -> bool:
        """To send its request twice does no harm, by its method or by its Idempotency-Key."""
    def raise_for_status(self) -> Self:
        """The answer itself. Raises StatusError for a status of 400 or above."""

@final
class HttpClient:
    def __new__(
        cls,
        *,
        base: str,
        headers: list[tuple[str, str]],
        http2: bool,
        connections: int,
        per_host: int,
        redirects: int,
        max_body: int,
        proxy: str | None,
        ca: _StrPath | None,
        cert: tuple[_StrPath, _StrPath] | None,
        public_only: bool,
        cookies: bool,
    ) -> Self: ...
    def request(
        self, method: str, url: str, headers: list[tuple[str, str]] | None, body: bytes | None, check: bool, /
    ) -> Effect[Response]: ...
    def open(
        self, method: str, url: str, headers: list[tuple[str, str]] | None, body: bytes | None, check: bool, /
    ) -> Effect[HttpBody]: ...
    def download(
        self,
        url: str,
        to: _StrPath,
        headers: list[tuple[str, str]] | None,
        resume: bool,
        progress: Progress | None,
        /,
    ) -> Effect[int]: ...
    def connections(self) -> tuple[int, int]: ...
    def close(self) -> None: ...

@final
class Progress:
    def __init__(self) -> None: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int | None: ...

@final
class HttpBody:
    @property
    def status(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
    def next(self) -> Effect[bytes | None]: ...
    def close(self) -> None: ...

def http_answers_with(answer: Callable[..., object] | None, /) -> Callable[..., object] | None: ...
def close_idle() -> None: ...
def http_progressed(progress: Progress, size: int, /) -> None: ...
def needs(feature: str, /) -> None: ...
def http_response(
    method: str, url: str, status: int, headers: list[tuple[str, str]], body: bytes, repeatable: bool, /
) -> Response: ...
def http_transient_is(function: Callable[[Exception], bool | float], /) -> None: ...

# -- processes ------------------------------------------------------------------------------------------------------

@final
class Completed:
    """A program that has run to its end.

    `returncode` is its exit code, or the signal that ended it as a negative number.
    """

    def __new__(cls, returncode: int = 0, stdout: bytes = b"", stderr: bytes = b"") -> Self: ...
    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...

@final
class Child:
    """A process that lives. Dropped, its group is killed."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def signal(self, number: int, /) -> None:
        """To the whole group. ProcessLookupError when it is over."""

    def resize(self, columns: int, rows: int, /) -> None:
        """Of a terminal: ValueError for what is no size, ProcessLookupError when it is over."""

    def screen(self) -> str:
        """Of a terminal: a line for each row."""

    @overload
    def next(self, part: Literal["line", "chunk"], /) -> Effect[bytes | None]:
        """The next of its stdout; None at the end."""

    @overload
    def next(self, part: Literal["lines"], /) -> Effect[list[bytes] | None]: ...
    def watch_output(self, part: Literal["line", "chunk"], stderr: bool, /) -> Handle[bytes | None]:
        """The next of what it writes, for code that watches it: virtual time does not wait for it, nor does a drain."""

    def watch_end(self, waits: bool = False, /) -> Handle[int]:
        """Its exit code; with `waits`, virtual time waits for it."""

    def send(self, data: bytes, /) -> Effect[None]: ...
    def close_stdin(self) -> Effect[None]: ...
    def wait(self) -> Effect[int]: ...
    def end(self, grace: float, /) -> Handle[None]:
        """SIGTERM to the group, SIGKILL after `grace` seconds; done when it has been reaped. It has begun already."""

@final
class Screen:
    """The screen of a terminal whose program a test plays."""

    def __new__(cls, columns: int, rows: int, /) -> Self: ...
    def draw(self, data: bytes, /) -> bytes:
        """Draws what the program writes: what the terminal answers to it."""

    def resize(self, columns: int, rows: int, /) -> None: ...
    def text(self) -> str:
        """A line for each row."""

def process_run(
    argv: tuple[_StrPath, ...],
    data: bytes | None,
    check: bool,
    cwd: _StrPath | None,
    env: list[tuple[str, str]] | None,
    max_output: int | None,
    /,
) -> Effect[Completed]: ...
def process_open(
    argv: tuple[_StrPath, ...],
    cwd: _StrPath | None,
    env: list[tuple[str, str]] | None,
    stderr: bool,
    owner: int | None,
    /,
) -> Effect[Child]:
    """Without `stderr` it goes where this process's goes. A sweep of `owner` kills it."""

def process_worker(argv: tuple[_StrPath, ...], socket: int, stderr: int, owner: int | None, /) -> Effect[Child]:
    """A copy of `socket` is its stdin, and one of `stderr` its stderr; its stdout goes where this process's goes."""

def process_terminal(
    argv: tuple[_StrPath, ...], cwd: _StrPath | None, columns: int, rows: int, owner: int | None, /
) -> Effect[Child]:
    """On a terminal, in a session of its own. ValueError for what is no size."""

def sweep_groups(owner: int | None = None, /) -> list[tuple[int, str]]:
    """Kills the groups that were opened under `owner`, or all: their numbers and command lines."""

# -- the engine's clock, and when it may be moved ------------------------------------------------------------------

def now() -> int:
    """Nanoseconds on the engine's clock."""

def take_over() -> bool:
    """Makes the engine's clock virtual; False if it is already."""

def hand_back() -> None:
    """Lets real time go on from where virtual time stands."""

def advance(nanos: int, /) -> None:
    """Moves virtual time on by so much, and wakes what comes due."""

def next_deadline() -> int | None:
    """Nanoseconds to the engine's next deadline, 0 when it is due."""

def at_work() -> int:
    """The number of threads whose work a caller waits for: native work, or a blocking function."""

def at_rest(but: int, /) -> bool:
    """Whether native work, but for so many threads, waits for nothing but time. What may be about to gets a moment."""

# -- for tests and benchmarks ---------------------------------------------------------------------------------------

def trial_noop(value: int = 0, /) -> Effect[int]:
    """Gives the value back, from a native worker."""

def trial_sleep(seconds: float, /) -> Effect[None]:
    """Sleeps on the engine's clock."""

def trial_panic() -> Effect[None]:
    """Panics on a native worker."""

def trial_tick(path: str, seconds: float, /) -> Effect[None]:
    """Appends a byte to the file each so many seconds, until it is cancelled."""

def trial_fail(errno: int, /) -> Effect[None]:
    """Fails with that OSError."""
