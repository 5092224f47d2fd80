"""What the head of an answer shows: its content type, charset, coding, length, request id; and of an error its envelope."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .._reader import AWS_STREAM, request_id

if TYPE_CHECKING:
    from ._observation import Observation

__all__ = ["ERROR_RULES", "HEAD_RULES", "shown"]

_SHOWN: Final = 80
# The first party's types of errors, by status.
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def shown(text: object) -> str:
    """A server's word in quotes, its start if it is long, control characters as escapes."""
    word = str(text)
    return repr(word) if len(word) <= _SHOWN else f"{word[:_SHOWN]!r}..."


def wrong_content_type(seen: Observation) -> str | None:
    """EventSource and most clients go by the type alone; others take a document under a stream's type for an empty stream."""
    if not seen.size:
        return None  # a body that has not begun can still be either
    kind = seen.headers.get("content-type", "")
    wanted = ("text/event-stream", AWS_STREAM) if seen.is_stream else ("application/json",)
    if kind.partition(";")[0].strip().lower() in wanted:
        return None
    what = "a stream" if seen.is_stream else "a document"
    return f"{what} under {shown(kind)}" if kind else f"{what} without a content type"


def wrong_charset(seen: Observation) -> str | None:
    """An event stream is UTF-8 whatever is said (WHATWG 9.2.1), and so is JSON (RFC 8259 8.1)."""
    for parameter in seen.headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        charset = value.strip().strip('"').lower()
        if name.strip().lower() == "charset" and charset not in ("utf-8", "utf8"):
            return f"charset {shown(charset)}"
    return None


def content_length(seen: Observation) -> str | None:
    """Whoever knows the length has the whole body, and so has waited for it."""
    length = seen.headers.get("content-length")
    return f"{shown(length)} bytes" if length is not None and seen.is_stream else None


def compressed_stream(seen: Observation) -> str | None:
    """Deltas are tiny: a coder that doesn't flush after each holds them back."""
    coding = seen.headers.get("content-encoding", "").strip().lower()
    return f"content-encoding {shown(coding)}" if coding not in ("", "identity") and seen.is_stream else None


def no_request_id(seen: Observation) -> str | None:
    """Without one nobody can ask the vendor about a call."""
    return None if request_id(seen.headers) else "none of request-id, x-request-id, x-trace-id"


HEAD_RULES: Final[dict[str, Callable[[Observation], str | None]]] = {
    "wrong_content_type": wrong_content_type,
    "wrong_charset": wrong_charset,
    "content_length": content_length,
    "compressed_stream": compressed_stream,
    "no_request_id": no_request_id,
}
"""The rules for an answer whose head is known."""


def wrong_envelope(seen: Observation) -> str | None:
    """Programs branch on the type of the error, which the official SDKs read from there."""
    wire = _json(seen.start)
    if not isinstance(wire, dict):
        return f"the body is no JSON object: {shown(seen.start[:200].decode('utf-8', 'replace'))}"
    error = wire.get("error")
    wrong = [] if wire.get("type") == "error" else ["no outer type"]
    if not isinstance(error, dict):
        wrong.append("no object as error")
    else:
        wrong += [f"no error.{name}" for name in ("type", "message") if not _is_text(error.get(name))]
    return ", ".join(wrong) or None


def wrong_error_type(seen: Observation) -> str | None:
    """Either the type or the status is then wrong, and clients go by one of them."""
    wire = _json(seen.start)
    error = wire.get("error") if isinstance(wire, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    wanted = _TYPES.get(seen.status or 0)
    if wanted is None or not _is_text(kind) or kind == wanted:
        return None
    return f"{shown(kind)} under status {seen.status}, which has {wanted}"


ERROR_RULES: Final[dict[str, Callable[[Observation], str | None]]] = {
    "wrong_envelope": wrong_envelope,
    "wrong_error_type": wrong_error_type,
}
"""The rules for an answer with an error status."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
