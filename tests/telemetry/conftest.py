"""What tests of telemetry are given: an application that traces, a client of the page."""

from collections.abc import Iterator

import pytest

from .tracing import Spans, traces


@pytest.fixture
def spans() -> Iterator[Spans]:
    with traces() as made:
        yield made
