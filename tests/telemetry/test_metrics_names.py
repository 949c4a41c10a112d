"""Names in a scrape: how many there are, and that the hostile ones are names."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Policy,
    RateLimit,
    effect,
    errors,
)

from .scrapes import named, scraped, shown


def run(program: str, *arguments: str, **environment: str) -> str:
    """The output of a program of its own: the figures are of the process."""
    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        env=os.environ | environment,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


NAMES = """
import asyncio
from mountain_runtime import Runtime, chunked, effect, gather

async def given():
    yield 1

async def main():
    work = effect(asyncio.sleep)
    async with Runtime() as rt:
        print(*rt.statistics().effects)
        await gather(work(0), work(0))
        async with chunked(given(), 2) as lists:
            print(*rt.statistics().effects, await anext(lists))

asyncio.run(main())
"""


@pytest.mark.processes
def test_the_packages_own_calls_are_listed_once_there_was_one() -> None:
    assert run(NAMES).splitlines() == ["sleep", "chunked gather sleep [1]"]


MANY = """
import asyncio, re, resource, sys
from mountain_runtime import ConcurrencyLimit, Runtime, _native, effect

count = int(sys.argv[1])

async def work():
    pass

async def fails(kind):
    raise kind

async def main():
    async with Runtime() as rt:
        await effect(name="known")(work)()
        limits = []
        for n in range(count):
            await effect(name=f"made up {n}")(work)()
            if n % (count // 2000) == 0:
                limits.append(ConcurrencyLimit(1, name=f"limit {n}"))
                await effect(limits[-1], name="known")(work)()
                error = type(f"E{n}", (Exception,), {})
                await asyncio.gather(effect(name="fails")(fails)(error), return_exceptions=True)
            if n == count // 2:
                half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - half
        text = _native.metrics_text(openmetrics=True)
        series = lambda name: len(re.findall(rf"^{name}(?:_total)?{{", text, re.M))
        figure = lambda pattern: int(re.search(pattern, text, re.M)[1])
        print(
            series("mountain_effect_started"), series("mountain_limit_capacity"), series("mountain_effect_failed"),
            figure(r'^mountain_effect_started_total{effect="known"} (\\d+)'),
            figure(r'^mountain_effect_started_total{effect="other"} (\\d+)'),
            figure(r'^mountain_names_folded_total{metric="effect"} (\\d+)'),
            figure(r'^mountain_names_folded_total{metric="policy"} (\\d+)'),
            rt.statistics().effects["known"].started, len(rt.statistics().effects), grown,
        )

asyncio.run(main())
"""


def many(names: int, bound: int, series: str | None) -> None:
    """Made-up names, 2,000 limits and types of errors among them, in a program of their own."""
    environment = {} if series is None else {"MOUNTAIN_SERIES": series}
    told = map(int, run(MANY, str(names), **environment).split())
    effects, limits, failed, known, other, folded, policies, counted, listed, grown = told
    assert effects <= bound + 1
    assert limits <= bound
    assert failed <= bound + 2
    assert known == counted == 2001
    assert other + bound + 10 >= names > other
    assert folded >= names - 2000
    assert policies >= 2000 - bound
    assert listed == effects
    assert grown < 0.3 * names  # kB that the second half took


@pytest.mark.processes
@pytest.mark.parametrize(("series", "bound"), [(None, 1000), ("10", 10)])
def test_many_names_are_a_bounded_number_of_series(series: str | None, bound: int) -> None:
    """O2, with a hundred thousand of them in the stress tests.

    Those that were known before go on to be counted by their names, the others together.
    """
    many(20_000, bound, series)


OURS = """
import asyncio, os
from mountain_runtime import Runtime, chunked, effect, fs, gather, race, search

async def work():
    pass

async def main(root):
    async with Runtime() as rt:
        for n in range(12):
            await effect(name=f"made up {n}")(work)()
        async with fs.watch(root, existing=True) as batches:
            await anext(batches)
        async with search.lines("x", root) as found, chunked(found, 2) as lists:
            [some async for some in lists]
        await fs.write_text(f"{root}/a", "")
        await gather(fs.stat(root), fs.stat(root))
        await race(effect(work)(), effect(work)())
        print(*(name for name in sorted(rt.statistics().effects) if not name.startswith("made up")))

asyncio.run(main(os.environ["ROOT"]))
"""


@pytest.mark.processes
def test_the_packages_own_calls_have_a_name_each_beyond_the_bound(tmp_path: Path) -> None:
    ours = "chunked fs.stat fs.watch fs.watch.batch fs.write_text gather other race search.batch search.lines"
    assert run(OURS, ROOT=os.fspath(tmp_path), MOUNTAIN_SERIES="10").split() == ours.split()


@pytest.mark.processes
def test_a_runtime_that_is_opened_three_times_has_each_series_once() -> None:
    output = run(
        """
        import asyncio
        from mountain_runtime import ConcurrencyLimit, Runtime, _native, effect

        @effect(ConcurrencyLimit(2, name="limit"), name="work")
        async def work():
            pass

        async def main():
            for _ in range(3):
                async with Runtime(dashboard="127.0.0.1:0") as rt:
                    await rt.submit(work())

        asyncio.run(main())
        lines = [line.rsplit(" ", 1)[0] for line in _native.metrics_text(openmetrics=True).splitlines()]
        print(len(lines) == len(set(lines)))
        print([line for line in _native.metrics_text(openmetrics=True).splitlines() if "succeeded" in line][-1])
        """
    )
    assert output == 'True\nmountain_effect_succeeded_total{effect="work"} 3\n'


HOSTILE = [
    "two\nlines",
    'a "quote"',
    "back\\slash",
    "<script>alert(1)</script>",
    "x" * 10_000,
    "\u202e\x00\x1b[31m",
    "ü" * 300,
    '{a="b"} 1 # EOF',
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_names_are_names(hostile: str) -> None:
    mark = uuid4().hex[:8]
    name = f"{mark}{hostile}"
    kind = type(name.replace("\x00", ""), (Exception,), {})
    limit, breaker = ConcurrencyLimit(2, name=name), CircuitBreaker(name=name)

    @effect(Cache(ttl=1), breaker, limit, RateLimit(100, per=1), name=name)
    async def work() -> None:
        raise kind

    with pytest.raises(kind):
        await work()
    for newer in (True, False):
        families = scraped(newer=newer, mark=mark)
        for family, label in {
            "mountain_effect_failed": "effect",
            "mountain_limit_capacity": "limit",
            "mountain_breaker_opens": "breaker",
            "mountain_rate_waiting": "rate",
            "mountain_cache_size": "cache",
        }.items():
            mine = [s.labels[label] for s in families[family].samples if s.labels[label].startswith(mark)]
            assert len(set(mine)) == 1, family
            assert len(mine[0].encode()) <= 200
            assert mine[0] == name or (len(name.encode()) > 200 and name.startswith(mine[0].partition("…")[0]))


def test_names_must_be_text_that_there_is() -> None:
    with pytest.raises((UnicodeEncodeError, errors.ConfigError)):
        effect(name="\ud800")(asyncio.sleep)


# -- types of errors -------------------------------------------------------------------------------------------------

ERRORS = ["two\nlines", 'a "quote"', "back\\slash", "<b>&amp;</b>", '"} 1\nforged{a="', "x" * 10_000, "\ud800", ""]


@pytest.mark.parametrize("part", ["__qualname__", "__module__"])
@pytest.mark.parametrize("hostile", ERRORS, ids=range(len(ERRORS)))
async def test_the_type_of_an_error_is_one_series_whatever_it_is_called(part: str, hostile: str) -> None:
    name = named()
    kind = type("Hostile", (Exception,), {})
    setattr(kind, part, hostile)

    async def fails() -> None:
        raise kind

    with pytest.raises(kind):
        await effect(name=name)(fails)()
    for newer in (True, False):
        failed = scraped(newer=newer, mark=name)["mountain_effect_failed"].samples
        [sample] = [s for s in failed if s.labels["effect"] == name]
        error = sample.labels["error"]
        assert sample.value == 1
        assert len(error.encode()) <= 200
        if hostile != "\ud800":  # which no text in UTF-8 can hold; something stands for it
            assert hostile[:100] in error


@pytest.mark.parametrize("make", [partial(ConcurrencyLimit, 2), CircuitBreaker], ids=["limit", "breaker"])
@pytest.mark.parametrize("bad", ["", "\ud800"], ids=["empty", "surrogate"])
def test_what_is_no_name_is_refused_and_is_in_no_text(make: Callable[..., Policy], bad: str) -> None:
    with pytest.raises((UnicodeEncodeError, errors.ConfigError)):
        make(name=bad)
    for newer in (True, False):
        assert [shown(label, bad, newer=newer) for label in ("limit", "breaker")] == [[], []]


async def test_without_a_name_an_effect_has_that_of_its_function() -> None:
    function = named().replace(" ", "_")

    async def work() -> None:
        pass

    work.__name__ = work.__qualname__ = function
    with pytest.raises(errors.ConfigError, match="must be a name"):
        effect(name="")(work)
    await effect(name=None)(work)()
    for newer in (True, False):
        assert shown("effect", "", newer=newer) == []
        assert ("mountain_effect_started_total", (("effect", function),), 1) in shown("effect", function, newer=newer)


# -- failures --------------------------------------------------------------------------------------------------------

MANY_THAT_FAIL = """
import asyncio, re
from mountain_runtime import _native, effect
from mountain_runtime._runtime.statistics import snapshot

async def fails(kind):
    raise kind

async def main():
    before, sizes = len(snapshot().effects), []
    for n in range(1, 5001):
        work = effect(name=f"made up {n}")(fails)
        await asyncio.gather(*(work(kind) for kind in (KeyError, ValueError, OSError)), return_exceptions=True)
        if n in (2500, 5000):
            sizes.append(len(_native.metrics_text(openmetrics=True)))
    text = _native.metrics_text(openmetrics=True)
    series = lambda name: len(re.findall(f"^{name}{{", text, re.M))
    folded = int(re.search('names_folded_total{metric="effect"} ([0-9]+)', text)[1])
    known = len(snapshot().effects) - 1 - before
    failed = sum(int(n) for n in re.findall("^mountain_effect_failed_total{.*} ([0-9]+)", text, re.M))
    print(
        series("mountain_effect_started_total"), series("mountain_effect_failed_total"),
        known + folded, failed, sizes[1] - sizes[0],
    )

asyncio.run(main())
"""


@pytest.fixture(scope="module", params=["1000", "10"])
def bounded(request: pytest.FixtureRequest) -> dict[str, int]:
    """The size of 5,000 names of effects that fail with 3 types of errors each; the figures are of a process."""
    environment = os.environ | {"MOUNTAIN_SERIES": request.param}
    command = [sys.executable, "-c", MANY_THAT_FAIL]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert made.returncode == 0, made.stderr
    names = ["started", "failed", "names", "failures", "grown"]
    return dict(zip(names, map(int, made.stdout.split()), strict=True)) | {"bound": int(request.param)}


@pytest.mark.processes
def test_names_that_found_no_room_are_counted_and_the_text_grows_no_more(bounded: dict[str, int]) -> None:
    assert bounded["started"] == bounded["bound"] + 1
    assert bounded["names"] == 5000
    assert bounded["failures"] == 15_000
    assert bounded["grown"] < 1000  # digits


@pytest.mark.processes
def test_failures_have_no_more_series_than_names_may_have(bounded: dict[str, int]) -> None:
    """O2: a metric has 1,000 series, and that of the others."""
    assert bounded["failed"] <= bounded["bound"] + 1
