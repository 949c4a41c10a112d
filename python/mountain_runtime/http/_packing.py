"""Addresses, headers and bodies as they go out."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

__all__ = ["MISSING", "Files", "GivenHeaders", "own", "packed", "pairs", "with_params"]

Pairs = list[tuple[str, str]]
GivenHeaders = Mapping[str, str] | Sequence[tuple[str, str]]
#: By the names of the fields: the name of a file, its content, and its type.
Files = Mapping[str, tuple[str, bytes] | tuple[str, bytes, str]]

#: No value at all, where None is one.
MISSING: Final[Any] = object()


def own(headers: GivenHeaders) -> Pairs:
    """The headers as pairs."""
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def pairs(headers: GivenHeaders) -> Pairs | None:
    """The headers of one request."""
    return own(headers) if headers else None


def with_params(url: str, params: Mapping[str, Any]) -> str:
    """The address with more parameters: None is left out, a list is one for each."""
    from urllib.parse import urlencode

    text = urlencode({name: value for name, value in params.items() if value is not None}, doseq=True)
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

        return _typed(headers, "application/json"), dumps(json, separators=(",", ":")).encode()
    if files is not None:
        if isinstance(data, bytes):
            raise TypeError("data= beside files= is a mapping: the other fields of the form")
        boundary = os.urandom(16).hex()
        body = b"".join(_parts(data or {}, files, boundary))
        return _typed(headers, f"multipart/form-data; boundary={boundary}"), body
    if isinstance(data, Mapping):
        from urllib.parse import urlencode

        return _typed(headers, "application/x-www-form-urlencoded"), urlencode(data, doseq=True).encode()
    if isinstance(cast("object", data), str):
        raise TypeError("data= takes bytes or a mapping, not str: write data=text.encode()")
    return pairs(headers), data


def _parts(fields: Mapping[str, str], files: Files, boundary: str) -> Iterable[bytes]:
    """A form of parts (RFC 7578), as browsers write it."""
    for name, text in fields.items():
        yield f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{text}\r\n'.encode()
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
