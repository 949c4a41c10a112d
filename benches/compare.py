"""Measures ours beside its peers and prints a table, as in `python benches/compare.py --suite engine --quick`."""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script, too

from benches.harness import Result, Row, Scale, measured
from benches.loops import LOOPS
from benches.suites import SUITES
from benches.table import table


async def run_suite(name: str, loop: str, scale: Scale) -> list[Result]:
    """All results of one suite, on the loop that is running."""
    results: list[Result] = []
    async with aclosing(SUITES[name].contests(scale, loop)) as contests:
        async for contest in contests:
            results += await measured(name, loop, contest)
    return results


def run(suites: Iterable[str], loop: str, scale: Scale) -> list[Result]:
    """The suites one after another, each on a fresh loop, and a table after each."""
    results: list[Result] = []
    for name in suites:
        with asyncio.Runner(loop_factory=LOOPS[loop]()) as runner:
            found = runner.run(run_suite(name, loop, scale))
        print(table(found), flush=True)
        results += found
    return results


def rows(results: Iterable[Result]) -> list[Row]:
    """The contents of the JSON file."""
    return [result.row for result in results]


def machine() -> str:
    """The machine of this run, for the table's readers; its load, because a busy machine changes even the winner."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=[*SUITES, "all"], default="all")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under 40 s a suite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    chosen = parser.parse_args(argv)
    print(machine(), flush=True)
    suites = list(SUITES) if chosen.suite == "all" else [chosen.suite]
    results = run(suites, chosen.loop, Scale.QUICK if chosen.quick else Scale.FULL)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows(results), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
