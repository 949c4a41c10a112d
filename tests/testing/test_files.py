"""A tree of files for a test."""

from pathlib import Path

import pytest

from mountain_runtime import Retry, constant, errors, fs, search
from mountain_runtime.testing import VirtualClock, chaos, files


async def test_a_tree_is_there_for_the_block(virtual_clock: VirtualClock) -> None:
    faults = chaos(fail=1.0, error=OSError)
    with files({"a/b.txt": "needle é\n", "c": b"\xff", "empty": None}) as folder:
        assert await fs.read_text(folder / "a/b.txt") == "needle é\n"
        assert await fs.read_bytes(folder / "c") == b"\xff"
        assert (await fs.stat(folder / "empty")).is_dir
        async with search.lines("needle", folder) as matches:
            assert [match.line async for match in matches] == [1]
        with faults.on(), pytest.raises(OSError):
            await fs.read_bytes(folder / "c").under(Retry(on=OSError, attempts=3, backoff=constant(60)), faults)
    assert virtual_clock.time() == pytest.approx(120, abs=1)
    assert not Path(folder).exists()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", "."])
def test_a_path_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(errors.ConfigError, match="below the folder"), files({name: "x"}):
        pass
