"""Ray: a pool of workers on a Ray cluster."""

from collections.abc import Callable, Mapping
from typing import ClassVar, final

from .._runtime.runtime import Runtime
from ..errors import ConfigError
from ..policy._given import shown
from ..policy._numbers import count, number, seconds
from ._pool import Capabilities, Pool
from ._ray_engine import RayEngine
from ._settings import RaySettings, check_runtime

__all__ = ["Ray"]


@final
class Ray(Pool):
    """Workers on a Ray cluster, with the extra `ray`: one async actor a worker, with a whole Runtime.

    `address` is that of the cluster's head, such as "10.0.0.1:6379"; None starts a cluster of this machine. A program
    that has called `ray.init` itself keeps its connection. Connecting may take `connect_timeout` seconds, the start of
    a cluster or of the first worker `start_timeout`: then calls that wait are refused with `errors.NoWorkers`.

    `workers` may be a pair: so many are kept, and so many there are at most while calls wait; a worker that has had
    none for half a minute ends. Each asks for `resources` of its node, by default one CPU. `per_worker` calls run on
    one at a time.

    A worker that is killed, or whose node goes away, is `errors.WorkerLost` for the calls that it had, which may have
    run: each is executed once. Cancels and limits are those of `Processes`. Arrays arrive read-only.
    """

    _block = "pools.Ray()"
    capabilities: ClassVar[Capabilities] = Capabilities(apart=True, ends_functions=True, writable=False)

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | tuple[int, int] = 1,
        per_worker: int = 1,
        max_waiting: int = 100_000,
        resources: Mapping[str, float] | None = None,
        runtime: Callable[[], Runtime] | None = None,
        connect_timeout: float = 10,
        start_timeout: float = 60,
        name: str = "ray",
    ) -> None:
        super().__init__(name, max_waiting)
        owner = "Ray"
        if address is not None and "://" in address:
            raise ConfigError(f"Ray({address!r}): must be the address of a head, such as '10.0.0.1:6379'")
        least, most = workers if isinstance(workers, tuple) else (workers, workers)
        if count(most, owner, "workers") < count(least, owner, "workers", 0 if isinstance(workers, tuple) else 1):
            raise ConfigError(f"Ray(workers={workers!r}): the second number must not be less than the first")
        check_runtime(runtime, owner)
        self._settings = RaySettings(
            name,
            address,
            least,
            most,
            count(per_worker, owner, "per_worker"),
            _checked(resources or {}),
            runtime,
            seconds(connect_timeout, owner, "connect_timeout"),
            seconds(start_timeout, owner, "start_timeout"),
        )

    def __repr__(self) -> str:
        return f"Ray({self._settings.address!r}, name={self.name!r})"

    def _make(self) -> RayEngine:
        return RayEngine(self._settings)


def _checked(resources: Mapping[str, float]) -> dict[str, float]:
    try:
        given = [(name, value) for name, value in resources.items() if name.strip()]
        right = len(given) == len(resources)
    except (AttributeError, TypeError, ValueError):
        given, right = [], False
    if not right:
        raise ConfigError(f"Ray(resources={shown(resources)}): must be numbers by their names, such as {{'GPU': 1}}")
    return {name: number(value, "Ray", f"resources[{name!r}]", least=0) for name, value in given}
