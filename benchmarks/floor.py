"""The yardstick: msgspec decoding payloads that are already cut out, through a minimal union of types.

No Python library that makes typed events of JSON can be expected to be much faster, so every figure is
given as a multiple of this one. The types are fixed here and are not the library's own, so that the
yardstick does not move when those change. They have no `extra` for unknown fields, four deltas, and dicts
for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from typing import Any

import msgspec


class TextDelta(msgspec.Struct, tag_field="type", tag="text_delta"):
    text: str


class InputJSONDelta(msgspec.Struct, tag_field="type", tag="input_json_delta"):
    partial_json: str


class ThinkingDelta(msgspec.Struct, tag_field="type", tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, tag_field="type", tag="signature_delta"):
    signature: str


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    message: dict[str, Any]


class ContentBlockStart(msgspec.Struct, tag_field="type", tag="content_block_start"):
    index: int
    content_block: dict[str, Any]


class ContentBlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta"):
    index: int
    delta: TextDelta | InputJSONDelta | ThinkingDelta | SignatureDelta


class ContentBlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop"):
    index: int


class MessageDelta(msgspec.Struct, tag_field="type", tag="message_delta"):
    delta: dict[str, Any]
    usage: dict[str, Any]


class MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    pass


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    pass


Event = MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping

_decode_typed: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode
_decode_plain: Callable[[bytes], Any] = msgspec.json.Decoder().decode


Run = tuple[Callable[[bytes], object], list[bytes]]


def runs(payloads: Iterable[bytes]) -> list[Run]:
    """Payloads split into runs, each with its decoder, before any clock is started.

    A generated stream is one run. Captured streams carry events that the union has no type for: those
    become dicts, as users would get them from a plain decoder.
    """
    return [(decode, list(run)) for decode, run in groupby(payloads, _decoder_for)]


def _decoder_for(payload: bytes) -> Callable[[bytes], object]:
    try:
        _decode_typed(payload)
    except msgspec.ValidationError:
        return _decode_plain
    return _decode_typed


def decode(runs: Iterable[Run]) -> Iterator[object]:
    """The events, lazily: the loop that takes them is the only cost besides msgspec's own."""
    return chain.from_iterable(map(decode, payloads) for decode, payloads in runs)
