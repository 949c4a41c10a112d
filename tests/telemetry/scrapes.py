"""Support for the tests of metrics: figures, as Prometheus' own parsers read them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from mountain_runtime import (
    _native,
)

ROOT = Path(__file__).resolve().parents[2]


class Boom(Exception):
    """A failure of ours."""


def named(what: str = "metric") -> str:
    return f"{what} {uuid4().hex[:8]}"


def scraped(*, newer: bool = True) -> dict[str, Metric]:
    """All families by name, as Prometheus' own parser reads them."""
    text = _native.metrics_text(openmetrics=newer)
    families: Iterable[Metric] = openmetrics(text) if newer else prometheus(text)
    return {family.name: family for family in families}


def value(name: str, **labels: str) -> float:
    """One figure; what there is not is 0."""
    family = scraped()[re.sub(r"_(total|bucket|sum|count)$", "", name)]
    return sum(s.value for s in family.samples if s.name == name and labels.items() <= s.labels.items())


def shown(label: str, name: str, *, newer: bool) -> list[tuple[Any, ...]]:
    """All samples with that label, as often as the text has them."""
    return [
        (s.name, tuple(sorted(s.labels.items())), s.value)
        for family in scraped(newer=newer).values()
        for s in family.samples
        if s.labels.get(label) == name
    ]
