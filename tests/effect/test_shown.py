"""The repr of an effect is what a person would write, bounded, whatever it is made of."""

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any

import pytest

from mountain_runtime import Effect, RateLimit, Retry, Timeout, blocking, effect, fs, gather, process, race


@effect
async def a(x: Any = None, **options: Any) -> Any:
    return x, options


@effect(Retry(on=OSError))
async def tried(x: Any) -> Any:
    return x


@blocking
def slow(x: Any) -> Any:
    return x


class Api:
    @effect
    async def get(self, n: int) -> int:
        return n

    def __repr__(self) -> str:
        return "api"

    def handle(self, v: Any) -> Any:
        return v


def again(v: Any) -> Effect[Any]:
    return a(v)


class Missing(Exception): ...


WRITTEN: dict[str, Callable[[], Effect[Any]]] = {
    "a(1).map(str)": lambda: a(1).map(str),
    "a('b', n=2)": lambda: a("b", n=2),
    "slow(3)": lambda: slow(3),
    "Api.get(api, 3)": lambda: Api().get(3),
    "a(1).map(len).map(Api.handle)": lambda: a(1).map(len).map(Api().handle),
    "a(1).then(again)": lambda: a(1).then(again),
    "a(1).map(<lambda>)": lambda: a(1).map(lambda v: v),
    "a(1).map(partial(print, ...))": lambda: a(1).map(functools.partial(print, end="")),
    "a(1).attempt(OSError, Missing)": lambda: a(1).attempt(OSError, Missing),
    "tried(1) under Retry(on=OSError)": lambda: tried(1),
    "tried(1).under(Timeout(3))": lambda: tried(1).under(Timeout(3)),
    "tried(1).under(Timeout(3)).map(str)": lambda: tried(1).under(Timeout(3)).map(str),
    "a(1).under(Timeout(2), Timeout(1))": lambda: a(1).under(Timeout(1)).under(Timeout(2)),
    "a(1).map(str).under(Timeout(1))": lambda: a(1).map(str).under(Timeout(1)),
    "a(a(1).map(str))": lambda: a(a(1).map(str)),
    "gather(a(1), tried(2))": lambda: gather(a(1), tried(2)),
    "gather([a(1), a(2)])": lambda: gather(a(n) for n in (1, 2)),
    "gather([a(1), a(1), a(1), a(1), ...])": lambda: gather([a(1)] * 1000),
    "gather(a(1), a(2)).map(len)": lambda: gather(a(1), a(2)).map(len),
    "race(a(1), slow(2))": lambda: race(a(1), slow(2)),
    "gather(fs.stat('b'), fs.read_bytes('c'))": lambda: gather(fs.stat("b"), fs.read_bytes("c")),
    "gather([fs.stat('b')])": lambda: gather([fs.stat("b")]),
    "gather(fs.stat('b'), fs.stat('c')).map(len)": lambda: gather(fs.stat("b"), fs.stat("c")).map(len),
    "race(fs.stat('b'), fs.stat('c')).under(Timeout(1))": lambda: race(fs.stat("b"), fs.stat("c")).under(Timeout(1)),
    "fs.read_text('b')": lambda: fs.read_text("b"),
    "fs.read_text('b', encoding='latin-1')": lambda: fs.read_text("b", encoding="latin-1"),
    "fs.read_text('b', errors='ignore')": lambda: fs.read_text("b", errors="ignore"),
    "fs.read_many(['b', 'c'])": lambda: fs.read_many(["b", "c"]),
    "fs.hash('b', 'sha256')": lambda: fs.hash("b", "sha256"),
    "fs.stat('b', follow_symlinks=False)": lambda: fs.stat("b", follow_symlinks=False),
    "fs.mkdir('b', parents=True, exist_ok=True)": lambda: fs.mkdir("b", parents=True, exist_ok=True),
    "fs.remove('b', tree=True)": lambda: fs.remove("b", tree=True),
    "fs.write_text('b', ...)": lambda: fs.write_text("b", "a secret"),
    "fs.write_bytes('b', ..., durable=False)": lambda: fs.write_bytes("b", b"a secret", durable=False),
    "process.run('ls', '-l')": lambda: process.run("ls", "-l"),
    "process.run('ls', input=..., check=False, cwd='/', max_output=9)": lambda: process.run(
        "ls", input=b"a secret", check=False, cwd="/", env={"KEY": "a secret"}, max_output=9
    ),
    "process.run('ls').map(len).under(Timeout(1))": lambda: process.run("ls").map(len).under(Timeout(1)),  # type: ignore[arg-type]
    "sleep(1) under Timeout(1)": lambda: Timeout(1).call(asyncio.sleep, 1),
    "RateLimit.acquire() under RateLimit(1, per=1)": lambda: RateLimit(1, 1).acquire(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_it_is_what_one_would_write(written: str) -> None:
    work = WRITTEN[written]()
    assert repr(work) == f"<Effect {written}>"
    work.close()


def test_it_is_bounded() -> None:
    chain = a(1)
    for _ in range(10_000):
        chain = chain.map(len)
    assert repr(chain) == "<Effect a(1).map(len).map(len)....map(len).map(len).map(len).map(len)>"
    nested = a(1)
    for _ in range(10_000):
        nested = a(nested)
    assert repr(nested) == "<Effect a(a(a(...)))>"
    long = a("x" * 10**6, **{f"option_{n}": "y" * 100 for n in range(100)})
    assert len(repr(long)) < 450
    began = time.perf_counter()
    assert len(repr(a([[0] * 10**6] * 100))) < 450
    assert time.perf_counter() - began < 0.5  # a list in full would take seconds
    for work in (chain, nested, long):
        work.close()


def test_it_survives_what_cannot_be_shown() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise Missing

        def __call__(self, v: Any) -> Any:
            return v

    class Worse(Bad):
        def __getattr__(self, name: str) -> Any:
            raise Missing

    assert repr(a(Bad(), k=Bad())).startswith("<Effect a(<Bad instance at 0x")
    assert repr(a(1).map(Bad())).startswith("<Effect a(1).map(<Bad instance at 0x")
    assert repr(a(1).map(Worse())).startswith("<Effect a(")
    itself: list[Any] = []
    itself.append(a(itself))
    assert len(repr(itself[0])) < 450
    itself[0].close()

    class Stops:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repr(a(Stops()))


@pytest.fixture(autouse=True)
def _effects_that_are_only_shown(recwarn: pytest.WarningsRecorder) -> None: ...
