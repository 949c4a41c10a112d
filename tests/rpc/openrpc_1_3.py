"""OpenRPC 1.3 as a JSON Schema, after the text of its specification: the objects that a router describes itself by.

It is closed: what a router does not write, such as links, tags and servers, is refused.
"""

from typing import Any

SCHEMA = "http://json-schema.org/draft-07/schema#"


def _object(needed: dict[str, Any], /, **optional: Any) -> dict[str, Any]:
    """An object of these members. Others are extensions, and begin with `x-`."""
    return {
        "type": "object",
        "required": list(needed),
        "properties": needed | optional,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


_TEXT, _NAME = {"type": "string"}, {"type": "string", "minLength": 1}
_CONTENT = _object({"name": _NAME, "schema": {"$ref": SCHEMA}}, required={"type": "boolean"}, description=_TEXT)
_ERROR = {**_object({"code": {"type": "integer"}, "message": _TEXT}, data={}), "patternProperties": {}}
_METHOD = _object(
    {"name": _NAME, "params": {"type": "array", "items": _CONTENT}, "result": _CONTENT},
    summary=_TEXT,
    description=_TEXT,
    paramStructure={"enum": ["by-name", "by-position", "either"]},
    errors={"type": "array", "items": _ERROR},
)
_SCHEMAS = {
    "type": "object",
    "propertyNames": {"pattern": r"^[a-zA-Z0-9._-]+$"},
    "additionalProperties": {"$ref": SCHEMA},
}

DOCUMENT = _object(
    {
        "openrpc": {"type": "string", "pattern": r"^1\.3\.[0-9]+$"},
        "info": _object({"title": _TEXT, "version": _TEXT}),
        "methods": {"type": "array", "items": _METHOD},
    },
    components=_object({}, schemas=_SCHEMAS),
)
