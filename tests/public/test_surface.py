"""The public surface, pinned: every name, and the parameters that it takes. A change of one is made here too."""

import importlib
import inspect
import os
from typing import Any

import pytest

import mountain_runtime
from mountain_runtime import Effect, Handle, Runtime, _bind, _native, errors, fs, testing

NAMES = {
    "effect", "blocking", "batch", "Effect", "Ok", "Err",
    "gather", "race", "amap", "Work", "chunked", "deadline", "priority", "Priority",
    "stream", "Stream", "Idle",
    "Policy", "Timeout", "Retry", "Backoff", "constant", "exponential", "RetryBudget", "Fallback",
    "ConcurrencyLimit", "RateLimit", "CircuitBreaker", "Cache", "Hedge", "Pipeline", "On",
    "run", "Runtime", "Handle", "Shutdown", "ShutdownReport", "Step", "Dump", "Statistics", "EffectStatistics",
    "LimitStatistics", "Key", "need", "sidecar", "Health", "ServiceHealth", "errors", "fs", "http", "pools",
    "process", "rpc", "search",
}  # fmt: skip

ERRORS = {
    "MountainError": (Exception,),
    "Rejected": ("MountainError",),
    "QueueFull": ("Rejected",),
    "RateLimited": ("Rejected",),
    "CircuitOpen": ("Rejected",),
    "Reentered": ("Rejected", RuntimeError),
    "ShuttingDown": ("Rejected",),
    "ServiceMissing": ("Rejected",),
    "NoWorkers": ("Rejected",),
    "TimedOut": ("MountainError", TimeoutError),
    "WorkerLost": ("MountainError",),
    "RemoteError": ("MountainError",),
    "PeerError": ("MountainError",),
    "NotAccepted": ("MountainError",),
    "ConfigError": ("MountainError", ValueError),
    "InternalError": ("MountainError",),
}

#: The parameters of each: `/` and `*` stand for themselves, `=` for a default.
PARAMETERS = {
    "effect": "*policies, name=",
    "blocking": "*policies, name=",
    "batch": "size, /, *policies, wait=, name=",
    "stream": "*policies, name=",
    "Stream.under": "self, *policies",
    "Idle": "seconds",
    "gather": "*effects",
    "race": "*effects",
    "amap": "fn, items, *, limit, ordered=",
    "Work": "items=, *, key=, name=",
    "Work.add": "self, item",
    "chunked": "source, size, *, within=",
    "deadline": "seconds",
    "Ok": "value",
    "Err": "error",
    "Timeout": "seconds",
    "Retry": "*, on=, until=, attempts=, backoff=, budget=, max_retry_after=",
    "RetryBudget": "*, ratio=, min_per_second=, name=",
    "Fallback": "to, on",
    "RateLimit": "n, per, *, burst=, key=, cost=, max_wait=, name=",
    "RateLimit.acquire": "self, key=, *, cost=",
    "RateLimit.charge": "self, cost, key=",
    "RateLimit.pause": "self, seconds, key=",
    "RateLimit.change": "self, n, per",
    "CircuitBreaker": "*, name=, failures=, failure_rate=, minimum_calls=, slow_call=, slow_rate=, window=, "
    "cooldown=, probes=, on=, key=",
    "CircuitBreaker.state": "self, key=",
    "CircuitBreaker.isolate": "self, key=",
    "CircuitBreaker.reset": "self, key=",
    "Cache": "*, ttl, max_size=, stale=, key=, name=",
    "Cache.invalidate": "self, *args, **kwargs",
    "Cache.clear": "self",
    "Cache.statistics": "self",
    "Hedge": "after=, *, percentile=, attempts=, budget=, key=, name=",
    "Hedge.delay": "self, key=",
    "Hedge.statistics": "self",
    "constant": "wait",
    "exponential": "initial=, *, max=, factor=, jitter=",
    "priority": "p, /",
    "ConcurrencyLimit": "n, *, key=, max_waiting=, overflow=, name=",
    "ConcurrencyLimit.slot": "self, key=",
    "ConcurrencyLimit.resize": "self, n, /",
    "ConcurrencyLimit.statistics": "self",
    "LimitStatistics": "in_flight, waiting",
    "Pipeline": "*policies, name",
    "Policy.call": "self, fn, /, *args, **kwargs",
    "run": "main, /, *, runtime=, loop=",
    "Shutdown": "*, deadline=, drain=, propagation=",
    "Step": "name, started, took, outcome, error",
    "ShutdownReport.to_json": "self",
    "ShutdownReport.raise_if_failed": "self",
    "Runtime.__init__": "self, *, workers=, threads=, max_in_flight=, shutdown=, dashboard=",
    "Runtime.run": "self, effect, /",
    "Runtime.submit": "self, effect, /, *, name=",
    "Runtime.from_thread": "self, effect, /",
    "Runtime.statistics": "self",
    "Runtime.dump": "self",
    "Dump": "effects",
    "Runtime.stopping": "self",
    "Runtime.provide": "self, key, make, /, *, fallback=, start_timeout=, stop_timeout=",
    "Runtime.get": "self, key, /",
    "Runtime.health": "self",
    "Runtime.defer": "self, fn, /",
    "Key": "name",
    "need": "key, /",
    "Health": "live, ready, services",
    "ServiceHealth": "state, reason",
    "Runtime.wait_stopping": "self",
    "Effect.send": "self, value, /",
    "Effect.throw": "self, typ, val=, tb=, /",
    "Effect.close": "self",
    "Effect.map": "self, f, /",
    "Effect.then": "self, f, /",
    "Effect.under": "self, *policies",
    "Handle.cancel": "self, msg=",
    "Handle.cancelled": "self",
    "Handle.done": "self",
    "Handle.result": "self",
    "Handle.exception": "self",
    "Handle.get_loop": "self",
    "Handle.add_done_callback": "self, fn, /, *, context=",
    "Handle.remove_done_callback": "self, fn, /",
    "fs.walk": "root, *, ignore_files=, follow_symlinks=",
    "fs.read_bytes": "path",
    "fs.read_text": "path, *, encoding=, errors=",
    "fs.read_many": "paths",
    "fs.hash": "path, algorithm=",
    "fs.write_bytes": "path, data, *, durable=",
    "fs.write_text": "path, text, *, encoding=, durable=",
    "fs.stat": "path, *, follow_symlinks=",
    "fs.mkdir": "path, *, parents=, exist_ok=",
    "fs.remove": "path, *, tree=, missing_ok=",
    "fs.glob": "pattern, root=, *, ignore_files=, follow_symlinks=",
    "fs.append": "path, data, *, durable=",
    "fs.copy": "source, target, *, durable=",
    "fs.move": "source, target, *, durable=",
    "fs.temporary": "prefix=, *, folder=",
    "fs.open": "path, mode=, *, durable=",
    "fs.File.read": "self, size=",
    "fs.File.chunks": "self, size=",
    "fs.File.write": "self, data",
    "fs.File.seek": "self, offset, *, end=",
    "fs.File.truncate": "self, size",
    "fs.File.tell": "self",
    "fs.lock": "path, *, shared=, wait=, **other",
    "fs.rooted": "path",
    "fs.Rooted.walk": "self, path=",
    "fs.Rooted.glob": "self, pattern, path=",
    "fs.Rooted.temporary": "self, prefix=, *, folder=",
    "fs.watch": "root, *, settle=, ignore_files=, existing=, **other",
    "fs.Change": "path, kind",
    "process.run": "*argv, input=, check=, cwd=, env=, max_output=, **other",
    "process.open": "*argv, cwd=, env=, **other",
    "process.Process.send": "self, line",
    "process.Process.receive": "self",
    "process.Process.lines": "self",
    "process.Process.chunks": "self",
    "process.Process.close_stdin": "self",
    "process.Process.signal": "self, number, /",
    "process.Process.wait": "self",
    "process.terminal": "*argv, columns=, rows=, cwd=, **other",
    "process.Terminal.write": "self, data",
    "process.Terminal.resize": "self, columns, rows",
    "process.Terminal.screen": "self",
    "process.Terminal.close_stdin": "self",
    "process.Terminal.wait": "self",
    "search.lines": "pattern, root=, *, literal=, case=, word=, multiline=, include=, exclude=, hidden=, "
    "ignore_files=, context=, max_per_file=, **other",
    "search.Match": "path, line, column, text, before=, after=, cut=",
    "On": "pool",
    "pools.Processes": "workers=, *, per_worker=, max_waiting=, max_calls=, max_memory=, runtime=, name=",
    "pools.Processes.statistics": "self",
    "pools.PoolStatistics": "workers, running, waiting, lost",
    "sidecar": "*argv, ready=, stop=, stop_tries=, grace=, restart=, **other",
    "testing.VirtualClock.time": "self",
    "testing.VirtualClock.advance": "self, seconds",
    "testing.chaos": "*, fail=, error=, hang=, slow=, delay=, seed=",
    "testing.Chaos.on": "self",
    "testing.Chaos.statistics": "self",
    "testing.ChaosStatistics": "calls, failed, delayed, hung",
    "testing.exhaust": "limit, key=",
    "testing.files": "tree",
    "testing.process": "answer",
    "testing.Command": "argv, input, cwd, env",
    "testing.open_circuit": "breaker, key=",
    "testing.watch": "root, *, existing=",
    "testing.Watched.tell": "self, *changes",
    "testing.Watched.fail": "self, error",
    "errors.MountainError": "message=, *, effect=, policy=, attempt=",
}


#: The names that have no twin of the same parameters beneath a root.
ROOTED_APART = {"Change", "watch", "Entry", "File", "Rooted", "rooted", "walk", "glob", "temporary"}


def test_all_operations_of_files_are_there_beneath_a_root() -> None:
    for name in set(fs.__all__) - ROOTED_APART:
        beneath = list(inspect.signature(getattr(fs.Rooted, name)).parameters.values())
        assert beneath[1:] == list(inspect.signature(getattr(fs, name)).parameters.values()), name


def resolve(name: str) -> Any:
    found: Any = mountain_runtime
    for part in name.split("."):
        found = getattr(found, part)
    return found


def short(signature: inspect.Signature) -> str:
    """A signature by its names only, as PARAMETERS has them."""
    text: list[str] = []
    kinds = inspect.Parameter
    parameters = list(signature.parameters.values())
    for place, parameter in enumerate(parameters):
        stars = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        before = [each.kind for each in parameters[:place]]
        named = parameter.kind is kinds.KEYWORD_ONLY
        if named and kinds.KEYWORD_ONLY not in before and kinds.VAR_POSITIONAL not in before:
            text.append("*")
        text.append(stars + parameter.name + "=" * (parameter.default is not parameter.empty))
        after = parameters[place + 1].kind if place + 1 < len(parameters) else None
        if parameter.kind is kinds.POSITIONAL_ONLY and after is not kinds.POSITIONAL_ONLY and parameter.name != "self":
            text.append("/")
    return ", ".join(text)


def test_the_names_are_these() -> None:
    assert set(mountain_runtime.__all__) == NAMES
    assert len(mountain_runtime.__all__) == len(NAMES)
    others = {name for name in dir(mountain_runtime) if not name.startswith(("_", "@"))} - NAMES  # @: pytest's own
    assert others <= {"policy", "telemetry", "testing"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_it_takes(name: str) -> None:
    assert short(inspect.signature(resolve(name))) == PARAMETERS[name]


def test_the_tree_of_errors() -> None:
    assert set(errors.__all__) == set(ERRORS)
    for name, bases in ERRORS.items():
        expected = tuple(getattr(errors, base) if isinstance(base, str) else base for base in bases)
        assert getattr(errors, name).__bases__ == expected


@pytest.mark.parametrize(
    "module",
    [
        "mountain_runtime",
        "mountain_runtime.errors",
        "mountain_runtime.fs",
        "mountain_runtime.pools",
        "mountain_runtime.process",
        "mountain_runtime.rpc",
        "mountain_runtime.search",
        "mountain_runtime.testing",
    ],
)
def test_every_public_name_is_documented_and_at_home(module: str) -> None:
    of = importlib.import_module(module)
    for name in of.__all__:
        assert inspect.getdoc(getattr(of, name)), name
    assert testing.VirtualClock.__module__ == "mountain_runtime.testing"
    assert fs.Entry.__module__ == "mountain_runtime.fs"


def test_a_debug_build_warns_as_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "DEBUG", True)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)  # once is enough
    with pytest.warns(RuntimeWarning, match="debug build"):
        importlib.reload(_bind)


@pytest.mark.parametrize("final", [Runtime, mountain_runtime.Pipeline, mountain_runtime.Ok, mountain_runtime.Err])
def test_what_is_final_says_so(final: Any) -> None:
    assert final.__final__


@pytest.mark.parametrize("native", [Effect, Handle])
def test_native_classes_take_parameters_in_annotations_and_no_subclass(native: Any) -> None:
    assert native[int].__origin__ is native
    with pytest.raises(TypeError):
        type("Sub", (native,), {})
