"""The programs in README.md and docs/ run as they are written, and print what is shown below them."""

import ast
import json
import re
import time
from pathlib import Path

import pytest

from tests.examples.servers import Asked, serving
from tests.examples.support import ROOT, execute

pytestmark = pytest.mark.processes

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)(?: title=\"([\w./-]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
Files = dict[str, str]


def programs() -> list[tuple[str, str, Files, str]]:
    """Each program with its place, its name, the page's files as they then are, and the output that follows it.

    A fence with a title is a file for the programs further down on the page; where an output follows, a program too.
    """
    found = []
    for page in PAGES:
        files: Files = {}
        blocks = [(match[1], match[2], match[3]) for match in FENCE.finditer(page.read_text())]
        for number, (language, title, text) in enumerate(blocks):
            name = title or "program.py"
            if title:
                files = {**files, title: text}
            if language == "python":
                after, _, output = blocks[number + 1] if number + 1 < len(blocks) else ("", "", "")
                assert title or after == "output", f"{page}: a program without its output"
                if after == "output":
                    found.append((f"{page.relative_to(ROOT)}:{number}", name, {**files, name: text}, output))
    return found


PROGRAMS = programs()


STARS = {"/repos/python/cpython": 72101, "/repos/encode/httpx": 14873}


def github(asked: Asked) -> str:
    """https://api.github.com, which answers in the order of `STARS` to those who ask for all at once."""
    time.sleep(0.2 * list(STARS).index(asked.path))
    return json.dumps({"stargazers_count": STARS[asked.path]})


@pytest.mark.parametrize(("name", "files", "output"), [pytest.param(*rest, id=place) for place, *rest in PROGRAMS])
def test_a_program_prints_what_is_shown(tmp_path: Path, name: str, files: Files, output: str) -> None:
    for each, content in files.items():
        (tmp_path / each).write_text(content)
    text = files[name]
    folder = tmp_path / "empty"
    folder.mkdir()
    with serving(github) as server:
        hosts = {"api.github.com": server.server_port} if "api.github.com" in text else None
        code, printed, said = execute("-W", "error", tmp_path / name, cwd=folder, hosts=hosts)
    assert code == 0, said
    assert printed == output
    assert len(server.asked) == text.count("api.github.com") * len(STARS)


def shown_only() -> list[tuple[str, str]]:
    """The code in `py` fences: what a reader has before moving over. It may need other libraries, and is not run."""
    return [
        (f"{page.relative_to(ROOT)}:{number}", match[3])
        for page in PAGES
        for number, match in enumerate(FENCE.finditer(page.read_text()))
        if match[1] == "py"
    ]


def test_code_that_is_only_shown_is_python() -> None:
    for place, text in shown_only():
        compile(text, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_readme_and_each_guide_begin_with_a_program() -> None:
    guides = [page for page in (ROOT / "docs" / "guides").glob("*.md") if page.name != "README.md"]
    pages = [ROOT / "README.md", *guides]
    assert len(pages) >= 5
    for page in pages:
        first = FENCE.search(page.read_text())
        assert first, page
        assert first[1] == "python", page


def test_every_link_leads_somewhere() -> None:
    links = 0
    for page in [*PAGES, ROOT / "benches" / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", CODE.sub("", FENCE.sub("", page.read_text()))):
            if "://" not in target:
                links += 1
                assert (page.parent / target).exists(), f"{page}: {target}"
    assert links > 20
