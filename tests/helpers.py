"""What the tests of the core share: frames from JSON, every cutting of a body, all that a reading shows."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import sansio_step
from sansio_step import MessageStream, StreamError, ToolInputError, to_dict, to_json, to_param
from sansio_step._frames import split_frames
from sansio_step._receiver import FrameReceiver, Receiver

# json.dumps makes an encoder a call unless it is the default's: that took as long as to encode.
_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

CHUNK_SIZES = (1, 7, 64, 1460, 65536, 10**9)


def frame(event: str | None = None, /, _name: str | None = "", **fields: Any) -> bytes:
    """One frame as the first party writes it: the event line repeats the JSON's type.

    `_name` is another name for the event line, None for no event line.
    """
    wire = fields if event is None else {"type": event, **fields}
    name = event if _name == "" else _name
    # Lone halves of characters can only come as escapes: this handler's are JSON's.
    data = _COMPACT.encode(wire).encode("utf-8", "backslashreplace")
    return (b"" if name is None else b"event: %b\n" % name.encode()) + b"data: %b\n\n" % data


def message_start(**fields: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    message.update(stop_sequence=None, usage={"input_tokens": 3, "output_tokens": 1})
    message.update(fields)
    return frame("message_start", message=message)


def block_start(block: dict[str, Any], index: int = 0) -> bytes:
    return frame("content_block_start", index=index, content_block=block)


def delta(index: int = 0, **fields: Any) -> bytes:
    """A delta by its field: text, thinking, signature, partial_json, citation."""
    kinds = {"text": "text_delta", "thinking": "thinking_delta", "signature": "signature_delta"}
    kinds.update(partial_json="input_json_delta", citation="citations_delta")
    (field,) = fields
    return frame("content_block_delta", index=index, delta={"type": kinds[field], **fields})


def block_stop(index: int = 0) -> bytes:
    return frame("content_block_stop", index=index)


def message_delta(stop_reason: str | None = "end_turn", **fields: Any) -> bytes:
    fields = {"usage": {"output_tokens": 5}, **fields}
    return frame("message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None}, **fields)


MESSAGE_STOP = frame("message_stop")
PING = frame("ping")
TEXT = {"type": "text", "text": ""}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def whole(*middle: bytes, stop_reason: str = "end_turn") -> bytes:
    """A message around some block events."""
    return b"".join((message_start(), *middle, message_delta(stop_reason), MESSAGE_STOP))


def text_block(*texts: str, index: int = 0) -> bytes:
    deltas = b"".join(delta(index, text=text) for text in texts)
    return block_start(TEXT, index) + deltas + block_stop(index)


def tool_block(*pieces: str, index: int = 0, start: dict[str, Any] = TOOL) -> bytes:
    deltas = b"".join(delta(index, partial_json=piece) for piece in pieces)
    return block_start(start, index) + deltas + block_stop(index)


def splits(raw: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and cut at each index."""
    yield [raw]
    yield [raw[index : index + 1] for index in range(len(raw))]
    yield from ([raw[:index], raw[index:]] for index in range(len(raw) + 1))


def pieces(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def describe(error: StreamError | None) -> tuple[Any, ...] | None:
    """An error as something that compares."""
    return None if error is None else (type(error), str(error), error.event_number, error.byte_offset)


def read(chunks: Iterable[bytes], **options: Any) -> dict[str, Any]:
    """All that a reading of one body shows."""
    stream = MessageStream(**options)
    events: list[Any] = []
    try:
        for chunk in chunks:
            events += stream.receive_data(chunk)
        events += stream.receive_eof()
    except StreamError as error:
        assert error is stream.fault
    return {
        "events": events,
        "kinds": [type(event) for event in events],
        "fault": describe(stream.fault),
        "deviations": stream.deviations,
        "outcome": stream.outcome,
        "messages": [to_dict(message) for message in stream.messages],
        "unapplied": stream.unapplied,
    }


def least(body: bytes, chunk: int = 10**9) -> int:
    """The smallest max_message_size under which a body is read to its end."""
    refused, enough = 0, 1 << 20
    while enough - refused > 1:
        size = (refused + enough) // 2
        if read(pieces(body, chunk), max_message_size=size)["fault"] is None:
            enough = size
        else:
            refused = size
    return enough


def codes(body: bytes, **options: Any) -> list[str]:
    return [deviation.code for deviation in read([body], **options)["deviations"]]


def partial_of(body: bytes, **options: Any) -> sansio_step.Message | None:
    """The message that the error of a broken body carries."""
    try:
        sansio_step.parse(body, **options)
    except StreamError as error:
        return error.partial
    raise AssertionError("the body is whole")


def use(message: Any) -> None:
    """Everything that one does with a message."""
    wire = to_dict(message)
    text = to_json(message).decode()
    assert not any("\ud800" <= character <= "\udfff" for character in text)
    json.loads(text)
    try:
        to_param(message)
    except ValueError as error:
        assert str(error).startswith("no block of the message can be sent back: ")
    repr(message)
    assert message.text == "".join(block["text"] for block in wire["content"] if block["type"] == "text")
    for block in message.tool_uses:
        block.partial_input()
        try:
            assert isinstance(block.input, dict)
        except ToolInputError as error:
            assert 0 <= error.position <= len(error.input_json)
    assert to_dict(copy.deepcopy(message)) == wire
    assert to_dict(pickle.loads(pickle.dumps(message))) == wire


def by_the_letter(frame: bytes) -> tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]:
    """The event, data, id and retry of a frame: WHATWG HTML 9.2.6, line by line, with nothing left out or cut short.

    And the lines that no field begins: what stands before a colon there is no word.
    """
    event = data = last_id = retry = None
    bare = []
    for line in frame.split(b"\n"):
        if not line or line.startswith(b":"):
            continue
        field, colon, value = line.partition(b":")
        value = value.removeprefix(b" ") if colon else b""
        if field == b"event":
            event = value
        elif field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"id" and b"\0" not in value:
            last_id = value
        elif field == b"retry":
            retry = value if value and not value.strip(b"0123456789") else retry
        elif not (colon and field[:1].isalpha() and field.replace(b"-", b"").replace(b"_", b"").isalnum()):
            bare.append(line)
    return event, data, last_id, retry, b"\n".join(bare) if bare else None


def long_way() -> ExitStack:
    """Without each short way: frames by the letter of the standard, events one by one by the general reader."""
    ways = {
        "_decoder.cut_runs": lambda ready: [([], ready)],
        "_decoder.decode_clean": lambda data: None,
        "_decoder.EventDecoder.receive_data": Receiver.receive_data,
        "_decoder.EventDecoder.read_chunk": FrameReceiver.read_chunk,
        "_decoder.read_fields": by_the_letter,
        "_sse.SSEDecoder.receive_data": Receiver.receive_data,
        "_sse._COMMON_START": re.compile("(?!)"),
        "_sse.read_fields": by_the_letter,
        "_receiver.read_fields": by_the_letter,
        "_receiver.fields_of_frames": lambda ready: [
            by_the_letter(b"\n".join(lines)) for _, lines in split_frames(ready)
        ],
        "_accumulator.MessageAccumulator.take": lambda self, events: False,
        "_accumulator.CUT_ANYWHERE": frozenset(),
        "_accumulator.build_whole": lambda events, first, sizes: None,
    }
    with ExitStack() as patches:
        for target, replacement in ways.items():
            patches.enter_context(patch(f"sansio_step.{target}", replacement))
        return patches.pop_all()
