"""Searches: the same results as ripgrep's, and that they stop."""

import asyncio
import logging
import os
import random
import re
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Stream, Timeout, errors, search
from tests.providers.ripgrep import by_ripgrep, by_us, rg
from tests.providers.support import ANY_BYTES, error_of, no_more_threads, same_error, threads, within

TEXTS = {
    "one.py": "def one():\n    return 1\n\n\ndef two():\n    return One(2)\n",
    "src/deep/three.py": "class Three:\n    def three(self):\n        return 'def'\n" * 5,
    "src/four.rs": "fn four() -> u32 {\n    4\n}\nfn FOUR() {}\n// def\n",
    "src/crlf.txt": "def one\r\n\r\ntwo def\r\n",
    "src/generated.log": "def of a log\n",
    "src/build/out.py": "def built(): ...\n",
    "src/build/keep.py": "def kept(): ...\n",
    "words.txt": "define def undef def_def\nprefix-def-suffix\nDEF\n",
    "unicode.txt": "naïve DÉF def\nΣίσυφος σίσυφος\n☃ def\n",
    "symbols.txt": "a.b a+b (def) [x] {y} ^def$\n\\d 12\n",
    "empty.txt": "",
    "no end.txt": "last def",
    "blank.txt": "\n\n\n",
    ".hidden": "def hidden\n",
    ".config/settings": "def of settings\n",
    ".gitignore": "*.log\n/src/build/*\n!/src/build/keep.py\n",
    ".ignore": "ignored.txt\n",
    ".rgignore": "rgignored.txt\n",
    "ignored.txt": "def ignored\n",
    "rgignored.txt": "def ignored by rg\n",
    "!odd": "def odd\n",
    "near.txt": "".join(f"{'def' if i % 7 in (0, 1, 4) else 'line'} {i}\n" for i in range(60)),
}
BYTES = {
    b"latin-1.txt": "def na\u00efve\n".encode("latin-1"),
    b"utf-8-bom.txt": "\ufeffdef one\ndef two\n".encode(),
    b"utf-16-le.txt": "\ufeffdef one\nnaïve def\n".encode("utf-16-le"),
    b"utf-16-be.txt": "\ufeffdef one\nnaïve def\n".encode("utf-16-be"),
    b"binary.bin": b"def\n\0\ndef\n",
    b"late.bin": b"def\n" + b"hay and\n" * 20_000 + b"\0\ndef\n",
    b"new\nline": b"def of a new line\n",
}
if ANY_BYTES:
    BYTES[b"invalid \xff\xfe"] = b"def of an odd name\n"


async def all_of(found: Stream[search.Match]) -> list[search.Match]:
    async with found as matches:
        return [each async for each in matches]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with all kinds of texts, names, encodings, rules and links."""
    root = tmp_path_factory.mktemp("search") / "tree"
    (root / ".git").mkdir(parents=True)
    for name, text in TEXTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    for raw, data in BYTES.items():
        (root / os.fsdecode(raw)).write_bytes(data)
    (root / "link.py").symlink_to("one.py")
    (root / "loop").symlink_to(".", target_is_directory=True)
    (root / "dangling").symlink_to("nowhere")
    (root / "pipe").parent.mkdir(exist_ok=True)
    os.mkfifo(root / "pipe")
    return root


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("def", {}),
    ("def", {"case": "sensitive"}),
    ("def", {"case": "insensitive"}),
    ("DEF", {}),
    ("déf", {"case": "insensitive"}),
    ("σίσυφος", {"case": "insensitive"}),
    ("def", {"word": True}),
    ("one|two", {"word": True}),
    (r"^def", {}),
    (r"def$", {}),
    (r"^$", {}),
    (r"", {}),
    (r"\bdef\b.*\d", {}),
    (r"\w+ def", {}),
    (r"[\w.]+\(", {"context": 1}),
    (r"a.b", {"literal": True}),
    (r"^def$", {"literal": True}),
    ("\\", {"literal": True}),
    ("(def)", {"literal": True, "word": True}),
    ("def", {"hidden": True}),
    ("def", {"ignore_files": False}),
    ("def", {"ignore_files": False, "hidden": True}),
    ("def", {"include": ("*.py",)}),
    ("def", {"include": ("*.py", "*.rs"), "exclude": ("three.py",)}),
    ("def", {"exclude": ("src/**", "*.txt")}),
    ("def", {"include": ("/one.py", "src/deep/")}),
    ("def", {"include": ("*.log",)}),
    ("def", {"include": (".hidden",)}),
    ("def", {"include": ("*.{py,rs}",)}),
    ("def", {"context": 1}),
    ("def", {"context": 3, "case": "insensitive"}),
    ("def", {"context": 100}),
    ("def", {"max_per_file": 1}),
    ("def", {"max_per_file": 3, "include": ("near.txt",)}),
    (r"one\(\):\n\s+return", {"multiline": True}),
    (r"def[^x]*?return", {"multiline": True, "context": 2}),
    (r"(?s)class.*'def'", {"multiline": True}),
    (r"def", {"multiline": True, "context": 1}),
    (r"\n\n", {"multiline": True}),
    (r"line 2\nline 3", {"multiline": True, "literal": False}),
    ("nothing has this", {}),
]


@pytest.mark.parametrize(("pattern", "options"), QUESTIONS)
async def test_results_are_those_of_ripgrep(tree: Path, pattern: str, options: dict[str, Any]) -> None:
    expected = by_ripgrep(tree, pattern, **options)
    assert await by_us(tree, pattern, **options) == expected
    assert bool(expected) == (pattern != "nothing has this")


@pytest.mark.parametrize("of", ["one.py", "binary.bin", "src/deep", "link.py", ".hidden", "ignored.txt", "loop"])
async def test_a_root_that_is_named_is_searched(tree: Path, of: str) -> None:
    expected = by_ripgrep(tree, "def", of=of)
    assert expected != []
    assert await by_us(tree, "def", of=of) == expected


async def test_counts_are_those_of_ripgrep(tree: Path) -> None:
    counts = Counter([os.path.relpath(each.path, tree) async for each in search.lines("e", tree, exclude=["*.bin"])])
    lines = rg(tree, "--count", "--null", "--smart-case", "--glob=!*.bin", "e").decode(errors="surrogateescape")
    expected = {os.path.normpath(path): int(number) for path, number in re.findall(r"([^\0]+)\0(\d+)\n", lines)}
    assert counts == expected
    assert len(counts) > 10


async def test_random_texts_are_searched_as_ripgrep_does(tmp_path: Path) -> None:
    chance = random.Random(16)
    words = ["def", "Def", "x", "é", "\t", " ", ".", "\r", "\n", "\n", "\n\n", "\xff"]
    for number in range(40):
        text = "".join(chance.choices(words, k=chance.randrange(400)))
        (tmp_path / str(number)).write_bytes(text.encode("latin-1" if number % 5 == 0 else "utf-8"))
    patterns = [r"def", r"D?ef+", r"x[^x]", r"^\s*x", r"é|\.", r"x$", r"(?-u:\xff)x*", r"def\b"]
    for number, pattern in enumerate(patterns):
        options = {"context": number % 4, "multiline": number % 3 == 2, "case": chance.choice(["smart", "insensitive"])}
        assert await by_us(tmp_path, pattern, **options) == by_ripgrep(tmp_path, pattern, **options)


async def test_an_anchor_after_a_byte_order_mark(tmp_path: Path) -> None:
    """V4."""
    (tmp_path / "file").write_bytes("\ufeffone\none\n".encode())
    assert [(each.line, each.column) async for each in search.lines("^one", tmp_path)] == [(1, 0), (2, 0)]


@pytest.mark.parametrize("rule", ["**/bar/*", "**/bar", "/foo/bar/*", "bar/"])
async def test_rules_of_the_root_hold_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """V5."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "foo" / "bar").mkdir(parents=True)
    (tmp_path / "foo" / "bar" / "file").write_text("needle")
    (tmp_path / "foo" / "other").write_text("needle")
    (tmp_path / ".gitignore").write_text(rule + "\n")
    for root in (tmp_path, tmp_path / "foo"):
        monkeypatch.chdir(root)
        for given in (root, "."):
            assert [os.path.basename(each.path) async for each in search.lines("needle", given)] == ["other"]


async def test_a_huge_line_is_a_preview(tmp_path: Path) -> None:
    """V6."""
    line = bytearray(b"abc " * (1 << 20))
    line[3_000_000:3_000_006] = b"needle"
    (tmp_path / "huge").write_bytes(b"before\n" + line + b"\nafter\n")
    tracemalloc.start()
    [found] = [each async for each in search.lines("needle", tmp_path, context=1)]
    text = found.text
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert found.cut is not None
    before, after = found.cut
    assert len(text) == 8192
    assert before + len(text) + after == len(line)
    assert text[found.column - before :].startswith("needle")
    assert (found.line, found.column, found.before, found.after) == (2, 3_000_000, ("before",), ("after",))
    [near] = [each async for each in search.lines("before", tmp_path, context=1)]
    assert near.cut is None
    assert near.after[0].endswith(" [... omitted end of long line]")
    assert len(near.after[0]) < 9000


async def test_odd_files_are_searched_and_told(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P7: text hits, odd names that open again, and a log of what is binary."""
    with within(1), caplog.at_level(logging.DEBUG, logger="mountain_runtime.search"):
        found = {os.path.basename(each.path): each async for each in search.lines("^def", tree)}
    assert found["latin-1.txt"].text.encode(errors="surrogateescape") == BYTES[b"latin-1.txt"].rstrip(b"\n")
    for each in found.values():
        with open(each.path, "rb") as file:
            assert b"d" in file.read()
    assert ("invalid \udcff\udcfe" in found) == ANY_BYTES
    assert "binary.bin" not in found
    told = {record.getMessage(): record.levelname for record in caplog.records}
    assert told[f"search skipped {tree / 'binary.bin'}: binary data from byte 4 on"] == "DEBUG"
    assert told[f"search skipped {tree / 'late.bin'}: binary data from byte 160004 on"] == "WARNING"


async def test_what_is_found_before_a_null_byte_does_not_depend_on_the_files_before(tmp_path: Path) -> None:
    """A long line makes a thread's buffer grow; a file is left at the buffer that has a null byte."""
    (tmp_path / "bin").write_bytes(b"needle\n" * 20_000 + b"\0")
    alone = len([each async for each in search.lines("needle", tmp_path)])
    assert alone > 10_000
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        (tmp_path / str(folder) / "long").write_bytes(b"x" * 200_000)
        (tmp_path / str(folder) / "utf-16").write_bytes(("\ufeff" + "\u20ac" * 30_000).encode("utf-16-le"))
        (tmp_path / str(folder) / "bin").write_bytes((tmp_path / "bin").read_bytes())
    for multiline in (False, True):
        found = Counter([each.path async for each in search.lines("needle", tmp_path, multiline=multiline)])
        assert list(found.values()) == [alone if not multiline else found[os.fspath(tmp_path / "bin")]] * 11


async def test_what_cannot_be_read_is_skipped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("needle")
    (tmp_path / ".ignore").write_text("{a\n")
    assert len([each async for each in search.lines("needle", tmp_path)]) == 1
    assert ["{a" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("name", ["missing", "one.py/below", "circle"])
async def test_a_root_that_cannot_be_read_is_an_error(tree: Path, name: str) -> None:
    if name == "circle" and not (tree / name).is_symlink():
        (tree / name).symlink_to(name)
    with pytest.raises(OSError) as caught:
        await all_of(search.lines("x", tree / name))
    assert same_error(caught.value, error_of(lambda: os.stat(tree / name)))


async def test_a_root_that_vanishes_ends_the_search(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for folder in range(50):
        (root / str(folder)).mkdir(parents=True)
        for file in range(20):
            (root / str(folder) / str(file)).write_text("needle\n" * 50)
    found = 0
    with within(5):
        async for _ in search.lines("needle", root):
            if not found:
                shutil.rmtree(root)
            found += 1
    assert 0 < found < 50 * 20 * 50


async def test_a_pipe_as_the_root_is_refused(tree: Path) -> None:
    with within(1), pytest.raises(ValueError, match="neither a folder nor a file"):
        await all_of(search.lines("x", tree / "pipe"))


def test_a_match_is_a_value() -> None:
    match = search.Match("a/b", 3, 4, "the text", ["before"], cut=(1, 2))
    assert match == search.Match("a/b", 3, 4, "the text", ("before",), (), (1, 2))
    assert len({match, search.Match("a/b", 3, 4, "the text", ["before"], cut=(1, 2))}) == 1
    assert match != search.Match("a/b", 3, 4, "the text", ["before"])
    assert repr(match) == "Match(path='a/b', line=3, column=4, text='the text', before=('before',), cut=(1, 2))"
    assert search.Match("\udcff", 1, 0, "\udcfe").text == "\udcfe"
    match match:
        case search.Match(path, line, column, text):
            assert (path, line, column, text) == ("a/b", 3, 4, "the text")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Far more matches than a search keeps ready."""
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for file in range(10):
            (tmp_path / str(folder) / str(file)).write_text("needle\n" * 1000)
    return tmp_path


async def first(found: Stream[search.Match]) -> None:
    async with found as matches:
        async for _ in matches:
            await asyncio.get_running_loop().create_future()


@pytest.mark.serial
async def test_a_search_is_a_stream_that_runs_once_more_and_takes_policies(many: Path) -> None:
    found = search.lines("needle", many / "0" / "0")
    assert await all_of(found) == await all_of(found)
    slow = search.lines("needle", many).under(Timeout(0.05))
    with pytest.raises(errors.TimedOut):
        async with slow as matches:
            async for _ in matches:
                await asyncio.sleep(0.2)
    await no_more_threads("mountain-search", 0, 0.1)


@pytest.mark.serial
async def test_leaving_a_search_stops_it(many: Path) -> None:
    """P6: after the loop is left or cancelled, threads and descriptors are gone in 100 ms."""
    assert [each async for each in search.lines("nothing", many)] == []  # the loop has its descriptors now
    descriptors = len(os.listdir("/dev/fd"))
    async with search.lines("needle", many) as matches:
        async for _ in matches:
            assert threads("mountain-search") > 0
            break
    await no_more_threads("mountain-search", 0, 0.1)
    task = asyncio.create_task(first(search.lines("needle", many)))
    while not threads("mountain-search"):
        await asyncio.sleep(0.001)  # until it has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await no_more_threads("mountain-search", 0, 0.1)
    assert len(os.listdir("/dev/fd")) <= descriptors


@pytest.mark.serial
async def test_a_search_in_the_middle_of_a_file_stops(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"hay and hay again\n" * 2_000_000)
    task = asyncio.create_task(first(search.lines(r"(\w+\s+){3,5}[x-z]\d", tmp_path)))  # which takes seconds
    while not threads("mountain-search"):
        await asyncio.sleep(0.001)  # until it has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await no_more_threads("mountain-search", 0, 0.1)


async def test_a_slow_consumer_gets_all_of_it_in_order(many: Path) -> None:
    lines: Counter[str] = Counter()
    last = ""
    async for each in search.lines("needle", many):
        assert last == each.path or each.path not in lines, "the matches of a file come in parts"
        last = each.path
        lines[each.path] += 1
        assert each.line == lines[each.path]
        if each.line == 500:
            await asyncio.sleep(0)
    assert set(lines.values()) == {1000}
    assert len(lines) == 200


async def test_a_match_comes_before_its_file_ends(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as file:
        file.write(b"needle\n" + b"hay\n" * 5_000_000)
    async with search.lines("needle", tmp_path) as matches:
        assert (await anext(matches)).line == 1
        assert threads("mountain-search") > 0


async def test_a_search_that_is_never_begun_costs_nothing(tmp_path: Path) -> None:
    before = threads("mountain-search")
    search.lines("x", tmp_path / "missing")
    assert threads("mountain-search") <= before
