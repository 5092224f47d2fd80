"""A message as the events of a stream that builds it: for servers, gateways and tests, which have the whole first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import copy
from itertools import chain
from typing import Any

from ._errors import StreamError
from ._events import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    ErrorEvent,
    InputJSONDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)
from ._json import NotJSON, json_bytes, read_json
from ._message import (
    CompactionBlock,
    ContentBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    UnknownBlock,
    Usage,
)
from ._response import error_event
from ._states import Outcome

_AT_THE_END = ("output_tokens", "output_tokens_details", "server_tool_use")
"""The counts that are known only at the end. The official SDK takes them from a message_delta, and drops most others."""

_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]|\\u[dD][89abAB]..\\u[dD][c-fC-F]..", re.DOTALL)
_PAIR_LENGTH = 12
"""The two halves of a character beyond 16 bits, as they are or as the escapes of JSON, and their length at most."""


def message_events(
    message: Message | None,
    *,
    piece: int | None = None,
    outcome: Outcome = Outcome.COMPLETE,
    error: StreamError | ErrorEvent | None = None,
) -> Iterator[StreamEvent]:
    """The legal events that build exactly this message: what a server would have sent, as `encode_event` takes it.

    Text, thinking and tool arguments come in deltas of `piece` characters, or in one if it is None. A piece is shorter
    or longer if it would end inside a surrogate pair. Signatures, citations and compactions come in deltas of their own,
    and the output count at the end. All else comes with the start of its block or of the message. What is no part of a
    message (pings, deltas that fit nowhere) is not written. A message that is still growing is written as it is at the
    time of the call.

    `outcome` says how the stream ends:

    - COMPLETE: with the message's stop_reason and a message_stop.
    - TRUNCATED: without either. Blocks that are not finished stay open. A stop_reason after which no block was left
      open is not written, since a stream that broke off after it would count as whole.
    - STREAMING: the same, but with the stop_reason, if there is one. The deltas of the stream itself may follow.
    - FAILED: with an error event after the last of these. `error` is that event, or the exception that says why: an
      APIError as the server said it, any other as an `api_error` with its text. `message` can be None, as the `partial`
      of an error can; then there is nothing but the error event. (TRUNCATED gives nothing at all then.)

    Three things can't be said as they are. A usage of None is written as 0 output tokens, because the official SDK
    dies without a usage. A message without a stop_reason that is COMPLETE, or without a role or a model, is built,
    but not in strict mode. A fallback block makes its `to.model` the message's, as in every stream.

    Arguments come in pieces if the block has them as a text, in `input_json`. If it has only an `input`, as in a body
    that was no stream, they come with the block's start, as servers send them for programmatic calls. Setting
    `block.input_json` to the JSON of `block.input` brings them into pieces.

    Raises ValueError if `piece` is less than 1, if a COMPLETE message has an unfinished block, and for an `error`
    without FAILED; TypeError for anything but a Message.
    """
    if message is not None and not isinstance(message, Message):
        raise TypeError(f"expected a Message, not {type(message).__name__}")
    if not isinstance(outcome, Outcome):
        raise TypeError(f"expected an Outcome, not {outcome!r}")
    if error is not None and not isinstance(error, (StreamError, ErrorEvent)):
        raise TypeError(f"expected a StreamError or an ErrorEvent, not {type(error).__name__}")
    if piece is not None and piece < 1:
        raise ValueError(f"piece is {piece}, must be at least 1")
    if error is not None and outcome is not Outcome.FAILED:
        raise ValueError(f"an error ends a stream that is FAILED, not {outcome.name}")
    if outcome is Outcome.COMPLETE:
        if message is None:
            raise TypeError("expected a Message, not NoneType: without one, no stream is COMPLETE")
        if any(not block.is_finished and not _stays_broken(block) for block in message.content):
            raise ValueError("a message with an unfinished block is not COMPLETE: give its outcome, as TRUNCATED")
    ending: list[StreamEvent] = []
    if outcome is Outcome.COMPLETE:
        ending.append(MessageStopEvent())
    elif outcome is Outcome.FAILED:
        ending.append(error if isinstance(error, ErrorEvent) else error_event(error))
    return chain(() if message is None else _events(copy(message), piece, outcome), ending)


def _stays_broken(block: ContentBlock) -> bool:
    """Whether a block without a class counts as unfinished for good, because its arguments are no JSON."""
    text = block.extra.get("input_json") if isinstance(block, UnknownBlock) else None
    if not isinstance(text, str) or not text:
        return False
    try:
        read_json(json_bytes(text))
    except NotJSON:
        return True
    return False


def _events(message: Message, piece: int | None, outcome: Outcome) -> Iterator[StreamEvent]:
    whole = outcome is Outcome.COMPLETE
    blocks = list(enumerate(message.content))
    # A stop_reason finishes all blocks that began before it. So the others began after it.
    late = [(index, block) for index, block in blocks if not whole and not block.is_finished]
    stops = message.stop_reason is not None and (outcome is not Outcome.TRUNCATED or bool(late))
    if not whole and not stops:
        yield MessageStartEvent(_cut(message))
        for index, block in blocks:
            yield from _block_events(index, block, piece, stops=block.is_finished)
        return
    yield MessageStartEvent(_opening(message))
    for index, block in blocks:
        if whole or block.is_finished:
            yield from _block_events(index, block, piece, stops=True)
    yield _closing(message)
    for index, block in late:
        yield from _block_events(index, block, piece, stops=False)


def _cut(message: Message) -> Message:
    """A message_start's message for a stream without a message_delta."""
    start = copy(message)
    start.content = []
    start.usage = _usage(message)
    if message.stop_reason is not None:
        start.stop_reason = start.stop_sequence = start.stop_details = None
    return start


def _opening(message: Message) -> Message:
    """A message_start's message: what is not in `_closing`, and an output count of 0 for a count that comes there."""
    start = copy(message)
    start.content = []
    start.stop_reason = start.stop_sequence = start.stop_details = start.container = start.context_management = None
    start.usage = usage = _usage(message)
    if usage is not None:
        counted = usage.output_tokens is not None
        for name in _AT_THE_END:
            setattr(usage, name, None)
        usage.output_tokens = 0 if counted else None
    return start


def _closing(message: Message) -> MessageDeltaEvent:
    usage = _usage(message)
    delta = MessageDelta(message.stop_reason, message.stop_sequence, message.stop_details, message.container)
    counts = None if usage is None else Usage(**{name: getattr(usage, name) for name in _AT_THE_END})
    return MessageDeltaEvent(delta, counts, message.context_management)


def _usage(message: Message) -> Usage | None:
    """A copy of the usage, or 0 output tokens if there is none. None only if something else came under its name."""
    if message.usage is not None:
        return copy(message.usage)
    return None if "usage" in message.extra else Usage(output_tokens=0)


def _block_events(index: int, block: ContentBlock, piece: int | None, *, stops: bool) -> Iterator[StreamEvent]:
    start, deltas = _in_deltas(block, piece)
    yield ContentBlockStartEvent(index, start)
    for delta in deltas:
        yield ContentBlockDeltaEvent(index, delta)
    if stops:
        yield ContentBlockStopEvent(index)


def _in_deltas(block: ContentBlock, piece: int | None) -> tuple[ContentBlock, Iterable[Delta]]:
    """What a block starts with, and the deltas that bring the rest."""
    start: Any = copy(block)
    start.set_finished(True)  # so that it is written as the wire has it
    deltas: Iterable[Delta] = ()
    if isinstance(block, TextBlock):
        start.text = ""
        deltas = map(TextDelta, _pieces(block.text, piece))
        cited = block.citations or []
        if cited and all(isinstance(citation, dict) for citation in cited):
            start.citations = []
            deltas = chain(map(CitationsDelta, cited), deltas)  # in this order, as the first party sends them
    elif isinstance(block, ThinkingBlock):
        start.thinking = ""
        deltas = map(ThinkingDelta, _pieces(block.thinking, piece))
        if block.signature:
            start.signature = ""
            deltas = chain(deltas, [SignatureDelta(block.signature)])
    elif isinstance(block, ToolCallBlock):
        if block.input_json:
            start.input = {}
            deltas = map(InputJSONDelta, _pieces(block.input_json, piece))
    elif isinstance(block, CompactionBlock):
        start.content = start.encrypted_content = None
        deltas = [CompactionDelta(block.content, block.encrypted_content)]
    elif isinstance(block, UnknownBlock) and not block.is_finished:
        text = start.extra.get("input_json")
        if isinstance(text, str) and text:
            del start.extra["input_json"]
            deltas = map(InputJSONDelta, _pieces(text, piece))
    return start, deltas


def _pieces(text: str, size: int | None) -> Iterator[str]:
    """A text in pieces of so many characters, none of which ends inside a surrogate pair."""
    start = 0
    while start < len(text):
        end = len(text) if size is None else start + size
        if end < len(text):
            # What only looks like a pair, as in an escaped backslash before it, is not cut either, which does no harm.
            for pair in _PAIR.finditer(text, max(0, end - _PAIR_LENGTH), end + _PAIR_LENGTH):
                if pair.start() < end < pair.end():
                    end = pair.start() if pair.start() > start else pair.end()
        yield text[start:end]
        start = end
