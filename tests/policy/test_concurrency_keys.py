"""A limit with `key=`: places for each key, asked of the call's arguments by its signature; native calls among them."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Effect, Pipeline, Retry, _native, blocking, constant, effect, fs, gather
from mountain_runtime.errors import ConfigError, QueueFull

from .room import Room, counts, tick, until
from .support import Boom

pytestmark = pytest.mark.usefixtures("collected")


def keyed(n: int, key: Callable[..., Any], **settings: Any) -> tuple[ConcurrencyLimit, list[Any]]:
    """A limit, and the keys that its function gave."""
    asked: list[Any] = []

    def asks(*args: Any, **kwargs: Any) -> Any:
        found = key(*args, **kwargs)
        asked.append(found)
        return found

    return ConcurrencyLimit(n, key=asks, **settings), asked


async def test_each_key_has_places_of_its_own() -> None:
    rooms: dict[str, Room] = {host: Room() for host in "abc"}
    whole = Room()
    limit = ConcurrencyLimit(2, key=lambda host: host)

    @effect(limit)
    async def get(host: str) -> None:
        await asyncio.gather(rooms[host].passes(), whole.passes(ticks=2))

    await asyncio.gather(*[get(host) for host in "abc" * 20])
    assert {room.most for room in rooms.values()} == {2}
    assert whole.most == 6
    assert counts(limit) == (0, 0)


async def test_max_waiting_counts_for_each_key() -> None:
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who, max_waiting=1)
    enter = effect(limit)(room.stays)
    tasks = [asyncio.create_task(enter(who)) for who in "aabb"]
    await tick()
    assert counts(limit) == (2, 2)
    with pytest.raises(QueueFull, match="1 waiting"):
        await enter("a")
    room.doors.set()
    await asyncio.gather(*tasks, enter("c"))


async def test_resizing_goes_for_each_key() -> None:
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who)
    tasks = [asyncio.create_task(limit.call(room.stays, who)) for who in "aaabbb"]
    await tick()
    assert counts(limit) == (2, 4)
    limit.resize(2)
    await tick()
    assert counts(limit) == (4, 2)
    room.doors.set()
    await asyncio.gather(*tasks)


# -- how a call is read ---------------------------------------------------------------------------------------------


async def test_arguments_agree_however_they_are_given() -> None:
    """By position, by name, or left to their defaults, which the key's function has for itself."""
    limit, asked = keyed(1, lambda x, y=2, *, z=3: (x, y, z))

    @effect(limit)
    async def f(x: int, y: int = 2, *, z: int = 3) -> int:
        return x + y + z

    calls = [f(1), f(x=1), f(1, 2), f(1, y=2), f(y=2, x=1), f(z=3, x=1), f(1, 2, z=3), partial(f, 1)()]
    assert {await call for call in calls} == {6}
    assert asked == [(1, 2, 3)] * len(calls)
    assert limit._permits.keys == 1


async def test_a_call_that_does_not_fit_is_the_functions_own_error() -> None:
    limit = ConcurrencyLimit(1, key=lambda x: x)

    @effect(limit)
    async def f(x: int) -> int:
        return x

    for wrong in (lambda: f(y=1), lambda: f(1, x=1)):
        with pytest.raises(TypeError):
            await wrong()  # type: ignore[call-arg,misc]
    assert await f(1) == 1
    assert counts(limit) == (0, 0)


async def test_a_methods_key_is_asked_with_its_object() -> None:
    limit, asked = keyed(1, lambda self, path: (id(self), path))

    class Api:
        @effect(limit)
        async def get(self, path: str) -> str:
            return path

        @classmethod
        @effect(limit)
        async def of_class(cls, path: str) -> str:
            return path

        @staticmethod
        @effect(ConcurrencyLimit(1, key=lambda path: path))
        async def alone(path: str) -> str:
            return path

        @blocking(limit)
        def slow(self, path: str) -> str:
            return path

    one, two = Api(), Api()
    assert await one.get("/") == await one.get(path="/") == await two.get("/") == await one.slow("/") == "/"
    assert await Api.of_class("/") == await Api.alone("/") == await one.alone(path="/") == "/"
    assert asked == [(id(one), "/"), (id(one), "/"), (id(two), "/"), (id(one), "/"), (id(Api), "/")]


async def test_a_blocking_functions_key_and_a_call_by_the_policy() -> None:
    limit, asked = keyed(1, lambda x, y=0: (x, y))

    def add(x: int, y: int = 0) -> int:
        return x + y

    async def later(x: int, y: int = 0) -> int:
        return x + y

    assert await blocking(limit)(add)(1, y=2) == 3
    assert await limit.call(later, y=2, x=1) == 3
    assert await Pipeline(limit, name="p").call(later, 1, 2) == 3
    assert await effect(later)(1, y=2).under(limit) == 3
    assert await effect(later)(1, y=2).under(Retry(on=Boom), limit).under(Retry(on=Boom)) == 3
    assert asked == [(1, 2)] * 5


async def test_a_key_is_asked_once_a_run() -> None:
    limit, asked = keyed(1, lambda n: n)
    calls: list[int] = []

    @effect(Retry(on=Boom, attempts=3, backoff=constant(0)), limit)
    async def fails(n: int) -> None:
        calls.append(n)
        raise Boom

    work = fails(7)
    for _ in range(2):
        with pytest.raises(Boom):
            await work
    assert calls == [7] * 6
    assert asked == [7, 7]


# -- odd keys -------------------------------------------------------------------------------------------------------


async def test_a_key_that_cannot_be_hashed_is_said() -> None:
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who)
    for odd in ({"a": 1}, [1], {1}):
        with pytest.raises(TypeError, match="must be hashable") as raised:
            await effect(limit)(room.passes)(odd)
        assert repr(odd) in str(raised.value)
        with pytest.raises(TypeError, match="must be hashable"):
            async with limit.slot(odd):  # type: ignore[arg-type]
                pass
    assert room.came == []
    assert counts(limit) == (0, 0)


async def test_what_the_key_function_raises_is_raised() -> None:
    room = Room()

    def key(who: Any) -> Any:
        raise Boom(who)

    limit = ConcurrencyLimit(1, key=key)
    with pytest.raises(Boom, match="me"):
        await effect(Retry(on=Boom, attempts=5), limit)(room.passes)("me")  # it is no attempt that failed
    with pytest.raises(Boom):
        await fs.read_bytes("x").under(limit)  # native, and never begun
    assert room.came == []
    assert counts(limit) == (0, 0)


class Odd:
    """A key whose comparison does as it is told."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self.does = does

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return bool(self.does())


async def test_a_key_may_run_anything_as_it_is_compared() -> None:
    """Fail, or use the very limit that compares it."""
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who)
    enter = effect(limit)(room.passes)

    def fails() -> bool:
        raise Boom

    def again() -> bool:
        call = enter("other")
        with pytest.raises(StopIteration):
            for _ in range(100):
                call.send(None)
        return False

    await enter(1)  # of the same hash
    with pytest.raises(Boom):
        await enter(Odd(fails))
    assert len(room.came) == 1
    await enter(Odd(again))
    assert len(room.came) == 3
    assert counts(limit) == (0, 0)


async def test_equal_keys_are_one_key() -> None:
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who)
    enter = effect(limit)(room.passes)
    await asyncio.gather(*[enter(each) for each in (1, 1.0, True, ("a", 1), ("a", True), "x", str(b"x", "ascii"))])
    assert limit._permits.keys == 3
    assert room.most == 3


async def test_idle_keys_are_forgotten() -> None:
    """By itself: the clock looks after them, about once a second."""
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who)

    class Mine:
        pass

    mine = Mine()
    seen = weakref.ref(mine)
    held = asyncio.create_task(limit.call(room.stays, "held"))
    await asyncio.gather(limit.call(room.passes, mine), *[limit.call(room.passes, n) for n in range(2000)])
    room.came.clear()
    del mine
    assert limit._permits.keys > 1
    await until(lambda: limit._permits.keys == 1)  # the one that is in use
    await _native.trial_noop()  # unreferenced keys are dropped on a loop's thread
    gc.collect()
    assert seen() is None
    room.doors.set()
    await held
    await until(lambda: limit._permits.keys == 0)
    await limit.call(room.passes, 1)
    assert counts(limit) == (0, 0)


async def test_a_limit_that_its_key_refers_to_is_collected() -> None:
    class Owner:
        def __init__(self) -> None:
            self.limit = ConcurrencyLimit(1, key=self.key)
            self.work = effect(self.limit)(asyncio.sleep)

        def key(self, *_: Any) -> Any:
            return self

    owner = Owner()
    await owner.work(0)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


# -- what has no arguments ------------------------------------------------------------------------------------------


async def test_a_key_on_what_is_made_of_other_effects_is_refused() -> None:
    limit = ConcurrencyLimit(1, key=lambda x: x)

    @effect
    async def f(x: int) -> int:
        return x

    composed: list[Effect[Any]] = [
        f(1).map(str),
        f(1).then(f),
        f(1).attempt(Boom),
        gather(f(1), f(2)),
        gather([_native.trial_noop(1), _native.trial_noop(2)]),
    ]
    for work in composed:
        for policies in ((limit,), (Retry(on=Boom), limit), (Pipeline(limit, name="p"),)):
            with pytest.raises(ConfigError) as refused:
                work.under(*policies)
            for part in ("key=", repr(limit), work.__name__, "made of other effects"):
                assert part in str(refused.value)
        await work  # it is as good as before
    unkeyed = ConcurrencyLimit(1)
    assert await gather(f(1), f(2)).under(unkeyed) == (1, 2)
    assert await f(1).map(str).under(unkeyed) == "1"


# -- native calls ---------------------------------------------------------------------------------------------------


async def test_native_calls_stay_native_and_are_keyed_by_their_arguments(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(path.name.encode())
    limit, asked = keyed(1, lambda path: path)
    reads = [fs.read_bytes(path).under(Retry(on=OSError), limit) for path in paths * 3]
    assert all(map(_native.is_native, reads))
    assert await gather(reads) == [b"a", b"b"] * 3
    assert asked == paths * 3
    assert limit._permits.keys == 2
    asked.clear()
    path = paths[0]
    others = [
        fs.write_bytes(path, b"c", durable=False),
        fs.write_text(path, "d", durable=False),
        fs.read_text(path),
        fs.stat(path),
        fs.hash(path),
        fs.mkdir(tmp_path, exist_ok=True),
        fs.remove(path),
    ]
    for each in others:
        await each.under(limit)
    assert asked == [path] * 5 + [tmp_path, path]  # the path alone, unless more is given that has a default
    with pytest.raises(TypeError, match="argument"):
        await fs.read_text(path, encoding="latin-1").under(limit)
    await until(lambda: counts(limit) == (0, 0))
