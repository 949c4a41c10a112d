"""Pipeline: policies that belong together, under one name."""

from typing import Any, cast, final

from ..errors import ConfigError
from ._base import D_co, Policy, flatten
from ._describe import describe

__all__ = ["Pipeline"]


@final
class Pipeline(Policy[D_co]):
    """Policies as one policy, outermost first."""

    __slots__ = ("_members", "_name")

    def __init__(self, *policies: Policy[D_co], name: str) -> None:
        given = cast("object", name)
        if not isinstance(given, str) or not given:
            raise ConfigError(f"Pipeline(name={name!r}): must be a name")
        self._name = name
        self._members = policies
        flatten(policies, name)  # a stack that cannot work is refused here, where it is written

    def __repr__(self) -> str:
        return f"Pipeline({', '.join([*map(repr, self._members), f'name={self._name!r}'])})"

    def describe(self) -> str:
        """Its description as text: its policies, outermost first; the longest that a call may take; and warnings.

        The longest time follows from the policies alone: attempts that each last as long as they may, and the whole of
        every wait, whatever jitter would leave of it. A warning is about an order that works, but not as its author
        will have meant it; it says why, and what to write instead.
        """
        return describe(self._name, [policy._part() for policy in self._flat()])

    def _flat(self) -> tuple[Policy[Any], ...]:
        return tuple(single for policy in self._members for single in policy._flat())
