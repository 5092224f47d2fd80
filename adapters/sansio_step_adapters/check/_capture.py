"""Captured answers: files in every form that the program reads, and bytes at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sansio_step import ConnectionLost

from .._captured import Body, Unreadable
from .._reader import AWS_STREAM
from ._findings import Finding
from ._observation import Observation
from ._times import Limits

__all__ = ["CaptureCheck", "check_body", "check_capture"]

_ENDED = {
    "broken": "it was broken off, by the server or by who recorded it",
    "closed": "the recording was ended before the answer was",
    None: "the program that recorded ended before the answer did",
}


class CaptureCheck:
    """A check of one captured answer: a file's name, or `-` for standard input. `findings` can be asked at any time."""

    def __init__(self, name: str, *, limits: Limits | None = None) -> None:
        self._body = Body(name)
        self._seen = Observation(self._body.name, limits=limits)

    @property
    def source(self) -> str:
        """The file's name as text, which the findings have as theirs."""
        return self._body.name

    @property
    def findings(self) -> list[Finding]:
        """What is found so far, the worst first."""
        return self._seen.findings

    def run(self) -> None:
        """Read it to its end. Raises OSError if it can't be opened; all else that is wrong is a finding."""
        seen, body = self._seen, self._body
        pieces = body.pieces()
        unreadable = None
        try:
            first = next(pieces, None)
            head_ns = body.recording.head_ns if body.recording is not None else None
            # What the body is, and its head, is known with its first piece.
            seen.receive_head(body.status, body.headers, head_ns, is_aws=body.is_aws)
            if first is not None:
                seen.receive_data(*first)
                for data, ns in pieces:
                    seen.receive_data(data, ns)
        except Unreadable as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            seen.tally.add("unreadable", str(error), byte_offset=body.size)
            unreadable = ConnectionLost(str(error))
        recording = body.recording
        end_ns = None
        if recording is not None:
            end_ns = recording.end_ns
            if end_ns is None and recording.reads:
                end_ns = recording.reads[-1][1]
            if recording.end != "eof" and unreadable is None:
                unreadable = ConnectionLost(_ENDED[recording.end])
        seen.receive_eof(end_ns, unreadable)


def check_capture(name: str, *, limits: Limits | None = None) -> list[Finding]:
    """What is wrong with a captured answer, the worst first; nothing if it is good.

    `name` is that of a file: a recording (of which the times and the head are known), a body, what `curl -i` writes, each
    also compressed or in AWS frames, a stream or a document; `-` is standard input. Raises OSError if it can't be opened.
    """
    check = CaptureCheck(name, limits=limits)
    check.run()
    return check.findings


def check_body(
    body: bytes | Iterable[bytes | tuple[bytes, float]],
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "",
    limits: Limits | None = None,
) -> list[Finding]:
    """The same for an answer at hand: its body, or the reads of it, each with its seconds from the request on or without.

    The content coding is undone already, as HTTP libraries do it. `headers` are all of the response's, in any case of
    letters; without them nothing is said of the head.
    """
    seen = Observation(source, limits=limits)
    known = {name.lower(): value for name, value in (headers or {}).items()}
    seen.receive_head(status, known, is_aws=known.get("content-type", "").startswith(AWS_STREAM))
    ns = None
    for piece in (body,) if isinstance(body, bytes) else body:
        data, seconds = piece if isinstance(piece, tuple) else (piece, None)
        ns = None if seconds is None else round(seconds * 1e9)
        seen.receive_data(data, ns)
    seen.receive_eof(ns)
    return seen.findings
