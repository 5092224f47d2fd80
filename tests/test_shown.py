"""What people and tools are shown of any public object, at any moment of a stream: repr, help, copies, JSON, error texts."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import io
import json
import pickle
import pydoc
import traceback
import typing
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
import pytest

import sansio_step
from sansio_step import (
    APIError,
    AsyncMessageReader,
    AWSFrame,
    AWSFrameDecoder,
    BatchResult,
    BedrockDecoder,
    ConnectError,
    ConnectionLost,
    ContentBlock,
    DeadlineExceeded,
    Deadlines,
    DecodeError,
    Deviation,
    EventDecoder,
    IncompleteStream,
    JSONClosed,
    JSONOpened,
    JSONPiece,
    JSONReader,
    JSONScalar,
    JSONString,
    LimitExceeded,
    MessageAccumulator,
    MessageReader,
    MessageRequest,
    MessageStream,
    Outcome,
    ProtocolViolation,
    RetryPolicy,
    ServerSentEvent,
    SSEDecoder,
    StreamError,
    Timeouts,
    ToolInputError,
    TransportError,
    UnexpectedResponse,
    decode_error,
    decode_message,
    parse,
)

from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
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

MARKS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))]  # fmt: skip
"""C0, DEL and C1, the marks and overrides of bidirectional text, the line separators."""


def is_hidden(character: str) -> bool:
    """Whether a character is none to be seen: what steers a terminal, ends a line, turns text around or is half of one."""
    turns = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")
        or unicodedata.bidirectional(character) in turns
        or character in "\u061c\u200e\u200f"
    )


def assert_in_sight(text: str) -> None:
    """One line, every character of it to be seen, no address in memory."""
    assert not [character for character in text if is_hidden(character)]
    assert len(text.splitlines()) <= 1
    assert " at 0x" not in text


def test_the_marks_are_all_there_are():
    """The table has each character up to U+FFFF that is not to be seen, but for halves of characters."""
    found = [character for character in map(chr, range(0x10000)) if is_hidden(character)]
    assert [character for character in found if not "\ud800" <= character <= "\udfff"] == MARKS


# --- every object at every moment --------------------------------------------------------------------------------

EVIL = "evil\x1b[31m \u202e\n\x85\u2028end"
CALLS = [
    frame("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": piece, "new": 1})
    for piece in ('{"a":["b', "\ud83d", "\ude00", '\\ud83d","', "\x1b\u202e", '"],"n":12', "3", "}")
]
RESULTS = [kind.type for kind in typing.get_args(ContentBlock) if str(kind.type).endswith("_tool_result")]
OTHERS = [*RESULTS, "redacted_thinking", "mcp_tool_listing", "container_upload", "fallback", "new_block"]
CLEAN = [
    message_start(id=EVIL, container={"id": EVIL}, odd=EVIL),
    block_start(TEXT), delta(text="a" + EVIL), delta(text="x\ud83d"), delta(text="\ude00"), delta(citation={"cited": EVIL}),
    delta(text="y"), delta(citation={"cited": "b"}), block_stop(),
    block_start(THINKING, 1), delta(1, thinking="t\ud83d"), PING, delta(1, thinking="u"), delta(1, signature="s"), block_stop(1),
    block_start({**TOOL, "name": EVIL}, 2), *CALLS, block_stop(2),
    block_start({"type": "server_tool_use", "id": "s", "name": "n", "input": {"q": EVIL}}, 3), delta(3, partial_json=""), block_stop(3),
    block_start({"type": "mcp_tool_use", "id": "s", "name": "n", "input": {}, "server_name": "m"}, 4), block_stop(4),
    block_start({"type": "compaction", "content": None}, 5),
    frame("content_block_delta", index=5, delta={"type": "compaction_delta", "content": EVIL}), block_stop(5),
    block_start({"type": "poem", "text": "O", "citations": [], "other": EVIL}, 6), delta(6, text=" what"), delta(6, text="\ud83d"),
    delta(6, citation={"n": 1}), delta(6, text="!"), block_stop(6),
    message_delta(None, usage={"output_tokens": 2, "new": EVIL}), message_delta("tool_use", late=1), frame("message_stop", later=EVIL),
    whole(text_block("b")).replace(b"msg_1", b"msg_2"),
]  # fmt: skip
KINDS = [
    message_start(content=[{"type": kind, "content": [EVIL], "to": {"model": EVIL}} for kind in OTHERS]),
    *(block_start({"type": kind, "tool_use_id": EVIL, "new": 1}, 20 + place) for place, kind in enumerate(OTHERS)),
    message_delta(stop_details={"a": EVIL}), MESSAGE_STOP,
]  # fmt: skip
ODD = [
    delta(3, text="no start"), block_start(TEXT, 1), delta(1, text="a"), block_start(TEXT, 1), delta(1, text="b"),
    block_start({**TOOL, "input": {"a": 1}}), delta(0, thinking="not here"), delta(0, partial_json='{"b'), block_stop(),
    delta(0, partial_json='":[1'), frame("content_block_delta", index=0, delta={"type": EVIL, "new": EVIL}), b"data: [\x1b]\n\n",
    frame(EVIL, _name=None), frame("odd", _name="even\x1b", x="\ud800"), b"event: new\ndata: {}\n\n", message_delta("end_turn"),
    message_start(id=EVIL), MESSAGE_STOP, frame(EVIL, _name="late"), frame("error", _name=None, error=EVIL),
]  # fmt: skip
OPEN = [
    message_start(),
    block_start(TEXT),
    delta(text="a\ud83d"),
    block_start(TOOL, 1),
    delta(1, partial_json='{"a":"\ud83d'),
]
STREAMS: list[tuple[list[bytes], dict[str, Any]]] = [
    (CLEAN, {}),
    (KINDS, {}),
    (ODD, {}),
    (OPEN, {}),
    ([*OPEN, b'event: ping\ndata: {"type'], {}),
    ([*OPEN, frame("error", error={"type": EVIL, "message": EVIL}, request_id=EVIL), message_start(), *OPEN[1:]], {}),
    ([*OPEN, b'event: message_stop\ndata: {"a":\x1b}\n\n'], {}),
    ([*OPEN, message_start(id=EVIL)], {}),
    ([*OPEN, delta(text="x" * 2000)], {"max_message_size": 2500}),
    ([*OPEN, delta(text="x" * 500)], {"max_event_size": 400}),
]
PARTIAL = parse(whole(text_block(EVIL)))
BY_HAND = [
    StreamError(EVIL), DecodeError(EVIL), LimitExceeded("max_event_size", 1), ProtocolViolation("no_type", EVIL), IncompleteStream(EVIL),
    APIError(EVIL, EVIL, request_id=EVIL, status=500), ToolInputError(EVIL, EVIL, 1), TransportError(EVIL), ConnectError(EVIL),
    ConnectionLost(EVIL), DeadlineExceeded("idle", 1.5),
    UnexpectedResponse(EVIL, status=200, content_type=EVIL, start=EVIL.encode()),
    Deviation("no_type", 1, EVIL, 2), ServerSentEvent(EVIL, EVIL, EVIL),
    BatchResult(EVIL, EVIL, PARTIAL, extra={EVIL: [EVIL * 99]}),
    AWSFrame({EVIL: EVIL, "a": 1, "b": b"\x1b", "c": datetime(2026, 1, 1, tzinfo=timezone.utc), "d": UUID(int=1)}, EVIL.encode()), RetryPolicy(), Timeouts(), Deadlines(Timeouts(), 0.0),
    MessageRequest(model="m", max_tokens=1, messages=[{"role": "user", "content": EVIL}]), *Outcome,
    JSONOpened((EVIL,), "object"), JSONClosed((EVIL, 0), {"a": [EVIL]}), JSONPiece((), EVIL), JSONString((0,), EVIL), JSONScalar((), None),
    JSONReader(),
]  # fmt: skip
for _error in BY_HAND[:12]:
    _error.event_number, _error.byte_offset, _error.partial = 1, 2, PARTIAL  # type: ignore[union-attr]
READERS = (
    MessageStream,
    MessageAccumulator,
    EventDecoder,
    SSEDecoder,
    AWSFrameDecoder,
    BedrockDecoder,
    MessageReader,
    AsyncMessageReader,
    JSONReader,
)
CLASSES = [each for name in sansio_step.__all__ if isinstance(each := getattr(sansio_step, name), type)]


async def never() -> AsyncIterator[bytes]:
    yield b""


def moments() -> Iterator[list[Any]]:
    """What there is after each event of each stream, and after its end: the readers, and all that they give."""
    yield [*BY_HAND, AWSFrameDecoder(), BedrockDecoder()]
    for frames, options in STREAMS:
        event_size = {name: size for name, size in options.items() if name == "max_event_size"}
        readers = [MessageStream(**options), EventDecoder(**event_size), SSEDecoder(**event_size)]
        accumulator = MessageAccumulator()
        stream = readers[0]
        reader_of_all = MessageReader(frames, **options)
        for wire in [*frames, None]:
            things: list[Any] = [*readers, accumulator, reader_of_all, AsyncMessageReader(never(), **options)]
            try:
                things += islice(reader_of_all, 1)
            except StreamError as error:
                things.append(error)
            for reader in readers:
                try:
                    events = reader.receive_eof() if wire is None else reader.receive_data(wire)
                    things += events
                    if reader is stream:
                        accumulator.extend(events)
                except StreamError as error:
                    things.append(error)
            try:
                stream.result()
            except StreamError as error:
                things.append(error)
            yield [*things, stream.messages, stream.deviations, stream.unapplied]


def parts(thing: Any) -> Iterator[Any]:
    """The public objects in something, itself first: events and their deltas, messages and their blocks, errors."""
    if isinstance(thing, (list, tuple)):
        for each in thing:
            yield from parts(each)
    elif isinstance(thing, tuple(CLASSES)):
        yield thing
        names = thing.__struct_fields__ if isinstance(thing, msgspec.Struct) else ()
        for name in (*names, *(("partial",) if isinstance(thing, StreamError) else ())):
            try:
                yield from parts(getattr(thing, name))
            except ToolInputError as error:
                yield error


def value_of(thing: Any, name: str) -> Any:
    """A field as the JSON has to say it: the input of a call that is not finished is the one so far."""
    try:
        return getattr(thing, name)
    except ToolInputError:
        return thing.partial_input()


def fields_of(thing: Any) -> dict[str, Any]:
    """Wire name and value of what a Struct says: its public fields, and its type."""
    names = zip(thing.__struct_fields__, thing.__struct_encode_fields__, strict=True)
    fields = {wire_name: value_of(thing, name) for name, wire_name in names if name[0] != "_"}
    return {**{tag: getattr(thing, tag) for tag in ("type", "kind") if hasattr(thing, tag)}, **fields}


def said(thing: Any) -> Any:
    """All that something says at the moment, as a value of its own."""
    if isinstance(thing, msgspec.Struct):
        return type(thing), {name: said(value) for name, value in fields_of(thing).items()}
    if isinstance(thing, StreamError):
        return type(thing), str(thing), thing.args, said(vars(thing))
    if isinstance(thing, (list, tuple)):
        return list(map(said, thing))
    if isinstance(thing, dict):
        return {name: said(value) for name, value in thing.items()}
    return said(vars(thing)) if dataclasses.is_dataclass(thing) else thing


Held = list[tuple[Any, Any]]
"""Copies, each with what it said when it was made."""


def look_at_repr(thing: Any, held: Held) -> None:
    for text in (repr(thing), str(thing), f"{[thing]}"):
        assert_in_sight(text)
    if isinstance(thing, BaseException):
        assert_in_sight("".join(traceback.format_exception_only(thing)).removesuffix("\n"))


def look_with_rich(thing: Any, held: Held) -> None:
    pretty = pytest.importorskip("rich.pretty")
    console = pytest.importorskip("rich.console")
    assert_in_sight(pretty.pretty_repr(thing, max_width=10**9))
    screen = io.StringIO()
    console.Console(file=screen, width=10**6, highlight=False).print(thing)
    assert_in_sight(screen.getvalue().removesuffix("\n"))


def look_at_json(thing: Any, held: Held) -> None:
    if not isinstance(thing, (msgspec.Struct, Enum)) and not dataclasses.is_dataclass(thing):
        return
    wire = json.loads(msgspec.json.encode(thing))
    if isinstance(thing, msgspec.Struct):
        assert_says(wire, thing)


def look_at_builtins(thing: Any, held: Held) -> None:
    if isinstance(thing, (msgspec.Struct, Enum)) or dataclasses.is_dataclass(thing):
        # Tuples stay tuples there.
        assert json.loads(json.dumps(msgspec.to_builtins(thing))) == json.loads(msgspec.json.encode(thing))


def assert_says(plain: Any, thing: Any) -> None:
    """The JSON has each field's value as the attribute says it. One that is left out says nothing, no other is there."""
    if isinstance(thing, msgspec.Struct):
        fields = fields_of(thing)
        assert plain.keys() <= fields.keys()
        for name, value in fields.items():
            if name in plain:
                assert_says(plain[name], value)
            else:
                assert value in (None, "", [], {})
    elif isinstance(thing, (list, tuple)):
        assert len(plain) == len(thing)
        for one, each in zip(plain, thing, strict=True):
            assert_says(one, each)
    elif isinstance(thing, dict):
        assert plain.keys() == thing.keys()
        for name, value in thing.items():
            assert_says(plain[name], value)
    else:
        # Bytes, times and UUIDs are no JSON of their own; msgspec writes them as text.
        assert plain == msgspec.to_builtins(thing)


def look_at_copies(thing: Any, held: Held, *, ways: tuple[Callable[[Any], Any], ...]) -> None:
    if isinstance(thing, READERS):
        read, gives = (
            ("text", "deltas and values") if isinstance(thing, JSONReader) else ("body", "events and messages")
        )
        told = f"^{type(thing).__name__} can't be copied or pickled because it reads one {read}; its {gives} can$"
        for way in ways:
            with pytest.raises(TypeError, match=told):
                way(thing)
        return
    for way in ways:
        twin = way(thing)
        assert type(twin) is type(thing)
        if isinstance(thing, Deadlines):
            assert twin.timeouts == thing.timeouts
            continue
        assert said(twin) == said(thing)
        assert isinstance(thing, StreamError) or twin == thing
        if not (way is copy.copy and isinstance(thing, StreamError)):  # a shallow copy of an error has the same message
            held.append((twin, said(twin)))


def look_at_signatures(thing: Any, held: Held) -> None:
    for function in functions_of(type(thing)):
        signature = inspect.signature(function)
        assert not [name for name in signature.parameters if name[0] == "_"]
        assert_in_sight(str(signature))


def look_at_hints(thing: Any, held: Held) -> None:
    for function in functions_of(type(thing)):
        typing.get_type_hints(function)


def functions_of(cls: type) -> Iterator[Any]:
    """A class, its public methods, and what its properties call."""
    yield cls
    for name, member in inspect.getmembers(cls):
        if name == "__init__" or name[0] != "_":
            if inspect.isfunction(member) or inspect.ismethod(member):
                yield member
            elif isinstance(member, property):
                yield member.fget


def look_at_help(thing: Any, held: Held) -> None:
    for each in (type(thing), thing):
        text = pydoc.plain(pydoc.render_doc(each))
        for line in text.split("\n"):
            assert_in_sight(line)


BLOCKS = {kind.__name__ for kind in typing.get_args(ContentBlock)}
# Faults of the core that are known. An entry goes with the fault.
KNOWN: dict[str, set[str]] = {
    "signatures": BLOCKS,  # have a parameter `_progress`: msgspec's signature names every field
}
BY_CLASS = (look_at_signatures, look_at_hints, look_at_help)  # one object of a class is like another to them
LOOKS: dict[str, Callable[[Any, Held], None]] = {
    "repr": look_at_repr,
    "rich": look_with_rich,
    "JSON": look_at_json,
    "builtins": look_at_builtins,
    "copy": partial(look_at_copies, ways=(copy.copy,)),
    "deepcopy and pickle": partial(
        look_at_copies, ways=(copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing)))
    ),
    "signatures": look_at_signatures,
    "type hints": look_at_hints,
    "help": look_at_help,
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_object_can_be_looked_at_at_every_moment(look):
    """Each way to look at an object works on those of every class, between any two events, and shows what is then so.

    Texts are one line, without a character that is not to be seen and without an address. JSON says what the attributes
    say, with no private name. Copies are equal to what they are made from, and stand still when the stream goes on.
    """
    failures: dict[str, str] = {}  # the first of each class
    met: set[type] = set()
    held: Held = []
    for things in moments():
        for thing in {id(part): part for part in parts(things)}.values():
            name = next(cls.__name__ for cls in type(thing).__mro__ if cls in CLASSES)
            if type(thing) in met and LOOKS[look] in BY_CLASS:
                continue
            met.add(type(thing))
            try:
                LOOKS[look](thing, held)
            except Exception as error:
                failures.setdefault(name, f"{type(error).__name__}: {error}"[:500])
    for twin, then in held:
        if said(twin) != then:
            failures.setdefault(f"{type(twin).__name__} later", f"said {then}, now {said(twin)}"[:500])
    assert failures.keys() == KNOWN.get(look, set()), failures
    assert met >= set(CLASSES)


# --- whatever the server said ------------------------------------------------------------------------------------


def caught(call: Callable[[], Any]) -> StreamError:
    with pytest.raises(StreamError) as raised:
        call()
    return raised.value


# What a server can put its own words into, as a body around them.
BODIES: dict[str, Callable[[str], bytes]] = {
    "error event": lambda words: message_start() + frame("error", error={"type": words, "message": words}),
    "bare error": lambda words: frame("error", error=words),
    "error as text": lambda words: b"event: error\ndata: %b\n\n" % words.encode(),
    "name": lambda words: frame("ping", _name=words),
    "type": lambda words: frame(words, _name="ping"),
    "type without a name": lambda words: frame(words, _name=None),
    "name without a type": lambda words: b"event: %b\ndata: {}\n\n" % words.encode(),
    "name of text": lambda words: b"event: %b\ndata: text\n\n" % words.encode(),
    "text": lambda words: b"data: %b\n\n" % words.encode(),
    "type with half a character": lambda words: frame(words, a="\ud800"),
    "type after the stop": lambda words: whole() + frame(words),
    "type of a block": lambda words: whole(block_start({"type": words, "text": 0}), delta(text="a"), block_stop()),
    "id inside a message": lambda words: message_start() + block_start(TEXT) + message_start(id=words),
    "id of the message around": lambda words: message_start(id=words) + block_start(TEXT) + message_start(),
    "id again": lambda words: message_start(id=words) * 2,
    "id before the stop": lambda words: message_start() + message_delta() + message_start(id=words),
    "cut event": lambda words: message_start() + b'event: ping\ndata: {"%b' % words.encode(),
}
OF_LINES = {"error as text", "name", "name without a type", "name of text", "text", "cut event"}


def readings(body: bytes) -> Iterator[Any]:
    """All that a body gives: events, messages, deviations and errors, in both modes, by a stream and by a decoder."""
    for strict in (False, True):
        for reader in (MessageStream(strict=strict), EventDecoder(strict=strict)):
            try:
                yield from reader.receive_data(body)
                yield from reader.receive_eof()
            except StreamError as error:
                yield error
            yield from (reader, reader.fault, *reader.deviations)
            if isinstance(reader, MessageStream):
                yield from reader.messages
                try:
                    reader.result()
                except StreamError as error:
                    yield error


@pytest.mark.parametrize("place", BODIES)
def test_no_words_of_a_server_leave_their_line(place):
    """What a server says is shown on one line, its control characters as escapes, its other characters as they are."""
    for mark in MARKS:
        if place in OF_LINES and mark in "\r\n":
            continue  # ends the line on the wire
        escaped = f"words{repr(mark)[1:-1]}more"
        told: set[type] = set()
        for thing in readings(BODIES[place](f"words{mark}more")):
            assert_in_sight(repr(thing))
            assert_in_sight(str(thing))
            if isinstance(thing, Deviation):
                assert_in_sight(thing.detail)
            if isinstance(thing, StreamError):
                assert_in_sight(thing.reason)
                assert_in_sight("".join(traceback.format_exception_only(thing)).removesuffix("\n"))
            if escaped in str(thing) and isinstance(thing, (StreamError, Deviation)):
                told.add(type(thing))
        assert told == (
            {APIError} if place in ("error event", "bare error", "error as text") else
            {ProtocolViolation} if place in ("id inside a message", "id of the message around") else
            {ProtocolViolation, Deviation}
        )  # fmt: skip


ERRORS: dict[str, Callable[[str], StreamError]] = {
    "decode_error of text": lambda words: decode_error(500, {}, words.encode("utf-8", "replace")),
    "decode_error of an envelope": lambda words: decode_error(500, {}, json.dumps({"error": {"type": words, "message": "m"}})),
    "decode_message of an envelope": lambda words: caught(lambda: decode_message(json.dumps({"error": {"message": words}}))),
    "decode_message of another type": lambda words: caught(lambda: decode_message(json.dumps({"type": words, "content": []}))),
    "APIError": lambda words: APIError(words, words, request_id=words, status=500),
    "ToolInputError": lambda words: ToolInputError(words, words, 1),
    "LimitExceeded": lambda words: LimitExceeded(words, 1),
    "ProtocolViolation": lambda words: ProtocolViolation(words, words),
    "DeadlineExceeded": lambda words: DeadlineExceeded(words, 1.0),
    "UnexpectedResponse": lambda words: UnexpectedResponse(words, status=200, content_type=words, start=words.encode("utf-8", "replace")),
    **{cls.__name__: cls for cls in (StreamError, DecodeError, IncompleteStream, TransportError, ConnectError, ConnectionLost)},
}  # fmt: skip


def test_every_class_of_error_is_in_the_table():
    """The constructors above make errors of each public class."""
    made = {type(make("words")) for make in ERRORS.values()}
    assert made == {cls for cls in CLASSES if issubclass(cls, StreamError)}


@pytest.mark.parametrize("name", ERRORS)
def test_no_words_of_an_error_leave_their_line(name):
    """The text of an error is one line, whoever makes it: escapes for control characters and halves, all else as it is."""
    for mark in [*MARKS, "\ud800", "\udfff"]:
        words = f"words{mark}more \u4f60"
        error = ERRORS[name](words)
        for each in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
            for text in (str(each), repr(each), each.reason, *each.args):
                assert_in_sight(text)
            assert_in_sight("".join(traceback.format_exception_only(each)).removesuffix("\n"))
        shown = repr(mark)[1:-1]
        if mark >= "\ud800" and name.startswith("decode_"):
            shown = "?" if name.endswith("of text") else "\ufffd"  # of what came in UTF-8, or as an escape in JSON
        assert f"words{shown}more \u4f60" in str(error)
        if name == "APIError":
            # What is shown is escaped, what is kept is what came.
            assert (error.type, error.message, error.request_id) == (words, words, words)


def test_a_deviation_by_hand_is_one_line_too():
    """Its str escapes what its fields hold, which stay as they are; so does its repr."""
    for mark in [*MARKS, "\ud800"]:
        deviation = Deviation(f"code{mark}", 3, f"words{mark}more", 2)
        escape = repr(mark)[1:-1]
        assert str(deviation) == f"code{escape} at event 3, 2 times: words{escape}more"
        assert_in_sight(repr(deviation))
        assert deviation.detail == f"words{mark}more"


def test_rich_shows_the_fields_that_say_something():
    """By name and in the order of the repr, `extra` last; what is None or empty is left out."""
    pretty = pytest.importorskip("rich.pretty")
    block = sansio_step.ToolUseBlock("t", "look", {"a": 1}, extra={"b": 2})
    fields = ["id='t'", "name='look'", "input={'a': 1}", "extra={'b': 2}"]
    assert pretty.pretty_repr(block) == repr(block) == f"ToolUseBlock({', '.join(fields)})"
    assert pretty.pretty_repr(block, max_width=20).splitlines() == [
        "ToolUseBlock(",
        *(f"    {field}," for field in fields[:-1]),
        f"    {fields[-1]}",
        ")",
    ]


def test_an_integer_of_more_than_1000_bits_is_shown_by_its_size():
    """Python refuses to write one of more than 4,300 digits."""
    for number, shown in ((2**1000, "an integer of 1001 bits"), (2**20_000, "an integer of 20001 bits")):
        assert repr(sansio_step.UnknownBlock("x", extra={"n": number})).endswith(f"extra={{'n': {shown}}})")
    assert "bits" not in repr(sansio_step.UnknownBlock("x", extra={"n": 2**1000 - 1}))
