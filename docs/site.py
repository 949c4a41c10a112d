"""Hooks of the site's builder: pages that live at the top of the repository, and links to what is no page."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
#: Files of the repository that are pages of the site, and where.
PAGES = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changes.md",
    "benches/README.md": "project/benchmarks.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
PLACES = {page: place for place, page in PAGES.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the decisions under their index, by number."""
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    project = next(entry["Project"] for entry in config.nav or [] if "Project" in entry)
    next(entry["Decisions"] for entry in project if "Decisions" in entry).extend(
        f"decisions/{page.name}" for page in pages
    )
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that live elsewhere in the repository."""
    for page, place in PLACES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links as the repository has them into the site's; one to a file that is no page keeps its text only."""
    here = page.file.src_uri
    if here.startswith("migrating/"):
        page.meta["hide"] = ["toc"]  # two programs side by side need the room
    place = posixpath.dirname(PLACES.get(here, f"docs/{here}"))

    def lead(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(place, target))
        found = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found is None or (not image and not found.endswith((".md", ".png", ".svg"))):
            return text
        return f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(here) or '.')}{anchor or ''})"

    return LINK.sub(lead, markdown)
