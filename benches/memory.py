"""The memory that this process holds."""

import os
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
