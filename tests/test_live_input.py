"""`MessageReader.tool_input`: what each event says of a call's arguments."""

from __future__ import annotations

import asyncio
import gc
import json

from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    JSONClosed,
    JSONOpened,
    JSONPiece,
    JSONReader,
    JSONScalar,
    JSONString,
    aiter_events,
    iter_events,
)

from .helpers import (
    TEXT,
    TOOL,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
    text_block,
    tool_block,
    whole,
)

ARGUMENTS = {"path": "a.py", "content": "x = '\U0001f642'\n" * 3, "mode": 420, "flags": [True, None]}


@given(st.integers(1, 20), st.integers(1, 200))
def test_the_deltas_of_all_events_are_those_of_the_whole_text(size, chunk):
    """However the arguments were cut into deltas, and the body into chunks."""
    text = json.dumps(ARGUMENTS)
    body = whole(tool_block(*(text[start : start + size] for start in range(0, len(text), size))))
    events = iter_events(body[start : start + chunk] for start in range(0, len(body), chunk))
    found = []
    for _ in events:
        assert events.tool_input is events.tool_input
        found += events.tool_input
    reader = JSONReader()
    expected = []
    for start in range(0, len(text), size):
        expected += reader.receive_text(text[start : start + size])
    assert found == expected
    assert found[-1] == JSONClosed((), ARGUMENTS)
    assert events.result().tool_uses[0].input == ARGUMENTS


def test_an_async_reader_says_the_same():
    """Of each event, whether it came first in its chunk or after others."""
    body = whole(tool_block('{"a": "x', "y", 'z", "b": 1', "}"))

    async def chunks():
        yield body[:700]
        yield body[700:]

    async def heard():
        events = aiter_events(chunks())
        return [events.tool_input async for _ in events]

    events = iter_events([body])
    assert asyncio.run(heard()) == [events.tool_input for _ in events]


def test_who_asks_late_hears_of_the_event_given_last():
    events = iter_events([whole(tool_block('{"a": "x', "y", 'z", "b": 1', "}"))])
    heard = [events.tool_input if number > 2 else None for number, _ in enumerate(events)]
    assert heard[:3] == [None] * 3
    assert heard[3] == [JSONPiece(("a",), "y")]
    assert heard[4] == [JSONPiece(("a",), "z"), JSONString(("a",), "xyz")]
    assert heard[5] == [JSONScalar(("b",), 1), JSONClosed((), {"a": "xyz", "b": 1})]


def test_who_skips_events_hears_of_those_alone_that_were_asked_about():
    events = iter_events([whole(tool_block('{"a": "', "one", "two", '"}'))])
    heard = [events.tool_input if number in (2, 4) else None for number, _ in enumerate(events)]
    assert heard[2] == [JSONOpened((), "object")]
    assert heard[4] == [JSONPiece(("a",), "two")]
    events = iter_events([whole(tool_block('{"a": "', "one", "", '"}'))])
    heard = [events.tool_input if number in (2, 4, 5) else None for number, _ in enumerate(events)]
    assert heard[4] == []
    events = iter_events([whole(tool_block('{"a": "', "1", "two", '"}'))])
    heard = [events.tool_input if number in (2, 4, 5) else None for number, _ in enumerate(events)]
    assert heard[5] == [JSONString(("a",), "1two"), JSONClosed((), {"a": "1two"})]


def test_calls_that_come_interleaved_are_told_apart():
    body = whole(
        block_start(TOOL, 0), block_start({**TOOL, "id": "toolu_2"}, 1),
        delta(0, partial_json='{"a"'), delta(1, partial_json='{"b"'), delta(0, partial_json=":1}"), delta(1, partial_json=":2}"),
        block_stop(0), block_stop(1),
    )  # fmt: skip
    events = iter_events([body])
    heard = [(events.block.id, events.tool_input[-1].value) for _ in events if events.tool_input[1:]]
    assert heard == [("toolu_1", {"a": 1}), ("toolu_2", {"b": 2})]


def test_halves_of_a_character_in_two_deltas():
    events = iter_events([whole(tool_block('{"a":"\ud83d', '\ude42"}'))])
    pieces = [found.text for _ in events for found in events.tool_input if found.kind == "piece"]
    assert "".join(pieces) == "\U0001f642"


def test_broken_arguments_say_nothing_from_there_on():
    events = iter_events([whole(tool_block('{"a":1,', "]", '"b":2}'))])
    heard = [events.tool_input for event in events if event.type == "content_block_delta"]
    assert heard == [[JSONOpened((), "object"), JSONScalar(("a",), 1)], [], []]


def test_other_events_say_nothing():
    unknown = block_start({"type": "odd_tool", "input": {}}) + delta(partial_json='{"a":1}') + block_stop()
    events = iter_events([message_start() + text_block("Hi") + block_start(TEXT, 1) + message_delta()])
    assert events.tool_input == []
    assert [events.tool_input for _ in events] == [[]] * 6
    events = iter_events([whole(unknown)])
    assert [events.tool_input for _ in events] == [[]] * 6


def readers():
    gc.collect()
    return [item for item in gc.get_objects() if isinstance(item, JSONReader)]


def test_a_call_is_read_once():
    """The reader of a call is kept until its value is finished. A new one for each piece would read all of it again."""
    before = set(map(id, readers()))
    events = iter_events([whole(tool_block('{"a":', "[", "]", "}"))])
    held = [
        [reader for reader in readers() if id(reader) not in before]
        for event in events
        if event.type == "content_block_delta" and events.tool_input
    ]
    assert [len(each) for each in held] == [1, 1, 1, 1]
    assert held[0] == held[1] == held[2]


def test_a_finished_value_is_held_no_longer():
    """A value takes many times the bytes of its text, and a stream can have thousands of calls."""
    before = len(readers())
    events = iter_events([whole(*(tool_block('{"a":', "[]", "}", " ", index=index) for index in range(9)))])
    closed = [found for _ in events for found in events.tool_input if found.path == () and found.kind == "closed"]
    assert closed == [JSONClosed((), {"a": []})] * 9
    assert len(readers()) == before
