"""Names and arguments that other pools have; each error says what to write here."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from .._effect.habits import Habits, no_argument

__all__ = ["PoolOnly"]

#: Arguments of concurrent.futures, multiprocessing, joblib, pebble and Ray, and what to write in their place.
_ARGUMENTS = {
    **dict.fromkeys(("max_workers", "processes", "n_jobs", "num_workers", "size"), "write workers="),
    **dict.fromkeys(("max_tasks_per_child", "maxtasksperchild", "max_tasks"), "write max_calls="),
    **dict.fromkeys(
        ("initializer", "initargs"),
        "write runtime=, a function that makes a Runtime: its services are what functions get by need()",
    ),
    **dict.fromkeys(("mp_context", "context"), "each worker is a new interpreter"),
    "num_cpus": "write workers=, and for what each takes of a node of Ray's resources={'CPU': n}",
    "num_gpus": "write resources={'GPU': n}",
    "runtime_env": "call ray.init(address, runtime_env=...) before: the pool uses that connection",
    "timeout": "write Timeout(seconds) before On(pool), in the list of the function",
}
_RUN = "write On(pool) in the list of the function, as @blocking(On(pool)), and await its call"
_EACH = "write On(pool) in the list of the function, and `async with amap(function, items) as results:`"
_END = "it ends with `async with pool:`, or with the runtime in which it was started"
#: Their methods.
_METHODS = {
    **dict.fromkeys(("submit", "schedule", "apply", "apply_async"), _RUN),
    **dict.fromkeys(("map", "imap", "imap_unordered", "map_async", "starmap", "starmap_async"), _EACH),
    **dict.fromkeys(("shutdown", "close", "terminate", "join", "stop"), _END),
}


class PoolOnly(Habits):
    """A pool that says so where one of another library is meant."""

    __slots__ = ()

    _ways: ClassVar[Mapping[str, str]] = _METHODS

    if not TYPE_CHECKING:  # type checkers say by themselves that there is no such argument

        def __init_subclass__(cls) -> None:
            _self, *parameters = inspect.signature(cls.__init__).parameters.values()
            cls.__signature__ = inspect.Signature(parameters)

        def __new__(cls, *_: object, **given: object) -> Self:
            for name in given:
                if name in _ARGUMENTS and name not in cls.__signature__.parameters:
                    raise no_argument(cls.__name__, (name,), _ARGUMENTS)
            return super().__new__(cls)
