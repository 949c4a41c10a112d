"""A cancel that coincides with an end is a cancel."""

import pytest

from . import ties


@pytest.mark.parametrize("name", ties.ROUNDS)
async def test_a_cancel_in_the_tick_of_the_end_wins(name: str) -> None:
    """T1; 10,000 times in the stress tests."""
    await ties.run(name, rounds=300, seed=1)
