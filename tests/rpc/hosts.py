"""Programs for the tests of stdio, started by their name: what each does is in its function."""

import asyncio
import contextlib
import os
import sys

from mountain_runtime import Runtime, effect, rpc, run
from tests.rpc.support import Log, small


def router(log: Log) -> rpc.Router:
    made = small(log)

    @made.command("shout")
    @effect
    async def shout(text: str) -> str:
        """Writes to stdout in every way."""
        print(text)
        os.write(1, b"raw " + text.encode() + b"\n")
        (await (await asyncio.create_subprocess_exec("echo", "child", text)).wait())
        return text.upper()

    @made.command("release")
    @effect
    async def release() -> None:
        log.release.set()

    @made.command("die")
    @effect
    async def die() -> None:
        os._exit(7)

    return made


async def serve(rt: Runtime) -> None:
    """Serves `small` on stdio, and prints when that is over."""
    await router(Log()).serve("stdio:")
    with contextlib.suppress(BrokenPipeError):
        print("after")


if __name__ == "__main__":
    run({"serve": serve}[sys.argv[1]])
