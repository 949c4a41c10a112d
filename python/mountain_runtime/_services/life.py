"""One life of a service: its context manager entered and left in one task, as scopes and task groups in it demand."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from .._effect.need import shown
from .._tasks.cuts import STOPS
from ..errors import ConfigError
from .graph import Make

__all__ = ["Life", "Spawn", "check_value"]

#: Starts a task in the runtime's context.
Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Life:
    """Enters at once. `up` is done when it has a value, or fails with the reason; the task ends when it has been left.

    1. The task enters the manager, checks the value, and makes it known.
    2. It waits until `ask` is called, and leaves. An error that reaches it while it waits, from a task group
       inside, goes through the manager as if the block had raised it.
    3. Asked before it is up, it is cancelled: the manager's own cleanup unwinds what it had done.
    """

    __slots__ = ("_asked", "_entered", "task", "up", "value")

    def __init__(self, key: object, make: Make, arguments: Mapping[str, Any], spawn: Spawn, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.value: Any = None
        self._entered = False
        self.up: asyncio.Future[None] = loop.create_future()
        self._asked: asyncio.Future[None] = loop.create_future()
        self.task = spawn(self._run(key, make, arguments), name)
        self.task.add_done_callback(self._ended)

    async def _run(self, key: object, make: Make, arguments: Mapping[str, Any]) -> None:
        manager: Any = make(**arguments)
        if not hasattr(cast("type[object]", type(manager)), "__aenter__"):
            if inspect.iscoroutine(manager):
                manager.close()
            raise ConfigError(
                f"{shown(make)}() gave {type(manager).__name__}, which is no async context manager: "
                f"decorate an async generator function with contextlib.asynccontextmanager"
            )
        async with manager as value:
            check_value(key, make, value)
            self.value, self._entered = value, True
            if not self.up.done():  # cancelled: the caller that waited has gone, and calls `ask`
                self.up.set_result(None)
            await self._asked

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if not self.up.done():
            self.up.set_exception(asyncio.CancelledError() if error is None else error)
            self.up.exception()  # the task raises it, so this one counts as retrieved
        if not self._asked.done():
            self._asked.cancel()

    @property
    def is_up(self) -> bool:
        """Whether it has a value, and neither has ended nor was asked to."""
        return self._entered and not self._asked.done()

    def ask(self) -> None:
        """Begins its end, which takes its own time."""
        if not self._entered:
            self.task.cancel(STOPS)
        elif not self._asked.done():
            self._asked.set_result(None)


def check_value(key: object, make: object, value: object) -> None:
    """A ConfigError if what `make` gave is not what `key` promises: an instance, or all members of a Protocol."""
    if not isinstance(key, type):
        return
    if getattr(key, "_is_protocol", False):
        lacks = sorted(name for name in _members(key) if not hasattr(value, name))
        if lacks:
            raise ConfigError(
                f"{shown(make)}() gave {type(value).__name__}, which is no {shown(key)}: it lacks {', '.join(lacks)}"
            )
    elif not isinstance(value, key):
        raise ConfigError(f"{shown(make)}() gave {type(value).__name__}, which is no {shown(key)}")


def _members(protocol: type) -> set[str]:
    """The names that a Protocol class asks for, its own and those of the protocols that it extends."""
    known: set[str] | None = getattr(protocol, "__protocol_attrs__", None)
    if known is not None:  # from 3.12 on
        return known
    found: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base.__name__ not in ("Protocol", "Generic"):
            names = {*vars(base), *getattr(base, "__annotations__", {})}
            found |= {name for name in names if not name.startswith(("_abc_", "_is_")) and name not in _NO_MEMBERS}
    return found


#: The names that each class of 3.11 has, or a Protocol class itself.
_NO_MEMBERS = frozenset(
    {*dir(type("Empty", (), {})), "__abstractmethods__", "__annotations__", "__parameters__", "__orig_bases__"}
    | {"__slots__", "__match_args__", "__class_getitem__", "__init__"}
)
