"""The schemas of types, as OpenRPC 1.3 has them: JSON Schema of draft 7, each class in the document's components."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, cast

import msgspec

__all__ = ["Schemas"]

_COMPONENTS = "#/components/schemas/{name}"
#: Keywords whose members are schemas by names of the user's, and those whose values are no schemas.
_BY_NAME = ("properties", "patternProperties", "definitions")
_VALUES = ("default", "enum", "const", "examples", "discriminator", "required")


class Schemas:
    """Of the types of one document, in their order."""

    def __init__(self, kinds: Sequence[Any]) -> None:
        #: Models of pydantic have names of their own for what they are made of.
        self._models: dict[type, tuple[str, dict[str, Any]]] = {}
        self.components: dict[str, Any] = {}
        described = [kind if self._can(kind) else Any for kind in kinds]
        schemas, components = msgspec.json.schema_components(described, schema_hook=self._own, ref_template=_COMPONENTS)
        for name, schema in (*components.items(), *self._parts()):
            self.components[name] = _draft_7(schema)
        self._schemas: Iterator[dict[str, Any]] = iter([_draft_7(schema) for schema in schemas])

    def next(self) -> dict[str, Any]:
        """That of the next type."""
        return next(self._schemas)

    def _can(self, kind: Any) -> bool:
        """Whether there is a schema: of some results, and of defaults that are no JSON, there is none."""
        try:
            msgspec.json.schema(kind, schema_hook=self._own)
        except Exception:
            return False
        return True

    def _own(self, kind: type) -> dict[str, Any]:
        """Of a type that msgspec does not know; a component where it is a model of pydantic."""
        if isinstance(cast("object", kind), type) and issubclass(kind, PurePath):
            return {"type": "string"}
        if not hasattr(kind, "model_json_schema"):
            return {"title": getattr(kind, "__name__", str(kind))}
        if kind not in self._models:
            plain = re.sub(r"[^a-zA-Z0-9_.]", "_", kind.__name__)
            taken = {name for name, _ in self._models.values()}
            number = 2
            name = f"{plain}-model"  # classes that msgspec knows have no dash in theirs
            while name in taken:
                name, number = f"{plain}-model-{number}", number + 1
            self._models[kind] = name, {}
            template = _COMPONENTS.format(name=f"{name}-{{model}}")
            try:
                schema = cast("Any", kind).model_json_schema(ref_template=template)
            except Exception:  # of fields of types that it does not know
                schema = {"title": kind.__name__}
            self._models[kind] = name, schema
        return {"$ref": _COMPONENTS.format(name=self._models[kind][0])}

    def _parts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, schema in self._models.values():
            yield name, {key: value for key, value in schema.items() if key != "$defs"}
            for part, found in schema.get("$defs", {}).items():
                yield f"{name}-{part}", found


def _draft_7(schema: Any) -> Any:
    """A schema of draft 2020-12, as msgspec and pydantic write it, in draft 7. Two keywords are as wide as decoders."""
    if isinstance(schema, list):
        return [_draft_7(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    given = cast("dict[str, Any]", schema)
    for key, value in given.items():
        if key in _VALUES:
            found[key] = value
        elif key in _BY_NAME:
            found[key] = {name: _draft_7(each) for name, each in value.items()}
        elif key == "items" and "prefixItems" in given:
            found["additionalItems"] = _draft_7(value)
        elif key == "prefixItems":
            found["items"] = _draft_7(value)
        elif key != "uniqueItems":  # a set may be given the same twice
            found[key] = _draft_7(value)
    if found.get("format") == "decimal":
        found["type"] = ["string", "number"]
    return found
