"""The services that code needs of its runtime: `Key`, `need`, and functions that get them when they are called."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

from .._native import EffectFunction
from .._tasks import scope as _scope
from ..errors import ConfigError, ServiceMissing
from ..policy._arguments import Injected
from ..policy._given import shown as _shown

__all__ = ["Key", "Need", "check_key", "filled", "lookup", "need", "needs", "on_thread", "shown", "without_needs"]

S = TypeVar("S")
T = TypeVar("T")

#: Of each need the place at which it may be passed, -1 if by name alone, and its key.
_Places = dict[str, tuple[int, Any]]


@final
class Key(Generic[S]):
    """Names a service where its type does not tell: `Key[Store]("primary")`. Keys of one name are one key."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        given = cast("object", name)
        if not isinstance(given, str) or not given:
            way = f": write Key[{given.__name__}]({given.__name__.lower()!r})" if isinstance(given, type) else ""
            raise ConfigError(f"Key({_shown(given)}): must be a name{way}")
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Key, self.name))

    def __repr__(self) -> str:
        return f"Key({self.name!r})"


class Need(Injected):
    """The value of `need`: a parameter's default until the function is called."""

    __slots__ = ("key",)

    def __init__(self, key: object) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"need({shown(self.key)})"

    if not TYPE_CHECKING:  # to type checkers it is the service

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"{self!r} has no attribute {name!r}: it is the default of a parameter, and becomes the service where "
                "the runtime calls the function: under @effect or @blocking, or given to provide(). Elsewhere write "
                "rt.get()"
            )


def need(key: Key[S] | Callable[..., S], /) -> S:
    """As a parameter's default: the service that the runtime provides under `key`, a type or a `Key`.

    Effects and blocking functions, methods too, get it when they begin; services get it when they start. A caller that
    passes the argument, as a test does, needs no runtime. A call in no runtime that provides it raises
    `errors.ServiceMissing`.
    """
    check_key(key, "need")
    return cast("S", Need(key))


def check_key(key: object, owner: str) -> None:
    """A ConfigError for an object that cannot name a service: functions make services, a class or a Key names them."""
    given = cast("Any", key)
    if isinstance(given, Key):
        return
    if given is Key or not callable(given) or inspect.isroutine(given) or isinstance(given, EffectFunction):
        raise ConfigError(f"{owner}({_shown(given)}): must be a type, or a Key('name')")


def shown(key: object) -> str:
    """A key as messages say it."""
    return key.name if isinstance(key, Key) else getattr(key, "__qualname__", repr(key))


def needs(fn: object) -> dict[str, Any]:
    """The keys of what `fn` needs, by parameter."""
    try:
        parameters = inspect.signature(cast("Any", fn)).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature needs nothing
        return {}
    return {each.name: each.default.key for each in parameters if isinstance(each.default, Need)}


def lookup(key: object, effect: str) -> Any:
    """The service under `key` of the current runtime, for the effect of that name."""
    services = getattr(_scope.current(), "_services", None)
    if services is None:
        raise ServiceMissing(
            f"effect '{effect}' was not started: it needs {shown(key)}, and there is no runtime here. Await it inside "
            f"`async with Runtime().provide(...)`, or pass the service as an argument",
            effect=effect,
        )
    return services.get(key, f"effect '{effect}' was not started", effect)


def filled(fn: Callable[..., T], name: str) -> Callable[..., T]:
    """`fn`, given what it needs and was not passed; `fn` itself, if it needs nothing."""
    places = _places(fn, name)
    if not places:
        return fn

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> T:
        return fn(*args, **kwargs, **_missing(places, args, kwargs, name))

    return call


def on_thread(start: Callable[..., T], fn: Callable[..., Any], name: str) -> Callable[..., T]:
    """`start(fn, ...)`, likewise: what `fn` needs is looked up here, where its runtime is known."""
    places = _places(fn, name)
    if not places:
        return start

    def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> T:
        return start(fn, *args, **kwargs, **_missing(places, args, kwargs, name))

    return call


def _missing(places: _Places, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The needs that are not among the arguments."""
    return {
        parameter: lookup(key, name)
        for parameter, (place, key) in places.items()
        if parameter not in kwargs and not 0 <= place < len(args)
    }


def _places(fn: Callable[..., Any], name: str) -> _Places:
    places: _Places = {}
    if not (found := needs(fn)):
        return places
    for place, parameter in enumerate(inspect.signature(fn).parameters.values()):
        if parameter.name in found:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise ConfigError(f"{name} needs {parameter.name}, which can be passed by position alone", effect=name)
            by_name = parameter.kind is parameter.KEYWORD_ONLY
            places[parameter.name] = (-1 if by_name else place, found[parameter.name])
    return places


def without_needs(fn: Callable[..., Any]) -> inspect.Signature:
    """The signature that callers see: frameworks that fill parameters have none of their own to find there."""
    signature = inspect.signature(fn)
    kept = [each for each in signature.parameters.values() if not isinstance(each.default, Need)]
    return signature.replace(parameters=kept)
