"""The official SDK's accumulator on legal streams: equal messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_step import parse, to_dict

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


def official_reading(body):
    """The final message that the SDK's stream helper builds."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    transport = httpx2.MockTransport(lambda request: answer)
    with httpx2.Client(transport=transport) as http:
        client = anthropic.Anthropic(api_key="none", base_url="http://localhost", http_client=http, max_retries=0)
        arguments = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        with client.messages.stream(**arguments) as stream:
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
