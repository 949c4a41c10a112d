"""Programs that a test plays and that are talked to: virtual time, their errors, their ends, what is refused."""

import asyncio
import logging
import signal

import pytest

from mountain_runtime import Retry, Runtime, Shutdown, Timeout, constant, effect, errors, process, sidecar, testing
from mountain_runtime.process import Completed
from mountain_runtime.testing import Command, VirtualClock


async def slow_adder(command: Command) -> Completed:
    async for line in command.lines():
        await asyncio.sleep(3600)
        await command.send(b"%d" % sum(map(int, line.split())))
    return Completed()


def played() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("program ")}


async def test_a_program_works_in_virtual_time(virtual_clock: VirtualClock) -> None:
    with testing.process(slow_adder) as commands:
        async with process.open("adder", "-v", cwd="/no", env={"A": "1"}) as p:
            await p.send(b"1 2")
            assert await p.receive() == b"3"
            assert virtual_clock.time() == pytest.approx(3600)
            await p.send(b"3 4")
            with pytest.raises(errors.TimedOut):
                await effect(Timeout(1800))(p.receive)()
        assert await p.wait() == -signal.SIGTERM
    assert virtual_clock.time() == pytest.approx(5400)
    assert commands == [Command(("adder", "-v"), b"", "/no", {"A": "1"})]
    assert not played()


async def test_the_grace_of_a_block_passes_in_virtual_time(virtual_clock: VirtualClock) -> None:
    async def deaf(command: Command) -> Completed:
        command.on_signal(signal.SIGTERM, lambda: None)
        await asyncio.Event().wait()
        return Completed()

    with testing.process(deaf):
        async with process.open("deaf") as p:
            pass
        assert (virtual_clock.time(), await p.wait()) == (0.5, -signal.SIGKILL)


async def test_restarts_of_a_sidecar_wait_in_virtual_time(virtual_clock: VirtualClock) -> None:
    async def crashing(command: Command) -> Completed:
        await command.send(b"ready")
        await asyncio.sleep(600)
        return Completed(9)

    with testing.process(crashing) as commands:
        start = sidecar("store", ready=lambda line: line == "ready", restart=constant(20))
        with pytest.raises(ChildProcessError, match="exit code 9 by itself"):
            async with start():
                await virtual_clock.advance(600 + 20 + 599)
                assert len(commands) == 2
                await virtual_clock.advance(2)
    assert not played()


async def test_what_has_an_end_at_once_answers_all_ways(capfd: pytest.CaptureFixture[str]) -> None:
    with testing.process(lambda command: Completed(3, b"out\n", b"err\n")):
        assert (await process.run("x", check=False)).stdout == b"out\n"
        async with process.open("x") as p:
            assert [line async for line in p.lines()] == [b"out"]
            assert await p.wait() == 3
        async with process.terminal("x") as t:
            assert await t.wait() == 3
            assert t.screen() == "out\nerr"
        with pytest.raises(ChildProcessError, match=r"(?s)exit code 3 before it was ready.*err"):
            async with sidecar("x", ready=lambda _: False)():
                pytest.fail("it is never ready")
    assert capfd.readouterr().err == "err\n"  # of open: where this process's goes


async def test_a_program_that_is_run_reads_and_writes_as_one_that_is_talked_to() -> None:
    async def upper(command: Command) -> Completed:
        async for line in command.lines():
            await command.send(line.upper())
        await command.write(b"done\n", stderr=True)
        return Completed(stdout=b"end")

    with testing.process(upper):
        done = await process.run("upper", input=b"a\nb")
        assert (done.stdout, done.stderr) == (b"A\nB\nend", b"done\n")


async def test_an_error_at_once_is_one_of_the_start() -> None:
    async def missing(command: Command) -> Completed:
        raise FileNotFoundError(2, "No such file", command.argv[0])

    with testing.process(missing):
        for block in (process.open("git"), process.terminal("git"), sidecar("git")()):
            with pytest.raises(FileNotFoundError, match="git"):
                async with block:
                    pytest.fail("it cannot begin")
    with testing.process(lambda _: None):  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match=r"gives a process\.Completed, not None"):
            async with process.open("git"):
                pytest.fail("it cannot begin")


async def broken(command: Command) -> Completed:
    await command.send(b"ready")
    async for line in command.lines():
        assert line == b"expected"
    raise SystemExit(4)


async def test_a_later_error_is_one_of_the_end_of_the_block() -> None:
    with testing.process(broken):
        with pytest.raises(AssertionError):
            async with process.open("x") as p:
                await p.send(b"else")
                assert await p.wait() == 1
        with pytest.raises(AssertionError) as caught:
            async with process.open("x") as p:
                await p.send(b"else")
                await p.receive()
                await p.receive()
        assert isinstance(caught.value.__context__, BrokenPipeError)
        async with process.open("x") as p:
            await p.send(b"expected")
            await p.close_stdin()
            assert await p.wait() == 4


async def test_a_later_error_in_a_sidecar_is_what_it_said_last(caplog: pytest.LogCaptureFixture) -> None:
    with testing.process(broken), caplog.at_level(logging.INFO, "mountain_runtime.sidecar"):
        with pytest.raises(ChildProcessError, match=r"(?s)exit code 1 by itself.*AssertionError"):
            async with sidecar("x", ready=lambda line: line == "ready")() as p:
                await p.send(b"else")
                assert await p.wait() == 1
    assert any("Traceback" in record.message for record in caplog.records)


async def test_a_handler_that_fails_is_an_error_of_the_program() -> None:
    async def failing(command: Command) -> Completed:
        command.on_signal(signal.SIGUSR1, lambda: {}["missing"])
        await asyncio.Event().wait()
        return Completed()

    with testing.process(failing), pytest.raises(KeyError, match="missing"):
        async with process.open("x") as p:
            p.signal(signal.SIGUSR1)
            assert await p.wait() == 1


async def test_a_signal_is_a_cancel_which_may_be_taken() -> None:
    async def saving(command: Command) -> Completed:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            return Completed(stdout=b"saved")
        return Completed(1)

    with testing.process(saving):
        async with process.open("x") as p:
            p.signal(signal.SIGINT)
            assert (await p.wait(), await p.receive()) == (0, b"saved")
        async with sidecar("x", grace=10)() as p:
            pass
        assert await p.wait() == 0


async def test_a_kill_ends_what_takes_no_cancel() -> None:
    cleaned = []

    async def stubborn(command: Command) -> Completed:
        for _ in range(20):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cleaned.append(1)
        return Completed()

    with testing.process(stubborn):
        with pytest.raises(KeyError):
            async with process.open("x") as p:
                raise KeyError
        assert (len(cleaned), await p.wait()) == (20, -signal.SIGKILL)


async def test_one_that_swallows_each_cancel_is_an_error() -> None:
    done = asyncio.Event()

    async def endless(command: Command) -> Completed:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                pass
        return Completed()

    with testing.process(endless):
        with pytest.raises(RuntimeError, match=r"program x of testing\.process\(\) swallows each Cancel"):
            async with process.open("x") as p:
                await asyncio.sleep(0)
                p.signal(signal.SIGKILL)
        assert await p.wait() == -signal.SIGKILL
        done.set()
        await asyncio.sleep(0.01)
    assert not played()


async def test_the_deadline_of_its_caller_is_none_of_the_program_s(virtual_clock: VirtualClock) -> None:
    @effect(Timeout(1))
    async def opened() -> process.Process:
        return await process.open("x").__aenter__()

    @effect
    async def answer() -> bytes:
        await asyncio.sleep(5)
        return b"late"

    async def program(command: Command) -> Completed:
        await command.send(await answer())
        return Completed()

    with testing.process(program):
        p = await opened()
        assert await p.receive() == b"late"
    assert virtual_clock.time() == 5


async def test_the_end_of_the_block_ends_what_is_left_and_restores() -> None:
    with testing.process(slow_adder):
        p = await process.open("x").__aenter__()
        with testing.process(lambda _: Completed(stdout=b"inner")):
            async with process.open("x") as inner:
                assert await inner.receive() == b"inner"
        assert played() == {"program x"}
    assert await p.wait() == -signal.SIGKILL
    assert not played()
    with pytest.raises(FileNotFoundError):
        async with process.open("/no/such/program"):
            pass


def test_the_end_of_a_loop_ends_what_is_left() -> None:
    opened: list[process.Process] = []

    async def leave() -> None:
        opened.append(await process.open("x").__aenter__())

    with testing.process(slow_adder):
        asyncio.run(leave())
    assert "returncode=-9" in repr(opened[0])


async def test_a_runtime_stops_a_faked_sidecar_last() -> None:
    order: list[str] = []

    async def store(command: Command) -> Completed:
        await command.send(b"ready")
        try:
            async for _ in command.lines():
                pass
        finally:
            order.append("store")
        return Completed()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("work")

    with testing.process(store):
        async with Runtime(shutdown=Shutdown(drain=0)).provide(
            process.Process, sidecar("store", ready=lambda line: line == "ready")
        ) as rt:
            _handle = rt.submit(effect(work)())
            await asyncio.sleep(0)
    assert order == ["work", "store"]


async def test_what_cannot_be_is_refused() -> None:
    caught: list[str] = []

    async def wrong(command: Command) -> Completed:
        for call in (
            lambda: command.on_signal(signal.SIGKILL, lambda: None),
            command.raw,
        ):
            with pytest.raises((errors.ConfigError, RuntimeError)) as error:
                call()
            caught.append(str(error.value))
        for awaited in (command.send("a"), command.write("a")):  # type: ignore[arg-type]
            with pytest.raises(TypeError) as wrong_type:
                await awaited
            caught.append(str(wrong_type.value))
        assert command.size is None
        return Completed()

    with testing.process(wrong):
        await process.run("x")
    assert caught == [
        "on_signal(SIGKILL): no program hears of it",
        "raw(): this program has no terminal; process.terminal gives it one",
        "send() takes bytes, not str: write send(line.encode())",
        "write() takes bytes, not str: write write(text.encode())",
    ]
    with pytest.raises(RuntimeError, match="can be read and written by the function"):
        await Command(("x",), b"", None, None).send(b"x")


async def test_a_program_is_tried_again() -> None:
    tries = 0

    async def third(command: Command) -> Completed:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable", command.argv[0])
        await command.send(b"here")
        return Completed()

    @effect(Retry(on=BlockingIOError, attempts=3, backoff=constant(0)))
    async def ask() -> bytes:
        async with process.open("x") as p:
            return await p.receive()

    with testing.process(third) as commands:
        assert await ask() == b"here"
    assert len(commands) == 3
