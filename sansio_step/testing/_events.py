"""Legal event streams: every way in which a server may send one message."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from .._encode import to_dict
from .._errors import ToolInputError
from .._events import (
    KNOWN_EVENTS,
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    InputJSONDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
    UnknownEvent,
)
from .._halves import Half
from .._message import (
    CompactionBlock,
    ContentBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    UnknownBlock,
    Usage,
)
from ._messages import json_text, messages
from ._values import JSON, extras, json_objects, names

_PARTS = ("stop_details", "container", "context_management")
# A message_delta has its own use for these names, so an unknown field of the message can't travel there under them.
_TAKEN = frozenset(("type", "delta", "usage", "message", "index"))
_EVENT_NAMES = frozenset(cls.type for cls in KNOWN_EVENTS) | {"message"}
# An event without a name is called "message".


class Ways(NamedTuple):
    """Which liberties the events of a message may take."""

    unknown: bool = True
    pings: bool = True
    prefilled: bool = True  # content in starts, and not only in deltas
    whole: bool = True  # all of it in message_start; follows from `prefilled`
    interleaved: bool = True
    message_deltas: int = 3
    usage_anywhere: bool = True


def event_streams(
    message: Message | st.SearchStrategy[Message] | None = None,
    *,
    unknown: bool = True,
    pings: bool = True,
    prefilled: bool = True,
    interleaved: bool = True,
    message_deltas: int = 3,
    usage_anywhere: bool = True,
) -> st.SearchStrategy[list[StreamEvent]]:
    """The events of one message, sent in any legal way (`to_dict` of what they build equals that of `message`).

    Text and arguments are cut anywhere or come with the block's start. Blocks come one after another or interleaved.
    Usage comes at either end or grows. The stop reason is in any of several message_deltas, and other fields are in any
    event that may carry them. Pings and unknown events come in between. Or the message_start carries it all.

    `message` is a Message that `messages` could draw, or a strategy for such Messages; the default is `messages()`,
    with the same `unknown`.

    A consumer that can't take all of that turns some of it down. Without `unknown` there are no unknown events and
    deltas, and no unknown fields but those of the message; without `pings` no pings. Without `prefilled` all text,
    thinking and arguments come in deltas, as the first party streams them; without `interleaved` one block ends before
    the next begins. There are at most so many `message_deltas`, and at least one if the message_start does not carry it
    all. Without `usage_anywhere` the message_start has all of the usage but the final output_tokens, and the last
    message_delta has all of it.

    Raises ValueError if a Message lacks what every legal stream has (id, role, model, stop_reason, usage, finished
    blocks), and for less than one message_delta.
    """
    if message_deltas < 1:
        raise ValueError(f"message_deltas is {message_deltas}, must be at least 1")
    if message is None:
        message = messages(unknown=unknown)
    if isinstance(message, Message):
        message = st.just(_streamable(message))
    return _event_lists(
        message, Ways(unknown, pings, prefilled, prefilled, interleaved, message_deltas, usage_anywhere)
    )


def _streamable(message: Message) -> Message:
    for name in ("id", "role", "model", "stop_reason", "usage"):
        if getattr(message, name) is None:
            raise ValueError(f"message without {name}: no legal stream builds it")
    if not all(block.is_finished for block in message.content):
        raise ValueError("message with an unfinished block: no whole stream builds it")
    return message


@st.composite
def _event_lists(draw: st.DrawFn, strategy: st.SearchStrategy[Message], ways: Ways) -> list[StreamEvent]:
    message = draw(strategy)
    if ways.whole and draw(st.sampled_from((False, False, False, True))) and not any(map(_is_cut, message.content)):
        events = _in_one(draw, message, ways)
    else:
        events = _in_pieces(draw, message, ways)
    # Unknown events are part of a message; pings are legal everywhere, after message_stop too.
    if ways.unknown:
        _insert(draw, events, 1, len(events) - 1, _unknown_events())
    if ways.pings:
        _insert(draw, events, 0, len(events), _pings(ways.unknown))
    return events


def piecewise_streams(message: st.SearchStrategy[Message]) -> st.SearchStrategy[list[StreamEvent]]:
    """The same, without the streams whose message_start carries everything."""
    return _event_lists(message, Ways(whole=False))


def _insert(
    draw: st.DrawFn, events: list[StreamEvent], start: int, end: int, strategy: st.SearchStrategy[StreamEvent]
) -> None:
    for place in sorted(draw(st.lists(st.integers(start, end), max_size=2)), reverse=True):
        events.insert(place, draw(strategy))


@cache
def _pings(unknown: bool) -> st.SearchStrategy[PingEvent]:
    return st.builds(PingEvent, extra=extras(PingEvent) if unknown else st.just({}))


def _extra(draw: st.DrawFn, fields: st.SearchStrategy[JSON], ways: Ways) -> JSON:
    return draw(fields) if ways.unknown else {}


@cache
def _unknown_events() -> st.SearchStrategy[UnknownEvent]:
    # An event line drops one space before the name, and an empty name names nothing.
    kinds = names().filter(lambda name: name not in _EVENT_NAMES)
    return st.builds(UnknownEvent, kinds, extra=json_objects().map(_without_type))


def _without_type(wire: JSON) -> JSON:
    return {key: value for key, value in wire.items() if key != "type"}


def _is_cut(block: ContentBlock) -> bool:
    """Whether a tool's arguments are broken: only deltas can carry them."""
    if isinstance(block, ToolCallBlock):
        try:
            _ = block.input
        except ToolInputError:
            return True
    return False


def _in_one(draw: st.DrawFn, message: Message, ways: Ways) -> list[StreamEvent]:
    """Programmatic tool calling: message_start has the whole message, and message_stop follows."""
    start = copy(message)
    start.content = [_arrived_whole(block) for block in message.content]
    stop: JSON = {}
    start.extra = dict(message.extra)
    for key in message.extra:
        if draw(st.booleans()):
            stop[key] = start.extra.pop(key)
    return [MessageStartEvent(start, extra=_extra(draw, extras(MessageStartEvent), ways)), MessageStopEvent(extra=stop)]


def _arrived_whole(block: ContentBlock) -> ContentBlock:
    """The block as a start carries it: with a tool's `input`, not the text of it."""
    if isinstance(block, ToolCallBlock) and block.input_json:
        block = copy(block)
        block.input = block.input
    return block


def _in_pieces(draw: st.DrawFn, message: Message, ways: Ways) -> list[StreamEvent]:
    start = Message(id=message.id, role=message.role, model=message.model)
    stop: JSON = {}
    tops: list[JSON] = [
        {} for _ in range(draw(st.integers(1, ways.message_deltas)))
    ]  # the top level of each message_delta
    deltas: list[JSON] = [{} for _ in tops]
    last = len(tops) - 1

    stops_at = last if draw(st.booleans()) else 0
    deltas[stops_at].update(stop_reason=message.stop_reason, stop_sequence=message.stop_sequence)
    for name in _PARTS:
        value = getattr(message, name)
        if value is not None:
            if draw(st.booleans()):
                setattr(start, name, value)
            elif name == "context_management":
                tops[last][name] = value
            else:
                deltas[last][name] = value
    top_extra: JSON = {}
    delta_extra: JSON = {}
    start_extra: JSON = {}
    for key, value in message.extra.items():
        places = [start_extra, stop] if key in _TAKEN else [delta_extra, top_extra, stop, start_extra]
        draw(st.sampled_from(places))[key] = value
    start.extra = start_extra
    start.usage, usages = (_usage_in_pieces if ways.usage_anywhere else _usage_at_both_ends)(
        draw, message.usage or Usage(), len(tops)
    )

    closing: list[StreamEvent] = [
        MessageDeltaEvent(
            MessageDelta(**delta, extra=delta_extra if number == last else {}),
            usage=usage,
            **top,
            extra=top_extra if number == last else {},
        )
        for number, (delta, top, usage) in enumerate(zip(deltas, tops, usages, strict=True))
    ]
    content = _interleaved(
        draw, [_block_events(draw, index, block, ways) for index, block in enumerate(message.content)], ways
    )
    # The message_deltas before the stop reason can come between the blocks, in their order: counts are cumulative.
    gaps = sorted(draw(st.integers(0, len(content))) for _ in range(stops_at))
    for place, early in reversed(list(zip(gaps, closing, strict=False))):
        content.insert(place, early)
    opening = MessageStartEvent(start, extra=_extra(draw, extras(MessageStartEvent), ways))
    return [opening, *content, *closing[stops_at:], MessageStopEvent(extra=stop)]


def _usage_in_pieces(draw: st.DrawFn, usage: Usage, deltas: int) -> tuple[Usage, list[Usage]]:
    """One usage split over the message_start and each message_delta: later counts replace earlier ones."""
    parts: list[JSON] = [{} for _ in range(deltas + 1)]
    extra: list[JSON] = [{} for _ in parts]
    for name in usage.__struct_fields__:
        if name != "extra" and getattr(usage, name) is not None:
            _spread(draw, parts, name, getattr(usage, name))
    for name, value in usage.extra.items():
        _spread(draw, extra, name, value)
    made = [Usage(**known, extra=unknown) for known, unknown in zip(parts, extra, strict=True)]
    return made[0], made[1:]


def _usage_at_both_ends(draw: st.DrawFn, usage: Usage, deltas: int) -> tuple[Usage, list[Usage]]:
    """As the first party sends it: all at the start, where output_tokens is a placeholder, and all at the end."""
    start = copy(usage)
    if start.output_tokens:
        start.output_tokens = _smaller(start.output_tokens)
    return start, [*(Usage() for _ in range(deltas - 1)), copy(usage)]


def _spread(draw: st.DrawFn, parts: list[JSON], name: str, value: Any) -> None:
    final = draw(st.integers(0, len(parts) - 1))
    parts[final][name] = value
    if final and value is not None and draw(st.booleans()):
        parts[draw(st.integers(0, final - 1))][name] = _smaller(value)


def _smaller(value: Any) -> Any:
    """A smaller value of the same kind, which comes earlier."""
    return value // 2 if isinstance(value, int) else type(value)()


def _interleaved(draw: st.DrawFn, blocks: list[list[StreamEvent]], ways: Ways) -> list[StreamEvent]:
    if not ways.interleaved or len(blocks) < 2 or not draw(st.booleans()):
        return [event for block in blocks for event in block]
    waiting = [block[::-1] for block in blocks]
    events: list[StreamEvent] = []
    running: list[list[StreamEvent]] = []
    while waiting or running:
        # A block that has begun, or the next to begin: starts keep their order.
        choice = draw(st.integers(0, len(running) - (not waiting)))
        if choice == len(running):
            running.append(waiting.pop(0))
        events.append(running[choice].pop())
        if not running[choice]:
            del running[choice]
    return events


def _block_events(draw: st.DrawFn, index: int, block: ContentBlock, ways: Ways) -> list[StreamEvent]:
    in_deltas = not ways.prefilled or draw(st.booleans()) or _is_cut(block) or _came_in_deltas(block)
    made = _in_deltas(draw, block, ways) if in_deltas else None
    start, deltas = made or (block, _no_deltas(draw, block))
    if ways.unknown and draw(st.sampled_from((False,) * 7 + (True,))):
        unknown = UnknownDelta(draw(st.sampled_from(("future_delta", "未来_delta"))), extra=draw(extras(UnknownDelta)))
        deltas.insert(draw(st.integers(0, len(deltas))), unknown)
    return [
        ContentBlockStartEvent(index, start, extra=_extra(draw, extras(ContentBlockStartEvent), ways)),
        *(ContentBlockDeltaEvent(index, delta) for delta in deltas),
        ContentBlockStopEvent(index, extra=_extra(draw, extras(ContentBlockStopEvent), ways)),
    ]


def _came_in_deltas(block: ContentBlock) -> bool:
    return isinstance(block, ToolCallBlock) and bool(block.input_json)


def _no_deltas(draw: st.DrawFn, block: ContentBlock) -> list[Delta]:
    """The deltas of a block whose start carries all of it: none, or an empty piece, as servers send."""
    unknown_call = isinstance(block, UnknownBlock) and "input" in block.extra and "input_json" not in block.extra
    if (isinstance(block, ToolCallBlock) or unknown_call) and draw(st.booleans()):
        return [InputJSONDelta("")]
    return []


def _in_deltas(draw: st.DrawFn, block: ContentBlock, ways: Ways) -> tuple[ContentBlock, list[Delta]] | None:
    """The start of a block and the deltas that complete it; None for kinds that have no deltas."""
    start: Any = copy(block)
    deltas: list[Delta] = []
    if isinstance(block, TextBlock):
        start.text = ""
        deltas += _pieces(draw, block.text, TextDelta)
        if block.citations:
            start.citations = draw(st.sampled_from((None, [])))
            places = sorted(draw(st.integers(0, len(deltas))) for _ in block.citations)
            for place, citation in reversed(list(zip(places, block.citations, strict=True))):
                deltas.insert(place, CitationsDelta(citation))
    elif isinstance(block, ThinkingBlock):
        start.thinking = ""
        deltas += _pieces(draw, block.thinking, ThinkingDelta)
        if block.signature is not None:
            start.signature = draw(st.sampled_from(("", None)))
            deltas.append(SignatureDelta(block.signature))
    elif isinstance(block, ToolCallBlock):
        text = block.input_json or json_text(draw, block.input)
        start.input = {}
        deltas += _pieces(draw, text, InputJSONDelta)
    elif isinstance(block, CompactionBlock):
        start.content = start.encrypted_content = None
        deltas.append(CompactionDelta(block.content, block.encrypted_content))
    elif isinstance(block, UnknownBlock):
        start.extra = dict(block.extra)
        _unknown_in_deltas(draw, start.extra, deltas)
    else:
        return None
    alone = [place for place, delta in enumerate(deltas) if not isinstance(delta, CompactionDelta)]
    if ways.unknown and alone and draw(st.sampled_from((False, False, False, True))):
        # Beta fields on deltas (a thinking_delta's estimated_tokens) belong to the delta alone, but for a compaction's.
        place = draw(st.sampled_from(alone))
        deltas[place] = msgspec.structs.replace(deltas[place], extra={"estimated_tokens": 1})
    return start, deltas


def _unknown_in_deltas(draw: st.DrawFn, extra: JSON, deltas: list[Delta]) -> None:
    text, arguments = extra.get("text"), extra.get("input")
    if isinstance(text, str):
        extra["text"] = ""
        deltas += _pieces(draw, text, TextDelta) or [TextDelta("")]
    if isinstance(arguments, dict) and "input_json" not in extra:
        extra["input"] = {}
        deltas += _pieces(draw, json_text(draw, arguments), InputJSONDelta)


def _pieces(draw: st.DrawFn, text: str, cls: Callable[[str], Delta]) -> list[Delta]:
    """Deltas that add up to a text, cut anywhere (into empty pieces too) or into its characters."""
    # Drawn for every text, so that a failing example can get shorter without a change to all that is drawn after it.
    one_by_one = draw(st.sampled_from((False, False, True)))
    if one_by_one and 1 < len(text) <= 40:
        return [cls(character) for character in text]
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    if not text and not cuts:
        return []
    return [cls(text[start:end]) for start, end in pairwise([0, *cuts, len(text)])]


def wire(event: StreamEvent) -> JSON:
    """The JSON of an event, with the lone halves that a decoded delta hides."""
    made = to_dict(event)
    if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, Half):
        made["delta"][event.delta.text_field] = event.delta.raw
    return made
