"""An exit of a command that a peer has asked for: the block of the connection ends in order, and raises it."""

import asyncio
import sys
from pathlib import Path

import pytest

from mountain_runtime import Runtime, effect, rpc
from tests.rpc.test_serve import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def host(path: Path, name: str, answered: list[bytes]) -> asyncio.Server:
    """Asks its caller for a command."""

    async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"method":"%b"}' % name.encode()
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        answered.append(answer)

    return await asyncio.start_unix_server(asks, path)


async def asked(path: Path) -> None:
    """Ends by an exit of its own command."""
    router, ended = rpc.Router(), False
    answered: list[bytes] = []

    @router.command("bye")
    @effect
    async def bye() -> None:
        sys.exit(7)

    async with await host(path, "bye", answered):
        try:
            async with rpc.connect(f"unix:{path}", router=router):
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    ended = True
        except SystemExit:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert ended
            await until(lambda: answered)
            assert b"-32800" in answered[0]
            raise


def test_the_block_is_cancelled_and_raises_it(path: Path) -> None:
    with pytest.raises(SystemExit) as found:
        asyncio.run(asked(path))
    assert found.value.code == 7


def test_in_a_runtime_too(path: Path) -> None:
    async def main() -> None:
        async with Runtime():
            await asked(path)

    with pytest.raises(SystemExit) as found:
        asyncio.run(main())
    assert found.value.code == 7


async def test_one_that_comes_as_the_block_is_left_is_raised_by_it(path: Path) -> None:
    router, begun = rpc.Router(), asyncio.Event()

    @router.command("late")
    @effect
    async def late() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            sys.exit(5)

    answered: list[bytes] = []
    async with await host(path, "late", answered):
        with pytest.raises(SystemExit) as found:
            async with rpc.connect(f"unix:{path}", router=router):
                await begun.wait()
        await until(lambda: answered)
    assert found.value.code == 5
