"""The live page of a runtime. The native server shows the counters; this module adds the state known only to Python."""

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .. import _native
from .._shutdown.report import Step
from ..errors import ConfigError
from . import _failures, _logs
from ._health import Health

__all__ = ["Page", "check"]

#: Seconds between two looks at the runtime. How late each comes is the loop's lag.
_EVERY = 0.25
#: So many looks, until those at workers while a page is open.
_WORKERS = 4
#: Seconds between two states of the page.
_TICK = 1.0

_log = _logs.logger("dashboard")


class Shown(Protocol):
    """The runtime's state that its page shows."""

    def health(self) -> Health: ...
    def _shutdown_so_far(self) -> "tuple[str, float, float, list[tuple[Step, bool]]] | None": ...


class Page:
    """Served from the beginning to `close`."""

    def __init__(self, runtime: Shown, address: str) -> None:
        self._runtime = runtime
        try:
            self._native = _native.Dashboard(address, secrets.token_urlsafe(18), _program(), _TICK)
        except ValueError as error:
            without_token = address.rpartition("@")[2]
            raise ConfigError(f"Runtime(dashboard={without_token!r}): {error}") from None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        #: Where a browser finds it, with its token.
        self.url = self._native.url
        if self._native.made_token:  # it is nowhere else: the operator must be able to read it
            _log.warning("the dashboard is at %s", self.url)
        else:
            _log.info("the dashboard is at %s", self.url.partition("?")[0])
        self._look(self._loop.time())

    def _look(self, planned: float) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_at(now + _EVERY, self._look, now + _EVERY)
        self.push(now - planned)

    def push(self, late: float | None = None) -> None:
        """Shows how everything is now; its failure is logged. `late`: by how many seconds the loop missed the timer."""
        try:
            health = self._runtime.health()
            services = {
                _failures.shown(name): (each.state, each.reason and _failures.shown(each.reason))
                for name, each in health.services.items()
            }
            self._native.push(services, json.dumps(self._shutdown()), health.ready, late)
            self._push_workers()
        except Exception:
            _log.exception("the dashboard cannot show how everything is")

    def _push_workers(self) -> None:
        pools = sys.modules.get("mountain_runtime.pools._shown")
        if pools is None or not self._native.watched:
            self._looks = 0
            return
        if self._looks % _WORKERS == 0:
            rows: Mapping[str, Any] = pools.workers()
            self._native.set_workers(json.dumps({_failures.shown(name): pool for name, pool in rows.items()}))
        self._looks += 1

    def _shutdown(self) -> Mapping[str, Any] | None:
        shutdown = self._runtime._shutdown_so_far()
        if shutdown is None:
            return None
        phase, began, deadline, steps = shutdown
        return {
            "phase": phase,
            "began": began,
            "deadline": deadline,
            "steps": {
                str(n): {
                    "name": _failures.shown(step.name),
                    "started": round(step.started, 3),
                    "took": round(step.took, 3),
                    "outcome": step.outcome if ended else "running",
                    "error": None
                    if step.error is None
                    else f"{type(step.error).__name__}: {_failures.said(step.error)}",
                }
                for n, (step, ended) in enumerate(steps)
            },
        }

    def close(self) -> None:
        """Stops serving."""
        if self._timer is not None:
            self._timer.cancel()
        self._native.close()


def check(address: object) -> None:
    """A ConfigError, if that can be no address. Whether its host is known shows when the runtime is entered."""
    shown = address
    if isinstance(address, str):
        shown = address.rpartition("@")[2]  # the token is in no message
        _, colon, port = shown.rpartition(":")
        if colon and port.isascii() and port.isdecimal() and int(port) < 65536:
            return
    raise ConfigError(
        f"Runtime(dashboard={shown!r}): must be a text such as '127.0.0.1:9600', "
        "or 'token@0.0.0.0:9600' to be seen from elsewhere"
    )


def _program() -> str:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(main).name if main else "python"
