"""A cluster that has no room for more workers."""

import dataclasses
import logging

import pytest

from mountain_runtime import gather

pytestmark = pytest.mark.ray


async def test_workers_that_find_no_room_are_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    from . import room_work

    with caplog.at_level(logging.WARNING, "mountain_runtime"):
        async with room_work.pool:
            engine = room_work.pool._running()
            engine._settings = dataclasses.replace(engine._settings, start_timeout=0.2)  # for those that come later
            assert len(set(await gather([room_work.slowly() for _ in range(4)]))) == 1
            assert room_work.pool.statistics().lost == 0
    assert "is lost" not in caplog.text
