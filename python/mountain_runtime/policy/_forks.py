"""What a forked child makes of policies that hold state: who held a place or waited stayed with the parent."""

from typing import Protocol
from weakref import WeakSet

__all__ = ["after_fork", "note"]


class _Shared(Protocol):
    def _after_fork(self) -> None: ...


_known: "WeakSet[_Shared]" = WeakSet()


def note(policy: _Shared) -> None:
    """`policy` holds something for calls that are under way."""
    _known.add(policy)


def after_fork() -> None:
    """In the child: nobody is at work, and nobody waits. What has started, failed or is kept is known as before."""
    for policy in list(_known):
        policy._after_fork()
