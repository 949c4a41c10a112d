"""Searches that cannot be: each says why where it is written."""

import re
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import errors, search


@pytest.mark.parametrize(
    ("pattern", "options", "message"),
    [
        ("(", {}, "unclosed group"),
        ("a\nb", {}, "write multiline=True"),
        ("a\0", {}, "null byte"),
        (r"\w{1000}{1000}", {}, "size limit"),
        ("(" * 10_000 + ")" * 10_000, {}, "error: exceed the maximum number of nested"),
        ("x" * (2 << 20), {"literal": True}, "1048576 bytes at most, not 2097152"),
        ("\udcff", {}, "surrogates not allowed"),
        ("x", {"include": ["\udcff"]}, "search.lines(include=): 'utf-8' codec"),
        ("x", {"include": ["[a"]}, "[a"),
        ("x", {"exclude": ["{a"]}, "{a"),
        ("x", {"case": "lower"}, "'sensitive', 'insensitive' or 'smart'"),
        ("x", {"context": -1}, "context=-1"),
        ("x", {"max_per_file": 0}, "max_per_file=0"),
    ],
)
def test_a_search_that_cannot_be_is_refused_where_it_is_written(
    pattern: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.ConfigError, match=re.escape(message)) as caught:
        search.lines(pattern, **options)
    assert len(str(caught.value)) < 1500


async def test_numbers_of_any_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\ny\nx\n")
    found = [each async for each in search.lines("x", tmp_path, context=1 << 80, max_per_file=1 << 80)]
    assert [each.line for each in found] == [1, 3]
    assert [each.after for each in found] == [("y", "x"), ()]


def test_what_is_no_pattern_or_no_path_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="takes a pattern as a str, not bytes"):
        search.lines(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=re.escape("write include=['*.py']")):
        search.lines("x", include="*.py")
    with pytest.raises(TypeError, match=r"a path is a str or os\.PathLike, not int"):
        search.lines("x", 5)  # type: ignore[arg-type]
