"""Jupyter: a real kernel, whose loop runs before the first cell and after the last."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from tests.examples.support import ROOT

from .support import COMPLAINTS

pytestmark = pytest.mark.processes


@dataclass
class Cell:
    """The output of a cell."""

    error: str = ""
    value: str = ""
    printed: str = ""
    complaints: list[str] = field(default_factory=list)

    def show(self, message: dict[str, Any]) -> None:
        content = message["content"]
        match message["header"]["msg_type"]:
            case "stream":
                self.printed += content["text"]
                if content["name"] == "stderr":
                    self.complaints.append(content["text"])
            case "error":
                self.error = f"{content['ename']}: {content['evalue']}"
            case "execute_result":
                self.value = content["data"]["text/plain"]
            case _:  # that it is busy, and idle again
                pass


class Notebook:
    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(self, code: str) -> Cell:
        cell = Cell()
        self.client.execute_interactive(code, timeout=20, output_hook=cell.show)
        assert not any(complaint in said for said in cell.complaints for complaint in COMPLAINTS), cell
        return cell

    def interrupt(self, code: str, when: str) -> Cell:
        """Runs a cell and presses "stop" as soon as it has printed `when`."""
        cell = Cell()

        def show(message: dict[str, Any]) -> None:
            cell.show(message)
            if when in message["content"].get("text", ""):
                self.manager.interrupt_kernel()

        self.client.execute_interactive(code, timeout=20, output_hook=show)
        return cell


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    manager, client = start_new_kernel(startup_timeout=30, extra_arguments=["--log-level=ERROR"])
    notebook = Notebook(manager, client)
    try:
        notebook.run(FIRST)
        yield notebook
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


FIRST = """
import asyncio
from mountain_runtime import *
from mountain_runtime import fs

@effect(Timeout(30))
async def double(number: int) -> int:
    try:
        await asyncio.sleep(0.01)
        while not number:
            await asyncio.sleep(0.01)  # not for long: a kernel sees to a signal when its loop wakes
    finally:
        print("ended", number)
    return number * 2

@blocking
def on_thread() -> str:
    return "there"
"""


def test_effects_are_awaited_at_the_top_of_a_cell(notebook: Notebook) -> None:
    assert notebook.run("await double(3)").value == "6"
    assert notebook.run("await gather(double(1), double(2))").value == "(2, 4)"
    assert (
        notebook.run("await gather(on_thread(), fs.stat('/').map(lambda about: about.size > 0))").value
        == "('there', True)"
    )
    assert notebook.run(
        "async with amap(double, [1, 2], limit=2, ordered=True) as them:\n    print([n async for _, n in them])"
    ).printed.endswith("[2, 4]\n")


def test_an_effect_at_the_end_of_a_cell_shows_what_it_is(notebook: Notebook) -> None:
    """It is a value; the next cell can await it, more than once."""
    assert notebook.run("later = double(4)\nlater").value == "<Effect double(4) under Timeout(30)>"
    assert notebook.run("await later + await later").value == "16"


def test_policies_keep_their_state_between_cells(notebook: Notebook) -> None:
    notebook.run("breaker = CircuitBreaker(name='cells', failures=1)\ncache = Cache(ttl=60)")
    failed = notebook.run("async def fails(): raise OSError('down')\nawait breaker.call(fails)")
    assert failed.error == "OSError: down"
    refused = notebook.run("await breaker.call(fails)")
    assert refused.error.startswith("CircuitOpen: ")


def test_a_runtime_lives_for_a_block_or_from_cell_to_cell(notebook: Notebook) -> None:
    within = notebook.run("async with Runtime() as rt:\n    rt.submit(double(5))\nprint(rt.report.ok)")
    assert within.printed.split("\n") == ["ended 5", "True", ""]
    # Each cell is a task with a context of its own: what the first enters, the third leaves.
    notebook.run("rt = await Runtime(threads=1).__aenter__()")
    assert notebook.run("handle = rt.submit(double(6))\nawait handle").value == "12"
    assert notebook.run("rt.submit(double(7))\nawait rt.__aexit__(None, None, None)\nrt.report.ok").value == "True"
    assert "ShuttingDown" in notebook.run("rt.submit(double(8))").error
    assert notebook.run("await double(9)").value == "18"  # which needs no runtime


def test_stop_cancels_the_effect_that_a_cell_awaits(notebook: Notebook) -> None:
    stopped = notebook.interrupt("print('begun', flush=True)\nawait double(0)", when="begun")
    assert stopped.error.startswith("CancelledError"), stopped  # as ipykernel shows it for any coroutine
    assert "ended 0" in stopped.printed
    assert notebook.run("await double(1)").value == "2"


def test_what_needs_a_loop_of_its_own_says_what_to_write(notebook: Notebook) -> None:
    assert notebook.run("run(lambda rt: double(1))").error == (
        "RuntimeError: run() starts an event loop of its own: within one, write `async with Runtime() as rt:`"
    )
    blocked = notebook.run("async with Runtime() as rt:\n    rt.from_thread(double(1))")
    assert "from_thread() would block the event loop of this thread: write `await effect`" in blocked.error


def test_the_guides_cells_run_one_after_the_other(notebook: Notebook) -> None:
    page = (ROOT / "docs" / "guides" / "frameworks.md").read_text()
    cells = [notebook.run(code) for code in re.findall(r"^```ipython\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    assert [cell.error for cell in cells] == ["", "", ""]
    assert [cell.value for cell in cells] == ["", "6", "[1, 2, 3]"]
    assert [cell.printed for cell in cells] == ["", "asked for orders\n", "asked for customers\n"]
