"""Searches, without blocking the loop: the lines of a tree's files that match a pattern, found on all cores.

Patterns, rules and results are ripgrep's: the work is done by its own crates, in this process.
"""

from . import _needed as _needed  # first: a build without it says so

# isort: split
from .._native import Match
from ._lines import lines

__all__ = ["Match", "lines"]
