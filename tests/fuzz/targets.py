"""What holds for any bytes, as functions that raise where it doesn't. The first byte chooses how the rest is cut."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from sansio_step import (
    AWSFrameDecoder,
    BedrockDecoder,
    EventDecoder,
    MessageRequest,
    MessageStream,
    Outcome,
    SSEDecoder,
    StreamError,
    decode_event,
    encode_aws_frame,
    encode_event,
    to_dict,
    to_json,
)

from ..helpers import describe, long_way, pieces, read, use

SIZES = (1, 2, 3, 7, 0, 64, 1460, 1 << 20)
# 0 is one block a chunk, as servers flush them: the decoders have a short way for that.


def _cut(data: bytes) -> tuple[bytes, list[bytes]]:
    body = data[1:]
    size = SIZES[data[0] % len(SIZES)] if data else 1
    return body, pieces(body, size) if size else re.findall(b".+?(?:\n\n|\r\n\r\n|\\Z)", body, re.DOTALL)


def frames(data: bytes) -> None:
    """Frames are what the standard says, however they are cut."""
    body, chunks = _cut(data)
    decoder = SSEDecoder()
    got = [event for chunk in chunks for event in decoder.receive_data(chunk)] + decoder.receive_eof()
    found = [(event.event, event.data, event.id) for event in got]
    expected = standard_reading(body)
    assert (found, decoder.last_event_id, decoder.retry) == expected, (found, expected)


def standard_reading(body: bytes) -> tuple[list[tuple[str, str, str]], str, int | None]:
    """WHATWG HTML, 9.2.5 and 9.2.6, line by line and in its words: (type, data, last event id) of each dispatch."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    # What has no line end behind it is no line yet when the stream ends.
    lines = re.split("\r\n|\n|\r", text)[:-1]
    event_type, data, id_buffer, last_id, retry = "", "", "", "", None
    dispatched = []
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data != "":
                dispatched.append((event_type or "message", data.removesuffix("\n"), last_id))
            event_type, data = "", ""
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return dispatched, last_id, retry


def events(data: bytes) -> None:
    """Events or a typed error, the same however cut and by the long way. Where all is in order the last blank line can
    be missing. Each event can be written, and is read as the same.
    """
    body, chunks = _cut(data)

    def decode(chunks: list[bytes]) -> tuple[list[Any], Any, Any]:
        decoder = EventDecoder()
        got: list[Any] = []
        try:
            for chunk in chunks:
                got += decoder.receive_data(chunk)
            got += decoder.receive_eof()
        except StreamError:
            pass
        return got, describe(decoder.fault), decoder.deviations

    whole = decode([body])
    assert decode(chunks) == whole
    with long_way():
        assert decode([body]) == whole
    if body.endswith(b"}\n\n") and whole[1] is None and not whole[2]:
        assert decode([body[:-1]])[0] == decode([body[:-2]])[0] == whole[0]
    for event in whole[0]:
        if "\r" in (getattr(event, "data", None) or ""):
            continue
        if not hasattr(getattr(event, "delta", None), "raw"):
            assert EventDecoder().receive_data(encode_event(event)) == [event]
        if getattr(event, "data", None) is None:
            again = decode_event(to_json(event))
            assert to_dict(again) == to_dict(event)


def message(data: bytes) -> None:
    """One reading of any bytes, in both modes and at a low limit, by the short ways and without; all of it can be used."""
    body, chunks = _cut(data)
    for options in ({}, {"strict": True}, {"max_event_size": 300, "max_message_size": 900}):
        whole = read([body], **options)
        assert read(chunks, **options) == whole
    with long_way():
        assert read([body], **options) == whole
    stream = MessageStream()
    try:
        for chunk in chunks:
            stream.receive_data(chunk)
            if stream.message is not None:
                to_dict(stream.message)
    except StreamError:
        pass
    for made in stream.messages:
        use(made)


def requests(data: bytes) -> None:
    """A request is refused with a ValueError or TypeError, or encodes to the JSON that it was made of."""
    try:
        wire = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if not isinstance(wire, dict):
        return
    listed = {field.name for field in dataclasses.fields(MessageRequest)}
    known = {key: value for key, value in wire.items() if key in listed and key != "extra"}
    unknown = {key: value for key, value in wire.items() if key not in listed}
    try:
        request = MessageRequest(**known, extra=unknown or None)
    except (ValueError, TypeError) as error:
        assert str(error)
        return
    back = json.loads(request.to_json())
    assert back["model"] == known["model"]
    assert len(back["messages"]) == len(known["messages"]) > 0
    repr(request)


def http(data: bytes) -> None:
    """An exchange raises nothing for what a server sends, and says the same of it however it is cut."""
    from sansio_step_adapters.http1 import Exchange  # noqa: PLC0415  # needs the extra `anyio`

    body, chunks = _cut(data)

    def exchange(chunks: list[bytes]) -> tuple[Any, ...]:
        call = Exchange(max_event_size=2_000, max_message_size=10_000, max_response_size=10_000)
        call.request("/v1/messages", [(b"host", b"localhost")], b"{}")
        got: list[Any] = []
        for chunk in chunks:
            if not call.done:
                got += call.receive_data(chunk)
        if not call.done:
            got += call.receive_eof()
        assert call.done
        try:
            use(call.result())
        except StreamError:
            assert call.outcome is not Outcome.COMPLETE or call.error is not None
        said = str(call.error)
        # h11 looks at the first bytes of a head early, and has other words for them than for a whole line.
        said = said if "no valid HTTP" not in said else "no valid HTTP"
        return got, type(call.error), said, call.outcome, call.status

    whole = exchange([body] if body else [])
    assert exchange(chunks) == whole


def aws(data: bytes) -> None:
    """AWS frames or a typed error, the same however they are cut; any headers too, under checksums that are right. What
    was read can be written, and is read as the same.
    """

    def decode(chunks: list[bytes], cls: Any = AWSFrameDecoder) -> tuple[list[Any], Any]:
        decoder = cls(max_event_size=5_000)
        got: list[Any] = []
        try:
            for chunk in chunks:
                got += decoder.receive_data(chunk)
            got += decoder.receive_eof()
        except StreamError:
            pass
        return got, describe(decoder.fault)

    body = data[1:]
    head = struct.pack(">II", 16 + len(body), len(body))
    head += struct.pack(">I", zlib.crc32(head)) + body
    for made in (body, head + struct.pack(">I", zlib.crc32(head))):
        whole = decode([made])
        chunks = _cut((data[:1] or b"\0") + made)[1]
        assert decode(chunks) == whole
        assert decode(chunks, BedrockDecoder) == decode([made], BedrockDecoder)
        for frame in whole[0]:
            if all(len(value) < 2**15 for value in frame.headers.values() if isinstance(value, (str, bytes))):
                assert AWSFrameDecoder().receive_data(encode_aws_frame(frame)) == [frame]


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (frames, events, message, requests, http, aws)
}
