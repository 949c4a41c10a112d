"""The types of functions that are asked about a call: `key=` and `cost=`."""

from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

__all__ = ["CostFunction", "KeyFunction"]

P = ParamSpec("P")
R = TypeVar("R")

# A lambda takes its parameters' types from a Callable with as many. From `Callable[..., R]` it has none, which strict
# checkers refuse; a free ParamSpec is what every other function matches.
_Asked = (
    Callable[[Any], R]
    | Callable[[Any, Any], R]
    | Callable[[Any, Any, Any], R]
    | Callable[[Any, Any, Any, Any], R]
    | Callable[P, R]
)

KeyFunction = _Asked[Hashable, P]
CostFunction = _Asked[float, P]
