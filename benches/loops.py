"""The event loops on which everything is measured, by name."""

import asyncio
import importlib
from collections.abc import Callable, Mapping

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _uvloop() -> LoopFactory:
    factory: LoopFactory = importlib.import_module("uvloop").new_event_loop
    return factory


#: For each loop what imports it and returns its factory.
LOOPS: Mapping[str, Callable[[], LoopFactory]] = {"asyncio": lambda: asyncio.new_event_loop, "uvloop": _uvloop}
