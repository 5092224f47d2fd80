"""The files in `examples/` run, do what they say, and take as many lines as they say."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import APIError, IncompleteStream, encode_event, message_events
from sansio_step.testing import chunked, event_streams, messages

from .helpers import (
    MESSAGE_STOP,
    TOOL,
    block_start,
    block_stop,
    delta,
    frame,
    message_delta,
    message_start,
    text_block,
    whole,
)

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs(path, capsys):
    """As a program, it prints something and ends."""
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_what_it_replaces_and_in_how_many_lines(path):
    """The docstring names the project with its version and counts the lines; those of the file are counted here."""
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text))
    assert re.search(r"replaces .* \d+\.\d+", said)
    named = re.search(r"Here .*?((?:`\w+`(?: and )?)+), (\d+) lines", said, re.DOTALL)
    lines = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert sum(lines[name] for name in re.findall(r"`(\w+)`", named[1])) == int(named[2])


def run(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


# --- the relay that meters -----------------------------------------------------------------------------------------

RELAY = run("metering_relay")


def relayed(chunks):
    """What came out of the relay, and the meters that it gave."""
    meters, out = [], []
    try:
        for chunk in RELAY["relay"](chunks, meters.append):
            out.append(chunk)
    except OSError:
        pass
    return out, [RELAY["line"](meter) for meter in meters]


@given(
    st.binary(max_size=300).flatmap(chunked)
    | event_streams().map(lambda events: b"".join(map(encode_event, events))).flatmap(chunked)
)
def test_every_chunk_goes_through_as_it_came(chunks):
    """Whatever it is, and whatever the meter thinks of it."""
    out, meters = relayed(chunks)
    assert out == chunks
    assert len(meters) == 1


COUNTS = [
    (whole(text_block("Hi")), "m msg_1: complete, 3 in, 5 out"),
    (message_start() + message_delta(None, usage={"output_tokens": 4}), "m msg_1: truncated, 3 in, at least 4 out"),
    (message_start() + message_delta(None, usage={"output_tokens": 4}) + message_delta(usage={"output_tokens": 50}) + MESSAGE_STOP, "m msg_1: complete, 3 in, 50 out"),
    (message_start() + frame("error", error={"type": "overloaded_error"}), "m msg_1: failed, 3 in, at least 1 out"),
    (message_start() + b"data: {\n\n", "m msg_1: failed, 3 in, at least 1 out"),
    (b"", "truncated, nothing came"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "line"), COUNTS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_meter(body, line, size):
    """Counts are cumulative, and a running count is called one; cut and failed streams have cost something too."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert relayed(chunks) == (chunks, [line])


def test_the_meter_of_a_broken_upstream_and_of_a_caller_that_left():
    """What has come until then is metered, once."""

    def upstream():
        yield message_start()
        raise OSError

    assert relayed(upstream())[1] == ["m msg_1: truncated, 3 in, at least 1 out"]
    meters = []
    relay = RELAY["relay"]([message_start(), MESSAGE_STOP, b""], meters.append)
    next(relay)
    next(relay)
    relay.close()
    # The chunk that it had last counts, whatever it did with it.
    assert list(map(RELAY["line"], meters)) == ["m msg_1: complete, 3 in, at least 1 out"]


# --- the loop of llm-anthropic -------------------------------------------------------------------------------------

LOOP = run("llm_anthropic_loop")


def parts_and_message(chunks):
    kept = []
    return list(LOOP["answer"](chunks, kept.append)), kept[0]


@given(messages(), st.none() | st.integers(1, 30))
def test_the_parts_are_the_message(message, piece):
    """Joined by their index, they have the texts, the thinking, the arguments and the results of every block."""
    body = b"".join(map(encode_event, message_events(message, piece=piece)))
    parts, whole_message = parts_and_message([body])
    assert whole_message == message
    for place, block in enumerate(message.content, 1):
        own = [part for part in parts if part.part_index == place]
        shown = {kind: "".join(part.chunk for part in own if part.type == kind) for kind in {part.type for part in own}}
        if block.type in ("text", "thinking"):
            assert "".join(shown.values()) == getattr(block, block.type)
        elif block.type in ("tool_use", "server_tool_use", "mcp_tool_use"):
            assert {part.tool_call_id for part in own} == {block.id}
            assert {part.server_executed for part in own} == {block.type != "tool_use"}
            assert shown.pop("tool_call_name") == block.name
            arguments = shown.pop("tool_call_args", "")
            assert arguments == block.input_json or json.loads(arguments) == block.input
            assert not shown
        elif block.type.endswith("_tool_result"):
            assert json.loads(shown["tool_result"] or "null") == (getattr(block, "content", None) or None)


def test_arguments_of_interleaved_calls_belong_to_their_own_call():
    """By the block that they were added to, not by the one that began last."""
    starts = block_start({**TOOL, "id": "a"}) + block_start({**TOOL, "id": "b"}, 1)
    pieces = (
        delta(0, partial_json='{"x":')
        + delta(1, partial_json='{"y":')
        + delta(0, partial_json="1}")
        + delta(1, partial_json="2}")
    )
    parts, message = parts_and_message([whole(starts, pieces, block_stop(), block_stop(1))])
    for call in message.content:
        assert (
            "".join(p.chunk for p in parts if p.type == "tool_call_args" and p.tool_call_id == call.id)
            == call.input_json
        )


def test_thinking_is_kept_for_the_next_turn():
    """A signature and a redacted block are parts of their own, without a text."""
    blocks = (
        block_start({"type": "thinking", "thinking": "", "signature": ""}) + delta(thinking="a") + delta(signature="s")
    )
    redacted = block_start({"type": "redacted_thinking", "data": "d"}, 1) + block_stop(1)
    parts, _ = parts_and_message([whole(blocks, block_stop(), redacted)])
    assert [(part.chunk, part.part_index, part.metadata) for part in parts] == [
        ("a", 1, None),
        ("", 1, {"signature": "s"}),
        ("", 2, {"type": "redacted_thinking", "data": "d"}),
    ]


@pytest.mark.parametrize(
    ("end", "error"), [(b"", IncompleteStream), (frame("error", error={"type": "overloaded_error"}), APIError)]
)
def test_a_stream_that_is_not_whole_raises(end, error):
    """After its last part, so that no cut call is run; the message so far is in the error."""
    parts = LOOP["answer"]([message_start() + block_start(TOOL) + delta(partial_json='{"a":') + end], pytest.fail)
    assert [next(parts).type for _ in range(2)] == ["tool_call_name", "tool_call_args"]
    with pytest.raises(error) as caught:
        next(parts)
    assert caught.value.partial.tool_uses[0].input_json == '{"a":'


def test_the_asynchronous_loop_is_the_same():
    """The same parts and message."""
    body, kept = whole(text_block("Hel", "lo")), []

    async def chunks():
        for start in range(0, len(body), 9):
            yield body[start : start + 9]

    async def read():
        return [part async for part in LOOP["async_answer"](chunks(), kept.append)]

    assert (asyncio.run(read()), kept[0]) == parts_and_message([body])


# --- the observer of the SDK's events -------------------------------------------------------------------------------

OBSERVER = run("sdk_observer")


class SDKEvent:
    """An event of the SDK, as far as the observer sees it."""

    def __init__(self, item):
        self.item = item

    def model_dump(self):
        return self.item


def seen(items):
    ends = []
    return list(OBSERVER["observed"](map(SDKEvent, items), ends.append)), ends


def items_of(body):
    return [json.loads(part.split(b"data: ")[1]) for part in body.split(b"\n\n") if part]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (whole(text_block("Hi", "!")), {"outcome": "complete", "text": "Hi!", "gen_ai.usage.output_tokens": 5}),
        # Counts are cumulative: an instrumentation that adds them up has 54.
        (
            message_start() + message_delta(None, usage={"output_tokens": 4}) + message_delta(usage={"output_tokens": 50}) + MESSAGE_STOP,
            {"outcome": "complete", "text": "", "gen_ai.usage.output_tokens": 50},
        ),
        (message_start() + text_block("Hi"), {"outcome": "truncated", "text": "Hi"}),
        (message_start() + frame("content_block_delta", index="x"), {"outcome": "failed", "text": ""}),
    ],
)  # fmt: skip
def test_the_observer(body, said):
    events, (stream,) = seen(items_of(body))
    assert [event.item for event in events] == items_of(body)
    found = OBSERVER["attributes"](stream)
    assert {
        name: found.get(name) for name in ("outcome", "text", "gen_ai.usage.output_tokens") if name in found
    } == said


def test_the_observer_of_a_caller_that_left():
    ends = []
    observed = OBSERVER["observed"](map(SDKEvent, items_of(whole(text_block("Hi", "!")))), ends.append)
    for _ in range(3):
        next(observed)
    observed.close()
    assert OBSERVER["attributes"](ends[0])["text"] == "Hi"
    assert OBSERVER["attributes"](ends[0])["outcome"] == "truncated"
