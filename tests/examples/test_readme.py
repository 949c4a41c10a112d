"""The programs in README.md and docs/ run as they are written, and print what is shown below them."""

import ast
import re
from pathlib import Path

import pytest

from tests.examples.pages import FENCE, PAGES, README, STARS, Files, github, programs
from tests.examples.servers import serving
from tests.examples.support import ROOT, execute

pytestmark = pytest.mark.processes

CODE = re.compile(r"`[^`\n]+`")
#: Where the package comes from a wheel, pytest says of a program that calls it that it has imported our plugin before.
PYTEST_INSIDE = ("-W", "ignore:Module already imported so cannot be rewritten")
PROGRAMS = [program for page in PAGES for program in programs(page)]


@pytest.mark.parametrize(("name", "files", "output"), [pytest.param(*rest, id=place) for place, *rest in PROGRAMS])
def test_a_program_prints_what_is_shown(tmp_path: Path, name: str, files: Files, output: str) -> None:
    for each, content in files.items():
        (tmp_path / each).write_text(content)
    text = files[name]
    folder = tmp_path / "empty"
    folder.mkdir()
    with serving(github) as server:
        hosts = {"api.github.com": server.server_port} if "api.github.com" in text else None
        code, printed, said = execute("-W", "error", *PYTEST_INSIDE, tmp_path / name, cwd=folder, hosts=hosts)
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
    pages = [README, *guides]
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
