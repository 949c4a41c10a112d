"""References under load after a subinterpreter: 100,000 writes of fresh payloads from several loops."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, gc, sys, threading
import {module} as interpreters
from mountain_runtime import fs

made = interpreters.create()
interpreters.destroy(made)
LOOPS, EACH, AT_ONCE = 4, {writes} // 4, 50

async def writes(number, folder):
    for start in range(0, EACH, AT_ONCE):
        names = range(start, start + AT_ONCE)
        payloads = [(b"%d-%d-" % (number, n)) * 500 for n in names]
        work = [fs.write_bytes(f"{{folder}}/{{number}}-{{n % 100}}", each) for n, each in zip(names, payloads)]
        await asyncio.gather(*work)
        del work
        if start % 5000 == 0:
            gc.collect()
            await asyncio.sleep(0)  # the graveyard is emptied
            assert all(sys.getrefcount(each) <= 4 for each in payloads), [sys.getrefcount(each) for each in payloads]

ended = []

def body(number):
    asyncio.run(writes(number, sys.argv[1]))
    ended.append(number)

threads = [threading.Thread(target=body, args=(n,)) for n in range(LOOPS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("whole" if len(ended) == LOOPS else "a loop failed")
"""


@pytest.mark.timeout(600)
def test_a_hundred_thousand_writes_after_a_subinterpreter(tmp_path: Path) -> None:
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    program = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "ignore",
        "-c",
        PROGRAM.format(module=module, writes=100_000),
        str(tmp_path),
    ]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=590, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "whole"), ended.stderr
    for written in tmp_path.iterdir():
        number, _ = written.name.split("-")
        first, rest = written.read_bytes().split(b"-", 1)
        assert first.decode() == number
        assert rest
