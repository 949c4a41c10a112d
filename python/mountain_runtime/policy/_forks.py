"""Stateful policies in a forked child: the parent's holders and waiters are forgotten."""

from typing import Protocol
from weakref import WeakSet

__all__ = ["after_fork", "note"]


class _Shared(Protocol):
    def _after_fork(self) -> None: ...


_known: "WeakSet[_Shared]" = WeakSet()


def note(policy: _Shared) -> None:
    """Registers `policy`, which holds state for calls under way."""
    _known.add(policy)


def after_fork() -> None:
    """In the child: releases all places and waiters. Starts, failures and cached values stay known."""
    for policy in list(_known):
        policy._after_fork()
