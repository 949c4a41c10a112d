"""First of the package: a build without HTTP says so."""

from .. import _native

__all__: list[str] = []

_native.needs("http")
