"""The files in `examples/` run, do what they say, and take as many lines as they say."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import re
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import APIError, IncompleteStream, Message, ToolUseBlock, encode_event, message_events
from sansio_step.testing import chunked, event_streams, messages
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.replay import serve

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


def skip_without_packages(path):
    """Skip the test of a file whose packages are not here, and say that it is not tested."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
        )
        for name in filter(None, names):
            if importlib.util.find_spec(name.split(".")[0]) is None:
                pytest.skip(f"no {name}: {path.name} is NOT TESTED")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs(path, capsys, monkeypatch):
    """As a program, it prints something and ends."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # coverage is of these tests, not of those in an example
    skip_without_packages(path)
    if path.stem == "archive_to_duckdb":
        pytest.importorskip("pyarrow", reason="no pyarrow: archive_to_duckdb.py is NOT TESTED")
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_in_how_many_lines(path):
    """The docstring counts the lines of what it shows; those of the file are counted here."""
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text))
    named = re.search(r"Here .*?((?:`\w+`(?: and )?)+), (\d+) lines", said, re.DOTALL)
    lines = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert sum(lines[name] for name in re.findall(r"`(\w+)`", named[1])) == int(named[2])


@pytest.mark.parametrize("name", ["llm_anthropic_loop", "metering_relay", "sdk_observer", "live_tool_arguments"])
def test_it_says_what_it_replaces(name):
    """The docstring names a project with its version."""
    said = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")))
    assert re.search(r"replaces .* \d+\.\d+", said)


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


# --- a file that a tool call writes -----------------------------------------------------------------------------------

LIVE = run("live_tool_arguments")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 9))
def test_the_content_is_written_as_it_grows(content, piece):
    """In pieces that add up to it; the other arguments say nothing."""
    arguments = json.dumps({"path": "a.txt", "content": content, "mode": 420, "then": {"content": "no"}})
    call = Message(content=[ToolUseBlock("toolu_1", "write_file", input_json=arguments)], stop_reason="tool_use")
    chunks = [encode_event(event) for event in message_events(call, piece=piece)]
    assert "".join(LIVE["written"](chunks, "a.txt".__eq__)) == content


def test_a_path_that_is_refused_ends_the_call():
    """Before anything after the path is read, and the source is closed."""
    starts = message_start() + block_start(TOOL)
    closed = []

    def chunks():
        try:
            yield starts + delta(partial_json='{"path": "/etc/passwd"')
            pytest.fail("the rest is not asked for")
        finally:
            closed.append(True)

    with pytest.raises(PermissionError, match="/etc/passwd"):
        list(LIVE["written"](chunks(), lambda path: False))
    assert closed


def test_content_that_breaks_off_raises():
    """After the pieces that came: nobody takes the file for a whole one."""
    body = message_start() + block_start(TOOL) + delta(partial_json='{"path": "a", "content": "half')
    pieces = LIVE["written"]([body], lambda path: True)
    assert next(pieces) == "half"
    with pytest.raises(IncompleteStream):
        next(pieces)


# --- the web page -----------------------------------------------------------------------------------------------------


def asked(body):
    """What the page is told of an answer."""
    page = run("web_page")

    async def main():
        async with serve(body) as server, AsyncClient(base_url=server.base_url, api_key="none") as client:
            return [event async for event in page["told"](client, "?")]

    events = b"".join(asyncio.run(main())).decode().split("\n\n")[:-1]
    return [(event.split("\n")[0][7:], json.loads(event.split("data: ")[1])) for event in events]


def test_the_page_is_told_of_a_whole_answer():
    """Each piece, markup and line ends as they are, and its end."""
    assert asked(whole(text_block("<b>\n", "!"))) == [
        ("text", "<b>\n"),
        ("text", "!"),
        ("end", {"stop_reason": "end_turn", "output_tokens": 5}),
    ]


def test_the_page_is_told_of_an_answer_that_broke_off():
    """After the pieces that came."""
    (text, (name, words)) = asked(message_start() + text_block("Hi"))
    assert (text, name) == (("text", "Hi"), "failed")
    assert "the stream ended before the message did" in words


def test_the_page_shows_text_as_text():
    """It appends text nodes: nothing that a model writes becomes markup."""
    page = run("web_page")["PAGE"]
    assert "answer.append(JSON.parse(event.data))" in page
    assert "innerHTML" not in page
