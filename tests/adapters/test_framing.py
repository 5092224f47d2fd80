"""Chunks that are cut here read as h11 reads them: the same bytes at each call, the same end, the same words for a fault."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_step_adapters._framing import Framing, new_connection

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
REQUEST = ("POST", "/", [(b"host", b"x")], b"")

DATA = st.binary(min_size=1, max_size=40) | st.text("abc\r\n0 :", min_size=1, max_size=40).map(str.encode)


@st.composite
def chunks(draw: Any) -> bytes:
    """A chunk, most often a plain one."""
    data = draw(DATA)
    plain = b"%x\r\n%s\r\n" % (len(data), data)
    kind = draw(st.sampled_from(("plain",) * 8 + ("size", "line", "foot")))
    size, line, foot = b"%x" % len(data), b"\r\n", b"\r\n"
    if kind == "plain":
        return plain
    if kind == "size":
        size = draw(
            st.sampled_from(
                (size.upper(), size.rjust(4, b"0"), size.rjust(16, b"0"), size.rjust(20, b"0"), size.rjust(21, b"0"))
                + (size + b";x", size + b";x=1", size + b" ", size + b"\t", b" " + size, b"", b"g", b"-1", b"+2")
                + (b"0x3", b"1_0", b"f" * 21, b"0")
            )
        )
    elif kind == "line":
        line = draw(st.sampled_from((b"\n", b"\r", b"", b"\r\r\n")))
    else:
        foot = draw(st.sampled_from((b"\n", b"", b"x", b"xx", b"\rx", b"\r\r\n")))
    return size + line + data + foot


BODIES = st.tuples(
    st.lists(chunks(), max_size=8).map(b"".join),
    st.sampled_from(
        (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\na: b\r\n\r\n", b"", b"0", b"5\r\nab", b"5\r\nabcde", b"1\r\na\r")
    ),
    st.sampled_from((b"", b"", b"HTTP")),
).map(b"".join)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of these sizes, over and over; all in one if there are none."""
    pieces, number = [], 0
    while data:
        size = sizes[number % len(sizes)] if sizes else len(data)
        pieces.append(data[:size])
        data, number = data[size:], number + 1
    return pieces


class H11Alone:
    """What h11 says of the same bytes, by its own documentation's loop."""

    def __init__(self, method: str = "POST") -> None:
        self._connection = new_connection()
        self._connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self._connection.send(h11.EndOfMessage())
        self.status: int | None = None
        self.complete = False
        self.fault: str | None = None

    def receive_data(self, data: bytes) -> bytes:
        self._connection.receive_data(data)
        body = b""
        while not self.complete and self.fault is None:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                self.fault = str(error)
                break
            if isinstance(event, h11.Response):
                self.status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.complete = True
            elif isinstance(event, h11.ConnectionClosed):
                self.fault = "closed"
            elif not isinstance(event, h11.InformationalResponse):
                break
        return body

    @property
    def reusable(self) -> bool:
        done = (self._connection.our_state, self._connection.their_state) == (h11.DONE, h11.DONE)
        return self.complete and done and not any(self._connection.trailing_data)


def compare(response: bytes, sizes: list[int], method: str = "POST") -> Framing:
    framing, alone = Framing(), H11Alone(method)
    framing.request(method, *REQUEST[1:])
    for piece in cut(response, sizes):
        # h11 must hear of no end before it comes, and takes nothing after its own.
        assert framing.receive_data(piece) == alone.receive_data(piece)
        assert (framing.status, framing.complete) == (alone.status, alone.complete)
        assert (framing.lost is not None) == (alone.fault is not None)
    assert framing.reusable == alone.reusable
    if not framing.complete and framing.lost is None:
        assert framing.receive_eof() == alone.receive_data(b"")
    assert framing.complete == alone.complete
    if alone.fault is not None and framing.lost is not None and "no valid HTTP" in framing.lost.reason:
        assert framing.lost.reason == f"no valid HTTP: {alone.fault}"[: len(framing.lost.reason)]
    return framing


@given(body=BODIES, sizes=st.lists(st.integers(1, 30), max_size=4))
@example(body=b"5\r\nabcde\rx", sizes=[len(CHUNKED) + 9])
@example(body=b"5\r\nabcdexx", sizes=[])
@example(body=b"3\r\nabc\r\n3\r\nabc", sizes=[1])
# Reads that look like one whole chunk: in another, after the beginning of a size, and with another end.
@example(body=b"f\r\nab5\r\nhello\r\ncde\r\n0\r\n\r\n", sizes=[len(CHUNKED) + 5, 10, 99])
@example(body=b"15\r\nhello\r\nand fourteen!!\r\n0\r\n\r\n", sizes=[len(CHUNKED) + 1, 10, 99])
@example(body=b"5\r\nhelloxx", sizes=[len(CHUNKED), 99])
def test_a_chunked_body_reads_as_h11_reads_it(body: bytes, sizes: list[int]) -> None:
    compare(CHUNKED + body, sizes)


HEADS = {
    "early hints": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 2 + CHUNKED,
    "bare line feeds": CHUNKED.replace(b"\r\n", b"\n"),
    "an empty line first": b"\r\n" + CHUNKED,
    "upper case": CHUNKED.replace(b"chunked", b"Chunked"),
    "HTTP/1.0": CHUNKED.replace(b"/1.1", b"/1.0"),
    "no body": CHUNKED.replace(b"200", b"204"),
    "not modified": CHUNKED.replace(b"200", b"304"),
    "two codings": CHUNKED.replace(b"chunked", b"gzip, chunked"),
    "and a length": CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n"),
    "switching": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n" + CHUNKED,
    "no HTTP": b"\x15\x03\x01 no HTTP\r\n\r\n" + CHUNKED,
}


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("name", HEADS)
def test_whatever_head_comes_first(name: str, size: int, method: str) -> None:
    compare(HEADS[name] + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", [size] if size else [], method)


def test_a_connection_is_used_again_after_chunks() -> None:
    connection = new_connection()
    for _ in range(3):
        framing = Framing(connection)
        framing.request(*REQUEST)
        assert framing.receive_data(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n") == b"abc"
        assert framing.reusable
        connection.start_next_cycle()


def test_what_breaks_inside_a_chunk_is_lost() -> None:
    framing = Framing()
    framing.request(*REQUEST)
    assert framing.receive_data(CHUNKED + b"5\r\nabc") == b"abc"
    assert framing.receive_eof(ConnectionResetError("reset")) == b""
    assert str(framing.lost) == "the connection broke inside the response's body: reset"
    assert not framing.reusable
    assert framing.receive_data(b"de\r\n") == b""


def test_what_ends_between_the_bytes_of_a_size_is_lost() -> None:
    framing = Framing()
    framing.request(*REQUEST)
    assert framing.receive_data(CHUNKED + b"3\r\nabc\r\n0") == b"abc"
    assert framing.receive_eof() == b""
    assert str(framing.lost) == "the connection ended inside the response's body"
