"""Counts the spans that the SDK's processors lose, which the SDK does not report."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import _native

__all__ = ["after_fork", "given_up", "watch"]

#: By thread: spans that it is exporting.
_flying: dict[int, int] = {}


class _Watched:
    """An exporter's `export`, seen from outside."""

    def __init__(self, export: Callable[[Sequence[Any]], Any]) -> None:
        self._export = export

    def __call__(self, batch: Sequence[Any]) -> Any:
        thread = threading.get_ident()
        _flying[thread] = len(batch)
        failed = True
        try:
            result = self._export(batch)
            failed = getattr(result, "name", None) == "FAILURE"
            return result
        finally:
            lost = _flying.pop(thread, 0)  # none, if it was given up meanwhile
            if failed and lost:
                _native.spans_dropped(lost)


def watch(provider: Any) -> None:
    """Has the provider's exporters watched, as far as they are known."""
    for processor in _processors(provider):
        exporter: Any = getattr(processor, "span_exporter", getattr(_batches(processor), "_exporter", None))
        if exporter is None or isinstance(exporter.export, _Watched):
            continue
        try:
            exporter.export = _Watched(exporter.export)
        except AttributeError:  # it has slots, so its losses stay unknown
            pass


def given_up(provider: Any) -> int:
    """Spans that are not exported yet, and will not be: they are counted as dropped."""
    queued = sum(len(getattr(_batches(processor), "_queue", ())) for processor in _processors(provider))
    left = queued + sum(_flying.pop(thread, 0) for thread in list(_flying))
    if left:
        _native.spans_dropped(left)
    return left


def after_fork() -> None:
    """In the child of a fork: what is on its way is the parent's."""
    _flying.clear()


def _processors(provider: Any) -> Iterator[Any]:
    yield from getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())


def _batches(processor: Any) -> Any:
    return getattr(processor, "_batch_processor", processor)
