"""The peer that has to be built: a small Rust extension on pyo3-async-runtimes."""

import sys
from typing import Any

from benches.harness import optional
from benches.peers.build import PLACE


def rust_peer() -> Any:
    """The extension module with `noop(value)` and `sleep(seconds)`, or None where it was not built."""
    if str(PLACE) not in sys.path:
        sys.path.append(str(PLACE))
    return optional("mountain_bench_peers", "python benches/peers/build.py builds pyo3-async-runtimes for this Python")
