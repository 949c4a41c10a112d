"""A cluster that a pool without an address starts, and ends."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os
from mountain_runtime import On, blocking, pools

pool = pools.Ray(start_timeout=50)

@blocking(On(pool))
def worker() -> int:
    return os.getpid()

async def main() -> None:
    first = await worker()
    await asyncio.sleep(2)  # real: processes that end with the thread that started them have ended by then
    print(await worker() == first != os.getpid(), await pool._close(10))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_it_lives_as_long_as_its_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "program.py").write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=55, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True []\n", "")
