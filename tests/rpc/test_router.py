"""Router: commands, their parameters, and calls in this process."""

import datetime
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from mountain_runtime import Cache, RateLimit, Runtime, Timeout, blocking, effect, errors, fs, need, rpc, search, stream
from mountain_runtime.errors import ConfigError, PeerError, TimedOut
from tests.rpc.support import Log, small


@dataclass
class Place:
    row: int
    column: int = 0
    marks: list[str] = field(default_factory=list)


class Size(NamedTuple):
    width: int
    height: int


class Colour(enum.Enum):
    RED = "red"


class Options(TypedDict, total=False):
    depth: int


class Model(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)


@attrs.define
class Pair:
    left: int
    right: int


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    a: float


@pytest.mark.parametrize(
    ("kind", "given", "value", "back"),
    [
        (Place, {"row": 1}, Place(1), {"row": 1, "column": 0, "marks": []}),
        (Size, [1, 2], Size(1, 2), [1, 2]),
        (Colour, "red", Colour.RED, "red"),
        (Options, {"depth": 3}, {"depth": 3}, {"depth": 3}),
        (Model, {"name": "a", "age": 3}, Model(name="a", age=3), {"name": "a", "age": 3}),
        (Pair, {"left": 1, "right": 2}, Pair(1, 2), {"left": 1, "right": 2}),
        (
            datetime.datetime,
            "2026-01-02T03:04:05Z",
            datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
            "2026-01-02T03:04:05Z",
        ),
        (datetime.timedelta, "PT1M", datetime.timedelta(minutes=1), "PT60S"),
        (bytes, "AAE=", b"\x00\x01", "AAE="),
        (Path, "/tmp/x", Path("/tmp/x"), "/tmp/x"),
        (int | str | None, None, None, None),
        (Circle | Square, {"type": "square", "a": 2.0}, Square(2.0), {"type": "square", "a": 2.0}),
        (Annotated[int, msgspec.Meta(ge=1)], 5, 5, 5),
        (Literal["a", "b"], "a", "a", "a"),
        (list[Place], [{"row": 1, "column": 2}], [Place(1, 2)], [{"row": 1, "column": 2, "marks": []}]),
        (dict[str, tuple[int, ...]], {"a": [1, 2]}, {"a": (1, 2)}, {"a": [1, 2]}),
        (Any, {"a": [1, None]}, {"a": [1, None]}, {"a": [1, None]}),
        (float, 3, 3.0, 3.0),
    ],
)
@pytest.mark.parametrize("by", ["name", "position"])
async def test_parameters_are_converted_by_their_annotations(
    kind: Any, given: Any, value: Any, back: Any, by: str
) -> None:
    router, seen = rpc.Router(), []

    async def take(it: Any) -> Any:
        seen.append(it)
        return it

    take.__annotations__["it"] = kind
    router.command("take")(effect(take))
    assert await router.call("take", {"it": given} if by == "name" else [given]) == back
    assert seen == [value]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "missing parameter `a`"),
        ({"a": "1"}, "Expected `int`, got `str` - at `$.a`"),
        ({"a": 1, "c": 2}, "there is no parameter `c`"),
        ([], "Expected `array` of at least length 1"),
        ([1, 2, 3], "Expected `array`"),
        ([1, None], "Expected `int`, got `null`"),
        ({"a": True}, "Expected `int`, got `bool`"),
    ],
)
async def test_wrong_parameters_are_said(params: Any, says: str) -> None:
    with pytest.raises(PeerError) as found:
        await small(Log()).call("add", params)
    assert found.value.code == -32602
    assert says in str(found.value)


async def test_defaults_are_the_functions_own() -> None:
    router, default = rpc.Router(), ["same"]

    @router.command("x")
    @effect
    async def x(a: int, /, b: list[str] = default, *, c: int = 7) -> bool:
        return b is default and c == 7

    assert await router.call("x", [1]) is True
    assert await router.call("x", {"a": 1}) is True
    assert await router.call("x", {"a": 1, "c": 8}) is False


class Store:
    name = "theirs"


async def test_needs_are_never_the_callers() -> None:
    router = rpc.Router()

    @router.command("who")
    @effect
    async def who(a: int, *, store: Store = need(Store)) -> str:
        return store.name

    with pytest.raises(PeerError, match="there is no parameter `store`"):
        await router.call("who", {"a": 1, "store": {"name": "mine"}})
    with pytest.raises(errors.ServiceMissing):
        await router.call("who", [1])
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        yield Store()

    async with Runtime().provide(Store, open_store):
        assert await router.call("who", [1]) == "theirs"


async def test_a_call_runs_as_a_request_would() -> None:
    log = Log()
    router = small(log, Timeout(0.05))
    assert await router.call("add", {"a": 1}) == 3
    assert await router.call("count", [3]) == [0, 1, 2]
    assert await router.call("echo", [(1, float("nan"))]) == [1, None]
    with pytest.raises(LookupError, match="no such thing"):
        await router.call("fail")
    with pytest.raises(TimedOut):
        await router.call("wait", ["a"])
    assert log.said == ["count ends", "a begins", "a ends"]
    with pytest.raises(PeerError, match="there is no command 'nope'") as found:
        await router.call("nope")
    assert found.value.code == -32601
    waiting = router.call("echo", [1])  # a value, as any effect
    assert (await waiting, await waiting) == (1, 1)


async def test_policies_of_the_router_see_the_commands_own_arguments() -> None:
    calls: list[int] = []
    router = rpc.Router(Cache(ttl=60))

    @router.command("double")
    @effect
    async def double(a: int) -> int:
        calls.append(a)
        return 2 * a

    assert [await router.call("double", [a]) for a in (1, 2, 1)] == [2, 4, 2]
    assert calls == [1, 2]


async def test_blocking_functions_and_methods_are_commands() -> None:
    router = rpc.Router(Timeout(10))

    class Files:
        def __init__(self, root: str) -> None:
            self.root = root

        @effect
        async def where(self, name: str) -> str:
            return f"{self.root}/{name}"

        @stream
        async def parts(self, n: int) -> AsyncIterator[str]:
            for _ in range(n):
                yield self.root

    files = Files("/r")
    router.command("where")(files.where)
    router.streaming("parts")(files.parts)

    @router.command("upper")
    @blocking
    def upper(text: str) -> str:
        return text.upper()

    assert await router.call("where", ["a"]) == "/r/a"
    assert await router.call("parts", [2]) == ["/r", "/r"]
    assert await router.call("upper", ["a"]) == "A"


async def test_values_of_the_package_are_json() -> None:
    router = rpc.Router()
    match = search.Match("a.py", 1, 2, "text")

    @router.command("found")
    @effect
    async def found() -> tuple[search.Match, fs.Change]:
        return match, fs.Change("a", "made")

    first, second = await router.call("found")
    assert first == {"path": "a.py", "line": 1, "column": 2, "text": "text", "before": [], "after": [], "cut": None}
    assert second == {"path": "a", "kind": "made"}


async def test_parameters_have_any_name() -> None:
    router = rpc.Router()

    @router.command("sum")
    @effect
    async def add(self: int, p0: int, copy: int, _x: int, method: int = 5, encode: int = 6) -> list[int]:
        return [self, p0, copy, _x, method, encode]

    assert await router.call("sum", [1, 2, 3, 4]) == [1, 2, 3, 4, 5, 6]
    given = {"self": 1, "p0": 2, "copy": 3, "_x": 4, "encode": 7}
    assert await router.call("sum", given) == [1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize("name", ["", "rpc.x", "$/x", "a\nb", "x" * 257, 7, None])
def test_names_that_are_not_allowed(name: Any) -> None:
    with pytest.raises(ConfigError, match="command"):
        rpc.Router().command(name)


def test_commands_that_cannot_be() -> None:
    router = small(Log())

    @effect
    async def fine(a: int) -> None: ...

    @stream
    async def many() -> AsyncIterator[int]:
        yield 1

    async def bare() -> None: ...

    class Odd: ...

    @effect
    async def stars(*args: int) -> None: ...

    @effect
    async def odd(x: list[Odd]) -> None: ...

    @effect
    async def dunder(__eq__: int) -> None: ...

    @effect
    async def union(x: Place | Pair) -> None: ...

    for make, what, says in [
        (router.command("add"), fine, "a command of that name already"),
        (router.command("y"), many, "write @router.streaming"),
        (router.streaming("y"), fine, "write @router.command"),
        (router.command("y"), bare, "write @effect below it"),
        (router.command("y"), 7, "write @effect below it"),
        (router.command("y"), stars, "give each parameter a name"),
        (router.command("y"), odd, "of a type that no JSON can give"),
        (router.command("y"), union, "the parameter x"),
        (router.command("y"), dunder, "name without two underscores"),
    ]:
        with pytest.raises(ConfigError, match=says):
            make(what)
    limit = RateLimit(1, per=1)
    with pytest.raises(ConfigError, match="stands twice"):
        rpc.Router(limit, limit)


def test_a_description_has_every_command_with_its_schemas() -> None:
    router = rpc.Router(name="shop")

    @router.command("order")
    @effect
    async def order(place: Place, note: str = "") -> Place:
        """Places an order.

        And more of it.
        """
        return place

    @router.streaming("orders")
    @stream
    async def orders() -> AsyncIterator[Place]:
        yield Place(1)

    found = router.openrpc()
    assert found["openrpc"].startswith("1.3")
    assert found["info"]["title"] == "shop"
    first, second = found["methods"]
    assert (first["name"], first["summary"], first["paramStructure"]) == ("order", "Places an order.", "either")
    assert [(each["name"], each["required"]) for each in first["params"]] == [("place", True), ("note", False)]
    assert first["params"][0]["schema"] == {"$ref": "#/components/schemas/Place"}
    assert found["components"]["schemas"]["Place"]["required"] == ["row"]
    assert second["x-streaming"]["items"] == {"$ref": "#/components/schemas/Place"}
