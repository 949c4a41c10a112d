"""First of the package: a build without searches says so."""

from .. import _native

__all__: list[str] = []

_native.needs("search")
