"""AWS frames: what one is, what none is, however cut; and the same as botocore's own parser says."""

from __future__ import annotations

import copy
import pickle
import re
import struct
import tracemalloc
from datetime import datetime, timedelta, timezone
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_step import AWSFrame, AWSFrameDecoder, DecodeError, LimitExceeded, StreamError, encode_aws_frame
from sansio_step.testing import assert_chunk_invariant, chunked, damaged

from .helpers import describe, pieces, splits

EVENT = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
ZERO = datetime(1970, 1, 1, tzinfo=timezone.utc)
TIMES = st.integers(-(10**13), 10**14).map(lambda milliseconds: ZERO + timedelta(milliseconds=milliseconds))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-9, 9),
    st.binary(max_size=40),
    TEXTS,
    TIMES,
    st.uuids(),
)
FRAMES = st.builds(AWSFrame, st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=80))


def raw_frame(headers=b"", payload=b"", *, size=None, headers_size=None, prelude=None, checksum=None):
    """A frame by the letter of the format, with anything in it that is asked for."""
    size = 16 + len(headers) + len(payload) if size is None else size
    head = struct.pack(">II", size, len(headers) if headers_size is None else headers_size)
    head += struct.pack(">I", crc32(head) if prelude is None else prelude)
    body = head + headers + payload
    return body + struct.pack(">I", crc32(body) if checksum is None else checksum)


def header(name, kind, data=b""):
    return bytes([len(name)]) + name + bytes([kind]) + data


def reading(chunks, **options):
    """All frames of a body, and its fault."""
    decoder = AWSFrameDecoder(**options)
    frames = []
    try:
        for chunk in chunks:
            got = decoder.receive_data(chunk)
            frames += zip(got, decoder.offsets, strict=True)
        assert decoder.receive_eof() == []
    except StreamError as error:
        assert error is decoder.fault
    assert [offset for _, offset in frames] == sorted({offset for _, offset in frames})
    return [frame for frame, _ in frames], describe(decoder.fault), decoder.pending


def fault_of(body, **options):
    decoder = AWSFrameDecoder(**options)
    with pytest.raises(StreamError) as caught:
        decoder.receive_data(body)
    return caught.value


# --- what a frame is -----------------------------------------------------------------------------------------

# Published by AWS as test vectors of the format, with the checksums that they have there.
VECTORS = [
    ("00000010 00000000 05c248eb 7d98c8ff", AWSFrame({}, b"")),
    ("0000001d 00000000 fd528c5a 7b27666f 6f273a27 62617227 7dc36539 36", AWSFrame({}, b"{'foo':'bar'}")),
    ("00000017 00000007 29860158 04 62797465 02 ff c2f869dc", AWSFrame({"byte": -1}, b"")),
]


@pytest.mark.parametrize(("wire", "frame"), VECTORS)
def test_published_vectors(wire, frame):
    """The bytes that AWS gives for a frame are that frame."""
    assert AWSFrameDecoder().receive_data(bytes.fromhex(wire)) == [frame]


TYPES = [
    (0, b"", True),
    (1, b"", False),
    (2, b"\x80", -128),
    (3, b"\x80\x00", -(2**15)),
    (4, b"\x80\x00\x00\x00", -(2**31)),
    (5, b"\x80" + bytes(7), -(2**63)),
    (6, b"\x00\x02\x00\xff", b"\x00\xff"),
    (7, b"\x00\x03\xe2\x82\xac", "€"),
    (8, b"\x00\x00\x00\x00\x00\x00\x05\xdc", datetime(1970, 1, 1, 0, 0, 1, 500_000, timezone.utc)),
    (8, b"\xff" * 8, datetime(1969, 12, 31, 23, 59, 59, 999_000, timezone.utc)),
    (9, bytes(range(16)), UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")),
]


@pytest.mark.parametrize(("kind", "data", "value"), TYPES)
def test_each_type_of_header(kind, data, value):
    """A header's value has the type that the format gives it, and ends where it ends."""
    (frame,) = AWSFrameDecoder().receive_data(raw_frame(header(b"a", kind, data) + header(b"b", 0), b"payload"))
    assert frame == AWSFrame({"a": value, "b": True}, b"payload")
    assert type(frame.headers["a"]) is type(value)


@given(FRAMES)
def test_what_is_written_is_read_again(frame):
    """Every frame that can be written comes back equal, its values of the same types."""
    (again,) = AWSFrameDecoder().receive_data(encode_aws_frame(frame))
    assert again == frame
    assert list(map(type, again.headers.values())) == list(map(type, frame.headers.values()))


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (True, b"\x00"),
        (False, b"\x01"),
        (2**31 - 1, b"\x04\x7f\xff\xff\xff"),
        (-(2**31), b"\x04\x80\x00\x00\x00"),
        (2**31, b"\x05\x00\x00\x00\x00\x80\x00\x00\x00"),
        (-(2**31) - 1, b"\x05\xff\xff\xff\xff\x7f\xff\xff\xff"),
        (b"\xff", b"\x06\x00\x01\xff"),
        ("€", b"\x07\x00\x03\xe2\x82\xac"),
        (datetime(1970, 1, 1, 1, 0, 0, 1000, timezone(timedelta(hours=1))), b"\x08\x00\x00\x00\x00\x00\x00\x00\x01"),
        (UUID(int=1), b"\x09" + bytes(15) + b"\x01"),
    ],
)
def test_each_type_of_value_is_written_as_its_own(value, data):
    """The bytes are those of the format, with the shortest of the two usual integers."""
    assert encode_aws_frame(AWSFrame({"é": value}, b"p")) == raw_frame(b"\x02\xc3\xa9" + data, b"p")


def test_a_frame_can_be_used_as_other_objects():
    """It compares, copies, pickles and shows itself on one line, whatever a server put into it."""
    frame = AWSFrame({":event-type": "evil\x1b\n\u202e" + "x" * 200}, b"\x1b" * 500)
    assert copy.deepcopy(frame) == pickle.loads(pickle.dumps(frame)) == frame != AWSFrame({}, frame.payload)
    assert len(repr(frame)) < 400
    assert repr(frame).isprintable()
    assert repr(AWSFrame({"a": 1}, b"p")) == "AWSFrame(headers={'a': 1}, payload=b'p')"
    with pytest.raises(AttributeError):
        frame.payload = b""


# --- however cut -----------------------------------------------------------------------------------------------

BODY = b"".join(encode_aws_frame(AWSFrame({**EVENT, "n": number}, b"x" * number)) for number in range(4))
BROKEN = [
    BODY,
    BODY[:-1],
    BODY + raw_frame(prelude=1),
    BODY + raw_frame(checksum=1) + BODY,
    BODY + raw_frame(b"\x01"),
    BODY + raw_frame(payload=b"y" * 200),
    BODY + b"data: {}\n\n",
]


@pytest.mark.parametrize("body", BROKEN)
def test_the_cutting_never_shows(body):
    """Byte by byte, whole, cut anywhere: the same frames, then the same fault at the same place, under a limit too."""
    expected = reading([body], max_event_size=150)
    for chunks in splits(body):
        assert reading(chunks, max_event_size=150) == expected
    assert_chunk_invariant(lambda: AWSFrameDecoder(max_event_size=150), body)


@given(
    st.lists(FRAMES, max_size=4).map(lambda frames: b"".join(map(encode_aws_frame, frames))).flatmap(damaged), st.data()
)
def test_the_cutting_of_damaged_bodies_never_shows(body, data):
    """Whatever a network does to a body, frames or a typed error come of it, and the same however it is cut."""
    assert reading(data.draw(chunked(body)), max_event_size=500) == reading([body], max_event_size=500)


@given(st.binary(max_size=80), st.data())
def test_any_headers_are_read_or_refused(data, drawn):
    """With checksums that are right, so that the headers are what is looked at."""
    body = raw_frame(data, b"p")
    frames, fault, _ = reading([body])
    assert (len(frames) == 1) == (fault is None)
    assert fault is None or fault[0] is DecodeError
    for frame in frames:
        assert AWSFrameDecoder().receive_data(encode_aws_frame(frame)) == [frame]
    assert reading(drawn.draw(chunked(body))) == (frames, fault, 0)


def test_frames_before_a_fault_are_returned():
    """Then the next call raises it, and each later one, and it can be read at once."""
    decoder = AWSFrameDecoder()
    assert len(decoder.receive_data(BODY + raw_frame(checksum=7) + BODY)) == 4
    assert (decoder.fault.event_number, decoder.fault.byte_offset) == (4, len(BODY))
    for call in (decoder.receive_eof, lambda: decoder.receive_data(b"")):
        with pytest.raises(DecodeError, match=rf"^the checksum of a frame is wrong \(event 4, byte {len(BODY)}\)$"):
            call()
    assert decoder.pending == 0


@pytest.mark.parametrize("size", [1, 40, 1000])
def test_where_frames_begin(size):
    """Each of those that were returned last has its place in the body, by which errors of layers above name it."""
    decoder = AWSFrameDecoder()
    found = []
    for chunk in pieces(BODY, size):
        decoder.receive_data(chunk)
        found += decoder.offsets
    sizes = [len(encode_aws_frame(frame)) for frame in reading([BODY])[0]]
    assert found == [0, sizes[0], sizes[0] + sizes[1], sum(sizes[:3])]


def test_the_end_of_a_body():
    """A frame that is cut off is discarded, and can be seen; after the end nothing is read."""
    decoder = AWSFrameDecoder()
    assert decoder.receive_data(BODY + BODY[:30])[0].headers["n"] == 0
    assert (decoder.pending, repr(decoder)) == (30, "<AWSFrameDecoder frames=4 fault=None>")
    assert (decoder.receive_eof(), decoder.receive_eof(), decoder.pending) == ([], [], 30)
    with pytest.raises(ValueError, match="after receive_eof"):
        decoder.receive_data(b"")


def test_bytes_alone_are_taken():
    """Any bytes-like object, and no str."""
    assert AWSFrameDecoder().receive_data(memoryview(BODY)) == AWSFrameDecoder().receive_data(bytearray(BODY))
    with pytest.raises(TypeError, match="expected bytes, bytearray or memoryview, not str"):
        AWSFrameDecoder().receive_data("")


def test_the_cost_is_that_of_the_bytes():
    """A frame of 8 MiB in pieces of 1 KiB, none of which is looked at twice or kept twice."""
    body = encode_aws_frame(AWSFrame(EVENT, bytes(8 << 20)))
    tracemalloc.start()
    try:
        (frame,), fault, _ = reading(pieces(body, 1024))
        assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    finally:
        tracemalloc.stop()
    assert fault is None
    assert len(frame.payload) == 8 << 20


# --- what no frame is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"event: message_start\n", r"^no AWS frame begins with b'event: messa': the checksum of its lengths is wrong \(event 0, byte 0\)$"),
        (raw_frame(size=15), "^a frame of 15 bytes can't have 0 bytes of headers"),
        (raw_frame(headers_size=1), "^a frame of 16 bytes can't have 1 bytes of headers"),
        (raw_frame(size=2**20, headers_size=128 * 1024 + 1), "can't have 131073 bytes of headers"),
        (raw_frame(payload=b"a", checksum=0), "^the checksum of a frame is wrong"),
        (raw_frame(b"\x01a"), "^the headers end inside one"),
        (raw_frame(b"\x05a"), "^the headers end inside one"),
        (raw_frame(header(b"a", 4, b"\0\0\0")), "^the headers end inside one"),
        (raw_frame(header(b"a", 7, b"\0")), "^the headers end inside one"),
        (raw_frame(header(b"a", 7, b"\0\2b")), "^the headers end inside one"),
        (raw_frame(header(b"a", 6, b"\0\2b")), "^the headers end inside one"),
        (raw_frame(header(b"a", 9, bytes(15))), "^the headers end inside one"),
        (raw_frame(header(b"a", 8, bytes(7))), "^the headers end inside one"),
        (raw_frame(header(b"a\x1b", 10)), r"^header 'a\\x1b' has the unknown type 10"),
        (raw_frame(header(b"a", 0) + header(b"a", 1)), "^two headers are called 'a'"),
        (raw_frame(header(b"\xff", 0)), "^a header is not UTF-8"),
        (raw_frame(header(b"a", 7, b"\0\1\xff")), "^a header is not UTF-8"),
        (raw_frame(header(b"a", 8, b"\x7f" + bytes(7))), "^header 'a' is no time: 9151314442816847872 ms since 1970"),
    ],
)  # fmt: skip
def test_what_is_no_frame(body, reason):
    """A typed error with what is wrong, on one line."""
    error = fault_of(body)
    assert type(error) is DecodeError
    assert re.search(reason, str(error)), str(error)


def test_a_frame_over_the_limit_is_refused_by_its_length():
    """As soon as its length is known, before any of it is kept, and in one piece too."""
    body = raw_frame(payload=bytes(85))
    assert len(AWSFrameDecoder(max_event_size=101).receive_data(body)) == 1
    for data in (body, body[:12]):
        error = fault_of(data, max_event_size=100)
        assert type(error) is LimitExceeded
        assert (error.name, error.limit, error.event_number, error.byte_offset) == ("max_event_size", 100, 0, 0)
    with pytest.raises(LimitExceeded):
        AWSFrameDecoder().receive_data(raw_frame(size=16 * 1024 * 1024 + 1)[:12])
    with pytest.raises(ValueError, match="max_event_size is 0, must be at least 1"):
        AWSFrameDecoder(max_event_size=0)
    assert AWSFrameDecoder(max_event_size=1).receive_data(b"") == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (AWSFrame({"a" * 256: 1}), "a header's name of 256 bytes, more than 255"),
        (AWSFrame({"a": "b" * 32768}), "header 'a' has 32768 bytes, more than 32767"),
        (AWSFrame({"a": 2**63}), "header 'a' is an integer of more than 64 bits"),
        (AWSFrame({"a": -(2**63) - 1}), "header 'a' is an integer of more than 64 bits"),
        (AWSFrame({"a": datetime(2026, 1, 1)}), "header 'a' is a time without a zone"),
        (AWSFrame({"a": ZERO + timedelta(microseconds=1)}), "header 'a' is a time with a part of a millisecond"),
        (AWSFrame({str(number): b"a" * 32767 for number in range(4)}), "131088 bytes of headers, more than 131072"),
        (AWSFrame({}, bytes(16 * 1024 * 1024)), "a frame of 16777232 bytes, more than 16777216"),
    ],
)
def test_what_the_format_cannot_carry_is_not_written(frame, reason):
    """A ValueError says what it is."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        encode_aws_frame(frame)


def test_the_most_that_the_format_carries_is_written():
    """Names of 255 bytes, values of 32,767, integers of 64 bits, headers of 128 KiB, and a frame of 16 MiB."""
    values = {"a" * 255: b"b" * 32767, "c": "d" * 32767, "e": 2**63 - 1, "f": -(2**63), "g": b"h" * 32767}
    rest = 128 * 1024 - len(encode_aws_frame(AWSFrame(values))) + 16
    frame = AWSFrame({**values, "i": b"j" * (rest - 5)})
    frame = AWSFrame(frame.headers, bytes((16 << 20) - len(encode_aws_frame(frame))))
    written = encode_aws_frame(frame)
    assert (len(written), struct.unpack_from(">I", written, 4)[0]) == (16 << 20, 128 * 1024)
    assert AWSFrameDecoder().receive_data(written) == [frame]


def test_a_wrong_argument_is_a_type_error():
    """Of the frame itself, and of a header's value."""
    with pytest.raises(TypeError, match="expected an AWSFrame, not bytes"):
        encode_aws_frame(b"")
    with pytest.raises(TypeError, match="header 'a' is a float"):
        encode_aws_frame(AWSFrame({"a": 1.5}))


# --- botocore ----------------------------------------------------------------------------------------------------


def botocore_reading(chunks):
    """The frames of botocore's own parser, and whether it raised; its times are integers, its UUIDs bytes."""
    eventstream = pytest.importorskip("botocore.eventstream", reason="botocore is not installed")
    buffer, frames = eventstream.EventStreamBuffer(), []
    try:
        for chunk in chunks:
            buffer.add_data(chunk)
            for message in buffer:
                frames.append((message.headers, message.payload))
    except Exception:  # of many kinds: KeyError, struct.error, its own
        return frames, True
    return frames, False


def as_botocore(frame):
    def value(of):
        if isinstance(of, datetime):
            return (of - ZERO) // timedelta(milliseconds=1)
        return of.bytes if isinstance(of, UUID) else of

    return {name: value(of) for name, of in frame.headers.items()}, frame.payload


@given(st.lists(FRAMES, max_size=4), st.data())
def test_botocore_reads_what_is_written(frames, data):
    """Every frame of ours, cut in any way, with the same names, values and payload."""
    chunks = data.draw(chunked(b"".join(map(encode_aws_frame, frames))))
    assert botocore_reading(chunks) == ([as_botocore(frame) for frame in frames], False)


@given(st.lists(FRAMES, max_size=4).map(lambda frames: b"".join(map(encode_aws_frame, frames))).flatmap(damaged))
def test_botocore_says_the_same_of_damaged_bodies(body):
    """The same frames up to the same fault. (It takes the end of a body for the end of its frames, as we do.)"""
    frames, fault, _ = reading([body])
    assert ([as_botocore(frame) for frame in frames], fault is not None) == botocore_reading([body])


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from(TYPES), max_size=3).map(
        lambda types: b"".join(header(bytes([97 + place]), kind, data) for place, (kind, data, _) in enumerate(types))
    )
)
@example(header(b"a", 7, b"\0\2b"))  # it takes two bytes of one there
def test_botocore_reads_all_headers_that_are_read_here(data):
    """It reads more than that: values cut short by the end of the headers, and times beyond the year 9999."""
    frames, fault, _ = reading([raw_frame(data)])
    if fault is None:
        assert botocore_reading([raw_frame(data)]) == ([as_botocore(frame) for frame in frames], False)


@pytest.mark.parametrize("frame", [AWSFrame({5: 1}), AWSFrame({}, "text")])
def test_a_frame_of_other_types_cannot_be_written(frame):
    with pytest.raises(TypeError, match="^the payload of an AWSFrame is bytes, and the names of its headers are str$"):
        encode_aws_frame(frame)


@pytest.mark.parametrize(
    "value", [2**63, datetime(2026, 1, 1), ZERO + timedelta(microseconds=1), "b" * 32768, 1.5], ids=lambda value: type(value).__name__
)  # fmt: skip
def test_80_characters_of_a_name_are_shown(value):
    """Of one that is written; a name can have 255 bytes."""
    for name, shown in (("n" * 80, repr("n" * 80)), ("n" * 81, repr("n" * 80) + "...")):
        with pytest.raises((ValueError, TypeError), match=rf"^header {re.escape(shown)} (is|has) "):
            encode_aws_frame(AWSFrame({name: value}))


@pytest.mark.parametrize(
    ("times", "value", "text"),
    [
        (1, b"\x0a", "header {} has the unknown type 10"),
        (1, b"\x08\x7f" + bytes(7), "header {} is no time: 9151314442816847872 ms since 1970"),
        (2, b"\x00", "two headers are called {}"),
    ],
)
def test_80_characters_of_a_name_that_came_are_shown(times, value, text):
    for length, shown in ((80, repr("n" * 80)), (81, repr("n" * 80) + "...")):
        error = fault_of(raw_frame((bytes((length,)) + b"n" * length + value) * times))
        assert error.reason == text.format(shown)
