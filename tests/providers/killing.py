"""Processes that write one file again and again, and are killed at it."""

import asyncio
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

from mountain_runtime import fs
from tests.providers.support import names

SIZE = 2_000_000
#: Writes the file for ever, each time all of one letter; a line says that it has begun.
WRITER = """
import asyncio, sys
from mountain_runtime import fs

async def main(path, size, durable):
    n = 0
    while True:
        await fs.write_bytes(path, bytes([65 + n % 26]) * size, durable=durable)
        if not n:
            print("written", flush=True)
        n += 1

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"))
"""
LEFT = re.compile(r"\.file\.[0-9a-f]{16}\.tmp")


def kill_writers(folder: Path, *, times: int, durable: bool) -> None:
    """Kills a writer `times` times, and on until one was in mid-write; looks at what is there after each."""
    path = folder / "file"
    dice = random.Random(7)
    in_the_middle = 0
    for n in range(times * 10):
        if n >= times and in_the_middle:
            break
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(SIZE), str(durable)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "written\n"
            time.sleep(dice.random() * 0.02)  # somewhere within its next few writes
            writer.kill()
        data = path.read_bytes()
        assert len(data) == SIZE
        assert data == data[:1] * SIZE
        # Nothing can tidy up after a kill: an unfinished file stays under a name of its own, one at most.
        left = names(folder) - {"file"}
        assert len(left) <= 1
        assert all(LEFT.fullmatch(name) for name in left), left
        in_the_middle += len(left)
        for name in left:
            os.unlink(folder / name)
    assert in_the_middle, "no writer was killed in the middle of a write"
    asyncio.run(_write_on(path))
    assert names(folder) == {"file"}


async def _write_on(path: Path) -> None:
    await fs.write_bytes(path, b"the next one")
    assert await fs.read_bytes(path) == b"the next one"
