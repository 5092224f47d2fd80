"""What message_delta and message_stop say about their message: fields stated anew, and counts."""

from __future__ import annotations

from itertools import islice
from operator import attrgetter
from typing import Any

from ._base import NO_EXTRA, Part, set_right
from ._decode import RESTATED, attribute_for, read_usage
from ._events import IN_DELTA, MessageDeltaEvent
from ._message import Message, Usage

_MESSAGE_KEYS = frozenset(("type", *Message.__struct_fields__)) - {"extra"}
_USAGE_FIELDS = tuple(name for name in Usage.__struct_fields__ if name != "extra")
_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation")
_NO_COUNTS = (None,) * len(_INPUT_COUNTS)

# The values of these fields, read in C.
_in_delta = attrgetter(*IN_DELTA)
_in_usage = attrgetter(*_USAGE_FIELDS)
_input_counts = attrgetter(*_INPUT_COUNTS)

_MOST_COUNTS = 16
# The counts in an object of counts that are looked at. `cache_creation` has two.


def restate(message: Message, event: MessageDeltaEvent) -> None:
    """Take over the fields of a message_delta. A null or a missing one never takes away what an earlier event said."""
    for name, value in zip(IN_DELTA, _in_delta(event.delta), strict=True):
        if value is not None:
            _replace(message, name, value)
    if event.context_management is not None:
        _replace(message, "context_management", event.context_management)
    if event.extra or event.delta.extra:
        merge_fields(message, event.extra)
        merge_fields(message, event.delta.extra)


def merge_fields(message: Message, fields: dict[str, Any]) -> None:
    """Take over the other fields of an event, some of which are the message's.

    A value of a wrong kind never replaces one of the right kind.
    """
    others = {}
    for key, value in fields.items():
        name = attribute_for(Message, key, value)
        if key not in _MESSAGE_KEYS:
            others[key] = value
        elif key == "usage":
            if value is not None and not isinstance(value, dict):
                others[key] = value
        elif key in RESTATED:
            if name is not None:
                _replace(message, name, value)
            elif value is not None:
                others[key] = value
        elif name is not None and getattr(message, name) is None:
            setattr(message, name, value)
    _merge_extra(message, others)


def usages_of(event: MessageDeltaEvent) -> list[Usage]:
    """The usages that a message_delta carries: its own, and those among its other fields."""
    own = [event.usage] if event.usage is not None else []
    return [*own, *usages_in(event.extra, event.delta.extra)] if event.extra or event.delta.extra else own


def usages_in(*fields: dict[str, Any]) -> list[Usage]:
    """The usages among the fields that an event carries beside its own."""
    return [read_usage(extra["usage"]) for extra in fields if extra and isinstance(extra.get("usage"), dict)]


def has_final_count(message: Message, usages: list[Usage]) -> bool:
    """Whether one of the usages has the final output count: one that comes with the stop_reason, or after it."""
    return message.stop_reason is not None and any(usage.output_tokens is not None for usage in usages)


def merge_usages(message: Message, usages: list[Usage]) -> None:
    """Take over the counts of usages."""
    for usage in usages:
        _merge_usage(message, usage)


def _merge_usage(message: Message, usage: Usage) -> None:
    if message.usage is None:
        _replace(message, "usage", Usage())
    stood: Any = message.usage
    kept = _INPUT_COUNTS if is_reset(stood, usage) else ()
    for name, value in zip(_USAGE_FIELDS, _in_usage(usage), strict=True):
        if value is not None and not (name in kept and getattr(stood, name) is not None):
            # Counts are cumulative: a later one replaces an earlier one and is never added to it.
            set_right(stood, name, value)
    _merge_extra(stood, usage.extra)


def is_reset(stood: Usage | None, usage: Usage) -> bool:
    """Whether all stated input counts are 0 and one of them was positive before, as some gateways end a stream.

    If one stated count is positive, all are the last word: 20591/0/0 and then 0/0/20591 is a shift, not a reset.
    """
    if stood is None or usage.input_tokens:
        return False
    now = _input_counts(usage)
    if now == _NO_COUNTS or any(map(_is_positive, now)):
        return False
    before = _input_counts(stood)
    return any(_is_positive(count) for count, zero in zip(before, now, strict=True) if zero is not None)


def _is_positive(count: Any) -> bool:
    """Whether a count, or one of the first in an object of counts, is not 0.

    Only the first are looked at, because a server can write an object of megabytes there and have it looked at again
    with each message_delta.
    """
    return any(islice(count.values(), _MOST_COUNTS)) if isinstance(count, dict) else bool(count)


def _replace(holder: Part, name: str, value: Any) -> None:
    """Set a stated value. A stop_reason of "" states nothing."""
    if value is not None and (value != "" or name != "stop_reason"):
        set_right(holder, name, value)


def _merge_extra(holder: Message | Usage, extra: dict[str, Any]) -> None:
    if extra and holder.extra is NO_EXTRA:
        holder.extra = {}
    for key, value in extra.items():
        right = key != "extra" and key in holder.__struct_fields__ and getattr(holder, key) is not None
        if not right and (value is not None or key not in holder.extra):
            holder.extra[key] = value
