"""Functions on the toy pool of the page that says how to add a pool, for the suite of all pools."""

from pathlib import Path
from typing import Any

from tests.examples.pages import FENCE

from . import conforming

PAGE = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "add-a-pool.md"
(CODE,) = (match[3] for match in FENCE.finditer(PAGE.read_text()) if match[2] == "threads_pool.py")


def toy() -> Any:
    """The page's pool: what a reader of the page would have."""
    names: dict[str, Any] = {"__name__": "threads_pool"}
    exec(compile(CODE, "threads_pool.py", "exec"), names)
    return names["Threads"]


Threads = toy()
kinds = conforming.Pools(
    Threads(2, runtime=conforming.with_store, name="threads-pair"),
    Threads(1, runtime=conforming.with_store, max_waiting=3, name="threads-one"),
    Threads(1, runtime=conforming.fails_to_start, name="threads-broken"),
    Threads(1, runtime=conforming.with_slow_stop, name="threads-slow"),
)
functions = conforming.functions(__name__, kinds)
