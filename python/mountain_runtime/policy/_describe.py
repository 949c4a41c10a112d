"""The text of `Pipeline.describe()`: a stack in words, the longest that a call may take, what its order deserves."""

import textwrap
from math import inf

from ._order import warnings
from ._part import Part, span

__all__ = ["describe"]

#: As wide as the lines of a warning get.
_WIDTH = 100


def describe(name: str, parts: list[Part]) -> str:
    """The description of a pipeline of that name."""
    lines = [f"Pipeline '{name}'" + (", outermost first:" if parts else ": nothing")]
    for number, part in enumerate(parts, 1):
        lines.append(f"{number:>3}  {part.text}: {part.does}")
    lines.append(f"Worst case of a call: {_worst(parts)}")
    found = warnings(parts)
    if found:
        lines.append("Warnings:")
        for each in found:
            lines += _block(f"  -  {each}", 5)
    return "\n".join(lines)


def _block(text: str, indent: int) -> list[str]:
    """A paragraph whose further lines stand under the first one's text."""
    return textwrap.wrap(text, _WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _worst(parts: list[Part]) -> str:
    known, beyond = longest(parts)
    if known == inf:
        return "no limit"
    return f"{', '.join([span(known), *beyond])}, and the cleanup of what is stopped"  # some timeout set the limit


def longest(parts: list[Part]) -> tuple[float, list[str]]:
    """The seconds that a call may take, and what comes on top that has no known bound."""
    known, beyond = inf, list[str]()  # the function itself
    for part in reversed(parts):
        known = inf if part.attempts == inf else known * part.attempts + part.between
        known += part.wait
        if part.beyond and part.beyond not in beyond:
            beyond.append(part.beyond)
        if part.limit < inf and (beyond or part.limit <= known):
            known, beyond = part.limit, []
    return known, beyond
