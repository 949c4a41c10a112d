"""The bench of calls on Ray, which starts a cluster of its own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: In a process of its own: one process has one connection to Ray.
ON_RAY = """
import asyncio, json
from benches import compare, harness, on_ray

async def main():
    async for contest in on_ray.contests(harness.Scale.TINY):
        print(json.dumps(compare.rows(await harness.measured("pools", "asyncio", contest))))

asyncio.run(main())
"""


def test_a_tiny_run_on_a_cluster_gives_its_rows() -> None:
    ran = subprocess.run([sys.executable, "-c", ON_RAY], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    [rows] = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[{")]
    assert [(row["case"], row["peer"]) for row in rows] == [
        ("ray-call", "a bare async actor"),
        ("ray-call", "a bare async actor, ours a function"),
    ]
    assert all(row["ours"] > 0 for row in rows)
