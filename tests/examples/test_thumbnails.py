"""Thumbnails of real files on worker processes and on Ray: what they are, and workers that are killed at work."""

import functools
import os
import random
import re
import runpy
import signal
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.examples.support import (
    THUMBNAILS,
    execute,
    finish,
    interrupt,
    printing,
    start,
    until,
    without_notices,
    workers_of,
    workers_on,
)
from tests.pools.ray.head import Head

pytestmark = pytest.mark.processes

PROGRAM = runpy.run_path(str(THUMBNAILS))
#: Cached, as pictures of several tests are alike.
thumbnail: Callable[[bytes, int], bytes] = functools.cache(PROGRAM["thumbnail"])
AGAIN = "again, as its worker was lost: "
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def ppm(width: int, height: int, pixels: bytes) -> bytes:
    return b"P6\n# made by a test\n%d %d\n255\n" % (width, height) + pixels


def paeth(left: int, above: int, corner: int) -> int:
    by = left + above - corner
    return min((left, above, corner), key=lambda each: abs(by - each))


def png(width: int, height: int, channels: int, pixels: bytes, *, filtered: bool = True) -> bytes:
    """A PNG file whose rows take turns in how they are filtered; by the standard's own formulas."""
    size = width * channels
    lines = bytearray()
    for y in range(height):
        how = y % 5 if filtered else 0
        lines.append(how)
        for x in range(size):
            here = pixels[y * size + x]
            left = pixels[y * size + x - channels] if x >= channels else 0
            above = pixels[(y - 1) * size + x] if y else 0
            corner = pixels[(y - 1) * size + x - channels] if y and x >= channels else 0
            near = (0, left, above, (left + above) // 2, paeth(left, above, corner))[how]
            lines.append((here - near) & 255)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"tEXt", b"Title\0of no importance"),
        (b"IDAT", zlib.compress(lines)[:20]),  # in pieces, as large files are
        (b"IDAT", zlib.compress(lines)[20:]),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def noise(seed: int, width: int, height: int, channels: int = 3) -> bytes:
    return random.Random(seed).randbytes(width * height * channels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_filter_and_kind_of_colour_is_read(channels: int) -> None:
    pixels = noise(channels, 13, 11, channels)
    picture = PROGRAM["decoded"](png(13, 11, channels, pixels))
    assert (picture.width, picture.height, picture.channels) == (13, 11, channels)
    assert b"".join(picture.rows) == pixels
    assert PROGRAM["decoded"](PROGRAM["encoded"](picture)) == picture


def test_a_pixel_is_the_mean_of_those_that_it_stands_for() -> None:
    left, right = bytes((200, 100, 0)), bytes((0, 50, 250))
    made = PROGRAM["decoded"](thumbnail(ppm(4, 2, (left * 2 + right * 2) * 2), 2))
    assert (made.width, made.height, made.rows) == (2, 1, [left + right])
    row = bytes((10, 0, 0)) + bytes((30, 0, 4))
    assert PROGRAM["decoded"](thumbnail(ppm(2, 1, row), 1)).rows == [bytes((20, 0, 2))]
    small = ppm(2, 1, row)
    assert PROGRAM["decoded"](thumbnail(small, 96)) == PROGRAM["decoded"](small), "a small picture stays as it is"
    thin = PROGRAM["decoded"](thumbnail(ppm(500, 1, noise(1, 500, 1)), 96))
    assert (thin.width, thin.height) == (96, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"P6\n2 2\n65535\n",
        ppm(4, 4, b"short"),
        ppm(0, 0, b""),
        SIGNATURE,
        png(9, 9, 3, noise(1, 9, 9))[:60],
        png(9, 9, 3, noise(1, 9, 9)).replace(b"IHDR\0\0\0\x09\0\0\0\x09\x08", b"IHDR\0\0\0\x09\0\0\0\x09\x10"),
        png(9, 8, 3, noise(1, 9, 8)).replace(b"IHDR\0\0\0\x09\0\0\0\x08", b"IHDR\0\0\0\x09\0\0\0\xff"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="P"):
        thumbnail(data, 96)


def test_files_become_thumbnails_and_what_is_none_is_named(tmp_path: Path) -> None:
    pictures, made = tmp_path / "pictures", tmp_path / "made"
    (pictures / "deep").mkdir(parents=True)
    (pictures / "grey.png").write_bytes(png(60, 40, 1, noise(1, 60, 40, 1)))
    (pictures / "deep" / "glass.png").write_bytes(png(40, 60, 4, noise(2, 40, 60, 4)))
    (pictures / "deep" / "photo.ppm").write_bytes(ppm(120, 90, noise(3, 120, 90)))
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "broken.png").write_bytes(SIGNATURE + b"and then nothing")
    command = (THUMBNAILS, pictures, made, "--size", "32", "--check")
    code, output, said = execute("-W", "error", *command)
    assert code == 1
    assert said.startswith(f"{pictures / 'broken.png'}: not a whole PNG file")
    assert output == (
        "4 to make, 0 were there, 1 could not be made\n0 workers lost, 0 pictures made again\n3 checked, 0 differ\n"
    )
    found = {path.relative_to(made) for path in made.rglob("*.png")}
    assert found == {Path("grey.png.png"), Path("deep/glass.png.png"), Path("deep/photo.ppm.png")}
    for path in found:
        picture = (pictures / path).with_suffix("")
        assert (made / path).read_bytes() == thumbnail(picture.read_bytes(), 32)

    (pictures / "broken.png").unlink()
    (made / "grey.png.png").write_bytes(b"another picture")
    code, output, said = execute("-W", "error", *command)
    assert (code, said) == (1, "")
    assert output.startswith("0 to make, 3 were there, 0 could not be made\n")
    assert output.endswith("3 checked, 1 differ\n")


def many(folder: Path, count: int) -> list[Path]:
    """Pictures that take a worker a tenth of a second each, so that it is at work nearly all the time. Each is another
    one than the few before and after it.
    """
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.ppm").write_bytes(ppm(800, 500, noise(number % 8, 800, 500)))
    return sorted(folder.iterdir())


def killed_and_made_again(folder: Path, workers: Callable[[int], Mapping[int, str]], count: int, pause: float) -> None:
    """Kills workers at work until the program says that it makes a picture again.

    `workers` finds those of a program, and `pause` is how many seconds may go by until the program knows of a kill.
    """
    pictures, made = many(folder / "pictures", count), folder / "made"
    program = start("-W", "error", THUMBNAILS, folder / "pictures", made)
    killed: set[int] = set()
    last = 0.0

    def kill_one_at_work() -> bool:
        """A worker that computes has a picture, but for the moments in which it takes or gives one."""
        nonlocal last
        if without_notices(printed):
            return True
        at_work = [pid for pid, state in workers(program.pid).items() if state == "R" and pid not in killed]
        if at_work and len(killed) * 8 < len(list(made.glob("*.png"))) and time.monotonic() - last > pause:
            oldest = min(at_work)  # and none that is only about to start
            os.kill(oldest, signal.SIGKILL)
            killed.add(oldest)
            last = time.monotonic()
        return False

    with printing(program) as printed:
        until(kill_one_at_work, program)
    code, _, said = finish(program)
    assert code == 0, said
    lines = without_notices(printed)
    again = {line.rpartition(": ")[2] for line in lines if line.startswith(AGAIN)}
    assert again
    assert again <= {f"{path}\n" for path in pictures}
    assert lines[-2:] == [
        f"{count} to make, 0 were there, 0 could not be made\n",
        f"{len(killed)} workers lost, {len(again)} pictures made again\n",
    ]
    for path in pictures:
        assert (made / f"{path.name}.png").read_bytes() == thumbnail(path.read_bytes(), 96)
    lost: list[str] = re.findall(r"(worker \d+|a new worker) of pool 'thumbnails' is lost", said)
    assert len(lost) == len(killed)
    assert set(lost) <= {*(f"worker {pid}" for pid in killed), "a new worker"}, (
        "one that is about to start has no pid yet"
    )


def test_a_killed_workers_picture_is_made_again_and_is_the_same(tmp_path: Path) -> None:
    killed_and_made_again(tmp_path, workers_of, 24, 0)


@pytest.mark.ray
def test_on_a_cluster_too(tmp_path: Path, cluster: Head) -> None:
    killed_and_made_again(tmp_path, lambda _: workers_on(cluster.folder), 32, 1)
    code, output, _ = execute("-W", "error", THUMBNAILS, tmp_path / "pictures", tmp_path / "made", "--check")
    assert (code, output.splitlines()[-1]) == (0, "32 checked, 0 differ")


def test_ctrl_c_keeps_whole_thumbnails_and_the_next_run_goes_on(tmp_path: Path) -> None:
    pictures, made = many(tmp_path / "pictures", 24), tmp_path / "made"
    program = start("-W", "error", THUMBNAILS, tmp_path / "pictures", made)
    code, _, said = interrupt(program, lambda: len(list(made.glob("*.png"))) >= 2)
    assert code == 130, said
    assert "stopped: the same command goes on\n" in said
    assert "Traceback" not in said
    kept = list(made.iterdir())
    assert 2 <= len(kept) < 24
    code, output, said = execute("-W", "error", THUMBNAILS, tmp_path / "pictures", made, "--check")
    assert (code, said) == (0, "")
    assert output.startswith(f"{24 - len(kept)} to make, {len(kept)} were there, 0 could not be made\n")
    assert output.endswith("24 checked, 0 differ\n")
    assert len(list(made.iterdir())) == len(pictures)
