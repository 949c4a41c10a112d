"""The services of a runtime: started in the order of their needs, stopped in reverse, each in a task of its own."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from .._effect.need import check_key, shown
from .._shutdown.clock import POLITE, Clock
from .._shutdown.steps import Steps
from ..errors import ConfigError, ServiceMissing
from ..telemetry._health import ServiceHealth
from .graph import Provider, check, depths
from .life import Spawn
from .service import Service

__all__ = ["Services"]

#: Seconds that each service has to stop in, even where no time is left.
_LEAST = 0.02


class Services:
    """Each service starts as soon as all that it needs is up, so independent ones start in parallel.

    1. The graph is checked before the runtime is entered; a fault is a ConfigError.
    2. Each waits for its needs, then enters its manager. The first error, or a cancel, stops the starting.
    3. To stop, each waits until all that need it have stopped. Its share of the time is what is left, divided by the
       number of services that stop one after another from it on. Late in it, the service is cancelled; at its end, it
       is left behind and reported.
    """

    def __init__(self) -> None:
        self._providers: dict[Any, Provider] = {}
        self._services: dict[Any, Service] = {}
        #: Called when the health of a service has changed.
        self.changed: Callable[[], object] = lambda: None

    def add(self, provider: Provider) -> None:
        """Raises a ConfigError if a service of that key was added before."""
        if provider.key in self._providers:
            raise ConfigError(f"{provider.name} is provided twice: name one of them by a Key")
        self._providers[provider.key] = provider

    def any(self) -> bool:
        """Whether there are services."""
        return bool(self._providers)

    def check(self) -> None:
        """Raises a ConfigError that prints the path, if the graph cannot work."""
        check(self._providers)

    def get(self, key: object, who: str, effect: str = "") -> Any:
        """The value under `key` as callers get it now. Raises ServiceMissing with a message that begins with `who`."""
        service = self._services.get(key)
        if service is None:
            check_key(key, who.removesuffix("()"))
            what = (
                "is not started yet" if key in self._providers else f"is not provided: add .provide({shown(key)}, ...)"
            )
            raise ServiceMissing(f"{who}: {shown(key)} {what}", effect=effect)
        return service.current(who, effect)

    def health(self) -> Mapping[str, ServiceHealth]:
        """The health of each, by its name."""
        waiting = ServiceHealth("starting", None)
        return {
            provider.name: self._services[key].health() if key in self._services else waiting
            for key, provider in self._providers.items()
        }

    async def start(self, spawn: Spawn) -> None:
        """Returns when all are up. Raises the first error; the others then are still to be stopped."""
        self._services = {key: Service(provider, spawn, self.changed) for key, provider in self._providers.items()}
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
        await service.start(lambda key: self._services[key].current(f"service {service.provider.name} did not start"))

    async def stop(self, clock: Clock, steps: Steps) -> None:
        """Stops each in a step of its own."""
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
        began = clock.now()
        share = min(max(clock.left() / depth, _LEAST), service.provider.stop_timeout)

        def until(part: float) -> float:
            return min(began + share * part, max(clock.end, began + _LEAST * part))

        name, error = f"stop {service.provider.name}", service.crash
        try:
            if tasks := service.ask():
                ended = await steps.end(name, tasks, lambda: until(POLITE), lambda: until(1))
                error = error if ended is None else ended
            elif error is not None:
                steps.record(name, began, "failed", error)
        finally:  # in any case, the services that it needs may stop
            service.stopped(error)
