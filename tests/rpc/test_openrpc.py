"""A router's description: valid as OpenRPC 1.3, each schema as JSON Schema, and what it refuses the router refuses."""

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Required, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from mountain_runtime import effect, need, rpc, stream
from mountain_runtime.errors import PeerError
from mountain_runtime.rpc._commands.bind import WrongParams, binding
from tests.rpc.openrpc_1_3 import DOCUMENT
from tests.rpc.support import Log, small

T = TypeVar("T")


@dataclass
class Tree:
    """A tree, with its root's name."""

    name: str
    children: "list[Tree]" = field(default_factory=list)


@dataclass
class Settings:
    root: Path = Path("/")  # a default of which msgspec knows no JSON


class Size(NamedTuple):
    width: int
    height: int = 3


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Options(TypedDict, total=False):
    depth: Required[int]
    name: str


class Part(pydantic.BaseModel):
    number: int
    next: "Part | None" = None


class Model(pydantic.BaseModel):
    name: str
    part: Part | None = None
    place: tuple[int, str] = (1, "a")


class Odd(pydantic.BaseModel, arbitrary_types_allowed=True):
    log: Log


@attrs.define
class Pair:
    left: int
    right: int = 2


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    a: float


class Box(msgspec.Struct, Generic[T]):
    it: T


def same_name() -> type[pydantic.BaseModel]:
    class Model(pydantic.BaseModel):
        other: int

    return Model


#: A type, values that are taken, and values that are refused: by the schema and by the router.
CASES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "dataclass": (Tree, [{"name": "a"}, {"name": "a", "children": [{"name": "b"}]}], [{}, {"name": 1}, "a", None]),
    "of itself": (Tree, [], [{"name": "a", "children": [{"name": "b", "children": [{}]}]}]),
    "default": (Settings, [{}, {"root": "/x"}], []),
    "named tuple": (Size, [[1], [1, 2]], [[], [1, "2"], [1, 2, 3], {"width": 1}]),
    "enum": (Colour, ["red"], ["green", 1]),
    "typed dict": (Options, [{"depth": 1}, {"depth": 1, "name": "x"}], [{}, {"depth": "1"}, {"depth": 1, "name": 2}]),
    "model": (Model, [{"name": "a"}, {"name": "a", "part": {"number": 1, "next": {"number": 2}}}], [{}, {"name": 1}]),
    "its parts": (Model, [{"name": "a", "place": [1, "b"]}], [{"name": "a", "part": {}}, {"name": "a", "place": [1]}]),
    "models": (list[Part], [[], [{"number": 1}]], [[{}], {}]),
    "same name": (same_name(), [{"other": 1}], [{"name": "a"}]),
    "attrs": (Pair, [{"left": 1}], [{"right": 1}, {"left": None}]),
    "tagged": (Circle | Square, [{"type": "circle", "r": 1}], [{"r": 1}, {"type": "x", "r": 1}, {"type": "square"}]),
    "generic": (Box[int], [{"it": 1}], [{"it": "1"}, {}]),
    "generic of lists": (Box[list[str]], [{"it": ["1"]}], [{"it": "1"}]),
    "union": (int | str | None, [1, "1", None], [1.5, True, []]),
    "literal": (Literal["a", 1] | None, ["a", 1, None], ["b", 2, False]),
    "bounds": (Annotated[int, msgspec.Meta(ge=1, lt=9, description="x")], [1, 8], [0, 9]),
    "pattern": (Annotated[str, msgspec.Meta(pattern="^[a-z]+$", max_length=3)], ["abc"], ["A", "abcd"]),
    "bytes": (bytes, ["AAE=", ""], [1, None]),
    "time": (datetime.datetime, ["2026-01-02T03:04:05Z"], [1, None]),
    "span": (datetime.timedelta, ["PT1M"], [[], None]),
    "date": (datetime.date, ["2026-01-02"], [1]),
    "decimal": (decimal.Decimal, ["1.5", 1.5, 2], [None, []]),
    "uuid": (uuid.UUID, ["12345678-1234-5678-1234-567812345678"], [1]),
    "path": (Path, ["/tmp"], [1, None]),
    "paths": (Annotated[list[Path], msgspec.Meta(min_length=1)], [["/tmp"]], [[], [1]]),
    "tuple": (tuple[int, str], [[1, "a"]], [[1], ["a", 1], [1, "a", 2]]),
    "tuples": (tuple[int, ...], [[], [1, 2]], [["a"]]),
    "set": (set[int], [[1, 2], [1, 1]], [["a"], {}]),
    "dict": (dict[str, int], [{}, {"items": 1, "uniqueItems": 2}], [{"a": "b"}, []]),
    "of trees": (dict[Literal["a", "b"], Tree], [{"a": {"name": "x"}}], [{"c": {"name": "x"}}, {"a": {}}]),
    "keys": (dict[int, str], [{"1": "a"}], [{"1": 1}]),
    "float": (float, [1, 1.5], ["1", None]),
    "bool": (bool, [True], [1, "true"]),
    "nothing": (None, [None], [0]),
    "anything": (Any, [1, None, {"a": []}], []),
}


def router_of(kind: Any, name: str = "take") -> rpc.Router:
    made = rpc.Router()
    add(made, name, kind)
    return made


def add(router: rpc.Router, name: str, kind: Any) -> None:
    async def take(it: Any) -> Any:
        return it

    take.__annotations__ |= {"it": kind, "return": kind}
    router.command(name)(effect(take))


def refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from refs(each)
    elif isinstance(part, list):
        for each in part:
            yield from refs(each)


def checked(router: rpc.Router) -> dict[str, Any]:
    """Its description, which is valid."""
    found = json.loads(json.dumps(router.openrpc(), allow_nan=False))
    Draft7Validator(DOCUMENT).validate(found)
    schemas = [each["schema"] for method in found["methods"] for each in (*method["params"], method["result"])]
    components = found.get("components", {}).get("schemas", {})
    for schema in (*schemas, *components.values()):
        Draft7Validator.check_schema(schema)
    for ref in refs(found):
        assert ref.removeprefix("#/components/schemas/") in components
    names = [method["name"] for method in found["methods"]]
    assert len(set(names)) == len(names)
    return found


def takes(found: dict[str, Any], value: Any, place: int = 0) -> bool:
    schema = {"allOf": [found["methods"][place]["params"][0]["schema"]], "components": found.get("components", {})}
    return bool(Draft7Validator(schema).is_valid(value))


@pytest.mark.parametrize(("kind", "taken", "refused"), CASES.values(), ids=CASES)
async def test_a_schema_takes_what_the_router_takes(kind: Any, taken: list[Any], refused: list[Any]) -> None:
    router = router_of(kind)
    found = checked(router)
    for value in taken:
        assert takes(found, value), value
        await router.call("take", [value])
    for value in refused:
        assert not takes(found, value), value
        with pytest.raises(PeerError):
            await router.call("take", [value])


def test_a_document_of_all_types_has_each_class_once() -> None:
    router = rpc.Router(name="all")
    for name, (kind, _, _) in CASES.items():
        add(router, name, kind)
    found = checked(router)
    for place, (name, (_, taken, refused)) in enumerate(CASES.items()):
        assert found["methods"][place]["name"] == name
        assert all(takes(found, value, place) for value in taken), name
        assert not any(takes(found, value, place) for value in refused), name
    names = list(found["components"]["schemas"])
    assert sum("Tree" in each for each in names) == 1
    assert found["components"]["schemas"]["Tree"]["description"] == "A tree, with its root's name."
    models = [each for each in names if each.startswith("Model-")]
    assert models == ["Model-model", "Model-model-Part", "Model-model-2"]


def test_commands_of_every_sort_are_described() -> None:
    router = small(Log(), name="every")

    @router.command("odd names/漢 字 <x> #/%41")
    @effect
    async def odd(schema: str, cls: int = 1, *, name: int = 3, need: Log = need(Log), log: "Odd | None" = None) -> Log:
        """Says it.

        And `more`, with "quotes" and 漢.
        """
        raise NotImplementedError

    @router.command("placed")
    @effect
    async def placed(a: int, b: Path = Path("/"), /) -> None: ...

    @router.command("bare")
    @effect
    async def bare():  # type: ignore[no-untyped-def]
        ...

    @router.streaming("trees")
    @stream
    async def trees(of: list[Part] | None = None) -> AsyncIterator[tuple[Tree, int]]:
        yield Tree("a"), 1

    methods = {each["name"]: each for each in checked(router)["methods"]}
    assert [each["name"] for each in methods["odd names/漢 字 <x> #/%41"]["params"]] == ["schema", "cls", "name", "log"]
    assert methods["odd names/漢 字 <x> #/%41"]["paramStructure"] == "by-name"
    assert methods["odd names/漢 字 <x> #/%41"]["result"]["schema"] == {"title": "Log"}
    assert methods["placed"]["paramStructure"] == "either"
    assert (methods["bare"]["params"], methods["bare"]["result"]["schema"]) == ([], {})
    assert methods["trees"]["x-streaming"]["items"]["items"][0] == {"$ref": "#/components/schemas/Tree"}
    Draft7Validator.check_schema(methods["trees"]["x-streaming"]["items"])
    checked(rpc.Router())


@pytest.mark.parametrize(
    "wrong",
    [{"openrpc": "1.2.6"}, {"methods": None}, {"methods": [{"name": "", "params": []}]}, {"extra": 1}, {"info": {}},
     {"components": {"schemas": {"a b": {}}}}, {"components": {"schemas": {"a": {"type": "int"}}}}],
)  # fmt: skip
def test_what_is_no_description_is_seen(wrong: dict[str, Any]) -> None:
    found = small(Log()).openrpc()
    assert Draft7Validator(DOCUMENT).is_valid(found)
    assert not Draft7Validator(DOCUMENT).is_valid(found | wrong)


LEAVES = [
    (bool, st.booleans()),
    (int, st.integers(-9, 9)),
    (float, st.floats(-9, 9)),
    (str, st.text(max_size=3)),
    (None, st.none()),
    (Colour, st.sampled_from(["red", "blue"])),
    (bytes, st.sampled_from(["", "AAE="])),
    (Size, st.lists(st.integers(0, 3), max_size=3)),
    (Tree, st.fixed_dictionaries({"name": st.text(max_size=1)})),
    (Annotated[int, msgspec.Meta(gt=0)], st.integers(-1, 3)),
]
Kind = tuple[Any, st.SearchStrategy[Any]]
fields = iter(range(1_000_000))


def made(parts: list[Kind]) -> Kind:
    kind = dataclasses.make_dataclass(
        f"Made{next(fields)}", [(f"f{place}", part[0]) for place, part in enumerate(parts)]
    )
    return kind, st.fixed_dictionaries({f"f{place}": part[1] for place, part in enumerate(parts)})


def grown(kinds: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    return st.one_of(
        kinds.map(lambda each: (list[each[0]], st.lists(each[1], max_size=2))),  # type: ignore[name-defined]
        kinds.map(lambda each: (dict[str, each[0]], st.dictionaries(st.text(max_size=1), each[1], max_size=2))),  # type: ignore[name-defined]
        kinds.map(lambda each: (each[0] | None if each[0] is not None else None, st.none() | each[1])),
        st.lists(kinds, min_size=1, max_size=3).map(
            lambda parts: (tuple[tuple(part[0] for part in parts)], st.tuples(*(part[1] for part in parts)).map(list))  # type: ignore[misc]
        ),
        st.lists(kinds, max_size=3).map(made),
    )


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # of a busy machine
@given(st.data(), st.recursive(st.sampled_from(LEAVES), grown, max_leaves=4))
def test_a_value_that_a_schema_refuses_is_refused(data: st.DataObject, kind: Kind) -> None:
    async def take(it: Any) -> None: ...

    take.__annotations__["it"] = kind[0]
    found = checked(router_of(kind[0]))
    reads = binding("take", take)
    value = data.draw(kind[1] | st.sampled_from(LEAVES).flatmap(lambda leaf: leaf[1]))
    try:
        reads.arguments(msgspec.json.encode([value]))
    except WrongParams:
        return
    assert takes(found, value)
