"""`sansio_step.testing`: its streams are what they say, its examples shrink to what a person can read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

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


def test_chunks_shrink_to_the_whole():
    """An example that does not need to be cut isn't, one that does is cut as often as it must."""
    assert find(kit.chunked(SHORT), lambda chunks: True, settings=SHRINK) == [SHORT]
    assert len(find(kit.chunked(SHORT), lambda chunks: len(chunks) > 2, settings=SHRINK)) == 3
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
    for case in examples(kit.deviating_streams(code), 20):
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
    for case in examples(kit.deviating_streams(*codes), 40):
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
    for start in range(5):
        for case in examples(kit.deviating_streams(), 200, start):
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
