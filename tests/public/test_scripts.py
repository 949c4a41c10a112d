"""The scripts that workflows call: what they find wrong with a wheel, and what they ask for."""

import os
import subprocess
import sys
import zipfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check-wheel"
PACKAGE = ROOT / "python" / "mountain_runtime"
ABOUT = ("mountain_runtime-1.dist-info/entry_points.txt", "mountain_runtime-1.dist-info/licenses/LICENSE")
NATIVE = "mountain_runtime/_native.cpython-3.so"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    return loaded(monkeypatch, SCRIPT)


def loaded(monkeypatch: pytest.MonkeyPatch, script: Path) -> Any:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # beside a script without a suffix
    loader = SourceFileLoader(script.name.replace("-", "_"), str(script))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def package() -> list[str]:
    files = (path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyi", ".typed"})
    return [path.relative_to(PACKAGE.parent).as_posix() for path in files]


def wheel(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def test_a_wheel_that_holds_all_of_the_package_is_complete(tmp_path: Path, script: Any) -> None:
    assert script.contents(wheel(tmp_path / "it.whl", *package(), NATIVE, *ABOUT)) == []


@pytest.mark.parametrize("name", ["py.typed", "_native.pyi", "policy/_base.py"])
def test_what_a_wheel_lacks_is_named(tmp_path: Path, script: Any, name: str) -> None:
    lacking = f"mountain_runtime/{name}"
    rest = [each for each in package() if each != lacking]
    assert len(rest) == len(package()) - 1
    assert script.contents(wheel(tmp_path / "it.whl", *rest, NATIVE, *ABOUT)) == [f"without {lacking}"]


def test_what_does_not_belong_into_a_wheel_is_named(tmp_path: Path, script: Any) -> None:
    other = "mountain_runtime/_native.cpython-2.so"
    stray = "mountain_runtime/notes.txt"
    wrong = script.contents(wheel(tmp_path / "it.whl", *package(), NATIVE, other, stray))
    assert wrong == [
        f"with {stray}",
        f"with 2 native modules: {sorted([NATIVE, other])}",
        "without entry_points.txt",
        "without licenses/LICENSE",
    ]


@pytest.mark.processes
def test_a_program_that_fails_or_prints_something_else_is_told(script: Any) -> None:
    python = Path(sys.executable)
    assert script.run(python, "print(1)", "1\n") == []
    assert "prints\n1\ninstead of\n2\n" in script.run(python, "print(1)", "2\n")[0]
    assert "exits with 1" in script.run(python, "1 / 0", "")[0]


def test_what_a_program_imports_beside_the_package_is_found(script: Any) -> None:
    program = "import asyncio, rich.table\nfrom mountain_runtime import fs\nfrom httpx import get\n"
    assert script.imported(program) == {"rich", "httpx"}


@pytest.mark.processes
@pytest.mark.parametrize("tag", ["cp27-cp27m", "cp310-cp310"])
def test_there_has_to_be_a_wheel_for_this_python(tmp_path: Path, tag: str) -> None:
    other = wheel(tmp_path / f"mountain_runtime-1-{tag}-linux_x86_64.whl")
    ran = subprocess.run([sys.executable, SCRIPT, other], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "0 wheels for this Python" in ran.stderr


def test_the_suite_on_debian_says_that_it_needs_root() -> None:
    text = (ROOT / "scripts" / "suite-on-3.14").read_text()  # which another user may not be able to reach
    others = {"user": 65534} if os.geteuid() == 0 else {}
    command = ["bash", "-c", text, "scripts/suite-on-3.14"]
    ran = subprocess.run(command, cwd="/", capture_output=True, text=True, **others)
    assert ran.returncode == 1
    assert ran.stderr == "suite-on-3.14: debootstrap and pivot_root need root: try sudo scripts/suite-on-3.14\n"


def test_who_builds_a_wheel_checks_it() -> None:
    for caller in (".github/workflows/wheels.yml", "noxfile.py"):
        assert "scripts/check-wheel" in (ROOT / caller).read_text(), caller
    assert "scripts/suite-on-3.14" in (ROOT / ".github" / "workflows" / "deep.yml").read_text()


FAILURES = """FAILED tests/effect/test_a.py::test_one[uvloop] - AssertionError: assert 0.1 < 0.09
ERROR tests/policy/test_b.py::test_two[a name, with spaces]
= 1 failed, 9 passed, 1 error in 3.20s =
"""


def test_a_few_tests_that_fail_beside_others_run_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = loaded(monkeypatch, ROOT / "scripts" / "suite")
    names = ["tests/effect/test_a.py::test_one[uvloop]", "tests/policy/test_b.py::test_two[a name, with spaces]"]
    fine = (0, "= 5 passed in 1.00s =")
    assert suite.again([(1, FAILURES), fine]) == names
    assert suite.again([fine]) == []
    assert suite.again([(1, FAILURES), (1, FAILURES)]) == []  # more than the machine's
    assert suite.again([(2, FAILURES)]) == []  # interrupted
    crash = "worker 'gw1' crashed while running 'tests/effect/test_a.py::test_one'\n" + FAILURES
    assert suite.again([(1, crash)]) == []
    assert suite.again([(1, FAILURES.replace("1 failed", "2 failed")), fine]) == []  # one is not named
