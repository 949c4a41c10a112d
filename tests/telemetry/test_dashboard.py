"""The answers of the live page's server: files, figures, probes."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from mountain_runtime import Runtime, effect

from .looks import (
    FILES,
    HERE,
    OPENMETRICS,
    busy,
    counted,
    looking,
    named,
    raw,
    ready,
    url,
)

# -- files ---------------------------------------------------------------------------------------------------------


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
        assert len(found) == 15


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


# -- figures -------------------------------------------------------------------------------------------------------


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


# -- probes --------------------------------------------------------------------------------------------------------


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
