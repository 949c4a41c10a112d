"""The version of the code that a call is for: a worker runs that one, and no other."""

import importlib
import os
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mountain_runtime._effect.remote import known
from mountain_runtime._effect.version import differ, version
from mountain_runtime.errors import NoWorkers

from . import odd_work as work

pytestmark = pytest.mark.processes

SOURCE = """
from pathlib import Path
from mountain_runtime import On, Timeout, blocking, effect
from tests.pools import odd_work

@blocking(On(odd_work.alone))
def plain(mark: str = "") -> int:
    if mark:
        Path(mark).touch()
    return {value}

@effect(On(odd_work.alone))
async def later() -> int:
    return {value}

@blocking(On(odd_work.alone), Timeout(60))
def inside() -> int:
    return {value}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def made(file: Path, value: int) -> ModuleType:
    file.write_text(SOURCE.format(value=value))
    importlib.invalidate_caches()
    return importlib.import_module(file.stem)


def of(module: str) -> int:
    remote = known(module, "plain")
    assert remote is not None
    return remote.version


async def test_a_module_that_was_edited_since_is_refused_and_has_not_run(folder: Path) -> None:
    module: Any = made(folder / "edited_since.py", 1)
    mark = folder / "ran"
    async with work.alone:
        assert [await module.plain(), await module.later(), await module.inside()] == [1, 1, 1]
        (folder / "edited_since.py").write_text(SOURCE.format(value=22))
        # The worker that has imported it goes on.
        assert [await module.plain(), await module.later(), await module.inside()] == [1, 1, 1]
    async with work.alone:
        worker = await work.pid_alone()
        text = f"not started: worker {worker} has another version of module 'edited_since'"
        for call in (module.plain(str(mark)), module.plain(str(mark)), module.later(), module.inside()):
            with pytest.raises(NoWorkers, match=text):
                await call
        assert not mark.exists()
        assert await work.pid_alone() == worker
        again: Any = importlib.reload(module)
        assert [await again.plain(), await again.later(), await again.inside()] == [22, 22, 22]


async def test_a_module_in_an_archive_has_a_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.writestr("in_archive.py", SOURCE.format(value=3))
    monkeypatch.syspath_prepend(str(folder / "packed.zip"))
    module: Any = importlib.import_module("in_archive")
    assert of("in_archive")
    async with work.alone:
        assert [await module.plain(), await module.later()] == [3, 3]


async def test_a_module_without_a_source_is_not_compared(folder: Path) -> None:
    source = folder / "source.txt"
    source.write_text(SOURCE.format(value=4))
    py_compile.compile(str(source), str(folder / "compiled_alone.pyc"), doraise=True)
    module: Any = importlib.import_module("compiled_alone")
    assert of("compiled_alone") == 0
    async with work.alone:
        assert [await module.plain(), await module.later()] == [4, 4]


def test_a_program_has_the_version_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, os\n"
        "from mountain_runtime import On, blocking, pools\n"
        "from mountain_runtime._effect.remote import known\n"
        "pool = pools.Processes(1)\n"
        "@blocking(On(pool))\ndef plain() -> int:\n    return known('__main__', 'plain').version\n"
        "async def main():\n    async with pool:\n"
        "        print(await plain() == known('__main__', 'plain').version != 0)\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    for how in (["program.py"], ["-m", "program"]):
        ran = subprocess.run(
            [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (ran.stdout, ran.stderr) == ("True\n", "")


def test_versions_are_those_of_contents(folder: Path) -> None:
    first = folder / "version_a.py"
    made(first, 5)
    made(folder / "version_b.py", 5)
    made(folder / "version_c.py", 6)
    assert of("version_a") == of("version_b") != of("version_c")
    os.utime(first, (1, 1))
    importlib.reload(sys.modules["version_a"])
    assert of("version_a") == of("version_b")


def test_what_has_no_source_has_no_version() -> None:
    assert version(len) == 0
    assert not differ(0, 7)
    assert not differ(7, 0)
    assert not differ(7, 7)
    assert differ(7, 8)
