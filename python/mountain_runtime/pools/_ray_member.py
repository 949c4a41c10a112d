"""One worker on Ray, as its engine knows it: how it is made, and its end in words."""

import logging
import pickle
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

from ..errors import NoWorkers
from . import _ray_cluster as cluster
from ._call import Call
from ._ray_actor import Actor

if TYPE_CHECKING:
    from ._settings import RaySettings

__all__ = ["Member", "actors", "hello", "words"]


class Member:
    """An actor."""

    def __init__(self, actor: Any, now: float) -> None:
        self.actor = actor
        self.pid = 0
        self.sent: dict[int, Call] = {}
        #: It takes calls.
        self.ready = False
        #: It takes no more, and ends after those that it has,
        self.retired = False
        #: or has ended.
        self.over = False
        #: Cancelled calls of which it has heard.
        self.stopping: set[int] = set()
        self.why = ""
        self.idle_since = now
        #: Calls that it was sent, ever.
        self.calls = 0

    @property
    def name(self) -> str:
        """Its words in messages. Its pid is known once it has started."""
        return f"worker {self.pid}" if self.pid else "a new worker"


def hello(settings: "RaySettings") -> bytes:
    """The first message to a worker: where the program is, and what makes its runtime."""
    prepared: dict[str, Any] = spawn.get_preparation_data(f"{settings.name} worker")
    wanted = {
        key: prepared[key] for key in ("sys_path", "init_main_from_name", "init_main_from_path") if key in prepared
    }
    try:
        runtime = pickle.dumps(settings.runtime, 5)
    except Exception as error:
        raise NoWorkers(f"runtime={settings.runtime!r} cannot be pickled: write a function in a module") from error
    return pickle.dumps((wanted, runtime, logging.getLogger().level), 5)


def actors(settings: "RaySettings") -> Any:
    """The actor's class, with what it asks of its node. Ray repeats no call, and starts no actor anew."""
    resources = dict(settings.resources)
    options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": settings.per_worker + 16}
    for ours, theirs in (("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory")):
        if ours in resources:
            options[theirs] = resources.pop(ours)
    options.setdefault("num_cpus", 1)
    return cluster.ray().remote(resources=resources, **options)(Actor)


def words(error: BaseException | None) -> str:
    """How a worker has ended, by what Ray says of it: its first line and its last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(dict.fromkeys((lines[0], lines[-1]))) if lines else type(error).__name__
