"""The pytest plugin, by entry point: the fixture `virtual_clock`. Nothing of the package imports it."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import VirtualClock, _virtual

__all__ = ["virtual_clock"]


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """Time that jumps: the engine's clock and the event loop's move together, as soon as there is nothing to do."""
    with _virtual() as clock:
        # Whatever plugin runs the test, it runs this: only here is the test's loop known for sure.
        test = request.node
        function = test.obj
        if inspect.iscoroutinefunction(function):
            test.obj = _checked(function, clock)
        try:
            yield clock
        finally:
            test.obj = function


def _checked(test: Callable[..., Any], clock: VirtualClock) -> Callable[..., Any]:
    """The test, with an error at its beginning if its loop is none that can jump."""

    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> Any:
        clock._here()
        return await test(*args, **kwargs)

    return checked
