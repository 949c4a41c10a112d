"""`Work`: items for `amap` that grow while it goes."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, cast, final

from .._native import WorkProgress
from ..errors import ConfigError
from ..policy._arguments import check_name
from ..policy._functions import takes_one
from ..policy._given import shown

__all__ = ["Work"]

A = TypeVar("A")


@final
class Work(Generic[A]):
    """Items for `amap(fn, work, limit=n)` that grow: a page has links, a folder has folders.

    Items are added by the loop that takes the results, or by `fn` itself. The loop ends when all results were taken and
    handled, and no item was added meanwhile. Items with equal keys are one item: `key` gives an item's key, without it
    the item is its own. The keys are kept, in memory, until the `Work` is dropped.

    `len(work)` is how many items were added, each counted once, and `done` how many of their results were taken.
    With a `name`, metrics and the live page show both. A `Work` is for one `amap`.
    """

    __slots__ = ("_done", "_grew", "_key", "_keys", "_left", "_loop", "_over", "_progress")

    def __init__(
        self, items: Iterable[A] = (), *, key: Callable[[A], Hashable] | None = None, name: str | None = None
    ) -> None:
        """With the first items, which are added at once."""
        check_name(name, "Work")
        if key is not None and not (
            callable(cast("object", key)) and takes_one(key) and not inspect.iscoroutinefunction(key)
        ):
            raise ConfigError(f"Work(key={shown(key)}): must be a plain function of one item")
        if isinstance(items, AsyncIterable):
            raise TypeError(
                f"Work() takes its first items as they are at hand, not {shown(items)}: give that to amap()"
            )
        if isinstance(items, (str, bytes)) or not isinstance(cast("object", items), Iterable):
            raise TypeError(f"Work() takes an iterable of its first items, not {shown(items)}: write Work([item])")
        self._key = key
        self._keys: set[Hashable] = set()
        #: Added and not pulled.
        self._left: deque[A] = deque()
        self._done = 0
        #: Tells the amap, while there is one.
        self._grew: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = False
        self._progress = None if name is None else WorkProgress(name)
        for item in items:
            self.add(item)

    def add(self, item: A) -> bool:
        """Whether it was new. Never waits: `amap` calls its function for it when there is room.

        RuntimeError after the end of the `amap`, and on another thread or event loop than its own. TypeError for a key
        that has no hash.
        """
        if self._over or self._loop is not None:
            self._check()
        key = cast("Hashable", item) if self._key is None else self._key(item)
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(
                f"Work tells items apart by their keys, and {shown(key)} has no hash: make its key= give something "
                "hashable"
            ) from error
        if key in self._keys:
            return False
        self._keys.add(key)
        self._left.append(item)
        if self._progress is not None:
            self._progress.add()
        if self._grew is not None:
            self._grew()
        return True

    def __len__(self) -> int:
        """How many items were added, those that are done included."""
        return len(self._keys)

    @property
    def done(self) -> int:
        """How many items' results were taken."""
        return self._done

    def __repr__(self) -> str:
        return f"<Work {self._done} of {len(self)} done>"

    if not TYPE_CHECKING:  # type checkers say by themselves that it is none of these

        def __iter__(self) -> NoReturn:
            raise TypeError(
                "a Work is read by amap: write `async with amap(function, work, limit=n) as results:`, and `async for "
                "item, result in results:`"
            )

        __aiter__ = __iter__

        async def __aenter__(self) -> NoReturn:
            iter(self)

        async def __aexit__(self, *_: object) -> None: ...

    def _check(self) -> None:
        if self._over:
            raise RuntimeError(
                "work.add() after the end of its amap, which comes when each result was handled and no item is left: "
                "add items in the loop that takes the results, or in the function, as where chunked() reads ahead of "
                "the loop"
            )
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self._loop:
            raise RuntimeError(
                "work.add() is called on the event loop of its amap: give what you find on a thread as the result, and "
                "add it in the loop that takes the results"
            )

    # -- for amap -----------------------------------------------------------------------------------------------------

    def _begin(self, grew: Callable[[], None]) -> None:  # pyright: ignore[reportUnusedFunction]
        if self._over or self._loop is not None:
            raise RuntimeError("a Work is for one amap: make another")
        self._loop = asyncio.get_running_loop()
        self._grew = grew

    def _pull(self) -> A:  # pyright: ignore[reportUnusedFunction]
        return self._left.popleft()

    def _took(self) -> None:  # pyright: ignore[reportUnusedFunction]
        self._done += 1
        if self._progress is not None:
            self._progress.take()

    def _end(self) -> None:  # pyright: ignore[reportUnusedFunction]
        self._over = True
        self._loop = self._grew = None
