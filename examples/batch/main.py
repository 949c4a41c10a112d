"""Looks addresses up and keeps what it has found: `python examples/batch/main.py ADDRESSES.csv [STATE.json] --url URL`.

Stopped by Ctrl-C, it finishes the requests that are on their way, writes its state, and goes on from there next time.
Exit codes: 0, every address is known; 130, stopped before that.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import httpx

from mountain_runtime import Err, Ok, Retry, Runtime, Shutdown, Timeout, amap, effect, fs, run
from mountain_runtime.errors import ShuttingDown

Point = tuple[float, float]


@effect(
    Timeout(60),  # an address, with all its attempts
    Retry(on=httpx.TransportError, attempts=5),
    Timeout(10),  # an attempt
)
async def look_up(client: httpx.AsyncClient, url: str, address: str) -> Point:
    answer = await client.get(url, params={"q": address})
    latitude, longitude = answer.raise_for_status().json()
    return float(latitude), float(longitude)


async def look_all_up(url: str, addresses: list[str], state: Path) -> bool:
    """Whether every address is known in the end."""
    known: dict[str, Point] = {}
    match await fs.read_text(state).attempt(FileNotFoundError):
        case Ok(value=text):
            known = json.loads(text)
        case Err():
            pass  # the first run
    left = [address for address in dict.fromkeys(addresses) if address not in known]
    async with httpx.AsyncClient() as client:
        try:
            async with amap(lambda address: look_up(client, url, address), left, limit=20) as results:
                async for address, point in results:
                    known[address] = point
        except ShuttingDown:
            print(f"stopped: {len(known)} of {len(addresses)} addresses are known", file=sys.stderr)
        finally:
            # The cleanup of accepted work is admitted while the runtime drains.
            await fs.write_text(state, json.dumps(known))
    return all(address in known for address in addresses)


def main() -> int:
    parser = argparse.ArgumentParser(prog="batch", description="Looks addresses up and keeps what it has found.")
    parser.add_argument("addresses", type=Path, help="a CSV file with a column 'address'")
    parser.add_argument("state", type=Path, nargs="?", default=Path("state.json"))
    parser.add_argument("--url", required=True, help="answers ?q=ADDRESS with [latitude, longitude]")
    arguments = parser.parse_args()
    with arguments.addresses.open(newline="") as lines:
        addresses = [row["address"] for row in csv.DictReader(lines)]

    async def job(rt: Runtime) -> bool:
        return await look_all_up(arguments.url, addresses, arguments.state)

    runtime = Runtime(shutdown=Shutdown(drain=5))
    complete = run(job, runtime=runtime)
    if not complete:
        print(runtime.report, file=sys.stderr)
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(main())
