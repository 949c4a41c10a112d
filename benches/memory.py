"""The memory that this process holds, and that another one does."""

import os
import re
import resource
import subprocess
from pathlib import Path

PAGE = resource.getpagesize()

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """The bytes of memory that are resident at this moment."""
    if _STATM.exists():
        return int(_STATM.read_bytes().split()[1]) * PAGE
    asked = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True, text=True)
    return int(asked.stdout) * 1024


def resident_of(process: int) -> int:
    """The bytes of memory of that process that are resident at this moment."""
    return _status(process, "VmRSS")


def peak_of(process: int) -> int:
    """The most that it has had."""
    return _status(process, "VmHWM")


def _status(process: int, line: str) -> int:
    found = re.search(rf"^{line}:\s*(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
