"""Replay: what was recorded of a router, run again, and what differs."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from .._effect.effect import effect
from .._native import Effect, own_name
from ..errors import ConfigError
from ..policy._given import shown
from ..policy._numbers import number
from ._commands.here import outcome_here
from ._messages.codes import CANCELLED, REJECTED, SHUTTING_DOWN, TIMED_OUT
from ._messages.json import encode
from ._record.reading import Outcome, Recorded, read
from ._record.record import LARGE, Redact, flush_all
from ._router import Router

__all__ = ["Difference", "replay"]

#: Codes of errors whose message names times and numbers of the moment.
_OF_THE_MOMENT = (REJECTED, TIMED_OUT)


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that has another outcome than it had."""

    request: Recorded
    #: None if none was recorded.
    then: Outcome | None
    now: Outcome


def replay(
    path: "str | os.PathLike[str]",
    router: Router,
    /,
    *,
    pace: float | None = None,
    only: "Callable[[Recorded], object] | None" = None,
    redact: Redact | None = None,
) -> "Effect[list[Difference]]":
    """Runs what `rpc.Record(path)` has of a router again, on this one: what differs, in the order of the record.

    Requests run one after another, each under the router's policies, as by `Router.call`; or, with `pace`, when they
    came, by the clock of the loop: 1 is as fast as they were, 10 ten times. `only` says which; without it, those that
    were answered. `redact` is that of the record: it is called with the outcomes of now, too. A replay is not recorded,
    and what the file has that is no record is passed over, with a warning.

    Results are the same when their JSON is, in any order of keys; errors when their code and class are, and the
    message, if it was not refused or timed out. Raises ConfigError for what is no pace, and OSError for a file that
    cannot be read.
    """
    if not isinstance(router, Router):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"replay(..., {shown(router)}): write replay(path, router)")
    if pace is not None and number(pace, "replay", "pace", least=0) == 0:
        raise ConfigError("replay(pace=0): 1 is as fast as the requests were; without it they run one after another")
    return _replayed(os.fspath(path), router, pace, only or _answered, redact)


def _answered(request: Recorded) -> bool:
    if request.outcome is None:
        return False
    error = request.outcome.error
    return error is None or error.get("code") not in (CANCELLED, SHUTTING_DOWN)


async def _replay(
    path: str, router: Router, pace: float | None, only: "Callable[[Recorded], object]", redact: Redact | None
) -> list[Difference]:
    await asyncio.to_thread(flush_all, path)
    requests = [each for each in await asyncio.to_thread(read, path) if only(each)]
    if pace is None:
        differ: list[Difference] = []
        for each in requests:
            if (found := await _again(each, router, redact)) is not None:
                differ.append(found)
            await asyncio.sleep(0)  # commands that wait for nothing do not hold the loop
        return differ
    if not requests:
        return []
    loop = asyncio.get_running_loop()
    begin, first = loop.time(), requests[0].at
    tasks: list[asyncio.Task[Difference | None]] = []
    async with asyncio.TaskGroup() as group:
        for each in requests:
            if (wait := begin + (each.at - first) / pace - loop.time()) > 0:
                await asyncio.sleep(wait)
            tasks.append(group.create_task(_again(each, router, redact)))
    return [found for task in tasks if (found := task.result()) is not None]


async def _again(request: Recorded, router: Router, redact: Redact | None) -> Difference | None:
    result, error = await outcome_here(router._table.commands.get(request.name), request.name, encode(request.params))
    if redact is not None:
        if error is not None:
            error = redact(request.name, error)
        elif result is not None:
            result = encode(redact(request.name, msgspec.json.decode(result)))
    if error is not None:
        now = Outcome(error=error)
    elif result is not None and len(result) > LARGE:
        now = Outcome(sha256=hashlib.sha256(result).hexdigest())
    else:
        now = Outcome(result=msgspec.json.decode(result or b"null"))
    return None if _same(request.outcome, now) else Difference(request, request.outcome, now)


def _same(then: Outcome | None, now: Outcome) -> bool:
    if then is None or (then.error is None) != (now.error is None):
        return False
    return _key(then) == _key(now)


def _key(outcome: Outcome) -> tuple[object, ...]:
    error = outcome.error
    if error is None:
        # As bytes: to Python, 1 and True and 1.0 are the same.
        return outcome.sha256, msgspec.json.encode(outcome.result, order="deterministic")
    data: object = error.get("data")
    kind: object = cast("dict[str, Any]", data).get("type") if isinstance(data, dict) else None
    code = error.get("code")
    return code, kind, None if code in _OF_THE_MOMENT else error.get("message")


own_name("rpc.replay")
_replayed = effect(name="rpc.replay")(_replay)
