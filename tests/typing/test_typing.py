"""Type checkers accept what they must, and refuse exactly the lines that are marked."""

import json
import re
import subprocess
import sys
import tomllib
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


def basedpyright_refuses(text: str, folder: Path) -> tuple[set[int], str]:
    """The same, by basedpyright with the project's settings."""
    file = folder / "checks.py"
    file.write_text(text)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["basedpyright"]
    settings |= {"include": ["."], "extraPaths": [str(ROOT / "python")]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [str(Path(sys.executable).with_name("basedpyright")), "--project", str(folder), "--outputjson"]
    ended = subprocess.run(
        [*command, "--pythonpath", sys.executable], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    found = json.loads(ended.stdout)["generalDiagnostics"]
    assert {Path(each["file"]).name for each in found} <= {"checks.py"}, ended.stdout
    lines = [each["range"]["start"]["line"] + 1 for each in found]
    return set(lines), "\n".join(f"{line}: {each['message']}" for line, each in zip(lines, found, strict=True))


def refused_lines(text: str, folder: Path) -> tuple[set[int], str]:
    """The lines of `text` in which mypy finds errors, and all that it says."""
    file = folder / "checks.py"
    file.write_text(text)
    config = ["--strict", "--no-incremental", "--config-file", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "mypy", *config, str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    output = ended.stdout + ended.stderr
    assert ended.returncode in (0, 1), output
    found = re.findall(r"^(.*?):(\d+): error:", ended.stdout, flags=re.MULTILINE)
    assert {Path(path).name for path, _ in found} <= {"checks.py"}, output
    return {int(line) for _, line in found}, output


CHECKERS: dict[str, Refuses] = {
    "mypy": refused_lines,
    "basedpyright": basedpyright_refuses,
    "pyrefly": pyrefly_refuses,
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_exactly_the_marked_lines_are_refused(checker: str, tmp_path: Path) -> None:
    text = re.sub(r"  # type: ignore\[[^]]*\]", "", CHECKS.read_text())
    marked = {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if "  # expect_error" in line and f"not by {checker}" not in line
    }
    assert len(marked) > 10
    refused, output = CHECKERS[checker](text, tmp_path)
    assert refused == marked, output


def test_as_it_stands_nothing_is_refused_but_an_ignore_too_many(tmp_path: Path) -> None:
    text = CHECKS.read_text() + "\none: int = 1  # type: ignore[assignment]\n"
    refused, output = refused_lines(text, tmp_path)
    assert refused == {len(text.splitlines())}, output
