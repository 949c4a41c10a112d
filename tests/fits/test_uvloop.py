"""uvloop: by `uvicorn --loop uvloop`, by `uvloop.run`, and by `run(main, loop="uvloop")`."""

import json
import signal
from pathlib import Path

import httpx
import pytest
import uvloop

from mountain_runtime import Runtime, blocking, effect, fs, gather

from .support import Program, quiet, serving, until, uvicorn

pytestmark = pytest.mark.processes


def test_fastapi_by_uvicorn_on_uvloop() -> None:
    with serving(*uvicorn("orders:app", "--loop", "uvloop")) as server:
        assert server.get("/loop").json() == "uvloop"
        assert len(set(server.get("/threads").json())) == 2  # the runtime is found by its loop here, too
        assert server.get("/late").status_code == 504
        assert server.get("/squares/3").text.splitlines() == ["0 0", "1 1", "2 4"]
        with httpx.stream("GET", f"{server.url}/squares/1000000") as answer:
            assert next(answer.iter_lines()) == "0 0"
        until(lambda: "squares 1000000 ended" in server.get("/events").json())
        server.post("/orders/last?seconds=0.3")
        code, output, said = server.end(signal.SIGTERM)
    assert code == -signal.SIGTERM
    quiet(said)
    told = json.loads(output)
    assert told["events"][-2:] == ["delivered last", "closed"]
    assert told["ok"]


def test_uvloops_own_run(complaints: list[str]) -> None:
    @blocking
    def there() -> int:
        return 1

    @effect
    async def here() -> int:
        return 2

    async def main() -> tuple[object, ...]:
        async with Runtime() as rt:
            handle = rt.submit(here())
            return await gather(there(), here()), await handle, (await fs.stat("/")).size > 0

    assert uvloop.run(main()) == ((1, 2), 2, True)
    assert complaints == []


PROGRAM = """
import asyncio
import sys
from mountain_runtime import Runtime, effect, run

@effect
async def job() -> None:
    await asyncio.sleep(0.3)
    print("job done")

async def main(rt: Runtime) -> str:
    rt.submit(job())
    print("ready", type(asyncio.get_running_loop()).__module__)
    await rt.wait_stopping()
    return "drained"

runtime = Runtime()
print(run(main, runtime=runtime, loop="uvloop"), runtime.report.ok)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_on_uvloop_drains_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = Program(str(tmp_path / "program.py"))
    program.wait_for("ready uvloop")
    code, output, said = program.end(number)
    assert (code, output.splitlines()[1:]) == (0, ["job done", "drained True"])
    quiet(said)
