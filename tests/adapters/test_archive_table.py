"""`decode_table`: a column of bodies to one row for each, whatever is in it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pyarrow as pa
import pytest
from archivefiles import event, only, stream

import sansio_step
from sansio_step import AWSFrame, encode_aws_frame, parse, to_dict
from sansio_step_adapters.archive import SCHEMA, decode_batches, decode_table

WHOLE = stream(tool=('{"at": ', "1}"))
DOCUMENT = json.dumps(to_dict(parse(WHOLE))).encode()


def row_of(body: Any, kind: pa.DataType | None = None, **options: Any) -> dict[str, Any]:
    (row,) = decode_table(pa.table({"body": pa.array([body], kind or pa.binary())}), **options).to_pylist()
    return row


def test_the_columns_of_a_whole_stream() -> None:
    """Each column says what its name says; `message` is the whole message and `input` the call's JSON as it came."""
    row = row_of(WHOLE)
    assert json.loads(row.pop("message")) == to_dict(parse(WHOLE))
    assert row == {
        "form": "stream",
        "outcome": "complete",
        "message_id": "msg_1",
        "model": "step-3.7-flash",
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "service_tier": "standard",
        "text": "Hello",
        "thinking": None,
        "tool_uses": [{"id": "toolu_1", "name": "look", "input": '{"at": 1}', "valid": True}],
        "block_types": ["text", "tool_use"],
        "input_tokens": 3,
        "output_tokens": 7,
        "cache_read_input_tokens": None,
        "cache_creation_input_tokens": None,
        "usage_is_final": True,
        "other_messages": None,
        "unapplied": None,
        "message_count": 1,
        "event_count": 10,
        "body_bytes": len(WHOLE),
        "deviations": [],
        "error": None,
        "error_type": None,
        "error_message": None,
        "error_event": None,
        "error_offset": None,
        "request_id": None,
        "decoder_version": sansio_step.__version__,
    }
    assert list(SCHEMA.names) == list(row_of(WHOLE))


@pytest.mark.parametrize(
    "body",
    [
        base64.b64encode(WHOLE),
        base64.urlsafe_b64encode(WHOLE),
        base64.encodebytes(WHOLE),
        gzip.compress(WHOLE),
        gzip.compress(WHOLE[:50]) + gzip.compress(WHOLE[50:]),
        base64.b64encode(gzip.compress(WHOLE)),
        b"\xef\xbb\xbf" + WHOLE,
        b"\r\n" + WHOLE,
    ],
)
def test_packed_bodies_are_unpacked(body: bytes) -> None:
    """Base64 in its alphabets and with line ends, gzip of some members, one in the other: the same row."""
    row, plain = row_of(body), row_of(WHOLE)
    row["body_bytes"] = plain["body_bytes"]
    assert row == plain


def test_events_in_an_array() -> None:
    """As objects, or as pieces of the stream's text; objects have no event lines, so that none is missing."""
    events = [json.loads(part.partition(b"data: ")[2]) for part in WHOLE.split(b"\n\n") if part]
    pieces = [WHOLE[at : at + 100].decode() for at in range(0, len(WHOLE), 100)]
    for body in (json.dumps(events), json.dumps(pieces)):
        row = row_of(body.encode())
        assert (row["form"], row["outcome"], row["event_count"], row["deviations"]) == ("stream", "complete", 10, [])
        assert json.loads(row["message"]) == to_dict(parse(WHOLE))
    broken = row_of(b"[{}")
    assert (broken["form"], broken["outcome"], broken["error"]) == ("unreadable", "failed", "DecodeError")


def test_documents() -> None:
    """A whole message is one without events; an error's envelope is a failure with the server's words."""
    row = row_of(DOCUMENT)
    assert (row["form"], row["outcome"], row["event_count"], row["usage_is_final"]) == ("document", "complete", 0, True)
    assert json.loads(row["message"]) == to_dict(parse(WHOLE))
    row = row_of(b'{"type":"error","error":{"type":"overloaded_error","message":"later"},"request_id":"req_9"}')
    names = ("form", "outcome", "error", "error_type", "error_message", "request_id", "message")
    assert [row[name] for name in names] == [
        "error_document", "failed", "APIError", "overloaded_error", "later", "req_9", None,
    ]  # fmt: skip
    # One JSON text a line, after a first that is no message: the stream's rules find the error.
    lines = row_of(b'{"type":"ping"}\n{"type":"error","error":{"type":"api_error","message":"no"}}\n\n')
    assert (lines["form"], lines["outcome"], lines["error_type"]) == ("error_document", "failed", "api_error")
    assert row_of(b'{"type":"message","content":[]}')["usage_is_final"] is False


@pytest.mark.parametrize(
    ("body", "form", "outcome", "error"),
    [
        (None, "empty", "truncated", None),
        (b"", "empty", "truncated", None),
        (b" \r\n\n" * 1000, "empty", "truncated", None),
        (b": keep-alive\n\n", "stream", "truncated", "IncompleteStream"),
        (b"ev", "stream", "truncated", "IncompleteStream"),
        (b"evil", "unreadable", "failed", "IncompleteStream"),
        (stream(cut=400), "stream", "truncated", "IncompleteStream"),
        (base64.b64encode(stream())[:401], "stream", "truncated", "IncompleteStream"),
        (b"<html>502 Bad Gateway</html>", "unreadable", "failed", "IncompleteStream"),
        (b"{{", "unreadable", "failed", "IncompleteStream"),
        (b"[" * 100_000, "unreadable", "failed", "DecodeError"),
        (b'{"a":' * 100_000, "unreadable", "failed", "IncompleteStream"),
        (b"\x1f\x8bnothing", "unreadable", "failed", "DecodeError"),
        (b"abcdefgh" * 10, "unreadable", "failed", "IncompleteStream"),
        (b"abcdefgh!!!!", "unreadable", "failed", "IncompleteStream"),
        (b"abcdefgh====!", "unreadable", "failed", "IncompleteStream"),
        (b'data: {"choices":[]}\n\ndata: [DONE]\n\n', "stream", "truncated", "IncompleteStream"),
        (stream()[:500].rpartition(b"\n\n")[0] + b"\n\n" + event("error", error={"type": "overloaded_error", "message": "m"}),
         "stream", "failed", "APIError"),
        (b"data: {broken\n\n", "stream", "failed", "DecodeError"),
    ],
)  # fmt: skip
def test_every_body_is_a_row(body: bytes | None, form: str, outcome: str, error: str | None) -> None:
    """Nothing raises, and a cut stream, an error and something else altogether are told apart."""
    row = row_of(body)
    assert (row["form"], row["outcome"], row["error"]) == (form, outcome, error)


def test_what_is_wrong_is_said_where_it_is() -> None:
    """The number of the event and the offset of its frame stand beside the error's text; deviations are listed."""
    first = stream()[: stream().index(b"event: content_block_start")]
    row = row_of(first + b"event: content_block_delta\ndata: {\n\n")
    assert (row["error"], row["error_event"], row["error_offset"]) == ("DecodeError", 1, len(first))
    row = row_of(WHOLE.replace(b"event: message_stop\n", b""))
    assert row["outcome"] == "complete"
    assert [(found["code"], found["event_number"], found["count"]) for found in row["deviations"]] == [
        ("no_event_line", 9, 1)
    ]
    strict = row_of(WHOLE.replace(b"event: message_stop\n", b""), strict=True)
    assert (strict["outcome"], strict["error"], strict["error_type"]) == (
        "failed",
        "ProtocolViolation",
        "no_event_line",
    )


def test_cut_tool_arguments_are_never_valid() -> None:
    """Neither those of a call that the stream broke off in, nor those that ended broken. The text is kept as it came."""
    whole = stream(tool=('{"seats": 1', "2}"))
    cut = whole[: whole.index(b'"2}"')].rpartition(b"\n\n")[0] + b"\n\n"
    for body in (cut, stream(tool=('{"seats": 1',))):
        assert row_of(body)["tool_uses"] == [{"id": "toolu_1", "name": "look", "input": '{"seats": 1', "valid": False}]
    prefilled = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}
    document = {"type": "message", "content": [prefilled]}
    assert row_of(json.dumps(document).encode())["tool_uses"] == [
        {"id": "t", "name": "n", "input": '{"a":1}', "valid": True}
    ]


def test_thinking_and_several_texts() -> None:
    """Texts are joined, and null if there is no such block."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "unheard_of", "x": 1},
        {"type": "text", "text": "b"},
        {"type": "thinking", "thinking": "m", "signature": "s"},
    ]
    row = row_of(json.dumps({"type": "message", "content": content}).encode())
    assert (row["text"], row["thinking"]) == ("ab", "hmm")
    assert row["block_types"] == ["thinking", "text", "unheard_of", "text", "thinking"]
    assert (row["input_tokens"], row["output_tokens"]) == (None, None)


def test_several_messages_in_one_body() -> None:
    """The columns speak of the last; the others are in `other_messages`, whole."""
    row = row_of(stream(id="msg_a") + stream("second", id="msg_b"))
    assert (row["message_count"], row["message_id"], row["text"]) == (2, "msg_b", "second")
    (other,) = json.loads(row["other_messages"])
    assert other == to_dict(parse(stream(id="msg_a")))


def test_deltas_that_fit_nowhere_are_kept() -> None:
    """With their index, as JSON."""
    strange = event("content_block_delta", index=0, delta={"type": "glow_delta", "glow": 3})
    row = row_of(stream().replace(event("content_block_stop", index=0), strange + event("content_block_stop", index=0)))
    assert json.loads(row["unapplied"]) == [{"index": 0, "delta": {"type": "glow_delta", "glow": 3}}]


def test_without_the_message() -> None:
    """`message=False` leaves the two columns of messages null and changes no other."""
    body = stream() + stream()
    short, long = row_of(body, message=False), row_of(body)
    assert long["message"]
    assert long["other_messages"]
    assert short == {**long, "message": None, "other_messages": None}


def test_a_count_of_more_than_64_bits() -> None:
    """It is no count that a column can hold; the message has it."""
    row = row_of(DOCUMENT.replace(b'"output_tokens": 7', b'"output_tokens": 9223372036854775808'))
    assert row["output_tokens"] is None
    assert "9223372036854775808" in row["message"]


def test_a_body_over_the_limit() -> None:
    """It is not read, packed or not, and its row says which limit."""
    body = stream("x" * 5000)
    for packed in (body, gzip.compress(body), base64.b64encode(gzip.compress(body)), base64.b64encode(body)):
        row = row_of(packed, max_body_size=5000)
        assert (row["form"], row["outcome"], row["error"]) == ("unreadable", "failed", "LimitExceeded")
        assert "max_body_size" in (row["error_type"] or row["error_message"])
    assert row_of(body, max_body_size=len(body))["outcome"] == "complete"
    with pytest.raises(ValueError, match="max_body_size is 0"):
        row_of(body, max_body_size=0)


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary(len(WHOLE)), pa.string(), pa.large_string(), pa.string_view(),
     pa.binary_view(), pa.dictionary(pa.int32(), pa.string())],
)  # fmt: skip
def test_columns_of_any_text(kind: pa.DataType) -> None:
    """Strings and bytes of each Arrow type, with nulls between."""
    array = pa.array([WHOLE, None, WHOLE], pa.binary())
    if pa.types.is_dictionary(kind):
        array = array.cast(pa.string()).dictionary_encode()
    elif pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_string_view(kind):
        text = pa.types.is_string_view(kind)
        array = pa.array([WHOLE.decode() if text else WHOLE, None, WHOLE.decode() if text else WHOLE], kind)
    else:
        array = array.cast(kind)
    rows = decode_table(pa.table({"body": array})).to_pylist()
    assert only(rows, "outcome", "text") == [("complete", "Hello"), ("truncated", None), ("complete", "Hello")]


def test_a_column_of_nothing() -> None:
    """Nulls without a type are empty bodies, a table without rows stays one."""
    assert row_of(None, pa.null())["form"] == "empty"
    empty = decode_table(pa.table({"id": pa.array([], pa.int64()), "body": pa.array([], pa.string())}))
    assert (len(empty), empty.column_names) == (0, ["id", *SCHEMA.names])


def test_wrong_columns_are_wrong_arguments() -> None:
    """A missing column is a KeyError that names those there are, one of numbers a TypeError."""
    with pytest.raises(KeyError, match="no column 'body'; there are a, b"):
        decode_table(pa.table({"a": [1], "b": [2]}))
    with pytest.raises(TypeError, match="int64 holds no bodies"):
        decode_table(pa.table({"body": [1]}))


def test_other_columns_pass_through() -> None:
    """In front, in their order, with their types; one that is called like a new one gets a prefix, until it is free."""
    table = pa.table({
        "id": pa.array([1], pa.int16()),
        "model": ["theirs"],
        "body": [WHOLE],
        "input_tokens": [5],
        "input_input_tokens": [6],
    })  # fmt: skip
    found = decode_table(table)
    assert found.column_names == ["id", "input_model", "input_input_input_tokens", "input_input_tokens", *SCHEMA.names]
    (row,) = found.to_pylist()
    assert (row["id"], row["input_model"], row["model"]) == (1, "theirs", "step-3.7-flash")
    assert (row["input_input_input_tokens"], row["input_input_tokens"], row["input_tokens"]) == (5, 6, 3)
    assert found.schema.field("id").type == pa.int16()


def test_batches_as_spark_has_them() -> None:
    """A batch, a sliced one, and an iterator of them: as many rows out as in, in order; none of more than 1,024 rows."""
    table = pa.table({"n": range(3000), "body": [WHOLE if at % 2 else b"" for at in range(3000)]})
    (batch,) = table.to_batches()
    assert decode_table(batch.slice(1, 2))["outcome"].to_pylist() == ["complete", "truncated"]
    batches = list(decode_batches(iter([batch, batch.slice(0, 0)]), message=False))
    found = pa.Table.from_batches(batches)
    assert found["n"].to_pylist() == list(range(3000))
    assert max(len(one) for one in batches) <= 1024


def test_frames_of_aws() -> None:
    """Bedrock's bytes, also in base64, as the decoder of the core reads them; a broken frame is an error in the row."""
    body = b""
    for part in WHOLE.split(b"\n\n")[:-1]:
        chunk = {"bytes": base64.b64encode(part.partition(b"data: ")[2]).decode()}
        headers = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
        frame = AWSFrame(headers, json.dumps(chunk).encode())
        body += encode_aws_frame(frame)
    for packed in (body, base64.b64encode(body)):
        row = row_of(packed)
        assert (row["form"], row["outcome"], row["error"], row["event_count"]) == ("stream", "complete", None, 10)
        assert json.loads(row["message"]) == to_dict(parse(WHOLE))
    cut = row_of(body[:-20])
    assert (cut["outcome"], cut["error"]) == ("complete", None)  # the stop_reason has come
    assert [found["code"] for found in cut["deviations"]] == ["unfinished_event", "no_message_stop"]
    cut = row_of(body[: len(body) // 2])
    assert (cut["outcome"], cut["error"]) == ("truncated", "IncompleteStream")
    broken = row_of(body[: len(body) // 2] + bytes((body[len(body) // 2] ^ 1,)) + body[len(body) // 2 + 1 :])
    assert (broken["outcome"], broken["error"]) == ("failed", "DecodeError")


def test_what_nobody_thought_of_is_an_error_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the library's own code costs one row, and not the job."""

    def consume(self: object, data: bytes) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(sansio_step.MessageStream, "consume", consume)
    rows = decode_table(pa.table({"body": [WHOLE, DOCUMENT]})).to_pylist()
    assert only(rows, "outcome", "error", "error_message") == [
        ("failed", "MemoryError", "no room"),
        ("complete", None, None),
    ]
