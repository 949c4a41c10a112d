"""The same work on this machine and on a cluster: only the pool is another."""

import hashlib
import os

from mountain_runtime import On, Retry, Timeout, amap, blocking, fs, pools
from mountain_runtime.errors import WorkerLost

address = os.environ.get("RAY_ADDRESS")
pool = pools.Ray(address, workers=(2, 8)) if address else pools.Processes()


# It may run again where a worker was lost: say so, or get WorkerLost.
@blocking(Timeout(60), Retry(on=WorkerLost, attempts=5), On(pool), Timeout(20))
def digest(data: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", data, b"salt", 200_000).hex()


async def main(root: str) -> None:
    async def one(entry: fs.Entry) -> str:
        return await digest(await fs.read_bytes(entry.path))

    async with amap(one, fs.walk(root), limit=32) as done:
        async for entry, text in done:
            print(text, entry.path)
    print(pool.statistics())
