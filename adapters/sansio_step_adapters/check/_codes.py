"""Every code that a finding can have, and how bad it is: the one table. `docs/deviations.md` has a heading for each."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["CODES", "CORE", "OWN", "Code", "Severity", "check_codes"]


class Severity(enum.Enum):
    """How bad a finding is. Errors and warnings make a check fail, notes don't.

    An ERROR: readers that go by the letter lose something, take a wrong thing for right, or die. A WARNING: they read it,
    but something is missing or not what it should be. A NOTE: it is legal, and worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Code(NamedTuple):
    """A code of this package's own: how bad it is, and what it says, in Markdown."""

    severity: Severity
    what: str


_ERROR, _WARNING, _NOTE = Severity

CORE: Final = {
    "no_event_line": _ERROR,
    "no_type": _ERROR,
    "type_mismatch": _ERROR,
    "foreign_data": _ERROR,
    "unterminated_event": _ERROR,
    "unfinished_event": _ERROR,
    "lone_surrogate": _ERROR,
    "bare_message_start": _ERROR,
    "bare_block_start": _WARNING,
    "bare_message_delta": _ERROR,
    "no_block_stop": _ERROR,
    "no_message_stop": _ERROR,
    "no_stop_reason": _ERROR,
    "no_message_start": _ERROR,
    "duplicate_message_start": _ERROR,
    "spliced_message_start": _ERROR,
    "index_gap": _ERROR,
    "index_reused": _ERROR,
    "delta_without_block": _ERROR,
    "delta_after_stop": _ERROR,
    "delta_kind_mismatch": _ERROR,
    "repeated_content": _ERROR,
    "repeated_signature": _WARNING,
    "event_after_stop": _WARNING,
    "empty_data": _ERROR,
    "no_index": _ERROR,
    "bare_delta": _ERROR,
    "wrong_type": _WARNING,
    "usage_reset": _WARNING,
    "control_character": _ERROR,
    "no_blank_line": _ERROR,
    "stop_without_block": _WARNING,
    "bare_document": _ERROR,
    "bare_error": _WARNING,
}
"""The codes of the core's deviations. What each means stands in the core."""

OWN: Final = {
    # How the answer ended.
    "truncated": Code(_ERROR, "the body ends, or breaks off, before the message is whole"),
    "timed_out": Code(_ERROR, "a time limit passed before the answer was whole"),
    "api_error": Code(_ERROR, "the server says that it failed, by an error event or an error status"),
    "undecodable": Code(_ERROR, "an event can't be read: broken JSON, an index or a text of a wrong type"),
    "limit_exceeded": Code(_ERROR, "an event or a message is larger than the limit"),
    "unreadable": Code(_ERROR, "the body ends inside its content coding, or is not in it"),
    "unexpected_answer": Code(_ERROR, "the answer is of another kind: HTML, nothing, a document for a stream, a stream for a document"),
    # The head.
    "wrong_content_type": Code(_ERROR, "a stream that is not `text/event-stream`, or a document that is not `application/json`"),
    "wrong_charset": Code(_WARNING, "a charset other than UTF-8"),
    "content_length": Code(_WARNING, "a stream whose length was known before it began"),
    "compressed_stream": Code(_NOTE, "a stream in a content coding"),
    "no_request_id": Code(_WARNING, "a response without `request-id`, `x-request-id` or `x-trace-id`"),
    # Time.
    "burst": Code(_WARNING, "most of the content arrives at once after a silence"),
    "no_ping": Code(_WARNING, "15 seconds or more without a byte, before the message is whole"),
    "stall": Code(_NOTE, "30 seconds or more without an event but pings"),
    "left_open": Code(_WARNING, "the response stays open after message_stop"),
    # Events.
    "split_character": Code(_ERROR, "U+FFFD where a piece of text begins or ends: it was cut inside a character"),
    "invalid_utf8": Code(_ERROR, "bytes that are not UTF-8"),
    "usage_shrinks": Code(_WARNING, "a count of tokens that falls, though counts are cumulative"),
    "unknown_type": Code(_NOTE, "an event, a delta or a block of a type that has no name yet"),
    # Messages.
    "bare_message": Code(_WARNING, "a message as a document without its id, role, model, stop_reason or usage"),
    "no_id": Code(_WARNING, "a message or a tool call without an id"),
    "repeated_tool_id": Code(_ERROR, "two calls with the same id"),
    "broken_tool_input": Code(_ERROR, "a finished call whose arguments are not a JSON object"),
    "no_final_usage": Code(_WARNING, "no count of output tokens with the stop_reason or after it, or 0 for some content"),
    "wrong_stop_reason": Code(_WARNING, "`tool_use` without a call, or `end_turn` after one"),
    "unknown_stop_reason": Code(_NOTE, "a stop_reason that has no name yet"),
    "unapplied_delta": Code(_WARNING, "a delta that fits no block"),
    # A server's answers, beside each other.
    "no_answer": Code(_ERROR, "no connection, or one that ends without a response"),
    "not_asked": Code(_NOTE, "questions that were not asked, since an earlier answer left no hope"),
    "no_tool_call": Code(_NOTE, "the model was asked to call a tool and did not"),
    "stop_reason_differs": Code(_WARNING, "another stop_reason in the stream than in the document, though they say the same, or one that has no name"),
    "blocks_differ": Code(_NOTE, "other kinds of blocks in the stream than in the document"),
    "usage_differs": Code(_WARNING, "other fields of usage in the stream than in the document"),
    "ids_differ": Code(_WARNING, "ids of another form in the stream than in the document"),
    "model_differs": Code(_WARNING, "another model in the stream than in the document"),
    # Errors.
    "not_refused": Code(_ERROR, "a request that is wrong gets an answer"),
    "wrong_status": Code(_ERROR, "a request that is wrong is refused with another status than 400"),
    "wrong_envelope": Code(_WARNING, 'an error that is not `{"type":"error","error":{"type":...,"message":...}}`'),
    "wrong_error_type": Code(_WARNING, "an error whose type is not that of its status"),
}  # fmt: skip
"""The codes of this package's own rules."""

CODES: Final = CORE | {code: each.severity for code, each in OWN.items()}


def check_codes(codes: Iterable[str]) -> frozenset[str]:
    """The codes as a set. A ValueError for one that there is not, which names those that are near."""
    found = frozenset(codes)
    for code in sorted(found - CODES.keys()):
        near = difflib.get_close_matches(code, CODES, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "docs/deviations.md has all of them"
        raise ValueError(f"there is no code {code!r}; {hint}")
    return found
