"""The fuzz targets of tests/fuzz hold for their seeds, for random changes of them, and fail where they should."""

import random
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from mountain_runtime.rpc._messages.framing import LineFrames
from mountain_runtime.rpc._sessions.session import Session
from tests.fuzz.targets import TARGETS


def changed(seeds: list[bytes], times: int) -> Iterator[bytes]:
    """The seeds, and each with bytes changed, left out, doubled and put in."""
    chance = random.Random(7)
    yield from seeds
    for _ in range(times):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data) + 1)
            part = data[at : at + chance.randrange(1, 30)]
            match chance.randrange(4):
                case 0:
                    del data[at : at + len(part)]
                case 1:
                    data[at:at] = part
                case 2:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case _:
                    data[at:at] = chance.choice(seeds)[4:]
        yield bytes(data)


@pytest.mark.parametrize(("name", "times"), [("framing", 3000), ("session", 300)])
def test_a_target_holds_for_changes_of_its_seeds(name: str, times: int) -> None:
    check, seeds = TARGETS[name]
    for data in changed(seeds, times):
        check(data)


def test_each_target_is_fuzzed_by_the_deep_workflow() -> None:
    workflow = (Path(__file__).resolve().parents[2] / ".github" / "workflows" / "deep.yml").read_text()
    assert f"matrix: {{ target: [{', '.join(TARGETS)}] }}" in workflow


def test_the_targets_see_faults() -> None:
    framing, seeds = TARGETS["framing"]
    with mock.patch.object(LineFrames, "end", return_value=None), pytest.raises(AssertionError):
        for data in seeds:
            framing(data)
    session, seeds = TARGETS["session"]
    send = Session.send

    def twice(self: Session, pieces: list[bytes]) -> None:
        send(self, pieces)
        send(self, pieces)

    with mock.patch.object(Session, "send", twice), pytest.raises(AssertionError):
        for data in seeds:
            session(data)
