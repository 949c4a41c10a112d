"""A lock and the processes that are forked while it is held."""

from pathlib import Path

import pytest

from tests.lifecycle.support import execute

pytestmark = pytest.mark.processes

PROGRAM = """
import os, signal, warnings
from mountain_runtime import fs

warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns

async def free():
    try:
        async with fs.lock({path!r}, wait=False):
            return True
    except BlockingIOError:
        return False

async def main():
    read, write = os.pipe()
    async with fs.lock({path!r}) as held:
        child = os.fork()
        if child == 0:
            {child}
            os.write(write, b"!")
            signal.pause()
        os.read(read, 1)
        print(await free())
    print(await free())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

asyncio.run(main())
"""


@pytest.mark.parametrize("child", ["pass", "held = None; import gc; gc.collect()"], ids=["keeps", "drops"])
def test_it_is_held_to_the_end_of_its_block_and_no_longer(tmp_path: Path, child: str) -> None:
    ended = execute(PROGRAM.format(path=str(tmp_path / "lock"), child=child))
    ended.quietly()
    assert ended.lines == ["False", "True"]
