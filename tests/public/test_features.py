"""Providers are loaded when they are named, and a build can do without them."""

import subprocess
import sys

import pytest

import mountain_runtime
from mountain_runtime import _native

FEATURES = ("http", "search", "terminal", "watch")
LATER = ("http", "rpc", "search")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.processes
def test_a_provider_is_loaded_when_it_is_named() -> None:
    code = "import sys, mountain_runtime as mr\nprint(*('mountain_runtime.' + name in sys.modules for name in {names}))"
    code += "\nassert all(name in dir(mr) for name in {names}); mr.http.Client, mr.rpc.Router, mr.search.lines"
    code += "\nfrom mountain_runtime import *\nhttp.Client, rpc.Router, search.lines"
    assert run(code.format(names=LATER)).split() == ["False"] * len(LATER)


@pytest.mark.processes
def test_what_an_extra_brings_is_missed_when_it_is_used() -> None:
    code = "import sys; sys.modules['msgspec'] = None\nfrom mountain_runtime import *\ntry: rpc.Router\n"
    code += "except ImportError as error: print(error)\nprint(hasattr(rpc, 'nope'))"
    said = "mountain_runtime.rpc.Router needs msgspec: pip install 'mountain-runtime[rpc]'"
    assert run(code).splitlines() == [said, "False"]


def test_other_names_are_still_unknown() -> None:
    with pytest.raises(AttributeError, match="'mountain_runtime' has no attribute 'nope'"):
        mountain_runtime.nope  # type: ignore[attr-defined]  # noqa: B018


def test_this_build_has_all_providers() -> None:
    """`scripts/without` makes one that has none, and names each."""
    for feature in FEATURES:
        _native.needs(feature)
    with pytest.raises(ImportError, match="has no carrier pigeons: it was made with --no-default-features"):
        _native.needs("carrier pigeons")
