"""The programs that the pages show with their output, and the server that those of README.md ask."""

import json
import re
import time
from pathlib import Path

from tests.examples.servers import Asked
from tests.examples.support import ROOT

README = ROOT / "README.md"
PAGES = sorted([README, *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)(?: title=\"([\w./-]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
Files = dict[str, str]


def programs(page: Path) -> list[tuple[str, str, Files, str]]:
    """Each program with its place, its name, the page's files as they then are, and the output that follows it.

    A fence with a title is a file for the programs further down on the page; where an output follows, a program too.
    """
    found = []
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


STARS = {"/repos/python/cpython": 72101, "/repos/encode/httpx": 14873}


def github(asked: Asked) -> str:
    """https://api.github.com, which answers in the order of `STARS` to those who ask for all at once."""
    time.sleep(0.2 * list(STARS).index(asked.path))
    return json.dumps({"stargazers_count": STARS[asked.path]})
