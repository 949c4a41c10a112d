"""The suites by name: each says which cases it has, and holds the contests that decide them."""

from collections.abc import Mapping

from benches.harness import Suite
from benches.suites import (
    bridge,
    engine,
    files,
    http,
    lifecycle,
    observe,
    policies,
    pools,
    rpc,
    scheduler,
    search,
    streams,
    timers,
    watch,
)

SUITES: Mapping[str, Suite] = {
    "engine": engine,
    "policies": policies,
    "scheduler": scheduler,
    "bridge": bridge,
    "files": files,
    "http": http,
    "timers": timers,
    "lifecycle": lifecycle,
    "observe": observe,
    "streams": streams,
    "watch": watch,
    "search": search,
    "pools": pools,
    "rpc": rpc,
}
