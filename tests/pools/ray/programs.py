"""Programs that use a pool on Ray, each with what it has said when it ends by itself."""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Said", "run"]

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
    """What a program has written, and how it has ended."""

    code: int
    out: list[str]
    err: str

    @property
    def quiet(self) -> bool:
        """No complaint of Python's at its end. Ray has its own lines there."""
        words = ("Traceback", "never retrieved", "Exception ignored", "was destroyed", "ResourceWarning")
        return not any(word in self.err for word in words)


def run(folder: Path, text: str, seconds: float = 90, **environment: str) -> Said:
    """Runs a program that begins as above."""
    program = folder / "program.py"
    program.write_text(_BEGIN + textwrap.dedent(text))
    ended = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning:mountain_runtime", str(program)],
        env={**os.environ, "PYTHONPATH": str(HERE), **environment}, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip
    return Said(ended.returncode, ended.stdout.splitlines(), ended.stderr)
