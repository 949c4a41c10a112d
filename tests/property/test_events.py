"""Server-sent events and lines are the same however their bytes are cut into pieces, and whatever they are."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mountain_runtime import http, testing

#: The parts of the format, and others.
PARTS = st.sampled_from([b"data", b"event", b"id", b":", b" ", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\0", b"x"])
TEXTS = st.lists(PARTS | st.binary(max_size=4), max_size=30).map(b"".join)


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(ends)]


async def read(pieces: list[bytes]) -> tuple[list[str], list[http.Event]]:
    client = http.Client("http://a.test")
    with testing.http(lambda _: testing.Reply(body=pieces)):
        async with client.open("GET", "/") as body:
            lines = [line async for line in body.lines()]
        async with client.open("GET", "/") as body:
            return lines, [event async for event in body.events()]


@given(TEXTS, st.lists(st.integers(0, 200), max_size=8))
async def test_the_pieces_do_not_matter(text: bytes, places: list[int]) -> None:
    lines, events = await read(cut(text, places))
    assert (lines, events) == await read([text])
    expected = text.split(b"\n")
    assert lines == [
        line.removesuffix(b"\r").decode(errors="replace") for line in expected[: -1 if not expected[-1] else None]
    ]
    for event in events:
        assert "\0" not in event.id
        assert "\n" not in event.event + event.id


EVENTS = st.lists(
    st.tuples(st.sampled_from(["", "add", "x y"]), st.lists(st.text("ab :\t", max_size=5), min_size=1)), max_size=5
)


@given(EVENTS, st.sampled_from(["\n", "\r\n"]))
async def test_what_is_written_is_read(events: list[tuple[str, list[str]]], end: str) -> None:
    text = "".join(
        "".join([f"event: {name}{end}" if name else "", *(f"data: {line}{end}" for line in lines), end])
        for name, lines in events
    )
    _, seen = await read([text.encode()])
    assert [(event.event, event.data) for event in seen] == [
        (name or "message", "\n".join(lines)) for name, lines in events
    ]
