"""The programs in README.md and docs/ run as they are written, and print what is shown below them."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.examples.servers import Asked, serving
from tests.examples.support import ROOT, execute

pytestmark = pytest.mark.processes

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs() -> list[tuple[str, str, str]]:
    """Each program with the name of its place and the output that follows it."""
    found = []
    for page in PAGES:
        blocks = [(match[1], match[2]) for match in FENCE.finditer(page.read_text())]
        for number, (language, text) in enumerate(blocks):
            if language == "python":
                after, output = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
                assert after == "output", f"{page}: a program without its output"
                found.append((f"{page.relative_to(ROOT)}:{number}", text, output))
    return found


PROGRAMS = programs()


STARS = {"/repos/python/cpython": 72101, "/repos/encode/httpx": 14873}


def github(asked: Asked) -> str:
    """https://api.github.com, which answers in the order of `STARS` to those who ask for all at once."""
    time.sleep(0.2 * list(STARS).index(asked.path))
    return json.dumps({"stargazers_count": STARS[asked.path]})


@pytest.mark.parametrize(("text", "output"), [pytest.param(t, o, id=name) for name, t, o in PROGRAMS])
def test_a_program_prints_what_is_shown(tmp_path: Path, text: str, output: str) -> None:
    (tmp_path / "program.py").write_text(text)
    folder = tmp_path / "empty"
    folder.mkdir()
    with serving(github) as server:
        hosts = {"api.github.com": server.server_port} if "api.github.com" in text else None
        code, printed, said = execute("-W", "error", tmp_path / "program.py", cwd=folder, hosts=hosts)
    assert code == 0, said
    assert printed == output
    assert len(server.asked) == text.count("api.github.com") * len(STARS)


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
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", FENCE.sub("", page.read_text())):
            if "://" not in target:
                links += 1
                assert (page.parent / target).exists(), f"{page}: {target}"
    assert links > 20
