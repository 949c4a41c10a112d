"""The state: values by their keys in one file, which is replaced as a whole and so survives a kill."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mountain_runtime import ConcurrencyLimit, Timeout, batch, effect, fs, need

#: Writes of the file at once.
turn = ConcurrencyLimit(1, name="state")
Change = Callable[[dict[str, Any]], None]


class State:
    """Values as they are on the disk."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self._path = path
        self.values = values

    @batch(1000, turn, wait=0.005)
    async def change(self, changes: list[Change]) -> list[None]:
        """Changes that come together are one write; each is answered when that is on the disk."""
        values = dict(self.values)
        for each in changes:
            each(values)
        await fs.write_text(self._path, json.dumps(values))
        self.values = values
        return [None] * len(changes)


@asynccontextmanager
async def open_state(folder: Path) -> AsyncGenerator[State]:
    """The state in a folder. One host at a time has it: another waits, as long as a start may take."""
    await fs.mkdir(folder, parents=True, exist_ok=True)
    async with fs.lock(folder / "lock"):
        path = folder / "state.json"
        values: dict[str, Any] = json.loads(await fs.read_text(path)) if path.exists() else {}
        yield State(path, values)


@effect
async def get(key: str, default: Any = None, *, state: State = need(State)) -> Any:
    """The value of a key."""
    return state.values.get(key, default)


@effect(Timeout(10))
async def put(key: str, value: Any, *, state: State = need(State)) -> None:
    """Gives a key a value; null removes it."""

    def change(values: dict[str, Any]) -> None:
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value

    await state.change(change)
