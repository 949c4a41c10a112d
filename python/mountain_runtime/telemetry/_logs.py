"""The package's loggers, one an area, below `mountain_runtime`.

Records carry `effect`, `attempt` and `trace_id`, None where there is none.
"""

import asyncio
import logging
import sys
from typing import Any

__all__ = ["hears_policy", "logger", "native", "slow"]


class _Fields(logging.Filter):
    """Every record has the fields that a formatter may name."""

    def filter(self, record: logging.LogRecord) -> bool:
        for field in ("effect", "attempt"):
            if not hasattr(record, field):
                setattr(record, field, None)
        if not hasattr(record, "trace_id"):
            record.trace_id = trace_id()
        return True


_fields = _Fields()


def logger(area: str) -> logging.Logger:
    """The logger of an area: `mountain_runtime.service`."""
    found = logging.getLogger(f"mountain_runtime.{area}")
    found.addFilter(_fields)  # once: a logger has each filter once
    return found


def trace_id() -> str | None:
    """The current trace, as 32 hexadecimal digits, where the application traces."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def native(area: str, level: int, message: str, effect: str | None, attempt: int | None, current: bool = False) -> None:
    """Logs a message of the native side: of the code that runs now, or of work elsewhere, a moment later."""
    extra: dict[str, object] = {"effect": effect, "attempt": attempt}
    if not current:  # the context here is that of the loop's reader
        extra["trace_id"] = None
    logger(area).log(level, "%s", message, extra=extra)


#: Asked before a record of a retry is made.
hears_policy = logger("policy").isEnabledFor


_effect = logger("effect")


def slow(effect: str, attempt: int, seconds: float) -> None:
    """A step of an effect's code took so long: a warning, if it is more than its loop calls slow."""
    try:
        most: float = getattr(asyncio.get_running_loop(), "slow_callback_duration", 0.1)
    except RuntimeError:  # no loop runs here, so none was held up
        return
    if seconds >= most:
        _effect.warning(
            "effect '%s' held its event loop for %.3f s: await what takes long, or make it @blocking",
            effect,
            seconds,
            extra={"effect": effect, "attempt": attempt},
        )
