"""Support for the tests of services: services that log their events, and a runtime of them."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mountain_runtime import Key, Runtime, need

#: A time that never comes within a test.
LONG = 30.0


class Boom(Exception):
    """A failure of ours."""


class Log(list[str]):
    """The events, in order; and makers of services that record them."""

    def service(
        self,
        name: str,
        *needs: str,
        starting: Callable[[], Any] | None = None,
        stopping: Callable[[], Any] | None = None,
        value: Any = None,
    ) -> Callable[..., AbstractAsyncContextManager[Any]]:
        """`starting` and `stopping` are awaited or called at those moments, and may raise."""

        @asynccontextmanager
        async def make(**given: Any) -> AsyncGenerator[Any]:
            self.append(f"{name} starts")
            try:
                await _done(starting)
                self.append(f"{name} up")
                yield name if value is None else value
                self.append(f"{name} stops")
                await _done(stopping)
            except BaseException as error:
                self.append(f"{name}: {type(error).__name__}")
                raise
            finally:
                self.append(f"{name} gone")

        return needing(make, needs)

    def provided(self, runtime: Runtime, name: str, *needs: str, **how: Any) -> Runtime:
        """The same, under `Key(name)`."""
        return runtime.provide(Key[Any](name), self.service(name, *needs, **how))

    def of(self, *names: str) -> list[str]:
        """The events of these alone."""
        return [line for line in self if line.replace(":", "").split()[0] in names]


async def _done(what: Callable[[], Any] | None) -> None:
    if what is not None and asyncio.iscoroutine(given := what()):
        await given


def needing(make: Any, needs: tuple[str, ...]) -> Any:
    """A function whose signature says what it needs."""
    parameters = [
        inspect.Parameter(f"need_{name}", inspect.Parameter.KEYWORD_ONLY, default=need(Key[Any](name)))
        for name in needs
    ]
    make.__signature__ = inspect.Signature(parameters)
    return make


def fails(error: BaseException) -> Callable[[], Any]:
    """Raises it when called."""

    def raises() -> None:
        raise error

    return raises


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def stubborn(cancels: int = 3) -> None:
    """Takes none of the first cancels; the one after ends it, when the loop does."""
    for _ in range(cancels):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(LONG)
    await asyncio.sleep(LONG)
