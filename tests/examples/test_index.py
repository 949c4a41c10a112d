"""The pipeline, in virtual time, with an API that is asked for owners."""

import json
import runpy
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from mountain_runtime.testing import VirtualClock
from tests.examples.servers import most_in
from tests.examples.support import PROGRAMS

FILES = 430


async def test_every_file_is_written_once_with_its_owner(
    tmp_path: Path, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, list[str]]] = []

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        paths = json.loads(request.content)
        asked.append((virtual_clock.time(), paths))
        if len(asked) == 2:
            raise httpx.ReadError("gone", request=request)
        return httpx.Response(200, json=[f"owner of {Path(path).name}" for path in paths], request=request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    for number in range(FILES):
        folder = tmp_path / f"folder {number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text("word " * number)
    program = runpy.run_path(str(PROGRAMS / "index.py"))
    commits: list[int] = []
    with closing(sqlite3.connect(":memory:")) as db:
        db.set_trace_callback(lambda said: commits.append(1) if said == "COMMIT" else None)
        await program["main"](str(tmp_path), db)
        rows = db.execute("select path, words, owner from docs").fetchall()

    names = {Path(path).name: (words, owner) for path, words, owner in rows}
    assert len(rows) == len(names) == FILES
    assert all(names[f"{n}.txt"] == (n, f"owner of {n}.txt") for n in range(FILES))
    assert len(commits) >= FILES // 100, "written as they came"
    served = [paths for number, (_, paths) in enumerate(asked) if number != 1]
    assert sorted(path for paths in served for path in paths) == sorted(path for path, _, _ in rows), "each asked once"
    assert max(len(paths) for _, paths in asked) <= 50
    assert most_in(1, [at for at, _ in asked]) <= 10
