"""What others wrote, on the same input: the official SDK's accumulator, httpx-sse, json.loads, and the standard itself.

If a reading differs from ours, it is theirs that is listed here, with the reason why ours stays.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_step import (
    DecodeError,
    FallbackBlock,
    MessageDeltaEvent,
    MessageStartEvent,
    SSEDecoder,
    UnknownBlock,
    decode_event,
    encode_event,
    parse,
    to_dict,
    to_json,
)
from sansio_step.testing import chunked, damaged, event_streams, messages, wire_bytes

from .fuzz.targets import standard_reading
from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
    TOOL,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
)

anthropic = pytest.importorskip("anthropic", reason="the official SDK is not installed")
httpx2 = pytest.importorskip("httpx2", reason="the official SDK is not installed")

WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
INPUTS = st.dictionaries(
    WORDS,
    st.recursive(WORDS | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), st.lists, max_leaves=5),
    max_size=4,
)


@st.composite
def cut(draw, text):
    """A text in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def blocks(draw, index):
    kind = draw(st.sampled_from(("text", "thinking", "tool")))
    if kind == "text":
        parts = [delta(index, text=piece) for piece in draw(cut(draw(WORDS)))]
        return [block_start(TEXT, index), *parts, block_stop(index)]
    if kind == "thinking":
        parts = [delta(index, thinking=piece) for piece in draw(cut(draw(WORDS)))]
        return [
            block_start(THINKING, index),
            *parts,
            delta(index, signature=draw(st.text("abc=", max_size=9))),
            block_stop(index),
        ]
    arguments = json.dumps(draw(INPUTS), ensure_ascii=draw(st.booleans()))
    parts = [delta(index, partial_json=piece) for piece in draw(cut(arguments))]
    return [block_start({**TOOL, "id": f"toolu_{index}"}, index), *parts, block_stop(index)]


@st.composite
def bodies(draw):
    """A legal stream of blocks that both readers know, with pings anywhere and usage that grows."""
    frames = [message_start(usage={"input_tokens": draw(st.integers(0, 99)), "output_tokens": 1})]
    for index in range(draw(st.integers(0, 4))):
        frames += draw(blocks(index))
    if draw(st.booleans()):
        frames.append(message_delta(None, usage={"output_tokens": 2}))
    reason = draw(st.sampled_from(("end_turn", "max_tokens", "tool_use", "refusal")))
    frames += [message_delta(reason, usage={"output_tokens": draw(st.integers(2, 99))}), MESSAGE_STOP]
    for place in draw(st.lists(st.integers(1, len(frames)), max_size=3)):
        frames.insert(place, PING)
    return b"".join(frames)


def official_reading(body, *, beta=False):
    """The final message that the SDK's stream helper builds."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    transport = httpx2.MockTransport(lambda request: answer)
    with httpx2.Client(transport=transport) as http:
        client = anthropic.Anthropic(api_key="none", base_url="http://localhost", http_client=http, max_retries=0)
        arguments = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        with (client.beta if beta else client).messages.stream(**arguments) as stream:
            return stream.get_final_message().to_dict(mode="json")


@settings(max_examples=60)
@given(bodies())
def test_equals_the_official_accumulator(body):
    """Every field that both have is equal, block by block."""
    ours, theirs = to_dict(parse(body, strict=True)), official_reading(body)
    assert len(ours["content"]) == len(theirs["content"])
    for own, other in zip(ours.pop("content"), theirs.pop("content"), strict=True):
        # The SDK adds fields of its own to a block (parsed_output, caller), always null here.
        assert {key: other[key] for key in own if key in other} == own
        assert {key for key in other.keys() - own.keys() if other[key] is not None} == set()
    usage, official = ours.pop("usage"), theirs.pop("usage")
    assert {key: official[key] for key in usage} == usage
    assert {key: theirs.get(key) for key in ours} == ours


# --- any legal stream, with what the SDK makes of it ---------------------------------------------------------


def _deltas(events):
    return [event for event in events if isinstance(event, MessageDeltaEvent)]


def _last_delta_counts(ours, events, message):
    """Each message_delta overwrites stop fields and output_tokens, with null too: an empty one wipes what was said."""
    for event in _deltas(events)[-1:]:
        for name in ("stop_reason", "stop_sequence", "stop_details"):
            ours[name] = getattr(event.delta, name)
        ours["usage"]["output_tokens"] = None if event.usage is None else event.usage.output_tokens


def _other_counts_are_dropped(ours, events, message):
    """Of message_delta's usage only the counts that the SDK knows are taken over."""
    for name in ("service_tier", "inference_geo", "cache_creation"):
        if _deltas(events):
            ours["usage"][name] = getattr(_start(events).usage, name)


def _other_fields_are_dropped(ours, events, message):
    """Fields without a name of their own are kept in message_start, and lost in message_delta and message_stop."""
    for name in message.extra.keys() - _start(events).extra.keys():
        del ours[name]
    start = _start(events).usage.extra
    for name in message.usage.extra:
        if name not in start:
            del ours["usage"][name]
        else:
            ours["usage"][name] = start[name]


def _cut_arguments_are_taken_as_finished(ours, events, message):
    """The SDK shows a number or literal that could go on, and says nowhere that the arguments are cut."""
    for block in ours["content"]:
        if "input_json" in block and block["type"] in ("tool_use", "server_tool_use", "mcp_tool_use"):
            del block["input"], block["input_json"]


def _unknown_blocks_do_not_grow(ours, events, message):
    """A block of a kind that the SDK doesn't know gets none of its deltas."""
    for block, wire in zip(message.content, ours["content"], strict=True):
        if isinstance(block, UnknownBlock):
            wire.pop("input", None)
            wire.pop("text", None)


DIFFERENCES = (
    _last_delta_counts,
    _other_counts_are_dropped,
    _other_fields_are_dropped,
    _cut_arguments_are_taken_as_finished,
    _unknown_blocks_do_not_grow,
)


def _start(events):
    return next(event.message for event in events if isinstance(event, MessageStartEvent))


# It reads `.model` of a fallback block's `to` without asking whether there is one, and ends the whole stream with an
# AttributeError if not.
# pydantic takes no NUL in a field's name.
KNOWN_TO_THE_SDK = messages().filter(
    lambda message: (
        all(block.to is not None for block in message.content if isinstance(block, FallbackBlock))
        and b"\\u0000" not in to_json(message)
    )
)


# The SDK takes a block that it doesn't know for a text block, and pydantic then says that it isn't one.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@settings(max_examples=100)
@given(st.data())
def test_equals_the_official_accumulator_but_for_known_faults(data):
    """On any legal stream every field that we have is the SDK's, but for what it is known to lose or invent."""
    message = data.draw(KNOWN_TO_THE_SDK)
    events = data.draw(event_streams(message))
    body = b"".join(map(encode_event, events))
    ours, theirs = to_dict(parse(body, strict=True)), official_reading(body, beta=True)
    assert ours == to_dict(message)
    for difference in DIFFERENCES:
        difference(ours, events, message)
    assert len(ours["content"]) == len(theirs["content"])
    for own, other in zip(ours.pop("content"), theirs.pop("content"), strict=True):
        assert {key: other.get(key) for key in own} == own
    usage, official = ours.pop("usage"), theirs.pop("usage")
    assert {key: official.get(key) for key in usage} == usage
    assert {key: theirs.get(key) for key in ours} == ours


# --- frames ----------------------------------------------------------------------------------------------------

FRAMES = st.one_of(
    event_streams().flatmap(wire_bytes),
    event_streams().flatmap(wire_bytes).flatmap(damaged),
    st.lists(
        st.sampled_from([b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"7"])
        | st.sampled_from(
            [b"data: a\n\n", b"event: b\n", b"id: c\n", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xe2", b"\xff"]
        ),
        max_size=25,
    ).map(b"".join),
)


@settings(max_examples=150)
@given(FRAMES.flatmap(lambda body: st.tuples(st.just(body), chunked(body))))
def test_frames_equal_the_standard(case):
    """Every frame, the last event id and the retry time are what the standard's own steps give, however cut."""
    body, chunks = case
    decoder = SSEDecoder()
    got = [event for chunk in chunks for event in decoder.receive_data(chunk)] + decoder.receive_eof()
    frames = [(event.event, event.data, event.id) for event in got]
    assert (frames, decoder.last_event_id, decoder.retry) == standard_reading(body)


@given(FRAMES)
def test_frames_equal_httpx_sse(body):
    """httpx-sse gives the same frames with data, but for a byte order mark, which it takes for text.

    It also dispatches blocks without data, once an id was seen every blank line: none of those is an event.
    """
    httpx = pytest.importorskip("httpx")
    httpx_sse = pytest.importorskip("httpx_sse")
    while body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    response = httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=body)
    theirs = [(event.event, event.data, event.id) for event in httpx_sse.EventSource(response).iter_sse() if event.data]
    ours = [(event.event, event.data, event.id) for event in SSEDecoder().receive_data(body) if event.data]
    assert ours == theirs


# --- JSON ------------------------------------------------------------------------------------------------------


def loaded(text):
    """What json.loads says, None if it finds no JSON."""

    def refuse(word):
        raise ValueError(f"{word} is not JSON, though json.loads takes it")

    try:
        value = json.loads(text, parse_constant=refuse, strict=False)
    except (ValueError, RecursionError):
        return None
    return json.loads(_clean(json.dumps(value, ensure_ascii=False)))


def _clean(text):
    # It hands out lone halves of surrogate pairs, which no str that is to be encoded may hold.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@settings(max_examples=150)
@given(messages().map(to_dict).map(json.dumps).map(str.encode).flatmap(damaged))
def test_json_equals_json_loads(data):
    """Any text is the value that json.loads gives, or a typed error if that gives none or an infinite number."""
    text = '{"type":"future","value":' + data.decode("utf-8", "replace") + "}"
    expected = loaded(text)
    try:
        event = decode_event(text, "future")
    except DecodeError as error:
        infinite = expected is not None and "Infinity" in json.dumps(expected)
        assert expected is None or infinite, error
        return
    if event.data is not None:
        assert event.data == text
        assert expected is None or "Infinity" in json.dumps(expected)
    else:
        assert to_dict(event) == expected
