"""Reads numbers of settings: seconds as a number or a timedelta. One that cannot work is a ConfigError."""

import math
from datetime import timedelta
from typing import SupportsFloat, SupportsIndex, cast

from ..errors import ConfigError
from ._given import shown

__all__ = ["Seconds", "count", "number", "part", "seconds", "written"]

Seconds = float | timedelta


def seconds(value: Seconds, owner: str, setting: str) -> float:
    """Seconds as a float. Infinite or huge means no limit, 0 at once."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return number(value, owner, setting, least=0, what="seconds, as a number or a timedelta")


def number(value: float, owner: str, setting: str, *, least: float, what: str = "a number") -> float:
    """A number that is not NaN and not below `least`; `owner` and `setting` say where it is written."""
    try:
        found = math.nan if isinstance(value, (bool, str, bytes)) else float(_supported(value))
    except OverflowError:
        found = math.inf if value > 0 else -math.inf  # an int beyond what a float holds
    except (TypeError, ValueError):
        found = math.nan
    if not found >= least:  # NaN is not
        raise ConfigError(f"{owner}({setting}={shown(value)}): must be {what}, {least:g} or more{_way(value, 'float')}")
    return found + 0.0  # -0.0 becomes 0.0


def part(value: float, owner: str, setting: str, *, zero: bool = True, one: bool = True, other: str = "") -> float:
    """A part of all calls, from 0 to 1, with or without these; `other` is what else the setting takes."""
    try:
        found = number(value, owner, setting, least=0)
    except ConfigError:
        found = math.nan
    if (0 < found < 1) or (found == 0 and zero) or (found == 1 and one):
        return found
    least = "from 0" if zero else "more than 0"
    most = f"{'to' if zero else 'and at most'} 1" if one else "and less than 1"
    way = f": {found:.12g} % is {setting}={found / 100:.12g}" if 1 < found <= 100 else _way(value, "float")
    raise ConfigError(f"{owner}({setting}={shown(value)}): must be a part of the calls, {least} {most}{other}{way}")


def _supported(value: object) -> SupportsFloat | SupportsIndex:
    if isinstance(value, (SupportsFloat, SupportsIndex)):
        return value
    raise TypeError


def count(value: int, owner: str, setting: str, least: int = 1) -> int:
    """A whole number, of at least 1 in most places."""
    given = cast("object", value)
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        wanted = f"a whole number, {least} or more"
        raise ConfigError(f"{owner}({setting}={shown(given)}): must be {wanted}{_way(given, 'int')}")
    return value


def _way(given: object, reader: str) -> str:
    return f": convert a text by {reader}()" if isinstance(given, (str, bytes)) else ""


def written(value: Seconds) -> str:
    """Seconds as one would write them."""
    try:
        return f"{value.total_seconds() if isinstance(value, timedelta) else value:.12g}"
    except (OverflowError, ValueError, TypeError):
        return repr(value)
