"""What the live page's server answers, to whom, and what it says of the runtime."""

import asyncio
import gc
import json
import logging
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, Effect, Retry, Runtime, Timeout, effect, gather
from mountain_runtime.errors import ConfigError
from mountain_runtime.telemetry import _failures
from tests.lifecycle.support import HEAD, until

HERE = "127.0.0.1:0"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FILES = ["/", "/style.css", "/app.js"]


class Boom(Exception):
    """A failure of ours."""


def url(runtime: Runtime, path: str = "/") -> str:
    """Where the page is, without its token."""
    assert runtime._page is not None
    return runtime._page.url.split("/?")[0].rstrip("/") + path


def port(runtime: Runtime) -> int:
    found = httpx.URL(url(runtime)).port
    assert found is not None
    return found


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as made:
        yield made


async def raw(runtime: Runtime, head: str) -> int:
    """The status of an answer to a request that no client would make."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(runtime))
    try:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\nConnection: close\r\n\r\n")
        line = (await asyncio.wait_for(reader.read(), 5)).split(b"\r\n")[0]
    finally:
        writer.close()
        await writer.wait_closed()
    return int(line.split()[1])


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch, as RFC 7396 says it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class Look:
    """A page that is open: the state as its events make it."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.kinds: list[str] = []
        self.size = 0
        self.state: dict[str, Any] = {}

    async def next(self) -> str:
        """Takes in one event; its kind."""
        kind = ""
        async with asyncio.timeout(5):
            async for line in self._lines:
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    text = line.removeprefix("data:").strip()
                    self.size = len(text)
                    self.state = merge(self.state if kind == "delta" else None, json.loads(text))
                elif not line and kind:
                    self.kinds.append(kind)
                    return kind
        raise AssertionError("the stream has ended")

    async def until(self, true: Any) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not self.state or not true(self.state):
                await self.next()
        return self.state


@asynccontextmanager
async def looking(client: httpx.AsyncClient, runtime: Runtime, **headers: str) -> AsyncIterator[Look]:
    async with client.stream("GET", url(runtime, "/events"), headers=headers) as response:
        assert response.status_code == 200, response.status_code
        yield Look(response)


async def snapshot(client: httpx.AsyncClient, runtime: Runtime) -> Look:
    async with looking(client, runtime) as look:
        assert await look.next() == "snapshot"
    return look


async def ready(client: httpx.AsyncClient, runtime: Runtime) -> None:
    async with asyncio.timeout(5):
        while (await client.get(url(runtime, "/readyz"))).status_code != 200:
            await asyncio.sleep(0.01)  # it is pinned up a few times a second


def named(what: str = "work") -> str:
    """The name of an effect that no other test has: the counters are the process's."""
    return f"{what}-{uuid4().hex[:8]}"


def counted(runtime: Runtime, name: str) -> dict[str, int]:
    found = runtime.statistics().effects[name]
    fields = ("started", "succeeded", "failed", "timed_out", "cancelled", "retried", "rejected", "degraded")
    return {field: getattr(found, field) for field in fields}


async def busy(name: str) -> None:
    """Some calls of an effect of that name: 5 succeed, one after a retry; 3 fail."""
    calls = {"n": 0}

    @effect(Retry(on=OSError, attempts=2), name=name)
    async def work(n: int) -> int:
        calls["n"] += 1
        if n >= 5:
            raise Boom(f"number {n}")
        if n == 0 and calls["n"] == 1:
            raise OSError("once")
        return n

    for n in range(8):
        try:
            await work(n)
        except Boom:
            pass


# -- files -------------------------------------------------------------------------------------------------------


async def test_the_page_and_every_file_it_names_are_served_and_may_not_be_embedded(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=HERE) as rt:
        found, todo = set[str](), ["/"]
        while todo:
            path = todo.pop()
            found.add(path)
            answer = await client.get(url(rt, path))
            assert answer.status_code == 200, path
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == "no-store"
            names = re.findall(r'(?:href|src)="(/[^"]*)"', answer.text)
            names += [f"/{name}" for name in re.findall(r"from '\./([^']+)'", answer.text)]
            todo += [name for name in names if name not in found]
        assert found > set(FILES)
        assert len(found) == 11


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/index.html",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "/etc/passwd",
        "//etc/passwd",
        "/app.js/",
        "/app.js%00",
    ],
)
async def test_what_is_no_part_of_the_page_is_not_found(path: str) -> None:
    async with Runtime(dashboard=HERE) as rt:
        assert await raw(rt, f"GET {path} HTTP/1.1\nHost: 127.0.0.1") == 404


@pytest.mark.parametrize("path", [*FILES, "/events", "/metrics", "/livez", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(client: httpx.AsyncClient, method: str, path: str) -> None:
    async with Runtime(dashboard=HERE) as rt:
        answer = await client.request(method, url(rt, path))
        assert answer.status_code == 405
        assert answer.headers["x-content-type-options"] == "nosniff"


# -- figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("text/plain", "text/plain; version=0.0.4", prometheus),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0", openmetrics),
    ],
    ids=["prometheus", "openmetrics"],
)
async def test_the_metrics_are_those_of_the_statistics(
    client: httpx.AsyncClient, accept: str, kind: str, parse: Any
) -> None:
    name = named()
    async with Runtime(dashboard=HERE) as rt:
        await busy(name)
        answer = await client.get(url(rt, "/metrics"), headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(kind)
        found: dict[str, float] = {}
        for family in parse(answer.text):
            for sample in family.samples:
                if sample.labels.get("effect") == name and "le" not in sample.labels:
                    found[sample.name] = found.get(sample.name, 0) + sample.value
        counts = counted(rt, name)
        assert {field: found.get(f"mountain_effect_{field}_total", 0) for field in counts} == counts
        assert counts["failed"] == 3
        assert counts["retried"] == 1
        assert found["mountain_effect_seconds_count"] == counts["started"] == 8


# -- probes ------------------------------------------------------------------------------------------------------


async def test_it_is_live_and_ready_once_it_was_entered(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=HERE) as rt:
        assert (await client.get(url(rt, "/livez"))).status_code == 200
        await ready(client, rt)
        assert (await client.get(url(rt, "/readyz"))).status_code == 200


async def test_it_is_not_ready_as_soon_as_the_shutdown_begins_and_shows_it_while_work_drains(
    client: httpx.AsyncClient,
) -> None:
    release = asyncio.Event()

    @effect(name=named("drains"))
    async def drains() -> None:
        await release.wait()

    async def watch(rt: Runtime) -> Mapping[str, Any]:
        try:
            await rt.wait_stopping()
            assert (await client.get(url(rt, "/readyz"))).status_code == 503
            assert (await client.get(url(rt, "/livez"))).status_code == 200
            async with looking(client, rt) as look:
                shown = await look.until(lambda state: (state.get("shutdown") or {}).get("phase") == "draining")
                await look.until(lambda state: state["shutdown"].get("steps"))
                assert look.state["ready"] is False
                return shown
        finally:
            release.set()

    async with Runtime(dashboard=HERE) as rt:
        await ready(client, rt)
        handle = rt.submit(drains())
        watcher = asyncio.create_task(watch(rt))
    await handle
    shown = await watcher
    assert shown["shutdown"]["deadline"] > shown["shutdown"]["began"]
    with pytest.raises(httpx.ConnectError):
        await client.get(url(rt))


# -- who may look ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"]
)
async def test_a_foreign_host_is_refused(client: httpx.AsyncClient, host: str) -> None:
    async with Runtime(dashboard=HERE) as rt:
        for path in ("/", "/events", "/metrics", "/livez"):
            answer = await client.get(url(rt, path), headers={"Host": host})
            assert answer.status_code == 403, path
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_a_foreign_origin_is_refused(client: httpx.AsyncClient, origin: str) -> None:
    async with Runtime(dashboard=HERE) as rt:
        assert (await client.get(url(rt, "/events"), headers={"Origin": origin})).status_code == 403
        own = url(rt).rstrip("/")
        assert (await client.get(url(rt), headers={"Origin": own})).status_code == 200


async def test_a_request_without_a_host_is_refused() -> None:
    async with Runtime(dashboard=HERE) as rt:
        assert await raw(rt, "GET / HTTP/1.1\nX-None: 1") == 400
        assert await raw(rt, "GET / HTTP/1.1\nHost: 127.0.0.1\nHost: 127.0.0.1") == 400


async def test_who_has_no_token_sees_only_the_probes(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=f"secret@{HERE}") as rt:
        for path in ("/", "/app.js", "/events", "/metrics", "/?token=", "/?token=secre", "/metrics?token=secret"):
            assert (await client.get(url(rt, path))).status_code == 401, path
        for bearer in ("Bearer wrong", "Bearer", "Basic secret", "secret"):
            answer = await client.get(url(rt), headers={"Authorization": bearer})
            assert answer.status_code == 401, bearer
            assert "secret" not in answer.text
        for path in ("/", "/metrics"):
            assert (await client.get(url(rt, path), headers={"Authorization": "Bearer secret"})).status_code == 200
        assert (await client.get(url(rt, "/livez"))).status_code == 200
        await ready(client, rt)


async def test_a_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=f"secret@{HERE}") as rt:
        assert rt._page is not None
        assert rt._page.url == url(rt, "/?token=secret")
        admitted = await client.get(rt._page.url)
        assert admitted.status_code == 303
        assert admitted.headers["location"] == "/"
        cookie = admitted.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await client.get(url(rt))).status_code == 200
        assert (await snapshot(client, rt)).kinds == ["snapshot"]
        client.cookies.clear()
        assert (await client.get(url(rt))).status_code == 401


async def test_an_address_that_others_reach_has_a_token_that_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime.dashboard"):
        async with Runtime(dashboard="0.0.0.0:0") as rt:
            assert rt._page is not None
            token = httpx.URL(rt._page.url).params["token"]
            assert len(token) >= 20
            [said] = [record for record in caplog.records if record.name == "mountain_runtime.dashboard"]
            assert said.levelno == logging.WARNING
            assert rt._page.url in said.getMessage()
            here = f"http://127.0.0.1:{port(rt)}/"
            assert (await client.get(here)).status_code == 401
            assert (await client.get(here, headers={"Authorization": f"Bearer {token}"})).status_code == 200


# -- addresses ---------------------------------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_an_oserror_and_leaves_nothing_behind(client: httpx.AsyncClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        rt = Runtime(dashboard=address)
        with pytest.raises(OSError, match="in use"):
            await rt.__aenter__()
        del rt
        gc.collect()
    async with Runtime(dashboard=address) as rt:
        assert (await client.get(url(rt))).status_code == 200


@pytest.mark.parametrize(
    "address", ["", "9600", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", f"@{HERE}", f"a b@{HERE}", f"a;b@{HERE}"]
)
async def test_an_address_that_is_none_is_a_config_error(address: str) -> None:
    with pytest.raises(ConfigError, match="dashboard"):
        async with Runtime(dashboard=address):
            pass


@pytest.mark.parametrize("address", [9600, b"127.0.0.1:9600", ("127.0.0.1", 9600)])
def test_an_address_that_is_no_text_is_a_config_error_at_once(address: Any) -> None:
    with pytest.raises(ConfigError, match="must be a text"):
        Runtime(dashboard=address)


async def test_it_is_opened_and_closed_again_in_one_process(client: httpx.AsyncClient) -> None:
    address = HERE
    before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
    for _ in range(3):
        async with Runtime(dashboard=address) as rt:
            address = f"127.0.0.1:{port(rt)}"
            assert (await client.get(url(rt))).status_code == 200
            assert (await snapshot(client, rt)).state["pid"] == os.getpid()
        with pytest.raises(httpx.ConnectError):
            await client.get(url(rt))
    if before is not None:
        assert len(os.listdir("/proc/self/task")) <= before + 2, "a server's thread was left behind"


async def test_two_runtimes_may_have_a_page_each(client: httpx.AsyncClient) -> None:
    name = named()
    async with Runtime(dashboard=HERE) as one, Runtime(dashboard=HERE) as two:
        await busy(name)
        assert port(one) != port(two)
        for rt in (one, two):
            assert (await snapshot(client, rt)).state["effects"][name]["started"] == 8


# -- what is told ------------------------------------------------------------------------------------------------


async def test_the_changes_make_the_same_state_as_a_look_at_the_whole(client: httpx.AsyncClient) -> None:
    names = [named() for _ in range(3)]
    async with Runtime(dashboard=HERE) as rt:
        async with looking(client, rt) as look:
            assert await look.next() == "snapshot"
            assert names[0] not in look.state["effects"]
            for name in names:
                await busy(name)
                assert await look.next() == "delta"
            await look.until(lambda state: state["effects"].get(names[-1], {}).get("started") == 8)
            whole = (await snapshot(client, rt)).state
        assert set(look.kinds[1:]) == {"delta"}
        for name in names:
            counts = counted(rt, name)
            for state in (look.state, whole):
                shown = state["effects"][name]
                assert {field: shown[field] for field in counts} == counts
                assert list(shown["errors"].values()) == [3]


async def test_what_runs_is_listed_under_what_started_it_until_it_ends(client: httpx.AsyncClient) -> None:
    parent, child = named("parent"), named("child")
    limit = ConcurrencyLimit(1, name=named("limit"))
    release = asyncio.Event()

    @effect(limit, name=child)
    async def below() -> None:
        await release.wait()

    @effect(name=parent)
    async def above() -> None:
        await gather(below(), below())

    def calls(state: dict[str, Any], name: str) -> dict[str, Any]:
        return {key: call for key, call in state["running"].items() if call["name"] == name}

    async with Runtime(dashboard=HERE) as rt:
        handle = rt.submit(above())
        async with looking(client, rt) as look:
            await look.until(lambda state: len(calls(state, child)) == 2)
            running = look.state["running"]
            [top] = calls(look.state, parent)
            assert {call["state"] for call in calls(look.state, child).values()} == {"running", "waiting"}
            for call in calls(look.state, child).values():
                ancestor = call["parent"]
                while running[ancestor]["name"] != parent:
                    ancestor = running[ancestor]["parent"]
                assert ancestor == top
            release.set()
            await look.until(lambda state: not state["running"])
        await handle


async def test_the_deadline_is_that_of_the_call_s_own_limit_or_of_who_called_it(client: httpx.AsyncClient) -> None:
    parent, child, free, later = named("parent"), named("child"), named("free"), named("later")
    release = asyncio.Event()

    @effect(name=child)
    async def below() -> None:
        await release.wait()

    @effect(Timeout(90), name=parent)
    async def above() -> None:
        await below()

    @effect(name=free)
    async def unlimited() -> None:
        await release.wait()

    @effect(Retry(on=Boom), Timeout(90), name=later)
    async def each_attempt() -> None:
        await release.wait()

    async with Runtime(dashboard=HERE) as rt:
        handles = [rt.submit(work()) for work in (above, unlimited, each_attempt)]
        async with looking(client, rt) as look:
            state = await look.until(lambda state: len(state["running"]) >= 4)
            deadlines = {call["name"]: call.get("deadline") for call in state["running"].values()}
            now = time.time()
            assert deadlines[parent] == pytest.approx(now + 90, abs=5)
            assert deadlines[child] == pytest.approx(now + 90, abs=5)
            assert deadlines[free] is None
            assert deadlines[later] is None, "it is the attempt's"
        release.set()
        await asyncio.gather(*handles)


async def test_a_seventeenth_page_is_told_that_there_are_too_many(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=HERE) as rt:
        async with AsyncExitStack() as pages:
            looks = [await pages.enter_async_context(looking(client, rt)) for _ in range(16)]
            for look in looks:
                assert await look.next() == "snapshot"
            async with client.stream("GET", url(rt, "/events")) as answer:
                assert answer.status_code == 503
            assert (await client.get(url(rt, "/livez"))).status_code == 200
            for look in looks:
                assert await look.next() == "delta"

        async with asyncio.timeout(10):
            while True:
                async with client.stream("GET", url(rt, "/events")) as response:
                    if response.status_code == 200:
                        break
                await asyncio.sleep(0.1)  # that a page has gone is noticed when it is written to


async def test_a_hundred_thousand_effects_leave_nothing_in_the_list_of_what_runs(client: httpx.AsyncClient) -> None:
    name = named()

    @effect(name=name)
    async def work() -> None:
        pass

    async with Runtime(dashboard=HERE) as rt:
        await work()
        before = (await snapshot(client, rt)).size
        async with looking(client, rt) as look:
            for _ in range(100):
                await gather(*(work() for _ in range(1000)))
            await look.until(lambda state: not state["running"] and state["effects"][name]["started"] > 100_000)
            assert look.state["running_more"] == 0
        after = await snapshot(client, rt)
        assert after.state["running"] == {}
        assert after.size < before + 2_000


HOSTILE = [
    "two\nlines",
    'a "quote" and a \\',
    "<script>alert(1)</script>",
    "x" * 10_000,
    "\u202e\u0000\u001b[31m",
    "data: x\n\nevent: snapshot",
    "ü🏔" * 500,
]


async def test_hostile_names_arrive_as_text_of_at_most_200_characters(client: httpx.AsyncClient) -> None:
    mark = uuid4().hex[:8]
    names = [f"{mark} {name}" for name in HOSTILE]
    async with Runtime(dashboard=HERE) as rt:
        for name in names:

            @effect(name=name)
            async def work() -> None:
                pass

            await work()
        look = await snapshot(client, rt)
        assert look.kinds == ["snapshot"]
        shown = [name for name in look.state["effects"] if name.startswith(mark)]
        assert len(shown) == len(names)
        assert all(len(name) <= 200 for name in look.state["effects"])
        for name in names[:3]:
            assert look.state["effects"][name]["succeeded"] == 1
        for accept, parse in (("text/plain", prometheus), (OPENMETRICS, openmetrics)):
            text = (await client.get(url(rt, "/metrics"), headers={"Accept": accept})).text
            [family] = [family for family in parse(text) if family.name == "mountain_effect_started"]
            found = {sample.labels["effect"] for sample in family.samples}
            assert set(shown) <= found, accept


async def test_the_last_fifty_failures_are_shown_with_their_tracebacks(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_failures, "_MOST", 1000)
    name = named()

    @effect(name=name)
    async def fails(n: int) -> None:
        raise Boom(f"number {n}")

    async with Runtime(dashboard=HERE) as rt:
        for n in range(120):
            with pytest.raises(Boom):
                await fails(n)
        failures = (await snapshot(client, rt)).state["failures"]
    assert len(failures) == 50
    by_number = sorted(failures.items(), key=lambda item: int(item[0]))
    assert [failure["message"] for _, failure in by_number] == [f"number {n}" for n in range(70, 120)]
    for _, failure in by_number:
        assert failure["effect"] == name
        assert failure["type"].endswith("test_dashboard.Boom")
        assert 'raise Boom(f"number {n}")' in failure["traceback"]
        assert "Traceback (most recent call last)" in failure["traceback"]


async def test_long_tracebacks_and_errors_that_cannot_be_shown_are_shown_in_part(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_failures, "_MOST", 1000)
    name = named()

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @effect(name=name)
    async def fails(error: Exception) -> None:
        raise error

    async with Runtime(dashboard=HERE) as rt:
        for error in (Boom("y" * 100_000), Mute()):
            with pytest.raises(type(error)):
                await fails(error)
        failures = (await snapshot(client, rt)).state["failures"].values()
        long, mute = sorted((each for each in failures if each["effect"] == name), key=lambda each: each["type"])
        assert len(long["message"]) < 600
        assert len(long["traceback"]) < 9_000
        assert "Mute" in mute["message"]


async def test_services_are_shown_from_their_start_to_their_end(client: httpx.AsyncClient) -> None:
    class Store:
        pass

    class Mail:
        pass

    go, stop, entered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opens() -> AsyncIterator[Store]:
        await go.wait()
        yield Store()
        await stop.wait()

    @asynccontextmanager
    async def broken() -> AsyncIterator[Mail]:
        raise Boom("no mail today")
        yield Mail()

    @asynccontextmanager
    async def stands_in() -> AsyncIterator[Mail]:
        yield Mail()

    rt = Runtime(dashboard=HERE).provide(Store, opens).provide(Mail, broken, fallback=stands_in)
    leave = asyncio.Event()

    async def program() -> None:
        async with rt:
            entered.set()
            await leave.wait()

    running = asyncio.create_task(program())
    await until(lambda: rt._page is not None)

    def state_of(kind: type) -> Any:
        def find(state: dict[str, Any]) -> str:
            [found] = [each["state"] for name, each in state["services"].items() if kind.__name__ in name] or [""]
            return str(found)

        return find

    store, mail = state_of(Store), state_of(Mail)
    try:
        async with looking(client, rt) as look:
            await look.until(lambda state: store(state) == "starting")
            assert (await client.get(url(rt, "/readyz"))).status_code == 503
            go.set()
            await look.until(lambda state: store(state) == "up" and mail(state) == "degraded")
            [reason] = [each["reason"] for name, each in look.state["services"].items() if "Mail" in name]
            assert "no mail today" in reason
            await look.until(lambda state: state["ready"])
            leave.set()
            await look.until(lambda state: store(state) == "stopping")
            assert look.state["shutdown"]["phase"] in {"draining", "stopping"}
            stop.set()
    finally:
        for event in (go, leave, stop):
            event.set()
        await running


async def test_policies_are_shown_with_their_names(client: httpx.AsyncClient) -> None:
    limit_name, breaker_name = named("limit"), named("breaker")
    breaker = CircuitBreaker(name=breaker_name, failures=2, cooldown=60)
    limit = ConcurrencyLimit(2, name=limit_name)
    release = asyncio.Event()

    @effect(limit, name=named())
    async def held() -> None:
        await release.wait()

    @effect(breaker, name=named())
    async def fails() -> None:
        raise Boom

    def both(make: Any) -> Effect[Any]:
        return gather(*(make() for _ in range(5)))

    async with Runtime(dashboard=HERE) as rt:
        handle = rt.submit(both(held))
        for _ in range(2):
            with pytest.raises(Boom):
                await fails()
        async with looking(client, rt) as look:
            await look.until(lambda state: state["limits"].get(limit_name, {}).get("in_flight") == 2)
            shown = look.state["limits"][limit_name]
            assert shown["capacity"] == 2
            assert shown["waiting"] == {"low": 0, "normal": 3, "high": 0}
            opened = look.state["breakers"][breaker_name]
            assert opened["opens"] == 1
            assert opened["keys"]["open"] == 1
            release.set()
            await look.until(lambda state: state["limits"][limit_name]["in_flight"] == 0)
        await handle


# -- forks -------------------------------------------------------------------------------------------------------

FORKS = """
import httpx

async def look(rt):
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return (await client.get(rt._page.url + "livez")).status_code

async def own():
    async with Runtime(dashboard="127.0.0.1:0") as rt:
        return await look(rt)

async def main():
    async with Runtime(dashboard="127.0.0.1:0") as rt:
        print(rt._page.url, flush=True)
        assert await look(rt) == 200
        child = os.fork()
        if child == 0:
            try:
                rt._page.close()
                asyncio.events._set_running_loop(None)
                print("child serves", asyncio.run(own()), flush=True)
                os.read(0, 1)
                print("child ends", flush=True)
            finally:
                os._exit(0)
        print("parent serves", await look(rt), flush=True)
        await asyncio.sleep(0.3)
        print("parent serves", await look(rt), flush=True)

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are of POSIX")
def test_a_forked_child_is_not_served_does_not_hang_and_keeps_no_port() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HEAD + textwrap.dedent(FORKS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            where = httpx.URL(process.stdout.readline().strip())
            assert process.wait(10) == 0, "the parent ends while its child goes on"
            # The child waits, and the port is nobody's.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((where.host, where.port or 0), 5)
        finally:
            process.kill()
        output, said = process.communicate("x", 10)
    assert output.splitlines().count("parent serves 200") == 2, said
    assert "child serves 200" in output, said
    assert "child ends" in output, said
    assert "Traceback" not in said
    assert "panicked" not in said
