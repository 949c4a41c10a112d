"""The benchmarks keep their names and the shape of their rows, compare what they say, and refuse wrong answers."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benches/ is no part of the package

from benches import compare, harness, on_ray
from benches.suites import SUITES
from benches.table import table

ROOT = Path(__file__).resolve().parents[2]

POLICIES = {"tenacity", "stamina", "pyresilience", "hand-loop", "wait_for", "bare"}
BRIDGES = {"pyo3-async-runtimes", "run_in_executor", "to_thread", "anyio", "create_task"}
CLIENTS = {"httpx", "aiohttp", "niquests", "pyreqwest"}
READERS = {"sync-loop", "to_thread", "run_in_executor", "aiofiles", "anyio"}
EXECUTORS = {"ProcessPoolExecutor", "loky", "pebble"}
HOSTS = {"pygls", "python-lsp-jsonrpc", "jsonrpcserver"}
CLOCKS = {"asyncio", "pyo3-async-runtimes"}
PROMISED = {
    "engine": {"returns": POLICIES, "suspends": POLICIES, "build": POLICIES},
    "policies": {
        "limit": {"asyncio.Semaphore"},
        "rate": {"aiolimiter"},
        "breaker": {"aiobreaker", "purgatory"},
        "cache-hit": {"async-lru"},
        "stack": {"pyresilience"},
        "contended": {"asyncio.Semaphore"},
        "waiters": {"aiolimiter"},
    },
    "scheduler": {
        "priority-p99": {"fifo"},
        "admission": {"create_task"},
        "memory": {"create_task"},
        "keys": {"aiolimiter"},
    },
    "bridge": {
        "sequential": BRIDGES,
        "gather-10k": BRIDGES,
        "native-gather-10k": BRIDGES,
        "sustained-64": BRIDGES,
        "spinning-thread": BRIDGES,
    },
    "files": {
        "small-read": READERS,
        "large-read": READERS,
        "small-hash": READERS,
        "sha256": READERS,
        "copy": {"shutil"},
        "walk-stat": {"os.scandir"},
    },
    "search": {"regex": {"rg", "re"}},
    "http": {
        "get": CLIENTS,
        "get-cpu": CLIENTS,
        "get-stack": {"aiohttp, tenacity, aiolimiter, purgatory"},
        "stream": {"aiohttp"},
    },
    "pools": {
        "call": EXECUTORS,
        "calls-10k": EXECUTORS,
        "large": {"ProcessPoolExecutor"},
        "compute": {"ProcessPoolExecutor"},
        "stop": {"pebble"},
        "priority-p99": {"ProcessPoolExecutor"},
        "cold": {"ProcessPoolExecutor"},
        "ray-call": {"a bare async actor"},
    },
    "lifecycle": {
        "start-stop": {"AsyncExitStack"},
        "idle-close": {"TaskGroup"},
        "loaded-close": {"TaskGroup"},
        "spawn": {"create_subprocess_exec"},
        "spawn-cpu": {"create_subprocess_exec"},
    },
    "observe": {
        "metrics": {"prometheus_client"},
        "sampled-out": {"opentelemetry"},
        "span": {"opentelemetry"},
        "scrape": {"prometheus_client"},
        "dashboard-gap": {"no page"},
    },
    "streams": {
        "batch": {"aiodataloader", "async-batcher"},
        "chunked": {"aiostream"},
        "hedge-idle": {"asyncio.wait"},
        "hedge-tail": {"asyncio.wait", "no hedge"},
        "item": {"aiostream"},
        "open": {"aiostream"},
    },
    "rpc": {
        "sequential": HOSTS | {"a pipe", "a pipe, a task a request", "python-lsp-jsonrpc, threads"},
        "in-flight-64": HOSTS | {"python-lsp-jsonrpc, threads"},
        "call": {"jsonrpcserver"},
        "stream": {"pygls", "python-lsp-jsonrpc"},
        "large": HOSTS,
        "large-memory": HOSTS,
        "idle": {"start_unix_server"},
    },
    "watch": {"changes": {"watchfiles"}},
    "timers": {"memory": CLOCKS, "submit": CLOCKS, "lateness": CLOCKS},
}
#: And the peer that a row of ours beside them needs.
EXTRAS = {
    ("returns", "overhead over bare"): "bare",
    ("suspends", "overhead over bare"): "bare",
    ("build", "bare, its close()"): "bare",
    ("sustained-64", "create_task, memory growth"): "create_task",
    ("small-read", "sync-loop, ours by read_many"): "sync-loop",
    ("rate", "aiolimiter, ours a token bucket"): "aiolimiter",
    ("breaker", "purgatory, ours by failure rate"): "purgatory",
    ("stack", "overhead over bare"): "pyresilience",
    ("limit", "asyncio.Semaphore, ours by slot()"): "asyncio.Semaphore",
    ("contended", "asyncio.Semaphore, ours by slot()"): "asyncio.Semaphore",
    ("contended", "asyncio.Semaphore, ours no limit at all"): "asyncio.Semaphore",
    ("waiters", "aiolimiter, ours a token bucket"): "aiolimiter",
    ("waiters", "aiolimiter, while no call goes"): "aiolimiter",
    ("spawn", "create_subprocess_exec without pipes"): "create_subprocess_exec",
    ("admission", "create_task, until all have ended"): "create_task",
    ("keys", "aiolimiter, a first call"): "aiolimiter",
    ("keys", "aiolimiter, left when idle"): "aiolimiter",
    ("dashboard-gap", "no page, percent of a core"): "no page",
    ("stream", "aiohttp, memory growth"): "aiohttp",
    ("batch", "aiodataloader, each in a task"): "aiodataloader",
    ("batch", "no batch, each in a task"): "create_task",
    ("chunked", "aiostream, ours with within"): "aiostream",
    ("chunked", "no lists"): "create_task",
    ("compute", "one core"): "ProcessPoolExecutor",
    ("ray-call", "a bare async actor, ours a function"): "a bare async actor",
    ("item", "bare generator"): "asyncio.wait",
    ("open", "bare generator"): "asyncio.wait",
    ("hedge-idle", "no hedge"): "asyncio.wait",
    ("hedge-tail", "no hedge, calls made for 100"): "asyncio.wait",
    ("sequential", "above a pipe"): "a pipe",
    ("call", "the effect"): "a pipe",
}
#: Of these, the cases whose name another suite has too are this suite's.
EXTRAS_OF = {("sequential", "above a pipe"): "rpc", ("call", "the effect"): "rpc"}
#: Peers that need nothing special of a machine: these are in every run.
ALWAYS = {
    "create_subprocess_exec",
    "hand-loop",
    "wait_for",
    "bare",
    "run_in_executor",
    "to_thread",
    "create_task",
    "sync-loop",
    "asyncio",
    "asyncio.Semaphore",
    "fifo",
    "no page",
    "asyncio.wait",
    "no hedge",
    "ProcessPoolExecutor",
    "shutil",
    "os.scandir",
    "re",
    "a pipe",
    "a pipe, a task a request",
    "start_unix_server",
}


async def _nothing(_scale: harness.Scale) -> AsyncGenerator[harness.Contest, None]:
    for contest in ():
        yield contest


def test_suites_cases_and_peers_are_those_that_were_promised() -> None:
    named = {suite: {case: set(peers) for case, peers in it.CASES.items()} for suite, it in SUITES.items()}
    assert named == PROMISED


def test_the_readme_names_the_suites_and_their_cases() -> None:
    text = (ROOT / "benches/README.md").read_text()
    listed = re.search(r"--suite ([a-z|]+)\|all\]", text)
    assert listed is not None
    assert set(listed[1].split("|")) == set(SUITES)
    told = text.partition("## The cases")[2].partition("## The last table")[0]
    assert [suite for suite in SUITES if f"**{suite}**" not in told] == []
    assert [case for it in SUITES.values() for case in it.CASES if not re.search(rf"[`*]{case}[`*]", told)] == []


@pytest.mark.processes
@pytest.mark.parametrize("suite", PROMISED)
def test_a_tiny_run_gives_a_row_for_every_case_and_peer(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "contests", _nothing)  # it has a test of its own
    rows = compare.rows(compare.run([suite], "asyncio", harness.Scale.TINY))
    assert json.loads(json.dumps(rows)) == rows
    for row in rows:
        assert list(row) == ["suite", "case", "loop", "peer", "ours", "theirs", "unit", "ratio"]
        assert (row["suite"], row["loop"]) == (suite, "asyncio")
        assert row["ours"] > 0
        assert row["ratio"] == row["theirs"] / row["ours"]
    pairs = [(row["case"], row["peer"]) for row in rows]
    assert len(pairs) == len(set(pairs))
    promised = {(case, peer) for case, peers in PROMISED[suite].items() for peer in peers}
    assert {pair for pair in promised if pair[1] in ALWAYS} <= set(pairs) <= promised | set(EXTRAS)
    own = {pair: needs for pair, needs in EXTRAS.items() if EXTRAS_OF.get(pair, suite) == suite}
    assert {pair for pair, needs in own.items() if needs in ALWAYS and pair[0] in PROMISED[suite]} <= set(pairs)


def contest(answers: dict[str, str]) -> tuple[harness.Contest, list[str]]:
    """A contest in which ours takes 2, 4, 6... and the peer five times as long, and the order of its turns."""
    order: list[str] = []

    def contestant(name: str, factor: float) -> harness.Round:
        async def turn() -> harness.Sample:
            order.append(name)
            return harness.Sample((2.0 * factor * order.count(name),), answers[name])

        return turn

    turns = {"ours": contestant("ours", 1), "peer": contestant("peer", 5)}
    extra = harness.Extra("case", "nothing", "us", lambda _: [0.0], lambda _: [1.0], ("peer",), resolution=0.5)
    absent = harness.Extra("case", "absent", "us", lambda _: [1.0], lambda _: [1.0], ("missing",))
    measure = harness.Measure("case", "us")
    return harness.Contest(3, turns, "right", (measure,), (extra, absent)), order


def test_medians_of_the_rounds_after_the_warm_up_make_the_ratio() -> None:
    it, order = contest({"ours": "right", "peer": "right"})
    peer, extra = asyncio.run(harness.measured("suite", "asyncio", it))
    assert (peer.row["ours"], peer.row["theirs"], peer.row["ratio"]) == (6.0, 30.0, 5.0)
    assert (peer.best_ours, peer.best_theirs) == (4.0, 20.0)
    assert (extra.row["peer"], extra.row["ours"], extra.row["ratio"]) == ("nothing", 0.5, 2.0)
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours"]
    assert "| 6 [4]" in table([peer])
    assert "| 5x" in table([peer])


@pytest.mark.parametrize("liar", ["ours", "peer"])
def test_a_wrong_answer_is_refused_whoever_gives_it(liar: str) -> None:
    it, _ = contest({"ours": "right", "peer": "right", liar: "wrong"})
    with pytest.raises(AssertionError, match=f"case: {liar} gave another answer"):
        asyncio.run(harness.measured("suite", "asyncio", it))


def test_a_peer_that_is_missing_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert harness.optional("mountain_no_such_peer") is None
    assert harness.optional("mountain_no_such_peer") is None
    assert capsys.readouterr().out.count("skipped: mountain_no_such_peer") == 1


def test_the_guide_to_performance_gives_the_figures_of_the_last_table() -> None:
    """Its rows are rows on asyncio, without the best rounds."""

    def rows(path: str) -> list[list[str]]:
        lines = (ROOT / path).read_text().splitlines()
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]

    known = {
        (f"{suite} {case}", f"{ours.split()[0]} {unit}", peer, f"{theirs.split()[0]} {unit}", ratio)
        for suite, case, loop, peer, ours, theirs, unit, ratio in (r for r in rows("benches/README.md") if len(r) == 8)
        if loop == "asyncio"
    }
    given = [tuple(row[1:]) for row in rows("docs/guides/performance.md") if len(row) == 6][2:]
    assert len(given) > 10
    assert [row for row in given if row not in known] == []
