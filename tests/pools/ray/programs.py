"""Programs that use a pool on Ray, each with what it has said when it ends by itself."""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KILLS_IT", "OWN_HEAD", "Said", "run"]

HERE = Path(__file__).parents[3]

_BEGIN = """
import asyncio, os, sys, time
from mountain_runtime import On, blocking, effect, pools
from mountain_runtime.errors import NoWorkers, WorkerLost

address = os.environ.get("MOUNTAIN_TEST_HEAD", "127.0.0.1:1")
pool = pools.Ray(address, connect_timeout=30)


@blocking(On(pool))
def add(a: int, b: int = 1) -> int:
    return a + b
"""


@dataclass
class Said:
    """The lines that a program has written, and its end."""

    code: int
    out: list[str]
    err: str

    @property
    def quiet(self) -> bool:
        """No complaint of Python's at its end. Ray has its own lines there."""
        words = ("Traceback", "never retrieved", "Exception ignored", "was destroyed", "ResourceWarning")
        return not any(word in self.err for word in words)


def run(folder: Path, text: str, seconds: float = 90, *, before: str = "", **environment: str) -> Said:
    """Runs a program that begins as above, after `before`."""
    program = folder / "program.py"
    program.write_text(before + _BEGIN + textwrap.dedent(text))
    ended = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning:mountain_runtime", str(program)],
        env={**os.environ, "PYTHONPATH": str(HERE), **environment}, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip
    return Said(ended.returncode, ended.stdout.splitlines(), ended.stderr)


#: A head of the program's own,
OWN_HEAD = """
import os

if __name__ == "__main__":
    from tests.pools.ray.head import Head

    head = Head()
    os.environ |= {"RAY_AUTH_TOKEN": head.token, "MOUNTAIN_TEST_HEAD": head.address}
"""
#: which it kills while calls are at work. It says how they end, and lives on for so many seconds.
KILLS_IT = """
    @blocking(On(pool))
    def sleeps(seconds):
        time.sleep(seconds)

    async def ends(seconds):
        try:
            return await sleeps(seconds)
        except (WorkerLost, NoWorkers) as error:
            return type(error).__name__

    async def main():
        await sleeps(0)
        calls = [asyncio.ensure_future(ends(100)) for _ in range(4)]
        await asyncio.sleep(1)  # real: the first is at work
        head.kill()
        began = time.monotonic()
        print(*await asyncio.gather(*calls), time.monotonic() - began < 30)
        began = time.monotonic()
        print(await ends(0), time.monotonic() - began < 15)

    if __name__ == "__main__":
        until = time.monotonic() + float(os.environ["LIVES"])
        asyncio.run(main())
        time.sleep(max(until - time.monotonic(), 0))  # real: Ray would end the program meanwhile
        head.close()
        print("end")
"""
