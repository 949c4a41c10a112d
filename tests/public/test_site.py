"""The site's pages: each public name stands in the API reference once, and each guide in the guides' index."""

import importlib
import re
from collections import Counter
from pathlib import Path

import mountain_runtime
from mountain_runtime import errors, fs, http, pools, process, rpc, search, testing
from mountain_runtime.pools._engine import Engine
from tests.public.test_floors import BRIDGE_ROOMS, PACKAGE_ROOMS

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / "docs" / "reference" / "api"
#: The crates on the map below which smaller rooms are drawn, and the first that has none.
DRAWN = ("python/mountain_runtime", "rust/bridge", "rust/providers")
#: Modules that a page shows as a whole.
WHOLE = {module.__name__: module for module in (errors, fs, http, pools, process, rpc, search, testing)}


def shown() -> Counter[str]:
    """The names that the pages of the reference ask for."""
    pages = [page.read_text() for page in API.glob("*.md")]
    return Counter(name for text in pages for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def test_the_reference_shows_every_public_name_once() -> None:
    names = {name for name in mountain_runtime.__all__ if f"mountain_runtime.{name}" not in WHOLE}
    assert shown() == Counter([*(f"mountain_runtime.{name}" for name in names), *WHOLE])


def test_every_public_module_is_shown() -> None:
    package = Path(str(mountain_runtime.__file__)).parent
    found = [*package.glob("*.py"), *(path.parent for path in package.glob("*/__init__.py"))]
    # The names of `policy` and `telemetry` are the package's own.
    public = {path.stem for path in found if not path.stem.startswith("_")} - {"policy", "telemetry"}
    assert {f"mountain_runtime.{name}" for name in public} == set(WHOLE)
    for name in WHOLE:
        assert importlib.import_module(name).__all__


def test_the_index_of_the_guides_names_each_with_a_line() -> None:
    guides = ROOT / "docs" / "guides"
    listed = re.findall(r"^\| \[[^\]]+\]\((\S+\.md)\) \| \S.* \|$", (guides / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in guides.glob("*.md") if page.name != "README.md")


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the third rank."""
    _, *parts = re.split(r"^### (.+)$", page, flags=re.MULTILINE)
    return {name.strip("`"): text.partition("\n## ")[0] for name, text in zip(parts[::2], parts[1::2], strict=True)}


def test_each_error_has_its_cause_and_its_way_out() -> None:
    text = (ROOT / "docs" / "reference" / "troubleshooting.md").read_text()
    page = sections(text.partition("\n## Warnings")[0])
    assert sorted(page) == sorted(errors.__all__)
    for name, section in page.items():
        assert re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE) == ["Cause.", "Did the work run?", "Way out."], name
        refused = issubclass(getattr(errors, name), (errors.Rejected, errors.ConfigError))
        assert refused or "Perhaps" in section or "perhaps" in section, name


def test_the_messages_that_are_explained_are_raised_somewhere() -> None:
    page = (ROOT / "docs" / "reference" / "troubleshooting.md").read_text()
    sources = [*ROOT.glob("rust/*/src/**/*.rs"), *ROOT.glob("python/mountain_runtime/**/*.py")]
    said = "\n".join(path.read_text() for path in sources)
    messages = re.findall(r"`(?:RuntimeError|TypeError): ([^`]+)`", page)
    assert len(messages) > 5
    for message in messages:
        for part in message.split("'...'"):
            assert part.strip() in said, message


def test_the_glossary_has_each_word_once() -> None:
    page = (ROOT / "docs" / "reference" / "glossary.md").read_text()
    words = re.findall(r"^\| ([a-z][^|]*) \| [A-Z]", page, re.MULTILINE)
    assert {"message", "single consumer", "permit context", "inherited deadline"} <= set(words)
    assert [word for word, count in Counter(words).items() if count > 1] == []
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| term |", "| ---"))]
    assert len(rows) == len(words)


def test_the_rooms_on_the_map_are_there() -> None:
    page = (ROOT / "docs" / "concepts" / "map.md").read_text()
    paths = re.findall(r"`((?:rust|python)/[\w./]+)`", page)
    assert len(paths) > 10
    for path in paths:
        assert list(ROOT.glob(path.replace("NAME", "*"))), path
    drawn = {room.removesuffix("/") for room in paths if room.count("/") == 1}
    drawing = (ROOT / "docs" / "images" / "map-rooms.svg").read_text()
    assert drawn == set(re.findall(r">((?:rust|python)/\w+)<", drawing))
    crates = {f"rust/{crate.parent.name}" for crate in ROOT.glob("rust/*/Cargo.toml")}
    assert crates - {"rust/fuzz"} < drawn  # which is no part of what is built


def test_the_map_draws_each_room_of_the_bridge_and_of_the_package_above_what_it_imports() -> None:
    page = (ROOT / "docs" / "concepts" / "map.md").read_text()
    drawing = (ROOT / "docs" / "images" / "map-rooms.svg").read_text()
    names = re.findall(r'font-weight="600"[^>]*>([\w/]+)<', drawing)
    package, bridge, below = (names.index(crate) for crate in DRAWN)
    assert names[bridge + 1 : below] == BRIDGE_ROOMS[::-1]
    assert names[package + 1 : bridge] == [room for room in PACKAGE_ROOMS[::-1] if room]
    core = {folder.name for folder in (ROOT / "rust" / "core" / "src").iterdir() if folder.is_dir()}
    drawn = re.search(r">(time, [\w, ]+)<", drawing)
    assert drawn
    assert sorted(drawn[1].split(", ")) == sorted(core)
    missing = [
        room
        for folder in (ROOT / "rust" / "bridge" / "src", ROOT / "python" / "mountain_runtime")
        for room in (
            str(path.parent.relative_to(ROOT)) for path in folder.glob("*/*") if path.stem in {"mod", "__init__"}
        )
        if f"`{room}/`" not in page
    ]
    assert missing == []


def test_the_way_of_a_command_is_drawn_as_its_tables_say() -> None:
    page = (ROOT / "docs" / "concepts" / "map.md").read_text()
    drawing = (ROOT / "docs" / "images" / "map-command.svg").read_text()
    section = page.partition("## The way of a command")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (\w) \| (.*) \|$", section, re.MULTILINE))
    steps = dict(re.findall(r">(\d) +(\w+)[^<]*<", drawing))
    assert [*rows] == [*sorted(steps), *sorted(re.findall(r">([a-z])<", drawing))]
    assert [name for number, name in steps.items() if name not in rows[number]] == []


def test_each_page_for_who_moves_over_shows_both_programs_the_names_and_what_differs() -> None:
    folder = ROOT / "docs" / "migrating"
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    listed = re.findall(
        r"^\| .+ \| \[[^\]]+\]\((\S+\.md)\) \| .+ \|$", (folder / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == [page.name for page in pages]
    for page in pages:
        text = page.read_text()
        assert text.index('```py title="before.py"\n') < text.index('```python title="after.py"\n'), page
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Name to name", "What differs"], page


def test_the_files_that_a_pool_touches_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "concepts" / "add-a-pool.md").read_text()
    paths = re.findall(r"`((?:rust|python|tests|docs)/[\w./]+)`", page)
    assert len(paths) > 10
    for kind in ("processes", "ray"):
        for path in paths:
            assert list(ROOT.glob(path.replace("NAME", kind).replace("pools/on_", "pools/**/on_"))), path


def test_the_contract_of_pools_is_that_of_the_page() -> None:
    page = (ROOT / "docs" / "concepts" / "add-a-pool.md").read_text()
    own, used = page.partition("## What an engine promises")[2].partition("## What a worker's end")[0].split("And it")
    rows = [row.partition(" | ")[0] for row in own.splitlines() if row.startswith("| `")]
    promised = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert promised >= Engine.__abstractmethods__
    for name in promised | {*re.findall(r"^\| `(?:self\.)?(\w+)\(", used, re.MULTILINE)}:
        assert hasattr(Engine, name), name


def files_of(variant: str, name: str, cls: str) -> set[str]:
    """The source files that name a policy: in Rust by its variant, module or state, in Python by its class or word."""
    naming = re.compile(
        rf"Layer::{variant}\b|{variant}State\b|policy::{name}\b|\bmod {name};|\(\"{name}\", name\)|\"mountain_{name}_"
        rf"|case \"{name}\"|kind=\"{name}\"|\"{name}\"[,\]]|def {name}\(|import .*\b{cls}\b|^ +\"?{cls}\"?,$",
        re.MULTILINE,
    )
    kinds = ("rust/*/src/**/*.rs", "python/mountain_runtime/**/*.py", "python/mountain_runtime/**/*.pyi")
    sources = [path for kind in kinds for path in ROOT.glob(kind)]
    found = {path.relative_to(ROOT).as_posix() for path in sources if naming.search(path.read_text(errors="ignore"))}
    own = f"rust/core/src/policy/{name}/"
    return {own if path.startswith(own) else path for path in found} | {own}


def test_the_files_that_a_policy_touches_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "concepts" / "add-a-policy.md").read_text()
    steps = re.findall(r"^\| \d+ \| `([^`]+)` \|", page, re.MULTILINE)
    more = re.findall(r"`((?:rust|python)/[\w./]+)`", page.partition("## What more")[2])
    for path in [*steps, *more]:
        assert list(ROOT.glob(path.replace("NAME", "rate"))), path
    # Fallback has no state, and one figure: its answers by name. RateLimit has state, keys, costs and figures.
    figures = {f"rust/core/src/telemetry/{name}.rs" for name in ("catalogue", "text")}
    assert (
        files_of("Fallback", "fallback", "Fallback") == {path.replace("NAME", "fallback") for path in steps} | figures
    )
    assert figures <= {*more}
    rate = files_of("Rate", "rate", "RateLimit")
    assert {path.replace("NAME", "rate") for path in steps} <= rate
    assert rate <= {path.replace("NAME", "rate") for path in [*steps, *more]}
    assert f"That is {len(steps)} places" in page
    assert f": {len(rate)} places." in page
