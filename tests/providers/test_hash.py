"""Digests, against hashlib and against published vectors."""

import hashlib
from pathlib import Path

import pytest

from mountain_runtime import errors, fs

#: From BLAKE3's own test vectors: the length of an input of the bytes 0, 1, ... 250, 0, 1, ..., and its digest.
BLAKE3 = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


@pytest.mark.parametrize("size", BLAKE3)
async def test_blake3(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])
    digest = await fs.hash(path)
    assert type(digest) is bytes
    assert digest.hex() == BLAKE3[size]
    assert await fs.hash(path, "blake3") == digest


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1 << 20, (1 << 20) + 1, 5_000_000])
async def test_sha256(tmp_path: Path, size: int) -> None:
    data = (b"mountains " * (size // 10 + 1))[:size]
    path = tmp_path / "file"
    path.write_bytes(data)
    assert await fs.hash(path, "sha256") == hashlib.sha256(data).digest()


async def test_an_algorithm_that_does_not_exist_is_refused_where_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="'md5'"):
        await fs.hash(tmp_path, "md5")  # type: ignore[arg-type]
