"""Streams captured from real servers, against the official SDK's reading of each."""

from __future__ import annotations

import json

import pytest

from sansio_step import Outcome, ProtocolViolation, StreamError, iter_events, parse, to_dict

from .helpers import CHUNK_SIZES, pieces, read
from .shared import needs_corpus, streams

pytestmark = needs_corpus

# What departs from the protocol in these captures, and is refused in strict mode.
NOT_LEGAL = {
    "rig--gateway-message-delta-metadata": ["foreign_data", "event_after_stop"],  # "[DONE]" after message_stop
    "sdk-python--basic-response": ["unterminated_event"],
    "sdk-python--compaction-response": ["unterminated_event"],
    "sdk-python--fallback-credit-response": ["unterminated_event"],
}
SPLICED = "vercel-ai--spliced-message-start"


def each(*, without=()):
    return pytest.mark.parametrize(
        "path", [path for path in streams() if path.stem not in without], ids=lambda path: path.stem
    )


def differences(ours, theirs, where=""):
    """The places where two JSON values differ in what both have."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            found
            for key in ours.keys() & theirs.keys()
            for found in differences(ours[key], theirs[key], f"{where}.{key}")
        ]
    if isinstance(ours, list) and isinstance(theirs, list):
        lengths = [] if len(ours) == len(theirs) else [f"{where}: {len(ours)} and {len(theirs)} items"]
        return lengths + [
            found
            for number, (one, other) in enumerate(zip(ours, theirs, strict=False))
            for found in differences(one, other, f"{where}[{number}]")
        ]
    return [] if ours == theirs else [f"{where}: {ours!r} and {theirs!r}"]


def missing(wire, ours, where):
    """The places of a wire object that the message does not carry; null is the same as absent."""
    if isinstance(wire, dict):
        if not isinstance(ours, dict):
            return [where]
        return [
            lost
            for key, value in wire.items()
            if value is not None
            for lost in (missing(value, ours[key], f"{where}.{key}") if key in ours else [f"{where}.{key}"])
        ]
    if isinstance(wire, list):
        if not isinstance(ours, list) or len(wire) > len(ours):
            return [where]
        return [
            lost
            for number, (value, own) in enumerate(zip(wire, ours, strict=False))
            for lost in missing(value, own, f"{where}[{number}]")
        ]
    return [] if wire == ours else [f"{where}: {wire!r} became {ours!r}"]


def wire_events(body):
    """The JSON of each data line, read without this library."""
    for line in body.decode("utf-8").split("\n"):
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            yield json.loads(line[5:])


@each(without=[SPLICED])
def test_equals_the_official_reading(path):
    """The message equals the SDK's wherever both have a field, at each chunk size."""
    body = path.read_bytes()
    expected = json.loads(path.with_suffix("").with_suffix(".expected.json").read_text(encoding="utf-8"))
    first = None
    for size in CHUNK_SIZES:
        shown = read(pieces(body, size))
        first = first or shown
        assert shown == first
    assert first["outcome"] is Outcome.COMPLETE
    if "sdk_error" in expected:
        # The SDK dies on "[DONE]" and loses the whole message; here it is an event, and the message is whole.
        assert path.stem == "rig--gateway-message-delta-metadata"
        assert first["messages"][0]["content"][0]["text"].startswith("A solar eclipse")
        assert first["messages"][0]["usage"]["cost"] == 0.000112
    else:
        assert differences(first["messages"][-1], expected) == []


@each(without=[SPLICED])
def test_nothing_is_lost(path):
    """The message carries every field of message_start's message, of the blocks, message_delta and message_stop."""
    body = path.read_bytes()
    ours = to_dict(parse(body))
    blocks, starts, replaced = ours["content"], {}, {}
    lost = []
    for wire in wire_events(body):
        kind = wire.pop("type")
        if kind == "message_start":
            replaced = {"usage", "content", "stop_reason", "stop_sequence", "model"}
            message = wire["message"]
            lost += missing({key: value for key, value in message.items() if key not in replaced}, ours, "message")
            lost += missing(dict.fromkeys(message.get("usage") or {}, None), ours.get("usage"), "usage keys")
            lost += missing(message["content"], blocks[: len(message["content"])], "prefilled")
        elif kind == "content_block_start":
            starts[wire["index"]] = wire["content_block"]
        elif kind == "message_delta":
            lost += missing(wire.pop("delta"), ours, "delta")
            lost += missing(wire.pop("usage"), ours["usage"], "usage")
            lost += missing(wire, ours, "message_delta")
        elif kind == "message_stop":
            lost += missing(wire, ours, "message_stop")
    for number, index in enumerate(sorted(starts)):
        grown = {"text", "thinking", "signature", "input", "citations", "content", "encrypted_content"}
        lost += missing({key: value for key, value in starts[index].items() if key not in grown}, blocks[number], index)
        if starts[index]["type"].endswith("_result"):
            lost += missing(starts[index], blocks[number], index)
    assert lost == []


METRICS = "amazon-bedrock-invocationMetrics"


@each(without={path.stem for path in streams() if METRICS.encode() not in path.read_bytes()})
def test_what_bedrock_says_in_message_stop(path):
    """The SDK loses the counts and latencies that Bedrock writes into message_stop; here they are the message's."""
    body = path.read_bytes()
    expected = json.loads(path.with_suffix("").with_suffix(".expected.json").read_text(encoding="utf-8"))
    (stop,) = (wire for wire in wire_events(body) if wire["type"] == "message_stop")
    assert METRICS not in expected
    assert parse(body).extra[METRICS] == to_dict(parse(body))[METRICS] == stop[METRICS]


@each(without=[SPLICED])
def test_deltas_add_up(path):
    """Each block's text is that of its deltas, joined; tool arguments are what the pieces parse to."""
    body = path.read_bytes()
    grown = {}
    for wire in wire_events(body):
        if wire["type"] == "content_block_delta":
            delta = dict(wire["delta"])
            kind = delta.pop("type")
            if kind in ("text_delta", "thinking_delta", "input_json_delta"):
                for field, value in delta.items():
                    if isinstance(value, str):
                        grown[wire["index"], field] = grown.get((wire["index"], field), "") + value
    content = to_dict(parse(body))["content"]
    for (index, field), value in grown.items():
        if field != "partial_json":
            assert content[index][field] == value
        elif value:
            assert content[index]["input"] == json.loads(value)


@each(without=[SPLICED, *NOT_LEGAL])
def test_strict_mode_accepts_what_is_legal(path):
    """The captures that are legal give no deviation, and strict mode reads them."""
    assert read([path.read_bytes()], strict=True) == read([path.read_bytes()])
    assert read([path.read_bytes()])["deviations"] == []


@each(without={path.stem for path in streams()} - NOT_LEGAL.keys())
def test_strict_mode_refuses_what_is_not(path):
    """The others are read in lenient mode, with what was odd listed, and refused in strict mode."""
    body = path.read_bytes()
    assert [deviation.code for deviation in read([body])["deviations"]] == NOT_LEGAL[path.stem]
    with pytest.raises(ProtocolViolation) as caught:
        list(iter_events([body], strict=True))
    assert caught.value.code == NOT_LEGAL[path.stem][0]


def test_spliced_messages():
    """The SDK mixes two messages into one that neither server nor model meant; here it is an error with the first."""
    body = next(path for path in streams() if path.stem == SPLICED).read_bytes()
    with pytest.raises(ProtocolViolation) as caught:
        parse(body)
    assert caught.value.code == "spliced_message_start"
    thinking, tool = caught.value.partial.content
    assert (thinking.thinking, thinking.signature) == ("I will call the tool.", "sig-first")
    assert tool.input_json == '{"value":"Spark'
    assert tool.partial_input() == {"value": "Spark"}


@each()
def test_a_cut_stream_is_never_whole(path):
    """Cut after any event, a message without a stop_reason is an error that keeps what came."""
    events = path.read_bytes().split(b"\n\n")
    for number in range(1, len(events)):
        head = b"\n\n".join(events[:number]) + b"\n\n"
        shown = read([head])
        stopped = b'"stop_reason":"' in head
        if not stopped:
            assert shown["outcome"] is not Outcome.COMPLETE
            with pytest.raises(StreamError) as caught:
                parse(head)
            assert [to_dict(caught.value.partial)] == shown["messages"]
        if number > 60:
            break  # a long text is cut often enough by then
