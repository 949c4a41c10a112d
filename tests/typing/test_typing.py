"""Type checkers accept what they must, and refuse exactly the lines that are marked."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKS = Path(__file__).with_name("typing_checks.py")
Refuses = Callable[[str, Path], tuple[set[int], str]]


def pyrefly_refuses(text: str, folder: Path) -> tuple[set[int], str]:
    """The same, by pyrefly."""
    file = folder / "checks.py"
    file.write_text(text)
    config = ["--config", str(ROOT / "pyproject.toml"), "--python-interpreter-path", sys.executable]
    command = [str(Path(sys.executable).with_name("pyrefly")), "check", *config, "--output-format", "min-text"]
    ended = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=ROOT, check=False)
    output = ended.stdout + ended.stderr
    assert ended.returncode in (0, 1), output
    found = re.findall(r"^ERROR (.*?):(\d+):", ended.stdout, flags=re.MULTILINE)
    assert {Path(path).name for path, _ in found} <= {"checks.py"}, output
    return {int(line) for _, line in found}, output


def refused_lines(text: str, folder: Path) -> tuple[set[int], str]:
    """The lines of `text` in which mypy finds errors, and all that it says."""
    file = folder / "checks.py"
    file.write_text(text)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--config-file",
        str(ROOT / "pyproject.toml"),
    ]
    ended = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=ROOT, check=False)
    output = ended.stdout + ended.stderr
    assert ended.returncode in (0, 1), output
    found = re.findall(r"^(.*?):(\d+): error:", ended.stdout, flags=re.MULTILINE)
    assert {Path(path).name for path, _ in found} <= {"checks.py"}, output
    return {int(line) for _, line in found}, output


@pytest.mark.parametrize("refuses", [refused_lines, pyrefly_refuses], ids=["mypy", "pyrefly"])
def test_exactly_the_marked_lines_are_refused(refuses: Refuses, tmp_path: Path) -> None:
    text = re.sub(r"  # type: ignore\[[^]]*\]", "", CHECKS.read_text())
    marked = {number for number, line in enumerate(text.splitlines(), 1) if "  # expect_error" in line}
    assert len(marked) > 10
    refused, output = refuses(text, tmp_path)
    assert refused == marked, output


@pytest.mark.parametrize("what", ["accepted", "unused"])
def test_the_file_as_it_stands(what: str, tmp_path: Path) -> None:
    """As it stands nothing is refused; an ignore too many is."""
    text = CHECKS.read_text() + ("" if what == "accepted" else "\none: int = 1  # type: ignore[assignment]\n")
    refused, output = refused_lines(text, tmp_path)
    assert len(refused) == (0 if what == "accepted" else 1), output
