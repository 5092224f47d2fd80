"""A message as the events of a stream: read back, it is that message, for us and for the official SDKs."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    APIError,
    CompactionBlock,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    DecodeError,
    ErrorDetail,
    ErrorEvent,
    FallbackBlock,
    InputJSONDelta,
    Message,
    MessageAccumulator,
    MessageStream,
    Outcome,
    SignatureDelta,
    StreamError,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    UnknownBlock,
    Usage,
    encode_event,
    message_events,
    parse,
    to_dict,
)
from sansio_step.testing import messages

from .helpers import (
    MESSAGE_STOP,
    TEXT,
    TOOL,
    block_start,
    block_stop,
    delta,
    frame,
    message_delta,
    message_start,
    whole,
)
from .shared import needs_corpus, streams

PIECES = st.none() | st.integers(1, 40)


def body_of(message, **options):
    return b"".join(map(encode_event, message_events(message, **options)))


def made(*content, **fields):
    """A message with all that a legal stream has."""
    usage = Usage(input_tokens=3, output_tokens=9)
    return Message(
        **{"id": "m", "role": "assistant", "model": "m", "stop_reason": "end_turn", "usage": usage, **fields},
        content=list(content),
    )


def read(body, **options):
    """A stream that was given a whole body."""
    stream = MessageStream(**options)
    stream.receive_data(body)
    stream.receive_eof()
    return stream


def failure(stream):
    """What the server said about its failure, None if it reported none."""
    try:
        stream.result()
    except APIError as error:
        return error
    except StreamError:
        return None
    raise AssertionError("the message is whole")


# --- a whole message -----------------------------------------------------------------------------------------


@given(messages(), PIECES)
def test_what_is_written_is_read_as_the_same_message(message, piece):
    """Any message is read back as it was, by the strictest reader."""
    before = to_dict(message)
    again = parse(body_of(message, piece=piece), strict=True)
    assert again == message
    assert to_dict(again) == before
    assert to_dict(message) == before, "and the message that was written is as it was"


@given(messages(), PIECES)
def test_the_events_alone_build_the_same_message(message, piece):
    """No bytes are needed between a writer and an accumulator."""
    accumulator = MessageAccumulator(strict=True)
    accumulator.extend(message_events(message, piece=piece))
    assert accumulator.result() == message
    assert accumulator.unapplied == []
    assert accumulator.usage_is_final == (message.usage.output_tokens is not None)


def captured():
    """The messages of the captures that end well."""
    for path in streams():
        stream = MessageStream()
        try:
            stream.receive_data(path.read_bytes())
            stream.receive_eof()
        except StreamError:
            pass
        for number, message in enumerate(stream.messages):
            if message is not stream.message or stream.outcome is Outcome.COMPLETE:
                yield pytest.param(message, bool(stream.deviations), id=f"{path.stem}-{number}")


@needs_corpus
@pytest.mark.parametrize(("message", "odd"), list(captured()))
@pytest.mark.parametrize("piece", [None, 7])
def test_each_captured_message_is_written_and_read_again(message, odd, piece):
    """Whatever a server sent: its message again, without a deviation unless the server's stream had one."""
    stream = read(body_of(message, piece=piece))
    assert stream.result() == message
    assert to_dict(stream.result()) == to_dict(message)
    assert odd or not stream.deviations


def kinds(message, **options):
    """The events of a message in short: their types, and those of the deltas."""
    return [
        event.delta.type if isinstance(event, ContentBlockDeltaEvent) else event.type
        for event in message_events(message, **options)
    ]


def deltas(message, **options):
    return [event.delta for event in message_events(message, **options) if isinstance(event, ContentBlockDeltaEvent)]


def test_the_events_are_those_of_the_first_party():
    """A start without content, the deltas of each block between its start and stop, the end with its count."""
    block = TextBlock("Hello", citations=[{"cited_text": "a"}])
    message = made(block, stop_sequence="S", stop_details={"a": 1}, container={"id": "c"}, context_management={"b": 2})
    message.usage.server_tool_use = {"web_search_requests": 1}
    message.extra = {"diagnostics": None}
    assert [to_dict(event) for event in message_events(message, piece=3)] == [
        {
            "type": "message_start",
            "message": {
                "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
                "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 0},
                "diagnostics": None,
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", "citations": []}},
        {
            "type": "content_block_delta", "index": 0,
            "delta": {"type": "citations_delta", "citation": {"cited_text": "a"}},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {
                "stop_reason": "end_turn", "stop_sequence": "S", "stop_details": {"a": 1}, "container": {"id": "c"},
            },
            "usage": {"output_tokens": 9, "server_tool_use": {"web_search_requests": 1}},
            "context_management": {"b": 2},
        },
        {"type": "message_stop"},
    ]  # fmt: skip


def test_what_deltas_bring_is_not_in_the_start():
    """Thinking and its signature, arguments and a compaction come in deltas, and nothing of them before."""
    call = ToolUseBlock("t", "look", input_json='{"a": 1}')
    blocks = (ThinkingBlock("hm", "sig"), call, CompactionBlock("short", "secret", extra={"tool_changes": [1]}))
    message = made(*blocks)
    assert kinds(message)[1:-2] == [
        "content_block_start", "thinking_delta", "signature_delta", "content_block_stop",
        "content_block_start", "input_json_delta", "content_block_stop",
        "content_block_start", "compaction_delta", "content_block_stop",
    ]  # fmt: skip
    starts = [event for event in message_events(message) if isinstance(event, ContentBlockStartEvent)]
    assert [to_dict(start.content_block) for start in starts] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "tool_use", "id": "t", "name": "look", "input": {}},
        {"type": "compaction", "tool_changes": [1]},
    ]
    assert deltas(message)[-1] == CompactionDelta("short", "secret")


def test_an_input_without_its_text_comes_with_the_start():
    """Then the block read back has no text either; a text that is set brings the arguments into pieces."""
    message = made(ToolUseBlock("t", "look", {"a": [1]}))
    assert deltas(message) == []
    assert parse(body_of(message), strict=True).content[0].input_json == ""
    message.content[0].input_json = '{"a": [1]}'
    assert deltas(message, piece=6) == [InputJSONDelta('{"a": '), InputJSONDelta("[1]}")]


@pytest.mark.parametrize("citations", [[], [{"a": 1}, "odd"]])
def test_citations_that_no_delta_can_carry_come_with_the_start(citations):
    """An empty list, and a citation that is no object."""
    message = made(TextBlock("a", citations))
    assert deltas(message) == [TextDelta("a")]
    assert parse(body_of(message), strict=True) == message


@given(st.text(max_size=60), st.integers(1, 12))
def test_a_piece_has_as_many_characters_as_asked_for(text, piece):
    """All but the last, which has the rest."""
    texts = [delta.text for delta in deltas(made(TextBlock(text)), piece=piece)]
    assert "".join(texts) == text
    assert all(len(one) == piece for one in texts[:-1])
    assert all(0 < len(one) <= piece for one in texts[-1:])


@given(st.lists(st.sampled_from(("🦜", "a", "é", "\\", '"', "\n", "n")), max_size=30).map("".join), st.integers(1, 30))
def test_no_piece_of_arguments_ends_inside_a_pair(text, piece):
    """JSON writes a character beyond 16 bits as two escapes. Each piece of it stands for whole characters there."""
    written = json.dumps({"text": text})
    pieces = [delta.partial_json for delta in deltas(made(ToolUseBlock("t", "n", input_json=written)), piece=piece)]
    assert "".join(pieces) == written
    assert all(0 < len(one) <= max(piece, 12) for one in pieces)
    for one in pieces:
        # A backslash before it would make a plain text of it.
        assert one.count("\\ud83e") == one.count("\\udd9c")


@pytest.mark.parametrize(
    ("block", "texts"),
    [
        (TextBlock("abc"), [TextDelta("ab"), TextDelta("c")]),
        (ThinkingBlock("abc", signature="sss"), [ThinkingDelta("ab"), ThinkingDelta("c"), SignatureDelta("sss")]),
        (ToolUseBlock("t", "n", input_json="[12]"), [InputJSONDelta("[1"), InputJSONDelta("2]")]),
        (UnknownBlock("odd", extra={"input_json": "[12"}), [InputJSONDelta("[1"), InputJSONDelta("2")]),
    ],
)
def test_whatever_grows_in_pieces_comes_in_pieces(block, texts):
    """Of a block that is not finished too. A signature comes whole."""
    if not isinstance(block, UnknownBlock):  # whose text in `extra` is not known to grow if it is finished
        assert deltas(made(block), piece=2) == texts
    block.set_finished(False)
    for reason in (None, "end_turn"):
        message = made(block, TextBlock("d"), stop_reason=reason)
        events = list(message_events(message, piece=2, outcome=Outcome.TRUNCATED))
        found = [event.delta for event in events if event.type == "content_block_delta" and event.index == 0]
        assert found == texts


def test_the_two_halves_of_a_character_stay_together():
    """Also if the caller's own text holds them apart, as json.loads of escapes gives them."""
    assert [d.text for d in deltas(made(TextBlock("a\ud83e\udd9cb")), piece=2)] == ["a", "\ud83e\udd9c", "b"]
    assert [d.text for d in deltas(made(TextBlock("\ud83e\udd9cb")), piece=1)] == ["\ud83e\udd9c", "b"]


@pytest.mark.parametrize("piece", [1, 1000])
def test_the_cost_is_linear_in_pieces(piece):
    """A long text is cut once, not once a piece: a megabyte in single characters is a matter of seconds at most."""
    text = "\\ud83e\\udd9c" * 20_000
    pieces = [delta.partial_json for delta in deltas(made(ToolUseBlock("t", "n", input_json=text)), piece=piece)]
    assert "".join(pieces) == text
    assert {len(one) % 12 for one in pieces} == {0}


def test_a_growing_message_is_written_as_it_stands_at_the_call():
    """What comes later is not in it, whenever the events are taken."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="a"))
    events = message_events(stream.message, outcome=Outcome.STREAMING)
    stream.receive_data(delta(text="b") + block_stop() + block_start(TEXT, 1))
    assert [event.type for event in events] == ["message_start", "content_block_start", "content_block_delta"]


# --- what can't be said as it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome)
def test_no_usage_is_none_in_the_output(outcome):
    """A stream without a usage kills the official SDK, so no usage is 0 tokens out, and none in."""
    stream = read(body_of(made(usage=None), outcome=outcome))
    assert stream.message.usage == Usage(output_tokens=0)
    assert {deviation.code for deviation in stream.deviations} <= {"no_message_stop"}


def test_a_usage_that_is_none_is_kept():
    """What came in its place is not lost for the sake of a count."""
    message = parse(whole().replace(b'"usage":{"input_tokens":3,"output_tokens":1}', b'"usage":"free"').replace(
        b',"usage":{"output_tokens":5}', b""
    ))  # fmt: skip
    assert message.extra == {"usage": "free"}
    assert parse(body_of(message)) == message


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("stop_reason", "no_stop_reason"),
        ("id", None),
        ("role", "bare_message_start"),
        ("model", "bare_message_start"),
    ],
)
def test_what_a_message_lacks_shows_as_a_deviation(field, code):
    """It is built all the same, and nothing is invented for it."""
    message = made(TextBlock("a"), **{field: None})
    stream = read(body_of(message))
    assert (stream.result(), stream.outcome) == (message, Outcome.COMPLETE)
    assert [deviation.code for deviation in stream.deviations] == ([code] if code else [])


def test_a_fallback_block_names_the_model():
    """As in every stream: the message says so after it, whatever it said before."""
    message = made(FallbackBlock(to={"model": "b"}), model="a")
    assert parse(body_of(message), strict=True).model == "b"


def test_broken_arguments_of_a_block_without_a_class_stay_broken():
    """Such a block counts as unfinished for ever, so it is not sent back; and it still does."""
    start = {"type": "poem_use", "id": "p", "input": {}}
    message = parse(whole(block_start(start), delta(partial_json='{"a":'), block_stop()))
    again = parse(body_of(message, piece=2), strict=True)
    assert again == message
    assert [block.is_finished for block in (message.content[0], again.content[0])] == [False, False]


def test_a_field_called_input_json_is_a_field():
    """A block without a class can have one that no delta brought: it stays what it is, and becomes no input."""
    message = made(UnknownBlock("poem_use", extra={"input_json": "{}"}))
    assert parse(body_of(message), strict=True) == message


# --- other ends ------------------------------------------------------------------------------------------------

CUT = [
    message_start() + block_start(TEXT) + delta(text="Hel"),
    message_start() + block_start(TEXT) + delta(text="Hel") + block_stop() + block_start(TOOL, 1) + delta(1, partial_json='{"a": "b'),
    message_start() + block_start(TOOL) + block_start(TEXT, 1) + delta(1, text="b") + block_stop(1),
    message_start() + block_start({**TOOL, "input": {"a": 1}}),
    message_start() + block_start({"type": "poem_use", "id": "p"}) + delta(partial_json='{"a":1}'),
    message_start() + block_start({"type": "poem_use", "id": "p", "input_json": ""}),
    message_start() + block_start({"type": "poem_use", "input_json": 1}),
    message_start(container={"id": "c"}, stop_details={"a": 1}) + block_start(TEXT) + block_stop(),
    message_start() + message_delta(None, context_management={"a": 1}),
    message_start() + block_start(TEXT) + delta(text="a") + block_stop() + message_delta() + block_start(TEXT, 1) + delta(1, text="b"),
    message_start(),
]  # fmt: skip
ENDS = {
    Outcome.TRUNCATED: b"",
    Outcome.FAILED: frame("error", error={"type": "overloaded_error", "message": "Overloaded"}),
}


@pytest.mark.parametrize("outcome", ENDS)
@pytest.mark.parametrize("body", CUT)
def test_a_stream_that_ended_early_ends_so_again(body, outcome):
    """The same part of a message, in the same state, by a legal stream; and the server's words about it."""
    stream = read(body + ENDS[outcome])
    assert stream.outcome is outcome
    message = copy.copy(stream.message)
    again = read(body_of(message, piece=2, outcome=outcome, error=failure(stream)), strict=True)
    assert again.outcome is outcome
    assert again.message == message
    assert to_dict(again.message) == to_dict(message)
    assert [block.is_finished for block in again.message.content] == [block.is_finished for block in message.content]
    if outcome is Outcome.FAILED:
        assert vars(failure(again)).items() >= {"type": "overloaded_error", "message": "Overloaded"}.items()


@pytest.mark.parametrize("body", CUT)
def test_a_stream_on_its_way_can_be_joined_late(body):
    """Whoever gets the message so far, and then the rest of the stream, has the message of whoever was there before."""
    first, second = MessageStream(), MessageStream()
    first.receive_data(body)
    second.receive_data(body_of(first.message, outcome=Outcome.STREAMING))
    assert second.outcome is Outcome.STREAMING
    for stream in (first, second):
        stream.receive_data(delta(0, text="!") + delta(1, text="?") + message_delta() + MESSAGE_STOP)
    assert first.result() == second.result()


@given(messages())
def test_a_whole_message_can_be_cut(message):
    """TRUNCATED leaves out the end, so that nobody takes it for whole; what came before that is all there."""
    stream = read(body_of(message, outcome=Outcome.TRUNCATED), strict=True)
    assert stream.outcome is Outcome.TRUNCATED
    cut = copy.copy(message)
    cut.stop_reason = cut.stop_sequence = cut.stop_details = None
    assert stream.message == cut


@given(messages())
def test_a_whole_message_can_fail(message):
    """FAILED keeps the stop_reason: a server can fail after it."""
    stream = read(body_of(message, outcome=Outcome.FAILED), strict=True)
    assert stream.outcome is Outcome.FAILED
    assert stream.message == message
    error = failure(stream)
    assert (error.type, error.message) == ("api_error", "the stream failed")


@given(messages())
def test_before_its_message_stop_a_message_is_streaming(message):
    """All of it has come, and its end may follow."""
    stream = MessageStream(strict=True)
    stream.receive_data(body_of(message, outcome=Outcome.STREAMING))
    assert (stream.outcome, stream.message) == (Outcome.STREAMING, message)
    stream.receive_data(MESSAGE_STOP)
    assert stream.result() == message


@pytest.mark.parametrize(
    "envelope",
    [
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"type": "a", "message": "m", "details": {"error_code": "c", "more": 1}}, "request_id": "req_1"},
        {"error": {"type": "a", "code": 7, "param": "p"}, "isRetryable": True},
        {"error": {"type": "a", "message": "m", "details": {"other": 1}}, "code": "outside"},
        {"error": {"message": "m"}},
    ],
)
def test_an_error_is_passed_on_in_the_servers_own_words(envelope):
    """Every attribute of the exception is the same after it went through another stream."""
    error = failure(read(frame("error", **envelope)))
    again = failure(read(body_of(None, outcome=Outcome.FAILED, error=error)))
    assert vars(again) == vars(error)


def test_an_error_event_is_written_as_it_is():
    """For those who write their own."""
    event = ErrorEvent(ErrorDetail("a", "b"), "req_1", extra={"c": 1})
    assert list(message_events(None, outcome=Outcome.FAILED, error=event)) == [event]


def test_any_other_error_is_an_api_error_with_its_text():
    """A fault of the stream before is no word of this server's, so it gets the type that stands for no type."""
    error = DecodeError("broken JSON")
    error.event_number = 3
    (event,) = message_events(None, outcome=Outcome.FAILED, error=error)
    assert event == ErrorEvent(ErrorDetail("api_error", "broken JSON (event 3)"))


def test_nothing_came_and_nothing_follows():
    """A body that ended before its message_start is written as such a body."""
    assert list(message_events(None, outcome=Outcome.TRUNCATED)) == []


# --- wrong calls -----------------------------------------------------------------------------------------------


def test_wrong_calls_are_refused_at_once():
    """Before any event is taken, with what is wrong."""
    cut = read(CUT[0]).message
    with pytest.raises(TypeError, match="expected a Message, not dict"):
        message_events({})
    with pytest.raises(TypeError, match="^expected a Message, not NoneType: without one, no stream is COMPLETE$"):
        message_events(None)
    with pytest.raises(ValueError, match="piece is 0, must be at least 1"):
        message_events(made(), piece=0)
    with pytest.raises(ValueError, match="an error ends a stream that is FAILED, not TRUNCATED"):
        message_events(made(), outcome=Outcome.TRUNCATED, error=APIError("a", "b"))
    with pytest.raises(ValueError, match="a message with an unfinished block is not COMPLETE"):
        message_events(cut)


@pytest.mark.parametrize("extra", [{}, {"input_json": ""}, {"input_json": '{"a":1}'}, {"input_json": 1}])
def test_an_unfinished_block_without_a_class_is_not_complete(extra):
    """Unless its arguments are what is broken: the stop would make them whole."""
    block = UnknownBlock("poem_use", extra=extra)
    block.set_finished(False)
    with pytest.raises(ValueError, match="unfinished block"):
        message_events(made(block))


@pytest.mark.parametrize(("name", "value"), [("outcome", "complete"), ("outcome", None), ("error", "boom")])
def test_wrong_words_are_refused(name, value):
    """The value of an outcome is no outcome: "complete" would end a whole message like a cut one."""
    options = {"outcome": Outcome.FAILED, name: value}
    wanted = f"an Outcome, not {value!r}" if name == "outcome" else "a StreamError or an ErrorEvent, not str"
    with pytest.raises(TypeError, match=f"^expected {wanted}$"):
        message_events(Message(id="m", stop_reason="end_turn"), **options)
