"""Makes small copies of pictures on all cores: `python examples/thumbnails/main.py PICTURES THUMBNAILS [--size 96]`.

Where `RAY_ADDRESS` is that of a Ray cluster, the cores are the cluster's: the files stay here, their contents travel.
PNG files of 8 bits a channel and PPM files become PNG files, read and written without a library. A picture whose worker
is lost, by `kill -9` or for want of memory, is made again by another one. Stopped by Ctrl-C, it goes on the next time.
`--check` makes each thumbnail once more, in this process alone, and compares. Exit codes: 0, all are there; 1, some
could not be made, or differ; 130, stopped.
"""

import argparse
import os
import re
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mountain_runtime import On, Retry, Runtime, Shutdown, Timeout, amap, blocking, effect, fs, pools, run
from mountain_runtime.errors import MountainError, ShuttingDown, WorkerLost

#: A worker imports this module and finds the function by its name: the pool is made where the module is.
address = os.environ.get("RAY_ADDRESS")
pool: pools.Pool = (
    pools.Ray(address, workers=(2, 8), name="thumbnails") if address else pools.Processes(name="thumbnails")
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Channels by a PNG's kind of colour: grey, RGB, grey and RGB with an alpha channel.
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
#: Its sides; comments may stand between the words.
PPM = re.compile(rb"P6" + 2 * rb"\s+(?:#.*\n\s*)*(\d{1,6})" + rb"\s+(?:#.*\n\s*)*255\s")
KINDS = {channels: kind for kind, channels in CHANNELS.items()}


@dataclass(frozen=True, slots=True)
class Picture:
    width: int
    height: int
    channels: int
    #: `height` rows of `width * channels` bytes.
    rows: list[bytes]


def decoded(data: bytes) -> Picture:
    """The picture in a file. Raises ValueError for what is none, or one of another kind."""
    if data.startswith(SIGNATURE):
        return from_png(data)
    if data.startswith(b"P6"):
        return from_ppm(data)
    raise ValueError("neither a PNG file nor a PPM file")


def from_ppm(data: bytes) -> Picture:
    header = PPM.match(data)
    if header is None:
        raise ValueError("a PPM file of another kind than P6 with 8 bits a channel")
    width, height = int(header[1]), int(header[2])
    size = width * 3
    if not width or not height or len(data) < header.end() + size * height:
        raise ValueError("not a whole PPM file: rows are missing")
    starts = range(header.end(), header.end() + size * height, size)
    return Picture(width, height, 3, [data[at : at + size] for at in starts])


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += length + 12


def from_png(data: bytes) -> Picture:
    try:
        parts = list(chunks(data))
        width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
        pixels = zlib.decompress(b"".join(part for name, part in parts if name == b"IDAT"))
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(f"not a whole PNG file: {error}") from error
    if depth != 8 or kind not in CHANNELS or interlaced or not width or not height:
        raise ValueError(f"a PNG file of {depth} bits a channel, colours of kind {kind}, interlaced {interlaced}")
    channels = CHANNELS[kind]
    size = width * channels
    if len(pixels) < (size + 1) * height:
        raise ValueError("not a whole PNG file: rows are missing")
    rows: list[bytes] = []
    above = bytes(size)
    for at in range(0, (size + 1) * height, size + 1):
        above = unfiltered(pixels[at], bytearray(pixels[at + 1 : at + 1 + size]), above, channels)
        rows.append(above)
    return Picture(width, height, channels, rows)


def unfiltered(how: int, row: bytearray, above: bytes, channels: int) -> bytes:
    """A row as it was before PNG wrote its bytes as differences to their neighbours."""
    for at in range(len(row) if how else 0):
        left = row[at - channels] if at >= channels else 0
        corner = above[at - channels] if at >= channels else 0
        match how:
            case 1:
                near = left
            case 2:
                near = above[at]
            case 3:
                near = (left + above[at]) // 2
            case 4:
                by = left + above[at] - corner
                near = min((left, above[at], corner), key=lambda each: abs(by - each))
            case _:
                raise ValueError(f"a PNG file with a filter {how}")
        row[at] = (row[at] + near) & 255
    return bytes(row)


def shrunk(picture: Picture, size: int) -> Picture:
    """The picture in a square of `size` pixels a side: each pixel is the mean of those that it stands for."""
    scale = max(picture.width, picture.height, size) / size
    width, height = max(int(picture.width / scale), 1), max(int(picture.height / scale), 1)
    columns = [picture.width * x // width * picture.channels for x in range(width + 1)]
    rows: list[bytes] = []
    for y in range(height):
        block = picture.rows[picture.height * y // height : picture.height * (y + 1) // height]
        rows.append(
            bytes(
                sum(sum(row[left + channel : right : picture.channels]) for row in block)
                // (len(block) * (right - left) // picture.channels)
                for left, right in pairwise(columns)
                for channel in range(picture.channels)
            )
        )
    return Picture(width, height, picture.channels, rows)


def encoded(picture: Picture) -> bytes:
    """A PNG file."""
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, KINDS[picture.channels], 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in picture.rows), 9)
    parts = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in parts
    )


def thumbnail(data: bytes, size: int) -> bytes:
    return encoded(shrunk(decoded(data), size))


@blocking(Timeout(60), On(pool), Timeout(30))  # outside: with the wait for a worker; inside: the function itself
def on_worker(data: bytes, size: int) -> bytes:
    return thumbnail(data, size)


class Batch:
    """Pictures of a folder, and their thumbnails in another."""

    def __init__(self, pictures: Path, thumbnails: Path, size: int) -> None:
        self.pictures, self.thumbnails, self.size = pictures, thumbnails, size
        self.tries: Counter[str] = Counter()

    def place(self, path: str) -> Path:
        """The file of a thumbnail: `a/b.ppm` becomes `a/b.ppm.png`."""
        name = Path(path).relative_to(self.pictures)
        return self.thumbnails / name.with_name(f"{name.name}.png")

    @effect(Retry(on=WorkerLost, attempts=5))  # it may have run, and may run twice: it writes nothing
    async def make(self, path: str) -> None:
        """An attempt reads the picture and writes the thumbnail here, and computes on a worker."""
        self.tries[path] += 1
        if self.tries[path] > 1:
            print(f"again, as its worker was lost: {path}", flush=True)
        small = await on_worker(await fs.read_bytes(path), self.size)
        await fs.mkdir(self.place(path).parent, parents=True, exist_ok=True)
        await fs.write_bytes(self.place(path), small, durable=False)  # whole or not at all

    async def made(self, path: str) -> str | None:
        """The trouble with it; None where it is made."""
        try:
            await self.make(path)
        except ShuttingDown:
            raise
        except (MountainError, OSError, ValueError) as error:
            return str(error)
        return None

    async def differs(self, path: str) -> bool:
        """Whether a plain call in this process gives another thumbnail."""
        return thumbnail(await fs.read_bytes(path), self.size) != await fs.read_bytes(self.place(path))


async def make_all(batch: Batch, at_once: int, *, check: bool) -> int:
    """Makes what is not there; the number of pictures whose thumbnail could not be made, or differs."""
    found = [entry.path async for entry in fs.walk(batch.pictures) if Path(entry.path).suffix in (".png", ".ppm")]
    left = [path for path in sorted(found) if not batch.place(path).exists()]
    failed: list[str] = []
    try:
        async with amap(batch.made, left, limit=at_once) as ends:
            async for path, trouble in ends:
                if trouble is not None:
                    failed.append(path)
                    print(f"{path}: {trouble}", file=sys.stderr)
    finally:
        again = sum(times > 1 for times in batch.tries.values())
        lost = pool.statistics().lost
        print(f"{len(left)} to make, {len(found) - len(left)} were there, {len(failed)} could not be made")
        print(f"{lost} workers lost, {again} pictures made again", flush=True)
    if check:
        different = [path for path in found if path not in failed and await batch.differs(path)]
        print(f"{len(found) - len(failed)} checked, {len(different)} differ")
        failed += different
    return len(failed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="thumbnails", description="Makes small copies of pictures on all cores.")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("thumbnails", type=Path)
    parser.add_argument("--size", type=int, default=96, help="pixels a side, at most")
    parser.add_argument("--at-once", type=int, default=16, help="pictures in memory at a time")
    parser.add_argument("--check", action="store_true", help="compare with what this process alone makes of them")
    given = parser.parse_args()

    async def job(rt: Runtime) -> int:
        try:
            batch = Batch(given.pictures, given.thumbnails, given.size)
            return 1 if await make_all(batch, given.at_once, check=given.check) else 0
        except ShuttingDown:
            print("stopped: the same command goes on", file=sys.stderr)
            return 130

    return run(job, runtime=Runtime(shutdown=Shutdown(drain=5)))


if __name__ == "__main__":
    sys.exit(main())
