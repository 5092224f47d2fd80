"""Deviations from the protocol that are read all the same: the table of their codes, and the log that counts them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ._errors import escaped, shown

ENTRY_SIZE = 256
# The bytes that one entry adds to a message's size. With a detail of 160 wide characters it takes a kilobyte.

_MOST_SHOWN = 160
_MOST_ENTRIES = 65536
# These count for 16 MiB, at 256 bytes each. An `EventDecoder` alone has no other limit that a body of endless messages
# would reach.


class Reading(NamedTuple):
    """What a code stands for: what came, and how it is read."""

    came: str
    read: str


# The one list of codes, in Markdown. The manual's headings, the kit's streams and the tests are held to it.
READINGS: dict[str, Reading] = {
    "no_event_line": Reading("data without an `event:` line", "by the JSON's type"),
    "no_type": Reading("JSON without `type`", "by the event line"),
    "type_mismatch": Reading("event line and JSON type differ", "by the JSON's type"),
    "foreign_data": Reading(
        "data that is not a JSON object, under a foreign name (`[DONE]`)", "an `UnknownEvent` with the text in `data`"
    ),
    "unterminated_event": Reading("the body ends without the last blank line, the JSON is whole", "the event"),
    "unfinished_event": Reading("the body ends inside an event", "dropped"),
    "lone_surrogate": Reading(
        "half of a surrogate pair as an escape",
        "halves in neighbouring deltas are joined, one that stays alone is U+FFFD",
    ),
    "bare_message_start": Reading("message_start without content, usage, model or role", "empty content, None"),
    "bare_block_start": Reading("a block without its text, thinking or input", "empty"),
    "bare_message_delta": Reading(
        "message_delta without delta or usage, or stop_reason at the top level", "the fields, from wherever they stand"
    ),
    "no_block_stop": Reading("the message stops while a block is open", "the block is finished"),
    "no_message_stop": Reading("the body ends after a stop_reason", "`COMPLETE`"),
    "no_stop_reason": Reading("message_stop without any stop_reason", "`COMPLETE`, stop_reason None"),
    "no_message_start": Reading("content before any message_start", "an empty message is opened, without an id"),
    "duplicate_message_start": Reading("the same message_start again", "ignored"),
    "spliced_message_start": Reading(
        "another message inside one, or after content that has none",
        "no safe reading: `ProtocolViolation` in both modes",
    ),
    "index_gap": Reading("a block index that skips", "kept, in index order"),
    "index_reused": Reading("a second start for an index", "a further block, after the first"),
    "delta_without_block": Reading("a delta for a block never opened", "opens the block that it implies"),
    "delta_after_stop": Reading(
        "a delta for a finished block", "appended if it is of the same kind, else a further block"
    ),
    "delta_kind_mismatch": Reading(
        "a delta of another kind than its block", "a further block of its own kind, after that one"
    ),
    "repeated_content": Reading(
        "content in the start and in deltas", "deltas continue text, thinking and signature, and replace tool input"
    ),
    "repeated_signature": Reading("more than one signature_delta", "appended"),
    "event_after_stop": Reading("anything but a ping or a new message after message_stop", "kept on the event only"),
    "empty_data": Reading(
        "a known event with empty data (`event: ping`, `data: `)",
        "ping and message_stop by the event line, content_block_stop and message_delta as an `UnknownEvent`",
    ),
    "no_index": Reading("an event that needs an index has none", "index 0"),
    "bare_delta": Reading(
        "a delta without type, or with a block's type", "by the one field that it has and that is not empty"
    ),
    "wrong_type": Reading(
        'a field that places no content has a wrong type (a count of 123.45, an `input` that is "")',
        'kept in `extra`, the attribute is None; "" and [] for an object are absent, an `input` in a string is its JSON',
    ),
    "usage_reset": Reading("message_delta sets every input count to 0, and one was positive", "those that stood stay"),
    "control_character": Reading("a raw control character in a JSON string", "as the character"),
    "no_blank_line": Reading("several `data:` lines in a frame, each a whole event", "an event each"),
    "stop_without_block": Reading("content_block_stop for an index that never opened", "nothing is changed"),
    "bare_document": Reading(
        "JSON in lines that are not fields (an API error, a document instead of a stream)",
        "an `ErrorEvent` if it has an `error`, else an `UnknownEvent` with the text in `data`",
    ),
    "bare_error": Reading("an error without its envelope", "an `ErrorEvent` with what there is"),
}


class Deviation(msgspec.Struct, frozen=True):
    """One way in which a message's stream departs from the protocol.

    `event_number` (from 0) and `detail` describe the first event that did so. `count` says how many did.
    """

    code: str
    event_number: int
    detail: str
    count: int = 1

    def __str__(self) -> str:
        times = f", {self.count} times" if self.count > 1 else ""
        return escaped(f"{self.code} at event {self.event_number}{times}: {self.detail}")


class Note(msgspec.Struct):
    """Occurrences that are not counted yet: those in `count` events in a row, of which `event_number` is the first.

    `message` says to which message of the body they belong. The detail is escaped and cut at once, because it can quote
    an event line of megabytes.
    """

    code: str
    event_number: int
    detail: str
    message: int
    count: int = 1

    def __post_init__(self) -> None:
        self.detail = shown(self.detail, _MOST_SHOWN)


class DeviationLog:
    """Counts occurrences in one entry for each code and message, so that no server can fill the memory with them.

    After 65,536 entries, the occurrences of a further message are counted in the last entry of their code.
    """

    __slots__ = ("_entries", "_last")

    def __init__(self) -> None:
        # By message and code. None until the first, because an empty dict takes 64 bytes in each of 10,000 streams.
        self._entries: dict[tuple[int, str], Note] | None = None
        self._last: dict[str, Note] | None = None  # the last entry of each code, once there are too many

    def knows(self, key: tuple[int, str]) -> bool:
        """Whether a message and code have an entry already, to which another occurrence only adds."""
        return self._entries is not None and key in self._entries

    def add(self, note: Note, upto: int | None = None) -> None:
        """Count a note. With `upto`, count only the events before that number."""
        count = note.count if upto is None else min(note.count, upto - note.event_number)
        if count <= 0:
            return
        if self._entries is None:
            self._entries = {}
        entry = self._entries.get((note.message, note.code))
        if entry is None and len(self._entries) >= _MOST_ENTRIES:
            if self._last is None:
                self._last = {known.code: known for known in self._entries.values()}
            entry = self._last.get(note.code)
        if entry is not None:
            entry.count += count
            return
        note.count = count
        self._entries[note.message, note.code] = note
        if self._last is not None:
            self._last[note.code] = note

    def entries(self) -> list[Deviation]:
        """All entries, in the order of their first events."""
        entries = [
            Deviation(note.code, note.event_number, note.detail, note.count) for note in (self._entries or {}).values()
        ]
        return sorted(entries, key=lambda entry: entry.event_number)
