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


#: A sample of another name, well-formed: `mountain_effect_started_total{effect="other"} 3`. In the figures of the
#: process there are some thousands of them, of all test modules. What is forged or broken is none of these.
OTHERS = re.compile(r'mountain_\w+\{(?:le="[^"]*",)?(?!le=)\w+="[^"\\]*"(?:,\w+="[^"\\]*")*\} \S+')


def without_others(text: str, mark: str) -> str:
    """The lines that have the mark, and those that are none of `OTHERS`."""
    return "\n".join(line for line in text.split("\n") if mark in line or not OTHERS.fullmatch(line))


def scraped(*, newer: bool = True, mark: str | None = None) -> dict[str, Metric]:
    """All families by name, as Prometheus' own parser reads them; with `mark` without others' samples.

    The parser takes a tenth of a second to some thousand samples, so a test that looks for its own says which they are.
    """
    text = _native.metrics_text(openmetrics=newer)
    if mark is not None:
        text = without_others(text, mark)
    families: Iterable[Metric] = openmetrics(text) if newer else prometheus(text)
    return {family.name: family for family in families}


def samples(family: str) -> list[Any]:
    """Those of one family."""
    return scraped(mark=family)[family].samples


def value(name: str, **labels: str) -> float:
    """One figure; what there is not is 0."""
    family = re.sub(r"_(total|bucket|sum|count)$", "", name)
    return sum(s.value for s in samples(family) if s.name == name and labels.items() <= s.labels.items())


def shown(label: str, name: str, *, newer: bool) -> list[tuple[Any, ...]]:
    """All samples with that label, as often as the text has them."""
    return [
        (s.name, tuple(sorted(s.labels.items())), s.value)
        for family in scraped(newer=newer, mark=f'{label}="{name}"').values()
        for s in family.samples
        if s.labels.get(label) == name
    ]
