"""Functions whose calls run elsewhere: what stands inside `On`, by the name that a worker finds it under.

A worker imports the module of a function and finds there what its decorator left in this register. So a call
names its function by module and name, and neither code nor policies travel.
"""

import functools
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from .._native import EffectFunction
from ..errors import ConfigError
from ..policy._base import Policy, plan
from ..policy.on import On
from .need import needs
from .version import version

__all__ = ["Remote", "cannot_be_found", "distant", "find", "known", "split"]


@dataclass(frozen=True, slots=True, eq=False)
class Remote:
    """A function under `On`, as its caller and its worker know it."""

    name: str
    module: str
    qualname: str
    fn: Callable[..., Any]
    #: The function under the policies inside `On`: its calls are effects.
    inner: Callable[..., Any]
    #: It is called on a thread,
    threads: bool
    #: and nothing stands inside `On`.
    plain: bool
    #: That of its module's code.
    version: int
    #: Its module and name, as they go with each call.
    where: bytes


_known: dict[tuple[str, str], Remote] = {}
#: Those that a worker can find, as was seen at their first call.
_found: set[Remote] = set()


def split(policies: tuple[Policy[Any], ...]) -> tuple[tuple[Policy[Any], ...], On, tuple[Policy[Any], ...]] | None:
    """The policies outside `On`, itself, and the policies inside; None without one."""
    flat = tuple(single for policy in policies for single in policy._flat())
    places = [at for at, policy in enumerate(flat) if isinstance(policy, On)]
    if not places:
        return None
    at = places[0]
    return flat[:at], cast("On", flat[at]), flat[at + 1 :]


def distant(
    fn: Callable[..., Any],
    parts: tuple[tuple[Policy[Any], ...], On, tuple[Policy[Any], ...]],
    name: str,
    make: Callable[[Callable[..., Any], tuple[Policy[Any], ...], str], Callable[..., Any]],
    *,
    threads: bool,
) -> Callable[..., Any]:
    """The function whose calls run on a pool; `make` makes of it what its worker calls."""
    outer, on, inner = parts
    if any(isinstance(policy, On) for policy in inner):
        raise ConfigError(f"{on!r} stands twice around {name}: a call runs in one place", effect=name)
    plain = threads and not inner and not needs(fn)
    module = cast("str", getattr(fn, "__module__", None) or "")
    qualname = cast("str", getattr(fn, "__qualname__", None) or name)
    where = f"{module}:{qualname}".encode()
    remote = Remote(name, module, qualname, fn, make(fn, inner, name), threads, plain, version(fn), where)
    _known[_main(module), qualname] = remote
    call = functools.partial(on._call, remote)
    return cast("Callable[..., Any]", EffectFunction(fn, plan(outer, name, fn, skip=1), cast("Any", _sent(call))))


def _sent(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    def send(_fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        return call(args, kwargs)

    return send


def known(module: str, qualname: str) -> Remote | None:
    """The function of a caller, where its module is imported already."""
    return _known.get((_main(module), qualname))


def find(module: str, qualname: str) -> Remote:
    """The function of a caller, as it is known here. Raises ImportError for one that is not there."""
    key = _main(module), qualname
    if (found := _known.get(key)) is None:
        import_module(module)  # waits for another thread that imports it
        found = _known.get(key)
    if found is None:
        raise ImportError(
            f"{module}.{qualname} is not under On where its module is imported: a worker finds functions that are "
            "decorated when their module is imported",
            name=module,
        )
    return found


def _main(module: str) -> str:
    """The module of the program has another name in a worker."""
    return "__main__" if module == "__mp_main__" else module


def cannot_be_found(remote: Remote) -> str | None:
    """Why a worker could not find it, if it could not."""
    if remote in _found:
        return None
    why = _why_not_found(remote)
    if why is None:
        _found.add(remote)
    return why


def _why_not_found(remote: Remote) -> str | None:
    where = f"{remote.module}.{remote.qualname}"
    if "<locals>" in remote.qualname:
        return f"{where} is made within another function: define it in a module, where a worker can import it"
    if "<lambda>" in remote.qualname:
        return f"{where} is a lambda: write a function with a name in a module, where a worker can import it"
    module = sys.modules.get(remote.module)
    if module is None:
        return f"its module {remote.module!r} is not one that a worker can import"
    if _main(remote.module) == "__main__" and not _has_file(module):
        return (
            f"{where} is of a program without a file, as an interactive session: put it in a module, where a worker "
            "can import it"
        )
    if _known.get((_main(remote.module), remote.qualname)) is not remote:
        return f"{where} was defined again since: a worker would call the other one"
    return None


def _has_file(module: object) -> bool:
    if getattr(module, "__spec__", None) is not None:
        return True
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not file.startswith("<") and Path(file).exists()
