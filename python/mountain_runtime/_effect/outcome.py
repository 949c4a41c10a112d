"""The result of `attempt`: `Ok` with the value, or `Err` with the error, to be told apart by `match`."""

from dataclasses import dataclass
from typing import Generic, TypeVar, final

__all__ = ["Err", "Ok"]

T_co = TypeVar("T_co", covariant=True)
X_co = TypeVar("X_co", bound=Exception, covariant=True)


@final
@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """It went well."""

    value: T_co


@final
@dataclass(frozen=True, slots=True)
class Err(Generic[X_co]):
    """It failed with one of the errors that were asked for."""

    error: X_co
