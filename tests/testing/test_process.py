"""Programs that a test answers: in virtual time, under any policies, without processes."""

import asyncio
import subprocess

import pytest

from mountain_runtime import Retry, Timeout, constant, effect, errors, process, testing
from mountain_runtime.process import Completed
from mountain_runtime.testing import Command, VirtualClock


async def test_a_program_is_answered_by_the_test() -> None:
    with testing.process(lambda command: Completed(stdout=command.input.upper(), stderr=b"e")) as commands:
        done = await process.run("no-such", b"-x", input=b"abc", cwd="/no", env={"A": "1"})
        assert (done.returncode, done.stdout, done.stderr) == (0, b"ABC", b"e")
        await process.run("other")
    assert commands == [Command(("no-such", "-x"), b"abc", "/no", {"A": "1"}), Command(("other",), b"", None, None)]
    with pytest.raises(FileNotFoundError):
        await process.run("/no/such/program")


async def test_what_it_raises_and_its_codes_are_failures() -> None:
    def missing(command: Command) -> Completed:
        raise FileNotFoundError(2, "No such file", command.argv[0])

    with testing.process(missing), pytest.raises(FileNotFoundError, match="git"):
        await process.run("git")
    with testing.process(lambda _: Completed(3, b"out", b"err")):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await process.run("git", "log")
        assert (caught.value.returncode, caught.value.cmd, caught.value.output, caught.value.stderr) == (
            3,
            ["git", "log"],
            b"out",
            b"err",
        )
        assert (await process.run("git", check=False)).returncode == 3
        with pytest.raises(subprocess.SubprocessError, match="more than max_output=5 bytes"):
            await process.run("git", max_output=5)


async def test_policies_go_around_it_in_virtual_time(virtual_clock: VirtualClock) -> None:
    calls = 0

    async def slow(command: Command) -> Completed:
        nonlocal calls
        calls += 1
        await asyncio.sleep(50)
        if calls < 3:
            raise TimeoutError
        return Completed(stdout=b"third")

    @effect(Timeout(130))
    async def limited() -> bytes:
        return (await process.run("x").under(Retry(on=TimeoutError, attempts=None, backoff=constant(10)))).stdout

    with testing.process(slow), pytest.raises(errors.TimedOut):
        await limited()
    assert (virtual_clock.time(), calls) == (130.0, 3)
    with testing.process(slow):
        assert await limited() == b"third"


async def test_the_innermost_block_answers() -> None:
    with testing.process(lambda _: Completed(stdout=b"outer")):
        with testing.process(lambda _: Completed(stdout=b"inner")):
            assert (await process.run("x")).stdout == b"inner"
        assert (await process.run("x")).stdout == b"outer"


async def test_what_cannot_answer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes a function of a Command, as lambda command: process\.Completed"):
        testing.process("true")  # type: ignore[arg-type]
    with testing.process(lambda _: b"out"), pytest.raises(TypeError, match=r"gives a process\.Completed, not"):  # type: ignore[arg-type, return-value]
        await process.run("x")
    with testing.process(lambda _: Completed()), pytest.raises(TypeError, match=r"write input=text\.encode"):
        await process.run("x", input="text")  # type: ignore[arg-type]
