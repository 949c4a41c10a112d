"""Commands of git: what has changed, when, and how. None of them changes anything."""

from dataclasses import dataclass
from math import inf

from workspace import Workspace

from mountain_runtime import Cache, effect, need

#: A commit never changes.
shown = Cache(ttl=inf, max_size=256, name="commits")


@dataclass(frozen=True, slots=True)
class Changed:
    path: str
    #: Two letters: of the index and of the file, as `git status --short` has them.
    state: str


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    author: str
    #: By ISO 8601.
    date: str
    subject: str


@effect
async def status(*, workspace: Workspace = need(Workspace)) -> list[Changed]:
    """The files that differ from the last commit."""
    found = await workspace.git("status", "--porcelain", "-z", "--no-renames")
    return [Changed(each[3:], each[:2]) for each in found.split("\0") if each]


@effect
async def log(most: int = 20, path: str | None = None, *, workspace: Workspace = need(Workspace)) -> list[Commit]:
    """The last commits, or those that have touched a path."""
    only = () if path is None else (path,)
    found = await workspace.git("log", f"-n{most}", "-z", "--format=%H%x1f%an%x1f%aI%x1f%s", "--", *only)
    return [Commit(*each.split("\x1f", 3)) for each in found.split("\0") if each]


@effect
async def diff(path: str | None = None, staged: bool = False, *, workspace: Workspace = need(Workspace)) -> str:
    """The changes that are not committed, or with `staged` those that are about to be."""
    only = () if path is None else (path,)
    return await workspace.git("diff", "--no-ext-diff", *(("--cached",) if staged else ()), "--", *only)


@effect(shown)
async def show(commit: str, *, workspace: Workspace = need(Workspace)) -> str:
    """A commit by its whole id, with its patch."""
    if len(commit) != 40 or not set(commit) <= set("0123456789abcdef"):
        raise ValueError("a commit is 40 hexadecimal digits here: a name may be another one tomorrow")
    return await workspace.git("show", "--no-ext-diff", commit)
