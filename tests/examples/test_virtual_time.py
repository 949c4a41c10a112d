"""A user's own tests in virtual time pass as they are written, by nothing but the installed plugin."""

import re
import shutil
from pathlib import Path

import pytest

from tests.examples.support import PROGRAMS, execute

pytestmark = pytest.mark.processes


def test_waits_of_half_a_minute_take_no_time(tmp_path: Path) -> None:
    shutil.copy(PROGRAMS / "virtual_time.py", tmp_path / "test_virtual_time.py")
    code, output, said = execute("-m", "pytest", "-q", "-o", "asyncio_mode=auto", tmp_path, cwd=tmp_path)
    assert code == 0, output + said
    found = re.search(r"^3 passed in ([\d.]+)s$", output, re.MULTILINE)
    assert found, output
    assert float(found[1]) < 15  # half of one wait
