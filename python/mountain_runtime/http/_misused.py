"""Errors for what is written in the habit of another client; each says what to write here."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn, Self, cast

from .._effect.habits import no_argument, no_module_name
from ..errors import ConfigError
from ..policy._given import shown
from ._packing import is_pair, unfit

__all__ = ["BodyOnly", "ClientOnly", "checked", "foreign", "missing", "redirects_of", "spoken"]

_METHODS = ("put", "patch", "delete", "head", "options")

#: Arguments of httpx, requests and aiohttp, and what to write in their place.
_ARGUMENTS = {
    "base_url": "write http.Client('https://...')",
    "timeout": "write request.under(Timeout(seconds)), and around a block `async with asyncio.timeout(seconds):`",
    "auth": "write headers={'Authorization': ...}; a proxy has its own in its address",
    "cookies": "http.Client(cookies=True) keeps those of answers; one of your own is headers={'Cookie': 'name=value'}",
    "content": "write data=",
    "json": "a GET has no body: write client.request('GET', url, json=...) where the server takes one",
    "data": "a GET has no body: write client.request('GET', url, data=...) where the server takes one",
    "params": "write client.request(method, url, params=...), or put them into the address",
    "verify": "certificates are always looked at: ca= is a file of the authorities to trust",
    "ssl": "certificates are always looked at: ca= is a file of the authorities to trust",
    "follow_redirects": "they are followed: http.Client(redirects=0) follows none",
    "allow_redirects": "they are followed: http.Client(redirects=0) follows none",
    "max_redirects": "write http.Client(redirects=)",
    "limits": "write http.Client(connections=, per_host=)",
    "connector": "write http.Client(connections=, per_host=)",
    "trust_env": "http.Client(proxy='') uses no proxy, whatever the environment says",
    "proxies": "write http.Client(proxy='http://proxy:3128')",
    "transport": "in tests, testing.http(answer) takes the place of the network",
    "raise_for_status": "a status of 400 or above raises: check=False leaves it out",
    "stream": "write `async with client.open(method, url) as body:`",
}

#: Names in their modules, and what to write in their place.
_NAMES = {
    **dict.fromkeys(("AsyncClient", "ClientSession", "Session"), "write http.Client()"),
    **dict.fromkeys(("get", "post", "request", *_METHODS), "write http.Client().request(method, url)"),
    **dict.fromkeys(("Timeout", "ClientTimeout"), "write mountain_runtime.Timeout(seconds), around a request"),
    **dict.fromkeys(("HTTPStatusError", "ClientResponseError"), "write http.StatusError"),
    **dict.fromkeys(
        ("HTTPError", "RequestError", "RequestException", "ClientError"),
        "write (OSError, http.StatusError, http.ProtocolError)",
    ),
}


class ClientOnly:
    """A client that says so where one of another library is meant."""

    __slots__ = ()

    if not TYPE_CHECKING:  # type checkers say by themselves that there is no such attribute

        def __new__(cls, *_: object, **given: object) -> Self:
            if unknown := next((name for name in given if name in _ARGUMENTS and name != "cookies"), None):
                raise foreign("http.Client", (unknown,))
            return super().__new__(cls)

        def __enter__(self) -> NoReturn:
            raise TypeError("http.Client is an asynchronous block: write `async with http.Client() as client:`")

        def __exit__(self, *_: object) -> None: ...

        def __getattr__(self, name: str) -> NoReturn:
            way = ""
            if name in _METHODS:
                way = f": write client.request({name.upper()!r}, url)"
            elif name == "stream":
                way = ": write `async with client.open(method, url) as body:`"
            elif name in ("close", "aclose"):
                way = ": its connections close with its block, `async with http.Client() as client:`"
            raise AttributeError(f"'Client' object has no attribute {name!r}{way}", name=name, obj=self)


class BodyOnly:
    """A body that is read piece by piece, where the whole one is meant."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError("a body comes piece by piece: write `async for piece in body:`")

        def __getattr__(self, name: str) -> NoReturn:
            way = ""
            if name in ("read", "content", "text", "json"):
                way = ": write `async for piece in body:`, or `await client.get(url)` for a whole answer"
            raise AttributeError(f"'Body' object has no attribute {name!r}{way}", name=name, obj=self)


def foreign(call: str, given: Iterable[str]) -> TypeError:
    """The error of an argument that there is not."""
    return no_argument(call, given, _ARGUMENTS)


def missing(name: str) -> AttributeError:
    """The error of a name that the module has not."""
    return no_module_name("mountain_runtime.http", name, _NAMES)


def spoken(method: str) -> str:
    """The method as servers know it: they tell GET from get, and other clients send capitals."""
    if isinstance(cast("object", method), str) and method.isalpha():
        return method.upper()
    return method


def checked(base: object, headers: object, proxy: object, cert: object, **switches: object) -> None:
    """Raises ConfigError for a setting that is of another type."""
    if not isinstance(base, str):
        raise _unfit("base", base, "a text that begins with http://, https:// or unix:")
    if base and not base.startswith(("http://", "https://", "unix:")) and "://" not in base:
        such = "" if base.startswith("/") else f", such as {'https://' + base!r}"
        raise _unfit("base", base, f"a text that begins with http://, https:// or unix:{such}")
    if "?" in base or "#" in base:
        raise _unfit("base", base, "an address that paths can follow, without ? and #: write params= with each request")
    if headers and (error := unfit(headers)):
        raise ConfigError(f"http.Client: {error}")
    if proxy is not None and not isinstance(proxy, str):
        kind = type(proxy).__name__  # its value may have a secret
        raise ConfigError(f'http.Client(proxy=): must be a text such as "http://proxy:3128", not {kind}')
    if cert is not None and not is_pair(cert):
        raise _unfit("cert", cert, "two files, (certificate, key); the same one twice where it has both")
    for name, given in switches.items():
        if not isinstance(given, bool):
            way = ": a cookie of your own is headers={'Cookie': 'name=value'}" if name == "cookies" else ""
            raise _unfit(name, given, f"True or False{way}")


def redirects_of(given: int) -> int:
    """So many are followed at most."""
    number = cast("object", given)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        way = ": they are followed without it, and 0 follows none" if isinstance(number, bool) else ""
        way = ": convert a text by int()" if isinstance(number, str) else way
        raise _unfit("redirects", number, f"a whole number, 0 or more{way}")
    return number


def _unfit(setting: str, given: object, what: str) -> ConfigError:
    return ConfigError(f"http.Client({setting}={shown(given)}): must be {what}")
