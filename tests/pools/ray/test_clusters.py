"""A cluster that loses its head while calls are at work."""

from pathlib import Path

import pytest

from .programs import KILLS_IT, OWN_HEAD, run

pytestmark = pytest.mark.ray


@pytest.mark.timeout(150)
def test_a_head_that_goes_away_ends_every_call_and_no_program(tmp_path: Path) -> None:
    said = run(tmp_path, KILLS_IT, before=OWN_HEAD, LIVES="1")
    assert (said.code, said.out) == (0, ["WorkerLost NoWorkers NoWorkers NoWorkers True", "NoWorkers True", "end"]), (
        said.err
    )
    assert said.quiet, said.err
