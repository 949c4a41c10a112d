"""On: where a call runs."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, final

from ..errors import ConfigError
from ._base import Policy
from ._given import shown
from ._part import Part

if TYPE_CHECKING:
    from .._native import Layer
    from ..pools import Pool

__all__ = ["On"]


@final
class On(Policy):
    """The call runs on a worker of `pool`: what stands outside of it runs at the caller, what stands inside there.

    It stands in the list of @effect or @blocking, once. The function, its arguments and its result are pickled: the
    worker imports the module of the function. Each call is executed once; a worker that is lost meanwhile is
    `errors.WorkerLost`, and `Retry(on=WorkerLost)` outside of it says that it may run again.
    """

    __slots__ = ("_pool",)

    _stateful: ClassVar[bool] = False

    def __init__(self, pool: "Pool") -> None:
        if isinstance(pool, type) or not callable(getattr(pool, "_call", None)):
            raise ConfigError(f"On({shown(pool)}): must be a pool, such as pools.Processes()")
        self._pool = pool

    def __repr__(self) -> str:
        return f"On({self._pool.name})"

    def _call(  # pyright: ignore[reportUnusedFunction] - the leaf of a function under it
        self, remote: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Awaitable[Any]:
        call: Callable[..., Awaitable[Any]] = self._pool._call
        return call(remote, args, kwargs)

    def _part(self) -> Part:
        return Part(kind="on", text=repr(self), does=f"on a worker of {self._pool.name!r}; what follows runs there")

    def _layer(self) -> "Layer":
        raise ConfigError(f"{self!r} says where a function runs: write it in the list of @effect or @blocking")
