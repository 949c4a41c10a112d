"""Warnings about an unwise order of policies: each with the reason, and what to write instead."""

from collections.abc import Iterator
from math import inf

from ..errors import CircuitOpen, Rejected, TimedOut
from ._part import Part, span

__all__ = ["warnings"]


def warnings(parts: list[Part]) -> list[str]:
    """All that can be said of an order, outermost first. Each of them is certain, whatever the calls do."""
    found: list[str] = []
    for at, part in enumerate(parts):
        around, inside = parts[:at], parts[at + 1 :]
        match part.kind:
            case "timeout":
                found += _timeout(part, inside)
            case "retry":
                found += _retry(part, inside)
            case "rate":
                found += _rate(part, inside)
            case "places":
                found += _places(part, inside)
            case "cache":
                found += _cache(part, around)
            case "fallback":
                found += _fallback(part, around, inside)
            case "hedge":
                found += _hedge(part, inside)
            case "breaker" | "chaos" | "idle" | "on":
                pass
    return found


def _all(kind: str, parts: list[Part]) -> Iterator[Part]:
    return (part for part in parts if part.kind == kind)


def _timeout(outer: Part, inside: list[Part]) -> Iterator[str]:
    if outer.limit == inf:
        return
    if inside and inside[0].kind == "timeout" and inside[0].limit <= outer.limit:
        yield (
            f"{outer.text} stands directly around {inside[0].text}, which ends first: it never passes. Leave one of "
            "them out"
        )
    for part in inside:
        if part.kind == "cache":  # a run for all who wait stands under no limit of theirs
            return
        if part.kind == "timeout" and outer.limit < part.limit < inf:
            yield (
                f"{part.text} stands inside {outer.text}, which has less time and ends first: it never passes. Give "
                "the outer one more time, or the inner one less"
            )


def _retry(outer: Part, inside: list[Part]) -> Iterator[str]:
    if outer.attempts <= 1:
        return
    if outer.on_errors and all(part.limit == inf for part in _all("timeout", inside)):
        yield (
            f"{outer.text} has no Timeout inside: an attempt that hangs is never tried again. Put a Timeout for each "
            "attempt inside it, unless the function has a limit of its own"
        )
    for inner in _all("retry", inside):
        if inner.attempts > 1:
            times = outer.attempts * inner.attempts
            many = "without end" if times == inf else f"up to {times:.0f} times"
            yield (
                f"{outer.text} and {inner.text} multiply: what is inside both may be called {many}. Keep one of them, "
                "and name in its on= all that is to be tried again"
            )
    for cache in _all("cache", inside):
        if outer.until:
            yield (
                f"{outer.text} stands outside {cache.text}: a value that until= does not accept is kept, and found by "
                "each further attempt. Put the Retry inside, so that only what is accepted is kept"
            )
        if not outer.on_errors:
            continue
        refresh = ", and a stale value's refresh is never tried again" if cache.stale else ""
        yield (
            f"{outer.text} stands outside {cache.text}: of a run that failed, every waiter for it tries again "
            f"by itself{refresh}. Put the Retry inside, where one run tries again for all"
        )
    if any(issubclass(CircuitOpen, each) and issubclass(each, Rejected) for each in outer.on):
        for breaker in _all("breaker", inside):
            if outer.between < breaker.cooldown:
                yield (
                    f"{outer.text} tries again what {breaker.text} refuses, for {span(outer.between)} at most, while "
                    f"that stays open for {span(breaker.cooldown)}: the attempts are refused, too. Leave CircuitOpen "
                    "out of on=, or wait longer"
                )


def _rate(outer: Part, inside: list[Part]) -> Iterator[str]:
    for places in _all("places", inside):
        yield (
            f"{outer.text} stands outside {places.text}: calls that have had their turn wait there for a place, and "
            "then start together, faster than the rate. Put the RateLimit inside"
        )
    for retry in _all("retry", inside):
        if retry.attempts > 1:
            yield (
                f"{outer.text} stands outside {retry.text}: a call takes one turn, and its further attempts none. Put "
                "the RateLimit inside, so that each attempt takes one"
            )
    for hedge in _all("hedge", inside):
        yield (
            f"{outer.text} stands outside {hedge.text}: a call takes one turn, and its further attempts none. Put the "
            "RateLimit inside, so that each attempt takes one"
        )
    yield from _hits_pay(outer, inside, "takes a turn")


def _places(outer: Part, inside: list[Part]) -> Iterator[str]:
    for retry in _all("retry", inside):
        if retry.between > 0:
            yield (
                f"{outer.text} stands outside {retry.text}: a call keeps its place while it waits to be tried again. "
                "Put the limit inside, unless that is what you want"
            )
    for hedge in _all("hedge", inside):
        yield (
            f"{outer.text} stands outside {hedge.text}: all attempts of a call count as one. Put the limit inside, so "
            "that each has a place of its own"
        )
    yield from _hits_pay(outer, inside, "needs a place")


def _hits_pay(outer: Part, inside: list[Part], what: str) -> Iterator[str]:
    for cache in _all("cache", inside):
        yield (
            f"{cache.text} stands inside {outer.text}: a value that is there already {what}, too. Put the Cache "
            "outside, so that only what is fetched counts"
        )


def _cache(inner: Part, around: list[Part]) -> Iterator[str]:
    for breaker in _all("breaker", around):
        yield (
            f"{inner.text} stands inside {breaker.text}: while that is open, even what is cached is refused. Put the "
            "Cache outside"
        )


def _hedge(outer: Part, inside: list[Part]) -> Iterator[str]:
    for retry in _all("retry", inside):
        if retry.attempts > 1:
            yield (
                f"{outer.text} stands outside {retry.text}: each of {outer.beside} attempts at once is tried again by "
                "itself, waits included, and the budget counts none of that. Put the Retry outside, unless that is "
                "what you want"
            )
    for timeout in _all("timeout", inside):
        if timeout.limit <= outer.after < inf:
            yield (
                f"{timeout.text} stands inside {outer.text} and ends the first attempt before another is due: none "
                "ever begins. Give it more time, or let the hedge begin earlier"
            )
    for hedge in _all("hedge", inside):
        yield (
            f"{outer.text} and {hedge.text} multiply: up to {outer.beside * hedge.beside} attempts may be under way "
            "at once. Keep one of them"
        )
    for cache in _all("cache", inside):
        yield (
            f"{outer.text} stands outside {cache.text}: its attempts wait for one run, and none can be faster. Put the "
            "Cache outside, so that the run is hedged"
        )


def _fallback(inner: Part, around: list[Part], inside: list[Part]) -> Iterator[str]:
    limited = any(part.limit < inf for part in _all("timeout", inside))
    for retry in _all("retry", around):
        if retry.attempts > 1 and _takes_away(inner, retry, limited):
            yield (
                f"{inner.text} stands inside {retry.text}: a failure that it stands in for is a value, and is not "
                "tried again. Put the Fallback outside, where it stands in when the last attempt has failed"
            )
    for hedge in _all("hedge", around):
        yield (
            f"{inner.text} stands inside {hedge.text}: what stands in for one attempt wins, and ends the others. Put "
            "the Fallback outside, where it stands in when all have failed"
        )
    for cache in _all("cache", around):
        yield (
            f"{inner.text} stands inside {cache.text}: what stands in is kept as if it were the value itself. Put the "
            "Fallback outside, so that the next call asks again"
        )


def _takes_away(fallback: Part, retry: Part, limited: bool) -> bool:
    """Some error would be tried again if the fallback did not stand in for it."""
    if not retry.on:
        return False  # a function decides
    if limited and _both(fallback.on, (TimedOut,)):
        return True
    # A retry goes on from Rejected only where that is named, or a subclass of it.
    own = tuple(each for each in retry.on if issubclass(each, Rejected))
    others = tuple(each for each in retry.on if not issubclass(each, Rejected))
    ours = tuple(each for each in fallback.on if not issubclass(each, Rejected))
    return _both(ours, others) or (bool(own) and _both(fallback.on, own))


def _both(some: tuple[type[Exception], ...], others: tuple[type[Exception], ...]) -> bool:
    """Some error is both."""
    return any(issubclass(a, b) or issubclass(b, a) for a in some for b in others)
