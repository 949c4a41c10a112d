"""The services of a runtime: started in the order of their needs, stopped in reverse, each in a task of its own."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from . import _stacks
from ._graph import Provider, check, depths
from ._health import ServiceHealth
from ._life import Spawn
from ._need import shown
from ._service import Service
from ._shutdown import Clock, Steps, late
from .errors import ConfigError, ServiceMissing

__all__ = ["Services"]

#: Of a service's share of the time, the part after which it is cancelled.
_POLITE = 0.8
#: Even when there is no time left, a service that needs no more than that can end.
_LEAST = 0.02
#: Turns of the loop that a stop has before anybody looks at the clock.
_TURNS = 3


class Services:
    """Start: whoever has all it needs begins at once, so independent ones start in parallel.

    1. The graph is checked; a fault is a ConfigError, before the runtime is entered and anything started.
    2. Each waits for its needs, then enters its manager. The first error, or a cancel, stops the starting.
    3. Stop: each waits until nobody who needs it is left, then has its share of the time: what is left, divided by how
       many stop one after another from it on. Late, it is cancelled; later still, left behind and reported.
    """

    def __init__(self) -> None:
        self._providers: dict[Any, Provider] = {}
        self._services: dict[Any, Service] = {}

    def add(self, provider: Provider) -> None:
        """A ConfigError if there is one of that key."""
        if provider.key in self._providers:
            raise ConfigError(f"{provider.name} is provided twice: name one of them by a Key")
        self._providers[provider.key] = provider

    def any(self) -> bool:
        """Whether there are services."""
        return bool(self._providers)

    def check(self) -> None:
        """A ConfigError that prints the path, if the graph cannot work."""
        check(self._providers)

    def get(self, key: object, who: str) -> Any:
        """The value under `key` as callers get it now."""
        service = self._services.get(key)
        if service is None:
            what = (
                "is not started yet" if key in self._providers else f"is not provided: add .provide({shown(key)}, ...)"
            )
            raise ServiceMissing(f"effect '{who}' was not started: {shown(key)} {what}", effect=who)
        return service.current(who)

    def health(self) -> Mapping[str, ServiceHealth]:
        """Each by its name."""
        waiting = ServiceHealth("starting", None)
        return {
            provider.name: self._services[key].health() if key in self._services else waiting
            for key, provider in self._providers.items()
        }

    async def start(self, spawn: Spawn) -> None:
        """All are up; or the first error, with the others still to be stopped."""
        self._services = {key: Service(provider, spawn) for key, provider in self._providers.items()}
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(self._services)

        def note(task: "asyncio.Task[None]") -> None:
            nonlocal left
            left -= 1
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if not over.done():
                if error is not None:
                    over.set_exception(error)
                elif not left:
                    over.set_result(None)

        starting = [asyncio.create_task(self._bring_up(service)) for service in self._services.values()]
        for task in starting:
            task.add_done_callback(note)
        try:
            await over
        finally:
            for task in starting:
                task.cancel()
            if not over.done():
                over.cancel()

    async def _bring_up(self, service: Service) -> None:
        for key in service.provider.edges():
            await self._services[key].is_up.wait()
        await service.start(lambda key: self._services[key].current(service.provider.name))

    async def stop(self, clock: Clock, steps: Steps) -> None:
        """Each one's end is a step of its own."""
        if not self._services:
            return
        depth = depths(self._providers)
        dependents: dict[Any, list[Service]] = {key: [] for key in self._services}
        for service in self._services.values():
            for key in service.provider.edges():
                dependents[key].append(service)
        stopping = [
            asyncio.create_task(self._take_down(service, dependents[key], depth[key], clock, steps))
            for key, service in self._services.items()
        ]
        await asyncio.wait(stopping)
        for task in stopping:
            task.result()

    async def _take_down(
        self, service: Service, dependents: list[Service], depth: int, clock: Clock, steps: Steps
    ) -> None:
        for each in dependents:
            await each.has_stopped.wait()
        tasks = service.ask()
        name, began = f"stop {service.provider.name}", clock.now()
        share = min(max(clock.left() / depth, _LEAST), service.provider.stop_timeout)

        def until(part: float) -> float:
            return min(began + share * part, max(clock.end, began + _LEAST * part))

        outcome: Literal["done", "failed", "timed_out", "abandoned"] = "done"
        error: BaseException | None = None
        for _ in range(_TURNS):  # most are gone in a turn or two, without a timer
            await asyncio.sleep(0)
            if all(task.done() for task in tasks):
                break
        if not await clock.wait(tasks, lambda: until(_POLITE)):
            where = [line for task in tasks if not task.done() for line in _stacks.of_task(task)]
            for task in tasks:
                task.cancel()
            ended = await clock.wait(tasks, lambda: until(1))
            outcome, error = (
                ("timed_out", late(name, "it was cancelled", where))
                if ended
                else ("abandoned", late(name, "it was left behind", where))
            )
        failed = [failure for task in tasks if task.done() and not task.cancelled() and (failure := task.exception())]
        if error is None and (failed or service.crash is not None):
            outcome, error = "failed", failed[0] if failed else service.crash
        if tasks or error is not None:
            steps.record(name, began, outcome, error)
        service.stopped(error)
