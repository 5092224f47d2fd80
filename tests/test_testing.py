"""`sansio_step.testing`: its streams are what they say, its examples shrink to what a person can read."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from itertools import accumulate, combinations, pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.vendor.pretty import pretty

import sansio_step
from sansio_step import (
    EventDecoder,
    MessageAccumulator,
    MessageStream,
    Outcome,
    ProtocolViolation,
    SSEDecoder,
    StreamError,
    TextBlock,
    ToolInputError,
    ToolUseBlock,
    UnknownBlock,
    UnknownEvent,
    to_dict,
)
from sansio_step import testing as kit
from sansio_step._deviations import READINGS

from .helpers import splits

FIND = settings(
    max_examples=5000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
SHRINK = settings(FIND, phases=[Phase.generate, Phase.shrink])
SHORT = b'event: ping\ndata: {"type":"ping"}\n\nevent: ping\ndata: {"type":"ping"}\n\n'


# As many examples as the profile has for a law: few, or more in CI.
MANY = settings().max_examples


# Huge texts are among what is drawn; `find` shows what it found before it returns it.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


def accumulated(events, *, strict=True):
    accumulator = MessageAccumulator(strict=strict)
    accumulator.extend(events)
    accumulator.receive_eof()
    return accumulator


# --- messages and events -------------------------------------------------------------------------------------


def examples(strategy, number, start=0):
    """What a strategy draws, the same on every run."""
    drawn = []

    @seed(start)
    @settings(FIND, max_examples=number, derandomize=False)
    @given(strategy)
    def collect(example):
        drawn.append(example)

    collect()
    return drawn


def assert_drawn(strategy, *wanted):
    """Each of some conditions holds for one of the first few thousand examples of a strategy."""
    missing = list(wanted)

    def are_all_drawn(example):
        missing[:] = [condition for condition in missing if not condition(example)]
        return not missing

    try:
        find(strategy, are_all_drawn, settings=FIND)
    except NoSuchExample:
        pytest.fail(f"{len(missing)} conditions never met, the first of them number {wanted.index(missing[0])}")


def is_cut(block):
    """Whether a tool's arguments are broken."""
    try:
        return isinstance(block, ToolUseBlock) and block.input is None
    except ToolInputError:
        return True


def test_messages_hold_all_kinds():
    """All kinds of blocks are drawn, and all that is hard: astral text, control characters, huge text, numbers beyond
    64 bits, unknown fields, arguments that were cut.
    """
    kinds_of_blocks = [
        lambda message, cls=cls: any(type(block) is cls for block in message.content)
        for cls in sansio_step.ContentBlock.__args__
    ]
    assert_drawn(
        kit.messages(),
        *kinds_of_blocks,
        lambda message: any(character > "\uffff" for character in message.text),
        lambda message: any(character < " " for character in message.text),
        lambda message: (message.usage.input_tokens or 0) >= 2**64,
        lambda message: message.extra,
        lambda message: any(map(is_cut, message.content)),
        lambda message: any(block.extra for block in message.content if not isinstance(block, UnknownBlock)),
    )


@pytest.mark.parametrize("cls", [ToolUseBlock, UnknownBlock])
def test_messages_shrink(cls):
    """The shortest message with a block of some kind has nothing else in it."""
    message = find(
        kit.messages(), lambda message: any(type(block) is cls for block in message.content), settings=SHRINK
    )
    assert len(message.content) == 1
    assert message == sansio_step.Message(
        id="a", role="assistant", model="a", content=message.content, stop_reason="end_turn", usage=sansio_step.Usage()
    )


@given(st.data())
def test_event_streams_build_the_message(data):
    """Without a deviation, in strict mode, the events add up to just the message they were drawn for."""
    message = data.draw(kit.messages())
    before = to_dict(message)
    events = data.draw(kit.event_streams(message))
    assert to_dict(accumulated(events).result()) == before
    assert to_dict(message) == before


def test_event_streams_take_a_strategy_or_nothing():
    """The message can be given as a strategy. If it isn't, any message is drawn."""
    message = sansio_step.Message(
        id="m",
        role="assistant",
        model="x",
        stop_reason="end_turn",
        usage=sansio_step.Usage(),
        content=[TextBlock("Hi")],
    )
    events = find(kit.event_streams(st.just(message)), lambda events: True, settings=FIND)
    assert accumulated(events).result().text == "Hi"
    assert find(kit.event_streams(), lambda events: len(events) > 5, settings=FIND)


@pytest.mark.parametrize("name", ["id", "role", "model", "stop_reason", "usage"])
def test_event_streams_refuse_what_no_legal_stream_builds(name):
    """A message without what a legal stream always has is a ValueError that names it."""
    fields = {"id": "m", "role": "assistant", "model": "x", "stop_reason": "end_turn", "usage": sansio_step.Usage()}
    with pytest.raises(ValueError, match=f"without {name}"):
        kit.event_streams(sansio_step.Message(**{**fields, name: None}))


def test_event_streams_refuse_an_unfinished_block():
    """Neither is a block that never finished anything that a whole stream builds."""
    accumulator = MessageAccumulator()
    start = sansio_step.Message(id="m", role="assistant", model="x", stop_reason="end_turn", usage=sansio_step.Usage())
    accumulator.add(sansio_step.MessageStartEvent(start))
    accumulator.add(sansio_step.ContentBlockStartEvent(0, TextBlock("")))
    with pytest.raises(ValueError, match="unfinished"):
        kit.event_streams(accumulator.message)


def kinds(events):
    return [event.type for event in events]


def test_event_streams_take_every_legal_way():
    """Each legal way to send a message is among the streams."""

    def deltas(events, kind):
        return [event.delta for event in events if getattr(getattr(event, "delta", None), "type", "") == kind]

    def is_interleaved(events):
        starts, stops = (_places(events, f"content_block_{word}") for word in ("start", "stop"))
        return len(starts) > 1 and starts[1] < stops[0]

    def is_early(events):
        return _places(events, "message_delta")[:1] < _places(events, "content_block_stop")[-1:]

    assert_drawn(
        kit.event_streams(),
        lambda events: kinds(events)[:2] == ["message_start", "message_stop"],
        lambda events: kinds(events)[0] == "ping",
        lambda events: kinds(events)[-1] == "ping",
        lambda events: kinds(events).count("message_delta") == 3,
        lambda events: kinds(events).count("message_delta") == 2 and is_early(events),
        is_interleaved,
        lambda events: len(deltas(events, "input_json_delta")) > 1,
        lambda events: deltas(events, "input_json_delta")[:1] == [sansio_step.InputJSONDelta("")],
        lambda events: any(type(event) is UnknownEvent for event in events),
        lambda events: deltas(events, "future_delta"),
        lambda events: deltas(events, "compaction_delta"),
        lambda events: any(delta.extra for delta in deltas(events, "text_delta")),
    )


def text_of(event):
    return event.delta.text if getattr(getattr(event, "delta", 0), "type", "") == "text_delta" else ""


def test_event_streams_shrink():
    """What is left of a stream with a text in two pieces is short: these, what must be around them, little more."""

    def has_pieces(events):
        blocks = [event.index for event in events if text_of(event)]
        return len(set(blocks)) < len(blocks)

    events = find(kit.event_streams(), has_pieces, settings=SHRINK)
    assert len(events) <= 15
    assert sum(len(event.delta.text) for event in events if event.type == "content_block_delta") < 64


def _places(events, kind):
    return [place for place, event in enumerate(events) if event.type == kind]


# --- bytes ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_wire_bytes_carry_the_events(data):
    """However they are dressed, the bytes are read as just those events, without a deviation, in strict mode."""
    events = data.draw(kit.event_streams())
    decoder = EventDecoder(strict=True)
    got = decoder.receive_data(data.draw(kit.wire_bytes(events))) + decoder.receive_eof()
    assert got == events


def test_wire_bytes_wear_every_dress():
    """Each liberty that the format gives is taken by some bytes."""
    events = [sansio_step.PingEvent(extra={"a": "é"}), sansio_step.MessageStopEvent()]
    marks = (b"\r\n", b"\r", b"\n: ", b"\nid", b"\nretry", b"\ndata:  ", b"\xef\xbb\xbf", b'": ', b" }", b"\\u")
    assert_drawn(
        kit.wire_bytes(events),
        *(lambda body, mark=mark: mark in body for mark in marks),
        lambda body: body.endswith(b": by"),
    )


@given(st.data())
def test_wire_bytes_of_foreign_text(data):
    """An UnknownEvent's text, over several lines too, comes back as it was, whatever stands around it."""
    events = [UnknownEvent("done", text) for text in ("[DONE]", "", " a\n\n b\n", "\u2028")]
    decoder = EventDecoder()
    assert decoder.receive_data(data.draw(kit.wire_bytes(events))) == events


def test_wire_bytes_leave_out_what_no_line_can_hold():
    """A type with a line end has no event line; a CR in foreign text can't be carried and is a ValueError."""
    (event,) = events = [UnknownEvent("a\nb", extra={"c": 1})]
    body = find(kit.wire_bytes(events), lambda body: True, settings=FIND)
    assert EventDecoder().receive_data(body) == [event]
    assert b"event:" not in body
    with pytest.raises(ValueError, match="carriage return"):
        kit.wire_bytes([UnknownEvent("a", "b\rc")])


def test_wire_bytes_keep_halves():
    """Halves of a character that came in two deltas go out as they came."""
    deltas = [b'{"type":"text_delta","text":"\\ud83e"}', b'{"type":"text_delta","text":"\\udd9c"}']
    body = b"".join(b'data: {"type":"content_block_delta","index":0,"delta":%b}\n\n' % delta for delta in deltas)
    events = EventDecoder().receive_data(body)
    for wire in examples(kit.wire_bytes(events), 20):
        assert b"\\ud83e" in wire
        assert EventDecoder().receive_data(wire) == events


@given(st.binary(max_size=200).flatmap(lambda data: st.tuples(st.just(data), kit.chunked(data))))
def test_chunks_are_the_data(case):
    """Pieces joined are the bytes they were cut from."""
    data, chunks = case
    assert b"".join(chunks) == data


def ends(chunks):
    """The places at which pieces end."""
    return set(accumulate(map(len, chunks)))


def test_a_cut_body_shrinks_too():
    """The body gets shorter while it is still cut, and then the cuts get fewer: both are drawn, and each depends on the other."""
    streams = kit.event_streams().flatmap(kit.wire_bytes).flatmap(kit.chunked)

    def is_cut_in_a_line_end(chunks):
        return any(one[-1:] == b"\r" and other[:1] == b"\n" for one, other in pairwise(chunks))

    def shrunk(start):
        chunks = find(streams, is_cut_in_a_line_end, settings=SHRINK, random=Random(start))
        assert len(chunks) == 2
        return len(b"".join(chunks))

    # Where shrinking ends depends on where it began: of 32 seeds 23 end below 500 bytes, none of 16 begins there.
    assert any(shrunk(start) < 500 for start in range(5))


@given(st.binary(max_size=60).flatmap(lambda data: st.tuples(st.just(data), kit.chunked(data, empty=False))))
def test_no_piece_is_empty_if_none_may_be(case):
    data, chunks = case
    assert b"".join(chunks) == data
    assert all(chunks)


def test_chunks_shrink_to_the_whole():
    """An example that does not need to be cut isn't, one that does is cut as often as it must."""
    assert find(kit.chunked(SHORT), lambda chunks: True, settings=SHRINK) == [SHORT]
    assert len(find(kit.chunked(SHORT), lambda chunks: len(chunks) > 2, settings=SHRINK)) == 3
    # Whatever was found, at each byte or here and there: without one of these cuts it would not be a failure.
    for wanted in ({100}, {100, 900}, {100, 101, 102}):
        for attempt in range(1):
            chunks = find(
                kit.chunked(bytes(1000)),
                lambda chunks, wanted=wanted: wanted <= ends(chunks),
                settings=SHRINK,
                random=Random(attempt),
            )
            assert ends(chunks) == wanted | {1000}
    # A byte a piece is not for bodies of megabytes.
    assert len(find(kit.chunked(bytes(20_000)), lambda chunks: len(chunks[0]) < 2, settings=FIND)) < 10


@given(kit.damaged(b""))
def test_damage_to_nothing(data):
    """No bytes can be damaged too."""
    assert isinstance(data, bytes)


def test_damage_of_every_kind():
    """Each kind of damage is done to some bytes."""
    assert_drawn(
        kit.damaged(SHORT).filter(lambda data: data != SHORT),
        SHORT.startswith,
        SHORT.endswith,
        lambda data: len(data) == len(SHORT) and sorted(data) != sorted(SHORT),
        lambda data: sorted(data) == sorted(SHORT),
        lambda data: data.count(b"ping") > 4,
        lambda data: b"\0" in data,
    )


# --- deviating streams ---------------------------------------------------------------------------------------


def read(body, **options):
    stream = MessageStream(**options)
    try:
        stream.receive_data(body)
        stream.receive_eof()
    except StreamError:
        assert stream.fault is not None
    return stream


def check_reading(case):
    """What the kit expects of a deviating stream is what the library makes of it, in both modes."""
    stream = read(case.data)
    found = {}
    for deviation in stream.deviations:
        found.setdefault(deviation.code, deviation.event_number)
    if isinstance(stream.fault, ProtocolViolation):
        found[stream.fault.code] = stream.fault.event_number
    assert found == case.codes
    assert stream.outcome is case.outcome
    assert to_dict(stream.message) == case.message
    strict = read(case.data, strict=True)
    assert isinstance(strict.fault, ProtocolViolation)
    assert case.codes[strict.fault.code] == strict.fault.event_number == min(case.codes.values())


@pytest.mark.parametrize("code", kit.DEVIATION_CODES)
def test_each_deviation_alone(code):
    """Streams with one deviation have its code, and the reading that the kit expects."""
    for case in examples(kit.deviating_streams(code), MANY // 4):
        assert code in case.codes
        check_reading(case)


@pytest.mark.parametrize(
    "codes",
    [
        ("bare_error", "bare_message_delta"),
        ("bare_error", "unterminated_event"),
        ("bare_message_delta", "no_message_start"),
        ("index_reused", "no_block_stop"),
        ("wrong_type", "bare_message_delta"),
        ("empty_data", "no_stop_reason"),
        ("no_index", "event_after_stop"),
        ("no_blank_line", "unterminated_event"),
        ("bare_document", "unterminated_event"),
        ("bare_document", "usage_reset"),
    ],
)
def test_deviations_that_touch(codes):
    """Two that change the same events: nothing stands after an error, and without a start there may be no usage."""
    for case in examples(kit.deviating_streams(*codes), MANY // 2):
        check_reading(case)


@given(kit.deviating_streams())
def test_deviations_combined(case):
    """So do streams with several."""
    assert case.codes
    check_reading(case)


def test_every_deviation_is_drawn():
    """Each code of the library's table is in one of the first thousand examples, most of them much sooner."""
    assert set(kit.DEVIATION_CODES) == set(READINGS)
    missing = set(READINGS)
    for start in range(40):
        for case in examples(kit.deviating_streams(), 25, start):
            missing -= set(case.codes)
        if not missing:
            return
    raise AssertionError(f"never drawn: {missing}")


# Each way of a code that has several, as a pattern of the bytes that only this way writes.
WAYS = {
    "empty_data": [rb"event: ?ping\s*data: ?\s", rb"event: ?content_block_stop\s*data: ?\s", rb"event: ?message_stop\s*data: ?\s"],
    "no_index": [rb'"index": ?null', rb'content_block_start", ?"content_block"'],
    "bare_delta": [rb'"type": ?""', rb'"type": ?null', rb'"type": ?"compaction"', rb'"text": ?"", ?"partial_json"', rb'"citation"'],
    "wrong_type": [rb'"model": ?42', rb'"output_tokens": ?12.5', rb'"usage": ?\[\]', rb'"delta": ?""', rb'"input": ?""', rb'"input": ?"\{'],
    "usage_reset": [rb'"input_tokens": ?0, ?"cache_read_input_tokens": ?0'],
    "control_character": [rb'"c\td"', rb'"c\x1fd"', rb"\0b", rb'a\s+data: ?b"'],
    "no_blank_line": [rb"}\s+data: ?\[DONE\]", rb"event: ?error\s+data: ?{"],
    "bare_document": [rb'\n{"error": "busy"}$', rb'\n{\n "detail"', rb'}\s+{"error"', rb'id: 7\s+{"detail"'],
}  # fmt: skip


@pytest.mark.parametrize("code", WAYS)
def test_deviations_are_written_in_every_way(code):
    """A code that stands for several ways of writing is drawn in each of them."""
    ways = [re.compile(way) for way in WAYS[code]]
    assert_drawn(kit.deviating_streams(code), *(lambda case, way=way: way.search(case.data) for way in ways))


PAIRS = list(combinations(kit.DEVIATION_CODES, 2))


def test_every_pair_of_deviations():
    """Any two codes go together, or say that they exclude each other."""
    together = []
    for pair in PAIRS:
        try:
            together.append(kit.deviating_streams(*pair))
        except ValueError as error:
            assert "exclude each other" in str(error)
    assert len(together) > len(PAIRS) * 0.85

    @settings(max_examples=50)
    @given(st.data())
    def check(data):
        check_reading(data.draw(data.draw(st.sampled_from(together))))

    check()


def test_deviation_codes_are_those_of_the_library():
    """Each code that the library knows can be drawn, and no other."""
    assert list(kit.DEVIATION_CODES) == sorted(READINGS)
    with pytest.raises(ValueError, match="'tea' is none of"):
        kit.deviating_streams("tea")


@pytest.mark.parametrize("code", ["delta_kind_mismatch"])
def test_deviating_streams_shrink(code):
    """The simplest stream with a deviation is a short message in plain dress, with that deviation alone."""
    case = find(kit.deviating_streams(), lambda case: code in case.codes, settings=SHRINK)
    assert list(case.codes) == [code]
    assert len(case.data) < 1100
    assert case.data.count(b"\n\n") <= 8


def test_deviating_streams_begin_with_a_message_of_ones_own():
    """Its kinds, at least: a deviation can add a block of another."""
    for case in examples(kit.deviating_streams("no_type", message=kit.messages(kinds=["text"], unknown=False)), 20):
        assert {block["type"] for block in case.message["content"]} <= {"text"}
        check_reading(case)


def test_a_deviating_stream_is_shown_line_by_line():
    """Where Hypothesis shows an example, with all of its bytes; its repr is short, on one line, with the codes first."""
    body = b'data: {"type":"ping"}\r\n\r\n' * 100
    case = kit.DeviatingStream(data=body, codes={"no_event_line": 0}, outcome=Outcome.COMPLETE, message={"id": "m"})
    assert len(repr(case)) < 400
    assert repr(case).startswith("DeviatingStream(codes={'no_event_line': 0}, outcome='complete', data=b'data: ")
    lines = [line.strip() for line in pretty(case).splitlines()]
    assert lines[:3] == ["DeviatingStream(", "codes={'no_event_line': 0},", "outcome='complete',"]
    shown = [line for line in lines if line.startswith("b'")]
    assert b"".join(map(ast.literal_eval, shown)) == body
    assert len(shown) == 200


# --- dials -----------------------------------------------------------------------------------------------------


def parts(value):
    """All that is in a JSON value, keys too."""
    yield value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


@given(kit.messages(kinds=["text", "tool_use"]))
def test_kinds_are_the_only_ones(message):
    assert {block.type for block in message.content} <= {"text", "tool_use"}


def test_each_kind_can_be_asked_for():
    for cls in sansio_step.ContentBlock.__args__:
        if cls is not UnknownBlock:
            assert find(kit.messages(kinds=[cls.type]), lambda message: message.content, settings=FIND)
    assert find(kit.messages(kinds=[]), lambda message: True, settings=FIND).content == []


@pytest.mark.parametrize(
    ("error", "dials"),
    [
        (ValueError, {"kinds": ["tea"]}),
        (TypeError, {"kinds": "text"}),
        (ValueError, {"max_text": -1}),
        (ValueError, {"max_number": -1}),
    ],
)
def test_dials_refuse_what_they_do_not_know(error, dials):
    with pytest.raises(error, match=next(iter(dials)) if "tea" not in str(dials) else "'tea' is no type of a block"):
        kit.messages(**dials)


def test_event_streams_and_wire_bytes_refuse_what_they_can_not_do():
    with pytest.raises(ValueError, match="message_deltas is 0"):
        kit.event_streams(message_deltas=0)
    for ends_of_lines in ([], ["\u2028"], "\n"):
        with pytest.raises(ValueError, match="line_ends is"):
            kit.wire_bytes([], line_ends=ends_of_lines)


@given(st.data())
def test_without_unknown_every_field_is_known(data):
    """In the message, and in all events but for what the message itself brings."""
    message = data.draw(kit.messages(unknown=False))
    events = data.draw(kit.event_streams(message, unknown=False))
    assert not any(part.extra for part in (message, message.usage, *message.content))
    assert not any(isinstance(block, UnknownBlock) for block in message.content)
    assert message.stop_reason.replace("_", "").isalpha()
    assert not any(isinstance(event, UnknownEvent) or event.extra for event in events)
    assert not any(event.delta.extra for event in events if event.type == "content_block_delta")
    assert to_dict(accumulated(events).result()) == to_dict(message)


@given(kit.messages(broken_input=False))
def test_without_broken_input_every_call_has_one(message):
    assert all(isinstance(block.input, dict) for block in message.content if hasattr(block, "input_json"))


@given(kit.messages(nul=False, max_text=5, max_number=7, broken_input=False))
def test_texts_and_numbers_have_bounds(message):
    for part in parts(to_dict(message)):
        if isinstance(part, str):
            assert "\0" not in part
        elif isinstance(part, int):
            assert abs(part) <= 7
    for block in message.content:
        assert len(getattr(block, "text", "") or "") <= 5
        assert len(getattr(block, "thinking", "") or "") <= 5


@given(kit.event_streams(pings=False, interleaved=False, message_deltas=1))
def test_fewer_events(events):
    names = kinds(events)
    assert "ping" not in names
    assert names.count("message_delta") <= 1
    opened = 0
    for name in names:
        opened += {"content_block_start": 1, "content_block_stop": -1}.get(name, 0)
        assert opened in (0, 1)


@given(st.data())
def test_without_prefilled_all_content_comes_in_deltas(data):
    message = data.draw(kit.messages())
    events = data.draw(kit.event_streams(message, prefilled=False))
    assert events[0].type == "ping" or events[0].message.content == []
    for event in events:
        if event.type == "content_block_start":
            block = event.content_block
            assert not getattr(block, "thinking", "")
            assert not (isinstance(block, TextBlock) and block.text)
            assert not (isinstance(block, ToolUseBlock) and to_dict(block)["input"])
    assert to_dict(accumulated(events).result()) == to_dict(message)


@given(st.data())
def test_without_usage_anywhere_both_ends_have_it(data):
    """As the first party sends it: everything at the end, all but the last count at the start."""
    message = data.draw(kit.messages())
    events = data.draw(kit.event_streams(message, usage_anywhere=False, prefilled=False))
    start = next(event.message.usage for event in events if event.type == "message_start")
    last = [event.usage for event in events if event.type == "message_delta"][-1]
    assert to_dict(last) == to_dict(message.usage)
    assert start.input_tokens == message.usage.input_tokens
    assert to_dict(accumulated(events).result()) == to_dict(message)


DRESS = [
    ({"bom": False}, lambda body: not body.startswith(b"\xef\xbb\xbf")),
    ({"line_ends": ["\n"]}, lambda body: b"\r" not in body),
    ({"line_ends": ["\r"]}, lambda body: b"\n" not in body),
    ({"line_ends": ["\r\n"]}, lambda body: b"\r" not in body.replace(b"\r\n", b"") and b"\n" not in body.replace(b"\r\n", b"")),
    ({"line_ends": ["\n", "\r"]}, lambda body: b"\r\n" not in body),
    ({"comments": False}, lambda body: all(re.match(rb"(\xef\xbb\xbf)?(data|event):|$", line) for line in re.split(b"[\r\n]+", body))),
    ({"tight": False, "comments": False}, lambda body: all(re.match(rb"(\xef\xbb\xbf)?\w+: |$", line) for line in re.split(b"[\r\n]+", body))),
    ({"data_lines": False, "comments": False}, lambda body: body.count(b"data:") == 2),
    ({"reordered": False, "comments": False, "tight": False}, lambda body: re.search(rb"event: ping\s+data: \{.*?\S*a\S*\s*:.*z", body, re.DOTALL)),
]  # fmt: skip


@pytest.mark.parametrize(("dials", "holds"), DRESS, ids=[str(dials) for dials, _ in DRESS])
def test_dress(dials, holds):
    """Each liberty of the format is one that can be turned down, and what is left reads the same."""
    events = [sansio_step.PingEvent(extra={"a": "é", "z": 1}), sansio_step.MessageStopEvent()]
    for body in examples(kit.wire_bytes(events, **dials), MANY):
        assert holds(body), body
        assert EventDecoder(strict=True).receive_data(body) == events


# --- what is essential -----------------------------------------------------------------------------------------


CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
PLAIN = {"content": [{"type": "text", "text": "Hi"}, CALL], "stop_reason": "tool_use", "usage": {"input_tokens": 3}}


@given(kit.messages(broken_input=False))
def test_a_message_and_its_json_are_essentially_the_same(message):
    assert kit.essence(to_dict(message)) == kit.essence(message)


@pytest.mark.parametrize(
    "other",
    [
        {**PLAIN, "id": "m", "type": "message", "model": "x", "parsed_output": None},
        {**PLAIN, "usage": {"input_tokens": 3, "output_tokens": 0, "cache_read_input_tokens": None, "cost": 1.5}},
        {**PLAIN, "content": [{"type": "thinking", "thinking": "hm"}, *PLAIN["content"]]},
        {**PLAIN, "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i", "citations": None}, CALL]},
    ],
)
def test_what_is_not_essential(other):
    assert kit.essence(other) == kit.essence(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        {**PLAIN, "content": [{"type": "text", "text": "Ho"}, CALL]},
        {**PLAIN, "content": PLAIN["content"][:1]},
        {**PLAIN, "content": [PLAIN["content"][0], {**CALL, "input": {"a": 2}}]},
        {**PLAIN, "content": [PLAIN["content"][0], {**CALL, "name": "g"}]},
        {**PLAIN, "content": [PLAIN["content"][0], {**CALL, "id": "u"}]},
        {**PLAIN, "stop_reason": None},
        {**PLAIN, "usage": {"input_tokens": 4}},
        {**PLAIN, "usage": {"input_tokens": 3, "cache_read_input_tokens": 1}},
    ],
)
def test_what_is_essential(other):
    assert kit.essence(other) != kit.essence(PLAIN)


def test_cut_arguments_are_no_input():
    """A reader that closes what was cut differs from one that does not."""
    block = ToolUseBlock("t", "f", input_json='{"seats": 1')
    message = sansio_step.Message(content=[block], stop_reason="max_tokens")
    assert kit.essence(message).tool_calls == [("t", "f", None)]
    closed = {"content": [{**CALL, "input": {"seats": 1}}], "stop_reason": "max_tokens"}
    assert kit.essence(closed) != kit.essence(message)
    assert len(repr(kit.essence(sansio_step.Message(content=[TextBlock("x" * 10**6)])))) < 300


@pytest.mark.parametrize("returned", [None, [("content", [])], "Hi"])
def test_a_consumer_that_returns_no_message_is_told_so(returned):
    with pytest.raises(TypeError, match="essence takes a Message or its JSON object, not "):
        kit.essence(returned)


# --- the assertion on a stream ---------------------------------------------------------------------------------


def body_of(*events):
    return b"".join(map(frame_of, events))


def frame_of(event):
    name, fields = event
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps({"type": name, **fields}).encode())


START = (
    "message_start",
    {
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "x",
            "content": [],
            "usage": {"input_tokens": 1},
        }
    },
)
END = ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}})
STOP = ("message_stop", {})
FAILED = ("error", {"error": {"type": "overloaded_error", "message": "busy\x1b[31m"}})
GOOD = body_of(START, END, STOP)


@pytest.mark.parametrize("body", [GOOD, bytearray(GOOD), [GOOD[:50], GOOD[50:]], iter([GOOD])])
def test_a_good_stream_gives_its_message(body):
    assert kit.assert_stream(body).stop_reason == "end_turn"


@given(kit.event_streams().flatmap(kit.wire_bytes).flatmap(kit.chunked))
def test_every_legal_stream_passes(chunks):
    assert kit.assert_stream(chunks).id


@given(kit.deviating_streams())
def test_deviations_fail_unless_they_are_allowed(case):
    """Each code that the stream has is in the text, and the stream passes with these codes, and not with fewer."""
    with pytest.raises(AssertionError) as caught:
        kit.assert_stream(case.data)
    for code in case.codes:
        assert f"  {code} at " in str(caught.value) or code in str(caught.value)
    if "spliced_message_start" in case.codes:
        return
    got = kit.assert_stream(case.data, allow=case.codes, outcome=case.outcome)
    assert to_dict(got) == case.message
    for code in case.codes:
        with pytest.raises(AssertionError, match=code):
            kit.assert_stream(case.data, allow=case.codes.keys() - {code}, outcome=case.outcome)


def test_a_failure_says_which_rule_which_event_and_what_was_sent():
    nameless = frame_of(END).partition(b"\n")[2].replace(b"end_turn", b"end\\u001b\\u202e")
    with pytest.raises(AssertionError) as caught:
        kit.assert_stream(body_of(START) + nameless * 2 + body_of(STOP))
    place = len(body_of(START))
    sent = nameless.decode().strip()
    assert str(caught.value).splitlines() == [
        f"the stream of 4 events in {place + 2 * len(nameless) + len(body_of(STOP))} bytes is not as it must be:",
        f"  no_event_line at event 1 (byte {place}), 2 times: data without an `event:` line",
        "    found: 'message_delta' without an event line",
        f"    sent: {sent!r}",
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ["outcome at the end (byte 0): truncated, must be complete", "nothing was sent"]),
        (b"<html>", ["unfinished_event at the end (byte 6)", "an HTML page", "sent: '<html>'"]),
        (body_of(START), ["outcome at the end", "the stream ended before the message did", "sent"]),
        (body_of(START, *[("ping", {"a": "x" * 99})] * 9), ["sent last: ...'"]),
        (body_of(START, FAILED), ["outcome at event 1", "failed, must be complete", "overloaded_error: busy\\x1b[31m", "sent: 'event: error"]),
        (body_of(START, FAILED, START, END, STOP), ["outcome at event 1", "failed before that, must be complete"]),
        (body_of(START) + b"event: ping\ndata: {\n\n", ["DecodeError: ping", "sent: 'event: ping\\ndata: {'"]),
        (body_of(START, ("message_start", {"message": {**START[1]["message"], "id": "n"}})), ["ProtocolViolation: spliced_message_start", "sent: 'event: message_start"]),
        (b"data: x\n\n" + b"".join(b'event: message_start\ndata: {"type":"message_start","message":{"id":"%d"}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n' % n for n in range(9)), ["9 deviations more"]),
    ],
)  # fmt: skip
def test_a_failure_says_all_that_is_wrong(body, said):
    with pytest.raises(AssertionError) as caught:
        kit.assert_stream(body)
    for words in said:
        assert words in str(caught.value)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", str(caught.value))


def test_an_outcome_can_be_wanted():
    """A server that fails or breaks off is tested as well as one that ends."""
    assert kit.assert_stream(body_of(START, FAILED), outcome=Outcome.FAILED).id == "m"
    assert kit.assert_stream(body_of(START), outcome=Outcome.TRUNCATED).id == "m"
    assert kit.assert_stream(b"", outcome=Outcome.TRUNCATED) is None
    with pytest.raises(AssertionError, match="complete, must be failed: it ends well"):
        kit.assert_stream(GOOD, outcome=Outcome.FAILED)


def test_what_can_not_be_allowed_or_asserted():
    with pytest.raises(ValueError, match="'tea' is none of DEVIATION_CODES"):
        kit.assert_stream(GOOD, allow=["tea"])
    with pytest.raises(ValueError, match="spliced_message_start can't be allowed"):
        kit.assert_stream(GOOD, allow=["spliced_message_start"])
    with pytest.raises(TypeError, match="allow is the text 'no_type'"):
        kit.assert_stream(GOOD, allow="no_type")
    with pytest.raises(TypeError, match="the body is a str"):
        kit.assert_stream(GOOD.decode())


# --- the check that needs no Hypothesis test around it -----------------------------------------------------------


class Lines:
    """A parser with the commonest fault: a line that two chunks share is two lines."""

    def receive_data(self, data):
        return data.split(b"\n")


class Forgetful:
    """One that loses what it had when an error follows in the same chunk."""

    def __init__(self):
        self.seen = 0

    def receive_data(self, data):
        self.seen += 1
        items = [byte for byte in data if byte != 33]
        if b"!" in data:
            raise ValueError("no")
        return items


class Silent:
    def receive_data(self, data):
        return None


@pytest.mark.parametrize("factory", [SSEDecoder, EventDecoder, MessageStream, Silent])
def test_chunk_invariant_parsers_pass(factory):
    """A parser that keeps the law passes, on a body that ends in a fault too, with or without a `receive_eof`."""
    kit.assert_chunk_invariant(factory, SHORT)
    kit.assert_chunk_invariant(factory, SHORT + b"event: ping\ndata: {\n\nmore")
    kit.assert_chunk_invariant(factory, b"")
    kit.assert_chunk_invariant(factory, SHORT, chunkings=splits(SHORT), state=repr if factory is SSEDecoder else None)


@pytest.mark.parametrize(
    ("factory", "data", "said"),
    [
        (Lines, b"ab\n", r"item 0 of the whole is b'ab', in pieces b'a'"),
        (Forgetful, b"ab!", r"item 0 of the whole is nothing, in pieces 97"),
    ],
)
def test_chunk_variant_parsers_fail(factory, data, said):
    """One that doesn't fails with an AssertionError that shows the cutting and the first difference."""
    with pytest.raises(AssertionError, match=said) as caught:
        kit.assert_chunk_invariant(factory, data)
    assert "cut into" in str(caught.value)


def test_chunk_variant_errors_and_states_fail():
    """Another error, fewer items or another state are differences too."""

    class Late:
        def __init__(self):
            self.parts = 0

        def receive_data(self, data):
            self.parts += 1

        def receive_eof(self):
            if self.parts > 1:
                raise ValueError(f"{self.parts} parts")

    with pytest.raises(AssertionError, match="error of the whole: None, in pieces: ValueError: 4 parts"):
        kit.assert_chunk_invariant(Late, b"abcd")

    class Counting:
        def __init__(self):
            self.parts = 0

        def receive_data(self, data):
            self.parts += 1
            return [self.parts] if self.parts == 1 else []

    with pytest.raises(AssertionError, match="state after the whole: 1, in pieces: 4"):
        kit.assert_chunk_invariant(Counting, b"abcd", state=lambda parser: parser.parts)
    kit.assert_chunk_invariant(Counting, b"abcd")

    with pytest.raises(AssertionError, match="cut into 2 pieces.*\nitem 1 of the whole is nothing, in pieces b'd'"):
        kit.assert_chunk_invariant(Lines, b"abcd", chunkings=[[b"abcd"], [b"abcd", b"d"]])


# --- the package ---------------------------------------------------------------------------------------------


def test_without_hypothesis(monkeypatch):
    """Without Hypothesis the import fails with the name of the extra to install."""
    for name in [name for name in sys.modules if name.startswith("sansio_step.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=re.escape('pip install "sansio-step[testing]"')):
        import sansio_step.testing  # noqa: F401, PLC0415


def test_core_does_not_import_hypothesis():
    """`import sansio_step` alone brings no Hypothesis with it."""
    code = "import sansio_step, sys, json; print(json.dumps([m for m in sys.modules if 'hypothesis' in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_public_names():
    """`__all__` is sorted and whole, each name has a docstring, and the outcome is what a case promises."""
    assert kit.__all__ == sorted(kit.__all__)
    public = {name for name in vars(kit) if name[0] != "_"} - {"hypothesis"}
    assert public == set(kit.__all__)
    assert all(getattr(kit, name).__doc__ for name in kit.__all__)
    assert find(kit.deviating_streams("no_message_stop"), lambda case: True, settings=FIND).outcome is Outcome.COMPLETE
