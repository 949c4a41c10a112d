"""The suites by name: each says which cases it has, and holds the contests that decide them."""

from collections.abc import Mapping

from benches.harness import Suite
from benches.suites import bridge, engine, files, policies, timers

SUITES: Mapping[str, Suite] = {
    "engine": engine,
    "policies": policies,
    "bridge": bridge,
    "files": files,
    "timers": timers,
}
