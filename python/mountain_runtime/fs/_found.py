"""Entries that a walk or a glob finds, as an async iterator that says so where a block or an await is written."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, NoReturn

from .._native import Entry

__all__ = ["Found"]


class Found:
    """`call`: as it is written, `fs.walk(...)`."""

    __slots__ = ("_call", "_entries")

    def __init__(self, entries: AsyncGenerator[Entry, None], call: str) -> None:
        self._entries, self._call = entries, call

    def __aiter__(self) -> AsyncIterator[Entry]:
        """Its generator: a loop asks that for each entry."""
        return self._entries

    async def __anext__(self) -> Entry:
        return await anext(self._entries)

    async def aclose(self) -> None:
        """Stops the threads that find it."""
        await self._entries.aclose()

    if not TYPE_CHECKING:  # type checkers say by themselves that it is neither

        def __aenter__(self) -> NoReturn:
            raise TypeError(f"{self._call} gives entries one by one: write `async for entry in {self._call}:`")

        def __aexit__(self, *_: object) -> None: ...

        __enter__ = __iter__ = __await__ = __aenter__

        def __exit__(self, *_: object) -> None: ...
