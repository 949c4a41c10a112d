"""Addresses, headers and bodies as they go out; what is none of these is refused by its name."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from ..policy._given import shown

__all__ = ["MISSING", "Files", "GivenHeaders", "is_pair", "own", "packed", "pairs", "refused", "unfit", "with_params"]

Pairs = list[tuple[str, str]]
GivenHeaders = Mapping[str, str] | Sequence[tuple[str, str]]
#: By the names of the fields: the name of a file, its content, and its type.
Files = Mapping[str, tuple[str, bytes] | tuple[str, bytes, str]]

#: No value at all, where None is one.
MISSING: Final[Any] = object()


def own(headers: GivenHeaders) -> Pairs:
    """The headers as pairs."""
    return list(headers.items() if isinstance(headers, Mapping) else headers or ())


def pairs(headers: GivenHeaders) -> Pairs | None:
    """The headers of one request."""
    return own(headers) if headers else None


def refused(error: TypeError, url: object, headers: object, method: object = "GET") -> TypeError:
    """The error of a request that could not be made of these: `error`, or one that names the argument."""
    for name, given in (("method", method), ("url", url)):
        if not isinstance(given, str):
            return TypeError(f"a request takes {name} as a str, not {shown(given)}")
    return unfit(headers) or error


def unfit(headers: object) -> TypeError | None:
    """The error of headers that are none. It shows no value: some are secret."""
    if not isinstance(headers, (Mapping, list, tuple)):
        return TypeError(f"headers= takes a mapping of str to str, not {_kind(headers)}")
    given = cast("Mapping[object, object] | Sequence[object]", headers)
    for pair in given.items() if isinstance(given, Mapping) else given:
        if not is_pair(pair):
            return TypeError(f"headers= takes a mapping, or pairs of a name and a value, not {_kind(pair)}")
        name, value = cast("Sequence[object]", pair)
        if not isinstance(name, str) or not isinstance(value, str):
            way = ": leave it out" if value is None else ": decode it" if isinstance(value, bytes) else ": write str()"
            return TypeError(f"headers= takes texts, and {name!r} has {_kind(value)}{way}")
    return None


def is_pair(given: object) -> bool:
    return isinstance(given, (tuple, list)) and len(cast("Sequence[object]", given)) == 2


def with_params(url: str, params: Mapping[str, Any]) -> str:
    """The address with more parameters."""
    from urllib.parse import urlencode

    if not isinstance(cast("object", params), Mapping):
        raise TypeError(f"params= takes a mapping, not {shown(params)}")
    text = urlencode(_flat(params, "params= has texts, or lists of them", "write a name for each of its values"))
    whole, mark, fragment = url.partition("#")
    return f"{whole}{'&' if '?' in whole else '?'}{text}{mark}{fragment}" if text else url


def packed(
    headers: GivenHeaders, json: Any, data: bytes | Mapping[str, str] | None, files: Files | None
) -> tuple[Pairs | None, bytes | None]:
    """The headers with the body's type, where the caller has not given one, and the body."""
    if json is not MISSING:
        if data is not None or files is not None:
            raise TypeError("a request has json= or data=, not both")
        from json import dumps

        text = dumps(json, separators=(",", ":"), allow_nan=False)
        return _typed(headers, "application/json"), text.encode()
    if files is not None:
        if data is not None and not isinstance(data, Mapping):
            raise TypeError("data= beside files= is a mapping: the other fields of the form")
        boundary = os.urandom(16).hex()
        body = b"".join(_parts(_flat(data or {}), _whole(files), boundary))
        return _typed(headers, f"multipart/form-data; boundary={boundary}"), body
    if isinstance(data, Mapping):
        from urllib.parse import urlencode

        return _typed(headers, "application/x-www-form-urlencoded"), urlencode(_flat(data)).encode()
    if data is not None and not isinstance(cast("object", data), (bytes, bytearray, memoryview)):
        raise TypeError(f"data= takes bytes or a mapping, not {_kind(data)}{_way(data)}")
    return pairs(headers), data


def _flat(
    fields: Mapping[str, Any], what: str = "data= is a form, whose fields are texts", way: str = "write json="
) -> list[tuple[str, Any]]:
    """A name and a value for each field: None is left out, a list is one for each. A mapping would lose its values."""
    flat: list[tuple[str, Any]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            raise TypeError(f"{what}, and {name!r} is a mapping: {way}")
        many = isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray, memoryview))
        values = cast("Collection[Any]", value if many else (value,))
        flat += [(name, each) for each in values if each is not None]
    return flat


def _whole(files: Files) -> Files:
    if not isinstance(cast("object", files), Mapping):
        raise TypeError(f"files= takes a mapping of fields to files, not {_kind(files)}")
    for field, given in files.items():
        parts = cast("tuple[object, ...]", given)
        if not isinstance(cast("object", given), tuple) or len(parts) not in (2, 3) or not isinstance(parts[0], str):
            raise TypeError(
                f"files[{field!r}] is a tuple, (name, content) or (name, content, type), not {_kind(given)}"
            )
        if not isinstance(parts[1], (bytes, bytearray, memoryview)):
            raise TypeError(f"files[{field!r}] has its content as bytes, not {_kind(parts[1])}{_way(parts[1])}")
    return files


def _kind(given: object) -> str:
    return type(given).__name__


def _way(given: object) -> str:
    """The end of the message: what to write in the place of `given`."""
    if isinstance(given, str):
        return ": write text.encode()"
    if hasattr(given, "read"):
        return ": read it first, as by `await fs.read_bytes(path)`"
    return ": write json= for an object" if isinstance(given, (list, int, float)) else ""


def _parts(fields: Iterable[tuple[str, Any]], files: Files, boundary: str) -> Iterable[bytes]:
    """A form of parts (RFC 7578), as browsers write it."""
    for name, value in fields:
        yield f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'.encode()
        yield value if isinstance(value, bytes) else str(value).encode()
        yield b"\r\n"
    for name, (file, content, *kind) in files.items():
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"; filename="{_quoted(file)}"\r\n'
        said = _quoted(kind[0]) if kind else "application/octet-stream"
        yield f"--{boundary}\r\n{head}Content-Type: {said}\r\n\r\n".encode()
        yield content
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _quoted(text: str) -> str:
    """No name ends its line or its quotes."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def _typed(headers: GivenHeaders, kind: str) -> Pairs:
    given = pairs(headers) or []
    if any(name.lower() == "content-type" for name, _ in given):
        return given
    return [*given, ("content-type", kind)]
