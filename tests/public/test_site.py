"""The site's pages: each public name stands in the API reference once, and each guide in the guides' index."""

import importlib
import re
from collections import Counter
from pathlib import Path

import mountain_runtime
from mountain_runtime import errors, fs, process, testing

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / "docs" / "reference" / "api"
#: Modules that a page shows as a whole.
WHOLE = {module.__name__: module for module in (errors, fs, process, testing)}


def shown() -> Counter[str]:
    """What the pages of the reference ask for."""
    pages = [page.read_text() for page in API.glob("*.md")]
    return Counter(name for text in pages for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def test_the_reference_shows_every_public_name_once() -> None:
    names = {name for name in mountain_runtime.__all__ if f"mountain_runtime.{name}" not in WHOLE}
    assert shown() == Counter([*(f"mountain_runtime.{name}" for name in names), *WHOLE])


def test_every_public_module_is_shown() -> None:
    package = Path(str(mountain_runtime.__file__)).parent
    public = {path.stem for path in package.glob("*.py") if not path.stem.startswith("_")}
    assert {f"mountain_runtime.{name}" for name in public} == set(WHOLE)
    for name in WHOLE:
        assert importlib.import_module(name).__all__


def test_the_index_of_the_guides_names_each_with_a_line() -> None:
    guides = ROOT / "docs" / "guides"
    listed = re.findall(r"^\| \[[^\]]+\]\((\S+\.md)\) \| \S.* \|$", (guides / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in guides.glob("*.md") if page.name != "README.md")
