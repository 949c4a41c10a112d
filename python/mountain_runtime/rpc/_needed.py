"""Whether msgspec is installed, which the package needs."""

from importlib.util import find_spec

__all__ = ["missing", "there"]

there = find_spec("msgspec") is not None


def missing(name: str) -> ImportError:
    """The error of a public name where it is not."""
    return ImportError(f"mountain_runtime.rpc.{name} needs msgspec: pip install 'mountain-runtime[rpc]'")
