"""The pipeline with its parsing on worker processes, and an API on this machine that is asked for owners."""

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.examples.servers import Answer, Asked, Server, most_in, serving
from tests.examples.support import PROGRAMS, finish, start, until, workers_of
from tests.pools.ray.head import Head

pytestmark = pytest.mark.processes

FILES = 430
POOL = 'pools.Processes(name="cpu")'
#: Runs the program as its users do: its module is imported, here and by the workers.
MAIN = """
import asyncio, sqlite3, sys
from contextlib import closing

import index_on_cores

with closing(sqlite3.connect(sys.argv[2])) as db:
    db.execute("create table docs (path, words, who)")
    asyncio.run(index_on_cores.main(sys.argv[1], db))
    db.commit()
"""


def owners(asked: Asked) -> Answer:
    return json.dumps([f"owner of {Path(path).name}" for path in json.loads(asked.body)])


def prepare(folder: Path, server: Server, pool: str = POOL, count: int = FILES) -> Path:
    """Writes the program, with the API at a port that is free here and its pool, and the files that it reads."""
    text = (PROGRAMS / "index_on_cores.py").read_text()
    for theirs, ours in (("127.0.0.1:8001", f"127.0.0.1:{server.server_port}"), (POOL, pool)):
        assert theirs in text
        text = text.replace(theirs, ours)
    (folder / "index_on_cores.py").write_text(text)
    files = folder / "files"
    files.mkdir()
    for number in range(count):
        (files / f"{number}.txt").write_text("word " * number)
    return files


def check(folder: Path, server: Server, count: int = FILES) -> None:
    """Each file is in the table once, with its words and its owner; the API was asked once for each, and gently."""
    with closing(sqlite3.connect(folder / "index.db")) as db:
        rows = db.execute("select path, words, who from docs").fetchall()
    assert {Path(path).name: (words, who) for path, words, who in rows} == {
        f"{number}.txt": (number, f"owner of {number}.txt") for number in range(count)
    }
    assert len(rows) == count
    assert {(each.path, len(json.loads(each.body)) <= 50) for each in server.asked} == {("/owners", True)}
    asked = [path for each in server.asked for path in json.loads(each.body)]
    assert sorted(asked) == sorted(path for path, _, _ in rows)
    # A tenth of the second for the way to the server.
    assert most_in(0.9, [each.began for each in server.asked]) <= 10


def test_every_file_is_parsed_on_a_worker_and_written_once(tmp_path: Path) -> None:
    with serving(owners) as server:
        files = prepare(tmp_path, server)
        program = start("-W", "error", "-c", MAIN, files, tmp_path / "index.db", cwd=tmp_path)
        assert finish(program) == (0, "", "")
    check(tmp_path, server)


@pytest.mark.ray
def test_the_workers_may_be_on_a_cluster(tmp_path: Path, cluster: Head) -> None:
    with serving(owners) as server:
        files = prepare(tmp_path, server, f'pools.Ray("{cluster.address}", workers=2, name="cpu")', 120)
        program = start("-W", "error", "-c", MAIN, files, tmp_path / "index.db", cwd=tmp_path)
        assert finish(program) == (0, "", "")
    check(tmp_path, server, 120)


def test_a_killed_worker_costs_no_file(tmp_path: Path) -> None:
    def slowly(asked: Asked) -> Answer:
        time.sleep(0.1)  # so that the program still runs when its workers are killed
        return owners(asked)

    with serving(slowly) as server:
        files = prepare(tmp_path, server)
        program = start("-W", "error", "-c", MAIN, files, tmp_path / "index.db", cwd=tmp_path)
        until(lambda: len(server.asked) >= 2, program)
        killed = set(workers_of(program.pid))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        code, output, said = finish(program)
    assert killed
    assert (code, output) == (0, ""), said
    assert {f"worker {pid} of pool 'cpu' is lost" in said for pid in killed} == {True}
    check(tmp_path, server)
