"""The storm of random cancels at full size: on every loop, and on several loops at once."""

import threading

import pytest

from tests.conftest import BOTH, EVERY
from tests.effect.cancel_storm import Counts, Storm


def storm(loop: str, seed: int, tasks: int) -> Counts:
    """One storm on a loop of its own."""
    made = EVERY[loop]()
    try:
        return made.run_until_complete(Storm(seed).run(tasks))
    finally:
        made.close()


@pytest.mark.parametrize("loop", EVERY)
@pytest.mark.parametrize("seed", range(100, 110))
def test_storm(loop: str, seed: int, complaints: list[str]) -> None:
    """Thousands of tasks and cancels a seed; whatever happens when, each leaf ends and each cancel is seen."""
    counts = storm(loop, seed, 2000)
    assert counts.wrong == []
    assert counts.begun == counts.cleaned
    assert complaints == []


@pytest.mark.parametrize("loop", BOTH)
def test_storms_in_several_threads(loop: str, complaints: list[str]) -> None:
    """Loops in threads of their own share the engine's workers and its clock, and nothing else."""
    results: dict[int, Counts] = {}

    def thread(seed: int) -> None:
        results[seed] = storm(loop, seed, 500)

    threads = [threading.Thread(target=thread, args=(seed,)) for seed in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == list(range(6))
    assert [counts.wrong for counts in results.values()] == [[]] * 6
    assert all(counts.begun == counts.cleaned for counts in results.values())
    assert complaints == []
