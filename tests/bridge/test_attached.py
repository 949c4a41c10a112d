"""Which thread may touch a reference, also after a subinterpreter, when CPython's own check says yes to all."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

PROGRAM = """
import asyncio, sys, time
import {module} as interpreters
from mountain_runtime import Runtime, _native, fs

made = interpreters.create()
interpreters.destroy(made)

async def main(path):
    payload = bytes(range(256)) * 64
    async with Runtime() as rt:
        before = sys.getrefcount(payload)
        handle = rt.submit(fs.write_bytes(path, payload))
        deadline = time.monotonic() + 10
        while _native.at_work() and time.monotonic() < deadline:
            time.sleep(0.001)  # the loop is held up, so that only the worker can have dropped what it has
        time.sleep(0.05)  # from its answer to its end
        held = sys.getrefcount(payload) - before
        await handle
        del handle
        await asyncio.sleep(0.01)  # a turn of the loop that empties the graveyard
        print(held, sys.getrefcount(payload) - before)

asyncio.run(main(sys.argv[1]))
"""


def test_a_worker_counts_no_references_after_a_subinterpreter(tmp_path: Path) -> None:
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    program = [sys.executable, "-c", PROGRAM.format(module=module), str(tmp_path / "written")]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    held, left = map(int, ended.stdout.split())
    assert held > 0  # the objects that the worker has dropped wait for the loop
    assert left == 0
