"""Framing: messages come whole, whatever pieces they come in, and what is hostile is refused at its header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountain_runtime.rpc._messages.framing import Framing, HeaderFrames, LineFrames, framed, frames

MAX = 1000


def written(framing: Framing, *bodies: bytes) -> bytes:
    return b"".join(
        b"".join((before, body, after)) for body in bodies for before, after in [framed(framing, len(body))]
    )


@given(
    st.sampled_from(["lsp", "lines"]),
    st.lists(st.binary(min_size=1, max_size=60).map(lambda body: body.hex().encode()), max_size=6),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_messages_come_whole_in_any_pieces(framing: Framing, bodies: list[bytes], sizes: list[int]) -> None:
    data, found, decoder, at, turn = written(framing, *bodies), [], frames(framing, MAX), 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += [bytes(each) for each in decoder.feed(data[at : at + size])]
        at, turn = at + size, turn + 1
    decoder.end()
    assert (found, decoder.failure) == (bodies, None)


def test_lengths_count_bytes_and_a_character_may_come_in_three_reads() -> None:
    """R1 and R6."""
    first, second = '{"text":"漢字"}'.encode(), b"{}"
    decoder = HeaderFrames(MAX)
    data = written("lsp", first, second)
    found = [bytes(body) for byte in data for body in decoder.feed(bytes([byte]))]
    assert found == [first, second]
    lines = LineFrames(MAX)
    assert [bytes(body) for byte in first + b"\n" for body in lines.feed(bytes([byte]))] == [first]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (b"Content-Length: 1001", "more than max_message"),
        (b"Content-Length: 1073741824", "more than max_message"),
        (b"Content-Length: -1", "no number of bytes"),
        (b"Content-Length: +1", "no number of bytes"),
        (b"Content-Length: 0x10", "no number of bytes"),
        (b"Content-Length: 1.0", "no number of bytes"),
        (b"Content-Length: " + b"9" * 5000, "no number of bytes"),
        (b"Content-Length:", "no number of bytes"),
        (b"Content-Length: 2\r\nContent-Length: 2", "two Content-Length"),
        (b"content-length: 2\r\nCONTENT-LENGTH: 3", "two Content-Length"),
        (b"Content-Type: application/json", "without a Content-Length"),
        (b"Content-Length: 2\r\nContent-Type: text/plain; charset=latin-1", "charset"),
        (b"GET / HTTP/1.1", "without a colon: 'GET / HTTP/1.1'"),
        (b"hello\nContent-Length: 2", "without a colon: 'hello'"),
        (b"Content-Length: 2\r\nhello", "without a colon"),
        (b'{"jsonrpc":"2.0","id":1}\n', "framing='lines'"),
        (b"X: " + b"x" * 9000, "headers of more than"),
    ],
)
def test_headers_that_are_refused(headers: bytes, why: str) -> None:
    decoder = HeaderFrames(MAX)
    before = written("lsp", b"first")
    assert decoder.feed(before + headers + b"\r\n\r\n{}") == [b"first"]  # before it, all is well
    assert why in str(decoder.failure)
    assert decoder.feed(written("lsp", b"later")) == []


def test_headers_without_an_end_are_refused_before_they_fill_the_memory() -> None:
    decoder = HeaderFrames(MAX)
    for _ in range(9):
        assert decoder.feed(b"x" * 1000) == []
    assert "headers of more than" in str(decoder.failure)


def test_the_other_framing_and_what_is_printed_are_refused_at_their_first_line() -> None:
    for data, why in ((b'{"id":1}\n', "framing='lines'"), (b"[", "framing='lines'"), (b"hello\n", "colon: 'hello'")):
        decoder = HeaderFrames(MAX)
        assert decoder.feed(data) == []
        assert why in str(decoder.failure)
    lines = LineFrames(MAX)
    assert lines.feed(b"{}\n" + written("lsp", b"{}")) == [b"{}"]
    assert "framing='lsp'" in str(lines.failure)


def test_other_headers_and_cases_are_allowed() -> None:
    decoder = HeaderFrames(MAX)
    headers = b"content-type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length:  2 \r\n\r\n{}"
    assert decoder.feed(headers) == [b"{}"]


def test_a_line_that_is_too_long_is_refused_before_its_end() -> None:
    decoder = LineFrames(10)
    assert decoder.feed(b"{}\n\n \r\n[]\r\n") == [b"{}", b"[]"]
    assert decoder.feed(b"x" * 11) == []
    assert "more than max_message=10" in str(decoder.failure)
    decoder = LineFrames(10)
    assert decoder.feed(b"{}\n" + b"x" * 20 + b"\n{}\n") == [b"{}"]
    assert decoder.failure is not None


@pytest.mark.parametrize("size", [1, 3, 8192 + 50])
def test_bounds_do_not_depend_on_the_pieces(size: int) -> None:
    def fed(decoder: HeaderFrames | LineFrames, data: bytes) -> tuple[list[bytes], bool]:
        found = [bytes(each) for at in range(0, len(data), size) for each in decoder.feed(data[at : at + size])]
        return found, decoder.failure is not None

    for length, fails in ((8192, False), (8193, True)):
        headers = b"Content-Length: 2\r\nX: "
        data = headers + b"x" * (length - len(headers)) + b"\r\n\r\n{}"
        assert fed(HeaderFrames(MAX), data) == (([], True) if fails else ([b"{}"], False))
    for line, fails in ((b"x" * 10, False), (b"x" * 10 + b"\r", False), (b"x" * 11, True), (b"x" * 11 + b"\r", True)):
        assert fed(LineFrames(10), line + b"\n") == (([], True) if fails else ([b"x" * 10], False))


@pytest.mark.parametrize(
    ("framing", "cut"), [("lsp", b"Content-Le"), ("lsp", b"Content-Length: 9\r\n\r\n{"), ("lines", b'{"a')]
)
def test_an_end_within_a_message_is_seen(framing: Framing, cut: bytes) -> None:
    decoder = frames(framing, MAX)
    assert decoder.feed(cut) == []
    decoder.end()
    assert "cut off" in str(decoder.failure)


def test_a_message_that_comes_alone_is_not_copied() -> None:
    decoder = HeaderFrames(1 << 30)
    body = b"x" * (1 << 20)
    data = written("lsp", body)
    assert decoder.feed(data[: 1 << 16]) == []
    found = decoder.feed(data[1 << 16 :])
    assert isinstance(found[0], bytearray)
    assert found == [body]
