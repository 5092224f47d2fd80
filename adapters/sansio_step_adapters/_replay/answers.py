"""A response to send: a stream, a document or an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from sansio_step import APIError, StreamError

from .timeline import AS_IT_IS, Dials, Failure, Timeline, document_timeline, stream_timeline

if TYPE_CHECKING:
    from .captures import Capture

__all__ = ["Answer", "capture_answer", "count_answer", "failure_answer", "problem", "status_of"]

# Of the API's own types, and of those that StepFun's page names.
_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "quota_exceeded": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "censorship_blocked": 451,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TYPES: Final = {404: "not_found_error", 413: "request_too_large"}


def status_of(kind: str | None) -> int:
    """The status that an error of this type comes with; 500 if it is no type of the API's."""
    return _STATUSES.get(kind or "", 500)


@dataclass(frozen=True)
class Answer:
    """A response, with its body in time. A refusal finds something wrong with the request."""

    status: int
    headers: list[tuple[str, str]]
    timeline: Timeline
    is_refusal: bool = False


def capture_answer(capture: Capture, dials: Dials, *, stream: bool, request_id: str) -> Answer:
    """A capture as it was asked for, or the failure that is told instead."""
    failure = dials.failure
    if failure is not None and (failure.after is None or not stream):
        return failure_answer(failure, dials, request_id)
    if capture.is_error:
        headers = {"content-type": "application/json", **capture.headers}
        return _document(capture.status, capture.body, list(headers.items()), dials, capture)
    if not stream:
        try:
            document = capture.as_document()
        except APIError as error:
            return _document(
                status_of(error.type), _envelope(error.type or "api_error", error.message or "", request_id)
            )
        except StreamError as error:
            return problem(500, str(error))
        return _document(200, document, dials=dials, capture=capture)
    headers = {"content-type": "text/event-stream", **capture.headers, "cache-control": "no-store"}
    timeline = stream_timeline(
        capture.body,
        dials,
        reads=capture.reads,
        head_ns=capture.head_ns,
        end_ns=capture.end_ns,
        is_broken=capture.is_broken,
    )
    return Answer(capture.status, list(headers.items()), timeline)


def failure_answer(failure: Failure, dials: Dials, request_id: str) -> Answer:
    """An error as the API tells it, with a status."""
    status = failure.status or status_of(failure.type)
    headers = [] if failure.retry_after is None else [("retry-after", str(failure.retry_after))]
    answer = _document(status, _envelope(failure.type, failure.text, request_id), headers, dials)
    return Answer(status, answer.headers, answer.timeline._replace(ending="failed"))


def count_answer(tokens: int) -> Answer:
    """What count_tokens says."""
    return _document(200, msgspec.json.encode({"input_tokens": tokens}))


def problem(status: int, message: str, *headers: tuple[str, str]) -> Answer:
    """What is wrong with a request, or with the server."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    # Parts of the request, such as its keys, can stand in a message.
    line = "".join(char if char.isprintable() else " " for char in message)
    answer = _document(status, _envelope(kind, line), list(headers))
    if status >= 500:
        return Answer(status, answer.headers, answer.timeline._replace(ending="failed"))
    return Answer(status, answer.headers, answer.timeline, is_refusal=True)


def _envelope(kind: str, message: str, request_id: str | None = None) -> bytes:
    envelope = {"type": "error", "error": {"type": kind, "message": message}}
    return msgspec.json.encode(envelope if request_id is None else {**envelope, "request_id": request_id})


def _document(
    status: int,
    document: bytes,
    headers: list[tuple[str, str]] | None = None,
    dials: Dials = AS_IT_IS,
    capture: Capture | None = None,
) -> Answer:
    timeline, length = document_timeline(document, dials, reads=() if capture is None else capture.reads)
    given = {"content-type": "application/json", **dict(headers or ()), "content-length": str(length)}
    return Answer(status, list(given.items()), timeline)
