"""Runs the tests on every CPython from 3.11 up that this machine has: `nox`, or `nox -s tests-3.12` for one."""

import os
import shutil
import subprocess
from pathlib import Path

import nox

WANTED = ["3.11", "3.12", "3.13", "3.14", "3.14t"]
RUSTFLAGS = "--cfg pyo3_disable_reference_pool"  # as in the Makefile


def is_python(executable: Path, version: str) -> bool:
    """Whether it starts (pyenv leaves shims that do not) and is the CPython that its name promises."""
    code = "import sys, sysconfig as s; print(*sys.version_info[:2], s.get_config_var('Py_GIL_DISABLED') or 0)"
    answer = subprocess.run([executable, "-c", code], capture_output=True, text=True, check=False)
    major_minor, free_threaded = version.rstrip("t").replace(".", " "), int(version.endswith("t"))
    return answer.returncode == 0 and answer.stdout.strip() == f"{major_minor} {free_threaded}"


def find(version: str) -> Path | None:
    """Where that Python is: on the PATH, or among pyenv's."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [*map(Path, os.get_exec_path()), *sorted(pyenv.glob(f"{version.rstrip('t')}.*/bin"), reverse=True)]
    return next((f / name for f in folders if (f / name).exists() and is_python(f / name, version)), None)


FOUND = {version: python for version in WANTED if (python := find(version))}
# nox looks an interpreter up by its name: put those that were found before any shim.
os.environ["PATH"] = os.pathsep.join([*(str(python.parent) for python in FOUND.values()), os.environ["PATH"]])

nox.needs_version = ">=2025"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "venv" if shutil.which("uv") is None else "uv|venv"
nox.options.error_on_missing_interpreters = True  # those that are missing are not in FOUND


@nox.session(python=list(FOUND))
def tests(session: nox.Session) -> None:
    """Builds a wheel for this Python, checks it, installs it, and runs the tests against what is installed."""
    session.install("-r", "requirements/build.txt", "-r", "requirements/test.txt")
    # Not `create_tmp`: it moves TMPDIR into the project, whose settings pytest would find from a test's own folder.
    wheels = Path(session.virtualenv.location) / "wheels"
    for old in wheels.glob("*.whl"):
        old.unlink()
    # A target folder of its own: a build for another Python would make cargo build the bridge in target/ anew.
    environment = {"RUSTFLAGS": RUSTFLAGS, "CARGO_TARGET_DIR": "target/nox"}
    build = ["maturin", "build", "--quiet", "--profile", "light", "--interpreter", "python", "--out", str(wheels)]
    session.run(*build, env=environment)
    built = [str(wheel) for wheel in wheels.glob("*.whl")]
    session.run("python", "scripts/check-wheel", *built)
    session.install("--force-reinstall", "--no-deps", *built)
    session.run("python", "scripts/suite", *session.posargs)
