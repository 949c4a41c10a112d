"""Builds the Rust peer for the Python that runs this script and the local server, where the suites look for them."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "target"
#: One folder a Python version: an extension module fits only the one that it was built for.
PLACE = TARGET / "bench-peers" / str(sys.implementation.cache_tag)


def build() -> Path:
    """Compiles the crate in the main target folder; cargo does nothing when nothing has changed."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "PYO3_PYTHON": sys.executable}
    if sys.platform == "darwin":  # the interpreter's symbols are there only once it has loaded the module
        environment["RUSTFLAGS"] = "-C link-arg=-undefined -C link-arg=dynamic_lookup"
    manifest = HERE / "Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "--manifest-path", manifest], env=environment, check=True)
    library = "libmountain_bench_peers" + (".dylib" if sys.platform == "darwin" else ".so")
    module = PLACE / f"mountain_bench_peers{sysconfig.get_config_var('EXT_SUFFIX')}"
    PLACE.mkdir(parents=True, exist_ok=True)
    _put(library, module)
    _put("local_server", PLACE / "local_server")
    return module


def _put(made: str, place: Path) -> None:
    """A copy under a new name, then a rename: a process that has the old one mapped keeps it."""
    fresh = place.with_suffix(".new")
    shutil.copy2(TARGET / "release" / made, fresh)
    fresh.replace(place)


if __name__ == "__main__":
    print(f"built {build()}")
