"""The look of the sources: the width of lines, the length of files, and comments that name their subject."""

import io
import re
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path.relative_to(ROOT)
    for pattern in (
        *("rust/*/src/**/*.rs", "rust/*/tests/**/*.rs", "python/**/*.py", "python/**/*.pyi", "tests/**/*.py"),
        *("benches/**/*.py", "benches/*/src/*.rs", "examples/**/*.py"),
    )
    for path in sorted(ROOT.glob(pattern))
]
WIDTH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]
RUST_WIDTH = tomllib.loads((ROOT / "rustfmt.toml").read_text())["max_width"]
#: Words that hide a subject: a comment names the call, the waiter, the thread.
RIDDLES = re.compile(
    r"\b(nobody|no one|whoever|whom|somebody|someone|anybody|anyone|everybody|everyone|he|his|him|himself|oneself)\b",
    re.IGNORECASE,
)
#: A comment that begins so is a question: it begins with its subject instead, "The outcome" for "What came of it".
OPENING = re.compile(r"(what|who|whose|whom)\b", re.IGNORECASE)
#: The first sentence of a file says what the file holds.
OPENING_OF_FILE = re.compile(r"(what|who|whose|whom|how|where|when|why)\b", re.IGNORECASE)
#: Lines that a source file may have, and a file of tests.
MOST, MOST_OF_TESTS = 300, 400
#: The files that are longer, and why.
LONG = {
    "python/mountain_runtime/_native.pyi": "the stub of one native module is one file",
    "python/mountain_runtime/pools/_host.py": "one protocol, numbered at its top",
    "rust/bridge/src/effect/slot.rs": "the methods of one Python class",
    "rust/core/src/policy/breaker/machine.rs": "one machine",
    "rust/core/src/policy/limit/machine.rs": "one machine",
    "rust/core/src/policy/rate/mod.rs": "one machine",
    "rust/core/src/policy/rate/tests/mod.rs": "the rules of one limiter, number by number",
    "rust/core/src/runtime/queued.rs": "one state machine, with its tests",
    "tests/policy/test_fallback.py": "the ladder's cases use one service",
    "tests/typing/typing_checks.py": "three type checkers read one program",
}


def is_test(path: Path) -> bool:
    return "tests" in path.parts or path.stem.endswith(("tests", "model", "races"))


def rust_comments(text: str) -> Iterator[tuple[int, str]]:
    """The comments of a Rust source by their lines; strings that hold `//` have a quote or a colon before it."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(r'(?<![:"])//[/!]?(.*)', line):
            yield number, found[1].strip()


def python_comments(text: str) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a Python source by their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        docstring = token.type == tokenize.STRING and token.line.lstrip().startswith(('"""', "'''"))
        if token.type == tokenize.COMMENT or docstring:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, re.sub(r'^"""|"""$|^#:?', "", line.strip()).strip()


def comments(path: Path) -> Iterator[tuple[int, str]]:
    text = (ROOT / path).read_text()
    return rust_comments(text) if path.suffix == ".rs" else python_comments(text)


def faults(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines that hide their subject: by a word, or by the word that the comment or its paragraph begins with."""
    before = (0, "")
    for number, text in lines:
        begins = before[0] != number - 1 or not before[1]
        opening = OPENING_OF_FILE if number == 1 else OPENING
        if RIDDLES.search(re.sub("`[^`]*`", "", text)) or (begins and opening.match(text)):
            yield number, text
        before = number, text


def test_comments_are_found() -> None:
    rust = 'let at = "http://x"; // nobody\n/// Whoever comes.\nlet nobody = 1;\n'
    assert list(rust_comments(rust)) == [(1, "nobody"), (2, "Whoever comes.")]
    python = '"""Nobody\nelse."""\nnobody = "nobody"  # whoever\n'
    assert list(python_comments(python)) == [(1, "Nobody"), (2, "else."), (3, "whoever")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/// The waiter has his turn.\n", [1]),
        ("//! How it ends.\n", [1]),
        ("let a = 1; // who waits\n", [1]),
        ("let a = 1;\n/// What it holds.\n/// What follows is its sentence.\n", [2]),
        ("//! The end.\n//!\n//! What races: a cancel.\n", [3]),
        ("//! The end says\n//! what came, to `whoever()`.\nlet a = 1;\n/// How many there are.\n", []),
    ],
)
def test_a_hidden_subject_is_found(text: str, found: list[int]) -> None:
    assert [number for number, _ in faults(rust_comments(text))] == found


def test_no_line_is_wider_than_configured() -> None:
    wide = []
    for path in SOURCES:
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            is_code = path.suffix == ".rs" and not line.lstrip().startswith("//")
            text = re.sub(r"  # (type: ignore|noqa|pyright:).*", "", line)  # a pragma stands on its line
            if len(text) > (RUST_WIDTH if is_code else WIDTH):
                wide.append(f"{path}:{number}")
    assert wide == []


def test_a_comment_names_its_subject() -> None:
    assert [f"{path}:{number}: {text}" for path in SOURCES for number, text in faults(comments(path))] == []


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page outside of its programs, their output, its code spans and the targets of links."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)


def test_prose_is_told_from_programs() -> None:
    assert list(prose("A\n```py\nnobody\n```\n`nobody` B\n")) == [(1, "A"), (5, " B")]


def test_a_page_names_its_subject() -> None:
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("benches/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    found = [(page.name, line) for page in pages for line in prose(page.read_text()) if RIDDLES.search(line[1])]
    assert len(pages) > 40
    assert found == []


@pytest.mark.parametrize("tests", [False, True])
def test_a_long_file_has_its_reason(*, tests: bool) -> None:
    most = MOST_OF_TESTS if tests else MOST
    files = [path for path in SOURCES if is_test(path) == tests]
    long = {str(path) for path in files if len((ROOT / path).read_text().splitlines()) > most}
    assert sorted(long - set(LONG)) == [], "split it, or say here why it is long"
    named = {name for name in LONG if is_test(Path(name)) == tests}
    assert sorted(named - long) == [], "no longer long: take it off the list"
