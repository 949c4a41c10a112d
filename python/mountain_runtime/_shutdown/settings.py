"""The settings of a shutdown, and what of them is fixed."""

from dataclasses import dataclass
from math import inf

from ..errors import ConfigError
from ..policy._numbers import Seconds, seconds

__all__ = ["KEPT", "Shutdown"]

#: The share of the deadline that is kept for cancelling and cleanup, however long the drain may be.
KEPT = 0.2
#: Seconds to drain, where no other time is set.
_DRAIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How long a shutdown may take. All of it ends within `deadline`."""

    #: Under the 30 seconds that Kubernetes gives.
    deadline: Seconds = 25
    #: How long work in flight may go on before it is cancelled; at most four fifths of the deadline. More than all of
    #: it is a ConfigError.
    drain: Seconds = _DRAIN
    #: How long to go on taking work after the stop is known, until load balancers have heard of it.
    propagation: Seconds = 0

    def __post_init__(self) -> None:
        for setting in ("deadline", "drain", "propagation"):
            seconds(getattr(self, setting), "Shutdown", setting)
        whole, drain, announced = (
            seconds(each, "Shutdown", "") for each in (self.deadline, self.drain, self.propagation)
        )
        # The default drain, and an endless one, take the time that is left.
        asked = announced + (0.0 if self.drain == _DRAIN or drain == inf else drain)
        if asked > whole:
            raise ConfigError(
                f"{self!r}: propagation and drain take {asked:g} s, which do not fit the deadline of {whole:g} s: a "
                f"fifth is kept for cleanup. Make them {whole * (1 - KEPT):g} s together, or write "
                f"deadline={asked / (1 - KEPT):g}"
            )
