"""The errors of this package, as one tree.

    MountainError
    ├── Rejected                    the work was never started
    │   ├── QueueFull               ... because too many wait for a ConcurrencyLimit
    │   ├── RateLimited             ... because its turn at a RateLimit would come too late
    │   ├── CircuitOpen             ... because what it calls has failed too often
    │   ├── Reentered               ... because it would wait for itself; a RuntimeError
    │   ├── ShuttingDown            ... because its runtime stops
    │   ├── ServiceMissing          ... because a service that it needs is not provided, or not up
    │   └── NoWorkers               ... because its pool has no workers, and gets none
    ├── TimedOut, a TimeoutError    the work may have run, in part or to its end
    ├── WorkerLost                  the worker that had the work has ended; it may have run
    ├── RemoteError                 the work has run and failed, with an error that cannot be built here
    ├── PeerError                   the other end has answered a call with an error
    ├── NotAccepted                 the work has run, and gave no value that its Retry(until=...) accepts
    ├── ConfigError, a ValueError   a setting that cannot work, raised where it is written
    └── InternalError               a panic in the native core: a bug of ours

Each says which effect, which policy and which attempt. What an effect itself raises passes unchanged, as does
`asyncio.CancelledError`; what the operating system refuses comes as the builtin errors, with errno and filename.
"""

from typing import Any

__all__ = [
    "CircuitOpen",
    "ConfigError",
    "InternalError",
    "MountainError",
    "NoWorkers",
    "NotAccepted",
    "PeerError",
    "QueueFull",
    "RateLimited",
    "Reentered",
    "Rejected",
    "RemoteError",
    "ServiceMissing",
    "ShuttingDown",
    "TimedOut",
    "WorkerLost",
]


class MountainError(Exception):
    """Everything that this library raises of its own accord."""

    #: The effect's name; empty where there is none.
    effect: str
    #: The policy that decided, as it is written: `Timeout(2)`; of another effect, with that one's name.
    policy: str | None
    #: Counted from 1.
    attempt: int

    def __init__(self, message: str = "", *, effect: str = "", policy: str | None = None, attempt: int = 1) -> None:
        super().__init__(message)  # args are the message alone, so that pickle and copy can build it anew
        self.effect = effect
        self.policy = policy
        self.attempt = attempt

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else ""
        if self.effect and self.effect not in message:
            return f"{self.effect}: {message}" if message else self.effect
        return message


class Rejected(MountainError):
    """The work was never started: it can be tried again without doing anything twice."""


class QueueFull(Rejected):
    """Too many wait for a limit already: shed load, try later, or let more wait."""


class RateLimited(Rejected):
    """The call's turn would come after its deadline, or after the limit's `max_wait`."""

    #: Seconds after which there may be room.
    retry_after: float = 0.0


class CircuitOpen(Rejected):
    """The dependency that the call needs has failed too often lately, and is left alone for a while."""

    #: Seconds after which it may be tried; infinite if it is isolated.
    retry_after: float = 0.0


class Reentered(Rejected, RuntimeError):
    """The call would wait for itself: for a limit whose holders all wait for it, or for a cached call that makes it."""


class ShuttingDown(Rejected):
    """The runtime stops, or has stopped, and takes no new work."""


class ServiceMissing(Rejected):
    """No runtime here provides a service that the call needs, or it is not up; or pass it as an argument."""


class NoWorkers(Rejected):
    """The pool of the call has no workers: they do not start, or none came in time. The message says why."""


class TimedOut(MountainError, TimeoutError):
    """Time ran out; the last failure before that, if there was one, is the `__cause__`.

    Of an inherited limit, `policy` names what set it: `Timeout(3) of effect 'checkout'`, `deadline(5) in 'main'`.
    """

    def __str__(self) -> str:
        if any(self.args):
            return super().__str__()
        what = f"{self.policy or 'its time'} ran out"
        where = f"{self.effect}: {what}" if self.effect else what
        count = "in its first attempt" if self.attempt == 1 else f"after {self.attempt} attempts"
        return f"{where} {count}; the work may have run: repeat only what may run twice, or give it more time"


class NotAccepted(MountainError):
    """A `Retry(until=...)` gave up: the last value, which it does not accept, is in `value`."""

    value: Any = None


class WorkerLost(MountainError):
    """The worker that had the call has ended: `Retry(on=WorkerLost)` outside of `On` says that it may run again."""

    #: Whether the function may have run, in part or to its end. A call that had not begun goes to another worker.
    may_have_run: bool = True


class RemoteError(MountainError):
    """The function failed on its worker with an error, or gave a value, that cannot be built anew here."""

    #: The name of the error's class, with its module.
    type: str = ""
    #: Its message.
    text: str = ""
    #: Its traceback there.
    traceback: str = ""


class PeerError(MountainError):
    """The other end of `mountain_runtime.rpc` has answered a call with an error."""

    def __init__(
        self,
        message: str = "",
        *,
        effect: str = "",
        policy: str | None = None,
        attempt: int = 1,
        code: int = -32603,
        data: Any = None,
    ) -> None:
        super().__init__(message, effect=effect, policy=policy, attempt=attempt)
        #: The kind of error: a number of JSON-RPC's, or of that program's.
        self.code = code
        #: More about the error, as JSON; None if there is none.
        self.data = data

    @property
    def message(self) -> str:
        """Its message, as it came."""
        return str(self.args[0]) if self.args else ""


class ConfigError(MountainError, ValueError):
    """A setting that cannot work; the message names it, the value, and what is allowed."""


class InternalError(MountainError):
    """The native core panicked. Other effects are not affected; please report it."""
