"""Mirrors a site into a folder: `python examples/crawler/main.py http://127.0.0.1:8000/ mirror`.

Each page that links lead to on the same hosts is asked for once, some at a time for each host. A host that asks for a
pause gets one. Stopped by Ctrl-C, or by anything else, it goes on the next time: a page that is in the folder is whole,
and is not asked for again. Exit codes: 0, all pages are there; 1, some could not be had; 130, stopped.
"""

import argparse
import re
import sys
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from mountain_runtime import (
    ConcurrencyLimit,
    Effect,
    Err,
    Ok,
    RateLimit,
    Retry,
    Runtime,
    Shutdown,
    Timeout,
    Work,
    amap,
    effect,
    fs,
    http,
    run,
)
from mountain_runtime.errors import MountainError, ShuttingDown

LINK = re.compile(r"""(?:href|src)\s*=\s*["']([^"']+)""", re.IGNORECASE)


def host(url: str) -> str:
    """The host of an address, with its port."""
    return urlsplit(url).netloc


def canonical(url: str) -> str:
    """The same text for all addresses of one page."""
    parts = urlsplit(urldefrag(url)[0])
    return parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), path=parts.path or "/").geturl()


class Mirror:
    """A folder that pages are mirrored into."""

    def __init__(self, client: http.Client, folder: Path, *, per_host: int, per_second: int) -> None:
        self._client, self._folder = client, folder
        self._rate = RateLimit(per_second, per=1, key=host, name="hosts")
        self._policies = (
            Retry(on=self._passes, attempts=6),
            ConcurrencyLimit(per_host, key=host, max_waiting=None, name="at a time"),
            self._rate,
            Timeout(10),
        )
        self.asked = self.kept = 0

    def place(self, url: str) -> Path:
        """The file of a page. No address leads out of the folder."""
        parts = urlsplit(url)
        *folders, name = (quote(unquote(name), safe="") for name in parts.path.split("/")[1:])
        # No quoted name has an @: what stands behind one is ours.
        if parts.query:
            name += f"@{quote(unquote(parts.query), safe='')}"
        elif "." not in name:
            name += "@.html"
        folders = [f"@{name}" if not name.strip(".") else name for name in folders]
        return self._folder.joinpath(quote(parts.netloc, safe=""), *folders, name)

    async def page(self, url: str) -> str:
        """The text of a page, from the folder where it is there."""
        file = self.place(url)
        match await fs.read_text(file, errors="replace").attempt(FileNotFoundError, NotADirectoryError):
            case Ok(value=text):
                self.kept += 1
                return text
            case Err():
                answer = await self._get(url)
                self.asked += 1
                await fs.mkdir(file.parent, parents=True, exist_ok=True)
                # Whole or not at all: what is there needs no second look.
                await fs.write_bytes(file, answer.content, durable=False)
                return answer.text

    def _get(self, url: str) -> Effect[http.Response]:
        return self._client.get(url).under(*self._policies)

    def _passes(self, error: Exception) -> bool | float:
        """As `http.transient`. A host that has had enough is left alone, by all of its pages."""
        if isinstance(error, http.StatusError) and error.response.status == 429:
            after = error.response.retry_after
            self._rate.pause(1 if after is None else after, key=host(error.response.url))
        return http.transient(error)


@effect
async def mirror(start: str, folder: Path, *, per_host: int, per_second: int, limit: int) -> int:
    """Mirrors what can be reached from `start` on its host; the number of pages that could not be had."""
    work = Work([start], key=canonical)
    failed = 0
    async with http.Client(per_host=per_host) as client:
        site = Mirror(client, folder, per_host=per_host, per_second=per_second)

        async def visit(url: str) -> str | None:
            url = canonical(url)
            try:
                text = await site.page(url)
            except ShuttingDown:
                raise
            except (MountainError, OSError, ValueError) as error:
                return f"{url}: {error}"
            for link in LINK.findall(text):
                found = urljoin(url, unescape(link))
                if host(found) == host(start) and len(work) < limit:
                    work.add(found)
            return None

        try:
            async with amap(visit, work, limit=per_host * 4) as visits:
                async for _, trouble in visits:
                    if trouble is not None:
                        failed += 1
                        print(trouble, file=sys.stderr)
        finally:
            print(f"{site.asked} pages asked for, {site.kept} were there", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="crawler", description="Mirrors a site into a folder.")
    parser.add_argument("start")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-host", type=int, default=8, help="requests at a time")
    parser.add_argument("--per-second", type=int, default=50, help="requests that begin in a second, for each host")
    parser.add_argument("--limit", type=int, default=10_000, help="pages at most")
    given = parser.parse_args()

    async def job(rt: Runtime) -> int:
        try:
            failed = await mirror(
                given.start, given.folder, per_host=given.per_host, per_second=given.per_second, limit=given.limit
            )
        except ShuttingDown:
            print("stopped: the same command goes on", file=sys.stderr)
            return 130
        return 1 if failed else 0

    return run(job, runtime=Runtime(shutdown=Shutdown(drain=2)))


if __name__ == "__main__":
    sys.exit(main())
