"""The byte work under every decoder: frames out of chunks, what waits, and what it costs."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from sansio_step import EventDecoder, MessageStream, SSEDecoder, StreamError
from sansio_step._frames import FrameReader, fields_of_frames, read_one, split_frames

from .helpers import by_the_letter, delta, pieces, splits, whole


def feed(chunks, limit=10_000):
    reader = FrameReader(limit)
    return b"".join(reader.feed(chunk) for chunk in chunks), reader


@pytest.mark.parametrize(
    ("raw", "frames", "pending"),
    [
        (b"a: 1\n\nb: 2\n\n", b"a: 1\n\nb: 2\n\n", b""),
        (b"a: 1\r\n\r\nb: 2\r\r", b"a: 1\n\nb: 2\n\n", b""),
        (b"a: 1\r\n\nb: 2\n\r\n", b"a: 1\n\nb: 2\n\n", b""),
        (b"a: 1\n\nb: 2", b"a: 1\n\n", b"b: 2"),
        (b"a: 1\n\nb: 2\r", b"a: 1\n\n", b"b: 2\n"),
        (b"\xef\xbb\xbfa: 1\n\n\xef\xbb\xbfb\n\n", b"a: 1\n\n\xef\xbb\xbfb\n\n", b""),
        (b"a: 1\n: never kept", b"", b"a: 1\n"),
        (b"a: 1\n: never kept\nb: 2", b"", b"a: 1\nb: 2"),
        (b": never kept", b"", b""),
        (b"\n\n\n\r\n", b"", b""),
        (b"\xef\xbb", b"", b""),
    ],
)
def test_frames_in_one_common_form(raw, frames, pending):
    """LF is the only line end that comes out, the BOM is gone, comments never wait; the same for every cutting.

    Comments and empty lines around whole frames may come through or not: what reads the frames drops them.
    """

    def lines_of(ready):
        return [lines for _, lines in split_frames(ready)]

    for chunks in splits(raw):
        ready, reader = feed(chunks)
        assert lines_of(ready) == lines_of(frames)
        assert bytes(reader.pending) == pending


# Frames in every shape that has a way of its own, and in some that have none.
FRAMES = [
    b"data: 1\n\n", b"data:1\n\n", b"data\n\n", b"data: \n\n", b"data:\ndata:\n\n", b"data: 1\ndata: 2\ndata:3\n\n",
    b"data: 1\ndata\n\n", b"event: a\ndata: 1\n\n", b"event:a\ndata:1\n\n", b"event: \ndata: 1\n\n", b"event\ndata: 1\n\n",
    b"id: 1\ndata: 1\n\n", b"id:\ndata: 1\n\n", b"id\ndata: 1\n\n", b"id: \0\ndata: 1\n\n", b"id: 1\nevent: a\ndata: 1\n\n",
    b"event: a\nid: 1\ndata: 1\n\n", b"data: 1\nid: 1\n\n", b"data: 1\nevent: a\n\n", b"retry: 1\ndata: 1\n\n", b": c\ndata: 1\n\n",
    b"data: 1\n: c\n\n", b"data: 1\n: c\ndata: 2\n\n", b": c\n\n", b"\n", b"\n\n", b"event: a\n\n", b"id: 1\n\n", b"x\n\n", b"xdata: 1\n\n",
    b":data: 1\n\n", b"data: data: 1\ndata: data:2\n\n", b"event: event: a\ndata: 1\n\n", b"datax: 1\n\n", b"data: \xff\0\x0b\x85\n\n",
]  # fmt: skip


@pytest.mark.parametrize("first", FRAMES)
def test_each_way_reads_a_frame_by_the_letter(first):
    """The pattern for the usual shapes, the short cut and the loop give what the standard says, for any two neighbours."""
    for ready in (*(first + second for second in FRAMES), b"data: 0\n\n" + first + b"event: a\ndata: 9\n\n" * 3):
        expected = [by_the_letter(b"\n".join(lines)) for _, lines in split_frames(ready)]
        # A frame that says nothing may come through as one without fields.
        assert [fields for fields in fields_of_frames(ready) if any(part is not None for part in fields)] == [
            fields for fields in expected if any(part is not None for part in fields)
        ]
    fields = read_one(first)
    assert fields[1] is None or [fields] == [by_the_letter(b"\n".join(lines)) for _, lines in split_frames(first)]


def test_a_chunk_of_one_frame():
    """A frame in a usual shape, LF or CRLF, with comments around it, is read in one match; another is left alone."""
    assert read_one(b"event: a\r\ndata: 1\r\n\r\n") == (b"a", b"1", None, None, None)
    assert read_one(b": c\n\nid: 7\nevent:a\ndata:1\ndata: 2\ndata:3\n\n") == (b"a", b"1\n2\n3", b"7", None, None)
    for other in (b"event: a\rdata: 1\n\n", b"data: a\rb\r\n\r\n", b"", b"data: 1\n\ndata: 2\n\n"):
        assert read_one(other) == (None,) * 5


HOSTILE = {
    "keep-alive comments": b":\n\n",
    "one block of comments": b":\n",
    "empty lines": b"\n",
    "data lines": b"data:\n",
    "data lines with text": b"data: x\n",
    "names in one line": b"event: ",
    "ids in one line": b"id: ",
    "events without data": b"event: a\n\n",
    "unknown lines": b"x\n",
    "carriage returns": b"\r",
    "CRLF": b"data:\r\n",
}


@pytest.mark.parametrize("tail", [b"\n\n", b"id: 1\n\n", b"data: x\n\n"])
@pytest.mark.parametrize("name", HOSTILE)
def test_cost_is_linear_in_bytes(name, tail):
    """Half a megabyte of nothing much takes no longer than half a megabyte of events would, whatever it is made of.

    Looking for the next event from each of 100,000 lines, with all that follows, would take minutes.
    """
    body = b"event: a\ndata: b\n\n" * 2 + HOSTILE[name] * (500_000 // len(HOSTILE[name])) + tail
    for decoder in (SSEDecoder(), EventDecoder(), MessageStream()):
        started = time.process_time()
        with suppress(StreamError):
            decoder.receive_data(body)
        assert time.process_time() - started < 5


def test_cost_is_linear_however_small_the_pieces():
    """A line of megabytes in small pieces is not searched again for each piece."""
    line = delta(text="x" * 3_000_000)
    started = time.process_time()
    stream = MessageStream()
    for piece in pieces(line, 100):
        stream.receive_data(piece)
    assert stream.message is not None
    assert len(stream.message.text) == 3_000_000
    assert time.process_time() - started < 5


@pytest.mark.parametrize("line", [b"data: " + b"x" * 40 + b"\n", b"data: " + b"x" * 40 + b"\n: c\n"])
def test_cost_is_linear_however_many_lines(line):
    """An event of megabytes that comes line by line is not searched for its end, or for comments, from its start again."""
    started = time.process_time()
    decoder = SSEDecoder()
    for _ in range(60_000):
        decoder.receive_data(line)
    (event,) = decoder.receive_data(b"\n")
    assert len(event.data) == 41 * 60_000 - 1
    assert time.process_time() - started < 5


def test_offsets_are_those_of_the_wire():
    """A frame starts at its first line that is not a comment, counted in bytes as they came."""
    raw = b"\xef\xbb\xbf: c\r\n\r\ndata: 1\r\n: d\r\n\r\n\ndata: 2\r\r"
    for chunks in splits(raw):
        reader, offsets = FrameReader(1000), []
        for chunk in chunks:
            ready = reader.feed(chunk)
            offsets += [reader.offset_of(start) for start, _ in split_frames(ready)]
        assert offsets == [raw.index(b"data: 1"), raw.index(b"data: 2")]


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n: c\r\n: d\r\ndata: 1\r\n\r\n\r\ndata: 2\n\n: e\n: f\r\n\r\n\r\ndata: 3\r\nx\r\n\r\n",
        b"\xef\xbb\xbf\r\rdata: 1\n: c\nx\n\n: a\n: b\n: c\ndata: 2\r\r:\r\n:\r\ndata: 3\n\n",
        b"x\r\nx\r\n\r\ndata: 1\r\n\r\n\n\n\ndata: 2\n\n:\rdata: 3\r\n: c\r\n\r\n",
    ],
)
def test_offsets_after_comments_and_line_ends(raw):
    """Comments and line ends of two bytes before a frame count in its offset, wherever the body is cut."""
    for chunks in splits(raw):
        reader, offsets = FrameReader(1000), []
        for chunk in chunks:
            ready = reader.feed(chunk)
            offsets += [reader.offset_of(start) for start, lines in split_frames(ready) if lines[0][:4] == b"data"]
        assert offsets == [raw.index(b"data: %d" % number) for number in (1, 2, 3)]


def test_limit_must_be_positive():
    """A limit below one byte is the caller's error."""
    assert FrameReader(1).limit == 1
    with pytest.raises(ValueError, match="max_event_size is 0"):
        FrameReader(0)


@pytest.mark.parametrize(
    ("chunks", "idle"),
    [
        ([], False),  # a BOM may come
        ([b"data: 1\n\n"], True),
        ([b"data: 1\r\n\r\n"], True),
        ([b"data: 1\n", b"\n"], False),  # where its event stood is still to be told
        ([b"data: 1\n", b"\n", b"data: 2\n\n"], True),
        ([b"data: 1\n\ndata"], False),
        ([b"data: 1\n\ndata\n"], False),
        ([b"data: 1\r\r"], False),  # an LF may come that belongs to the last CR
        ([b"data: 1\n\n:"], False),  # what comes is a comment
        ([b"data: 1\n\n: c\n"], True),
        ([b"\xef\xbb"], False),
    ],
)
def test_idle_is_between_frames(chunks, idle):
    """A chunk may be read by itself only if nothing that came before has a say in it."""
    assert feed(chunks)[1].idle is idle


def test_finish_gives_what_is_left():
    """At the end of the body: the unfinished frame as it waits, or the bytes that were half a BOM."""
    assert feed([whole() + b"data: 1\r\n: c"])[1].finish() == b"data: 1\n"
    assert feed([b"\xef\xbb"])[1].finish() == b"\xef\xbb"
    assert feed([b"\xef\xbb\xbf"])[1].finish() == b""
    assert feed([b": c"])[1].finish() == feed([b":"])[1].finish() == b""
    assert feed([b"a", b"b"])[1].finish() == b"ab"
