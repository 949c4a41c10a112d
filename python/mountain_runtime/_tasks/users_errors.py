"""The user's exceptions, read and annotated whatever their code does: frozen ones take no attributes, others cannot be
shown. For the same reason blocks are classes here: `contextlib.contextmanager` sets attributes of what passes.
"""

from contextlib import suppress

__all__ = ["note", "notes", "said", "written"]


def note(error: BaseException, text: str) -> None:
    """Adds a note, if the exception takes one."""
    with suppress(Exception):
        error.add_note(text)


def notes(error: BaseException | None) -> list[str]:
    """Its notes, as texts."""
    try:
        return [str(each) for each in getattr(error, "__notes__", ())]
    except Exception:
        return []


def said(error: object) -> str:
    """`str(error)`."""
    try:
        return str(error)
    except Exception:
        return _mute(error)


def written(error: object) -> str:
    """`repr(error)`."""
    try:
        return repr(error)
    except Exception:
        return _mute(error)


def _mute(error: object) -> str:
    return f"<{type(error).__name__} cannot be shown>"
