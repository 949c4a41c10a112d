"""The example `flaky_api`: no call is lost, its numbers add up, and every policy has had its part in it."""

import re
from itertools import zip_longest

import pytest

from tests.examples.support import FLAKY_API, execute

pytestmark = pytest.mark.processes


class Report:
    """The example's output: rows of a label and its figures."""

    def __init__(self, output: str) -> None:
        self.title = output.split("\n", 1)[0]
        rows = (re.split(r" {2,}", line.strip(), maxsplit=1) for line in output.splitlines())
        self.rows = {row[0]: row[1] for row in rows if len(row) == 2}

    def counts(self, label: str) -> dict[str, int]:
        """`3 fine, 1 down`; a number alone has no name."""
        return {name: int(number) for number, name in re.findall(r"(\d+) ?([a-z ]*)", self.rows[label])}

    def count(self, label: str) -> int:
        return self.counts(label)[""]

    def times(self, label: str) -> list[float]:
        return [float(at) for at in re.findall(r"([\d.]+) s", self.rows[label])]

    def wait(self, urgency: str) -> tuple[int, int, int]:
        """The number of calls that waited, and the milliseconds of the median and of all but one in a hundred."""
        found = re.fullmatch(r"(\d+) +(\d+) ms +(\d+) ms", self.rows[urgency])
        assert found, self.rows[urgency]
        return int(found[1]), int(found[2]), int(found[3])


@pytest.fixture(scope="module")
def report() -> Report:
    code, output, said = execute("-W", "error", FLAKY_API)
    assert (code, said) == (0, ""), output
    return Report(output)


def test_every_call_is_accounted_for(report: Report) -> None:
    assert re.fullmatch(r"5000 calls in [\d.]+ s with seed 1: 0 lost", report.title)
    assert report.count("answered") + report.count("stood in") == 5000
    found = report.counts("from the cache")
    assert found.keys() == {"fresh", "stale", "not there"}
    assert sum(found.values()) == 5000
    # No stand-in is given for a service that is there, be it stale; one is for a service that is not.
    assert 0 < report.count("stood in") < found["not there"]


def test_the_breaker_opened_in_both_outages_and_closed_again(report: Report) -> None:
    opened, closed = report.times("breaker opened"), report.times("closed again")
    assert len(closed) >= 2
    # On a busy machine requests time out without an outage, and the program may end before the last opening has.
    assert len(opened) - len(closed) in {0, 1}
    turns = [at for turn in zip_longest(opened, closed) for at in turn if at is not None]
    assert turns == sorted(turns)
    assert report.counts("requests")["down"] > 20  # as many as it takes to open


def test_all_moods_of_the_service_were_met(report: Report) -> None:
    requests = report.counts("requests")
    assert requests.keys() == {"down", "failed", "fine", "refused", "stalled"}
    assert all(requests.values())
    assert report.counts("from the cache")["stale"] > 0
    # Calls that failed, stalled or were refused are tried again; of those to the dead service, as much as the budget
    # allows.
    assert 30 < report.count("retries") < sum(requests.values()) - requests["fine"]


def test_the_urgent_wait_less(report: Report) -> None:
    (high, _, high_p99), (normal, *_), (low, _, low_p99) = map(report.wait, ("High", "Normal", "Low"))
    assert high_p99 < low_p99
    assert 100 < high < normal < low
