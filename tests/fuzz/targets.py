"""The targets by their names: the check, and inputs to begin with."""

from collections.abc import Callable

from tests.fuzz import framing, session

TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "framing": (framing.check, framing.SEEDS),
    "session": (session.check, session.SEEDS),
}
