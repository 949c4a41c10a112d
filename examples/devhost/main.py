"""A developer's host: `python examples/devhost/main.py CHECKOUT [ADDRESS]` opens a checkout of git to other programs.

They search and watch it, read and write its files, ask git, work on terminals and keep values, by commands over
JSON-RPC on stdin and stdout, or at an ADDRESS such as `unix:/tmp/devhost.sock`. What they ask is recorded: the commits
that were looked at are in the cache of the next start before its first caller comes. At SIGTERM or Ctrl-C what is in
flight is answered, then the streams and their terminals end, then the services.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import files
import git
import index
import state
import terminals
from index import Index, open_index
from state import State, open_state
from terminals import Terminals, open_terminals
from workspace import Workspace, open_workspace

from mountain_runtime import Effect, RateLimit, Runtime, Shutdown, Stream, Timeout, rpc, run
from mountain_runtime.errors import TimedOut

COMMANDS: dict[str, Callable[..., Effect[Any]]] = {
    "file/read": files.read,
    "file/write": files.write,
    "file/open": files.open_file,
    "file/find": index.find,
    "git/status": git.status,
    "git/log": git.log,
    "git/diff": git.diff,
    "git/show": git.show,
    "state/get": state.get,
    "state/set": state.put,
    "terminal/write": terminals.write,
    "terminal/resize": terminals.resize,
    "terminal/screen": terminals.screen,
    "terminal/close": terminals.close,
}
STREAMS: dict[str, Callable[..., Stream[Any]]] = {
    "file/search": files.lines,
    "file/watch": files.watch,
    "terminal/open": terminals.show,
}
#: Their texts are not recorded: contents of files, and what is typed, which may be a password.
PRIVATE = {"file/write", "state/set", "terminal/write"}


def hide(name: str, value: Any) -> Any:
    """The value as it is recorded: of private commands with its form, without its texts."""
    if name not in PRIVATE:
        return value
    match value:
        case {**named}:
            return {key: hide(name, each) for key, each in named.items()}
        case [*given]:
            return [hide(name, each) for each in given]
        case _:
            return "***" if isinstance(value, str) else value


def commands(record: rpc.Record) -> rpc.Router:
    """All commands, under a limit for each caller."""
    router = rpc.Router(RateLimit(5000, per=1, key=rpc.caller), name="devhost", record=record)
    for name, command in COMMANDS.items():
        router.command(name)(command)
    for name, streaming in STREAMS.items():
        router.streaming(name)(streaming)
    return router


async def serve(rt: Runtime, folder: Path, address: str) -> None:
    """Warms up, then serves until the end of input or a signal."""
    path = folder / "requests.jsonl"
    router = commands(rpc.Record(path, redact=hide))
    with suppress(FileNotFoundError, TimedOut):  # the first start has nothing to replay
        await rpc.replay(path, router, only=lambda each: each.name == "git/show").under(Timeout(5))
    print("serving", address, file=sys.stderr, flush=True)
    await router.serve(address)


def main() -> None:
    """Runs until it has ended in order, then prints how that went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("address", nargs="?", default="stdio:")
    parser.add_argument("--state", type=Path, help="the folder of what it keeps; by default in that of git")
    parser.add_argument("--dashboard", help="the address of a live page, such as 127.0.0.1:9600")
    given = parser.parse_args()
    if (folder := given.state) is None:
        asked = ("git", "-C", given.checkout, "rev-parse", "--absolute-git-dir")
        folder = Path(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip(), "devhost")
    runtime = Runtime(dashboard=given.dashboard, shutdown=Shutdown(deadline=20, drain=12))
    runtime.provide(Workspace, partial(open_workspace, given.checkout))
    runtime.provide(Index, open_index)
    runtime.provide(State, partial(open_state, folder), start_timeout=3)
    runtime.provide(Terminals, open_terminals)
    run(partial(serve, folder=folder, address=given.address), runtime=runtime)
    print(runtime.report, file=sys.stderr)


if __name__ == "__main__":
    main()
