"""A body on its way out: which bytes go when, and how it ends. It waits for nothing: times are numbers here."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from sansio_step import ErrorDetail, ErrorEvent, PingEvent, encode_event

__all__ = [
    "AS_IT_IS",
    "Dials",
    "Ending",
    "Failure",
    "Place",
    "Step",
    "Timeline",
    "document_timeline",
    "pieces",
    "stream_timeline",
]

Ending = Literal["whole", "cut", "broken", "failed"]
"""Whole; ended early but cleanly; with the connection closed in the middle of it; with an error event."""

# A blank line ends an event. CR LF is one line end: taken for two, each of its lines would be a blank one.
_EVENT_END: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_PLACE: Final = re.compile(r"([0-9]{1,15})(B?)")
_PING: Final = encode_event(PingEvent())
_NANOSECONDS: Final = 1e9


class Place(NamedTuple):
    """Somewhere in a body: after so many events (`5`), or so many bytes (`1200B`)."""

    number: int
    in_bytes: bool

    @classmethod
    def read(cls, value: int | str) -> Place:
        """The place that is named so. ValueError if it names none."""
        found = _PLACE.fullmatch(str(value))
        if isinstance(value, bool) or found is None:
            raise ValueError(f"{value!r} is no number of events (5), nor one of bytes (1200B)")
        return cls(int(found[1]), bool(found[2]))

    def offset(self, body: bytes) -> int | None:
        """The bytes before it, None if the body is shorter."""
        if self.in_bytes:
            return self.number if self.number <= len(body) else None
        if self.number == 0:
            return 0
        return next(itertools.islice(_event_ends(body), self.number - 1, None), None)


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An error that is told to the client.

    Without `after` it is the whole answer: `status` is that of the type as the API has it, 500 for a type that it
    doesn't have. With `after` it is an error event in a stream, after so many events (`5`) or bytes (`1200B`); a
    request without `stream` gets the answer with a status then, too. `retry_after` is a header, in seconds.
    """

    type: str
    message: str | None = None
    status: int | None = None
    after: int | str | None = None
    retry_after: int | None = None

    def __post_init__(self) -> None:
        if not self.type:
            raise ValueError("error: the type is empty")
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError(f"error: {self.status} is no status from 400 to 599")
        if self.retry_after is not None and self.retry_after < 0:
            raise ValueError(f"error: retry_after {self.retry_after} is less than 0")
        if self.after is not None:
            _checked("error", self.after)

    @property
    def text(self) -> str:
        """The message, which is the type in words if none was given."""
        return self.message if self.message is not None else self.type.replace("_", " ")

    @classmethod
    def read(cls, text: str) -> Failure:
        """What `TYPE` or `TYPE@PLACE` says. ValueError if the place is none."""
        kind, at, place = text.rpartition("@")
        return cls(kind, after=place) if at else cls(text)


class Dials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"chunk_size": "chunk"}):
    """How an answer goes out. What is None is as the server has it for all answers, or not done at all.

    Times are seconds. ValueError for what can't be, with the name of the dial.
    """

    chunk_size: int | None = None
    """Bytes of a piece. Else a piece is an event, or a read of the recording if the pace is recorded."""
    pace: float | Literal["recorded"] | None = None
    """Between two pieces; "recorded": as they came, if that is known."""
    latency: float | None = None
    """From the request to the head."""
    ping: float | None = None
    """A ping event after each silence of so long, between events alone."""
    fail_after: int | str | None = None
    """The connection closes in the middle of the body, after so many events (5) or bytes (1200B)."""
    cut: int | str | None = None
    """The body ends there, as if that were all."""
    error: Failure | str | None = None
    """A Failure, or its type and place as a text: overloaded_error, overloaded_error@5."""

    def __post_init__(self) -> None:
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ValueError(f"chunk_size: {self.chunk_size} is less than 1")
        for name in ("pace", "latency", "ping"):
            seconds = getattr(self, name)
            if seconds is None or (name == "pace" and seconds == "recorded"):
                continue
            if isinstance(seconds, str) or not 0 <= seconds < math.inf:
                raise ValueError(f"{name}: {seconds!r} is no number of seconds")
        if self.ping == 0:
            raise ValueError("ping: 0 is no time for a silence")
        for name in ("fail_after", "cut"):
            if getattr(self, name) is not None:
                _checked(name, getattr(self, name))
        if isinstance(self.error, str):
            Failure.read(self.error)

    @property
    def failure(self) -> Failure | None:
        """The error to tell, if there is one."""
        return Failure.read(self.error) if isinstance(self.error, str) else self.error

    def over(self, others: Dials) -> Dials:
        """These, and for what is None here the others."""
        own = {name: getattr(self, name) for name in self.__struct_fields__}
        return Dials(**{name: getattr(others, name) if value is None else value for name, value in own.items()})


AS_IT_IS: Final = Dials()
"""No dial is turned."""


class Step(NamedTuple):
    """Bytes, and the time at which they go out: seconds from the request on."""

    at: float
    data: bytes


class Timeline(NamedTuple):
    """An answer's head and body in time, and how it ends."""

    head_at: float
    steps: Iterator[Step]
    ending: Ending


def pieces(capture: bytes, chunk_size: int | None) -> Iterator[bytes]:
    """A capture cut to size, or after each event."""
    cuts: Iterable[int] = (
        range(chunk_size, len(capture), chunk_size) if chunk_size is not None else _event_ends(capture)
    )
    start = 0
    for end in itertools.chain(cuts, [len(capture)]):
        if end > start:
            yield capture[start:end]
            start = end


def stream_timeline(
    body: bytes,
    dials: Dials,
    *,
    reads: Sequence[tuple[int, int]] = (),
    head_ns: int | None = None,
    end_ns: int | None = None,
    is_broken: bool = False,
) -> Timeline:
    """A stream in time. `reads` are offsets and nanoseconds as in a recording; they count if the pace is recorded.

    Of several ways to end early the earliest counts; one that lies after the end of the body does not happen.
    """
    recorded = dials.pace == "recorded"
    shift = 0.0
    head_at = dials.latency or 0.0
    if recorded and head_ns is not None:
        if dials.latency is None:
            head_at = head_ns / _NANOSECONDS
        shift = head_at - head_ns / _NANOSECONDS
    end, ending, tail = _ending(body, dials, is_broken=is_broken)
    last = None
    if recorded and reads:
        timed = _recorded(body, end, dials.chunk_size, reads, shift)
        if end is None and end_ns is not None:
            last = end_ns / _NANOSECONDS + shift
    else:
        pace = 0.0 if dials.pace is None or isinstance(dials.pace, str) else dials.pace
        timed = _paced(body, end, dials.chunk_size, head_at, pace)
    steps = _in_order(itertools.chain(timed, _tail(head_at, tail, last)), head_at)
    return Timeline(head_at, steps if dials.ping is None else _with_pings(steps, body, head_at, dials.ping), ending)


def document_timeline(document: bytes, dials: Dials, *, reads: Sequence[tuple[int, int]] = ()) -> tuple[Timeline, int]:
    """A document in time, and the length that its head promises: it comes whole, and counts as one event.

    If the pace is recorded, it comes when the last of the stream came.
    """
    head_at = dials.latency or 0.0
    if dials.latency is None and dials.pace == "recorded" and reads:
        head_at = reads[-1][1] / _NANOSECONDS
    end = len(document)
    ending: Ending = "whole"
    ways: list[tuple[int | str | None, Ending]] = [(dials.cut, "cut"), (dials.fail_after, "broken")]
    for given, how in ways:
        if given is None:
            continue
        place = Place.read(given)
        offset = place.number if place.in_bytes else place.number * len(document)
        if offset < end:
            end, ending = offset, how
    promised = end if ending == "cut" else len(document)
    step = Step(head_at, document[:end])
    return Timeline(head_at, iter([step] if step.data else []), ending), promised


def _event_ends(body: bytes) -> Iterator[int]:
    return (end.end() for end in _EVENT_END.finditer(body))


def _checked(name: str, value: Any) -> None:
    try:
        Place.read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _ending(body: bytes, dials: Dials, *, is_broken: bool) -> tuple[int | None, Ending, bytes]:
    """Where the body ends early, if it does; how; and what comes then."""
    failure = dials.failure
    ways: list[tuple[int | str | None, Ending]] = [
        (None if failure is None else failure.after, "failed"),
        (dials.cut, "cut"),
        (dials.fail_after, "broken"),
    ]
    found = [
        (offset, how)
        for place, how in ways
        if place is not None and (offset := Place.read(place).offset(body)) is not None
    ]
    if not found:
        return None, "broken" if is_broken else "whole", b""
    end, how = min(found, key=lambda way: way[0])
    if how != "failed":
        return end, how, b""
    assert failure is not None
    # In the middle of an event, which bytes can name, the blank line lets the error be one of its own.
    between = b"" if _at_event_end(body, end) else b"\n\n"
    return end, how, between + encode_event(ErrorEvent(ErrorDetail(failure.type, failure.text)))


def _paced(body: bytes, end: int | None, chunk_size: int | None, start: float, pace: float) -> Iterator[Step]:
    for number, piece in enumerate(pieces(body if end is None else body[:end], chunk_size)):
        yield Step(start + number * pace, piece)


def _recorded(
    body: bytes, end: int | None, chunk_size: int | None, reads: Sequence[tuple[int, int]], shift: float
) -> Iterator[Step]:
    end = len(body) if end is None else end
    stops = [*(offset for offset, _ in reads[1:]), len(body)]
    for (offset, ns), stop in zip(reads, stops, strict=True):
        read = body[offset : min(stop, end)]
        for start in range(0, len(read), chunk_size or len(read) or 1):
            yield Step(ns / _NANOSECONDS + shift, read[start : start + (chunk_size or len(read))])


def _tail(start: float, tail: bytes, last: float | None) -> Iterator[Step]:
    if tail:
        yield Step(start, tail)
    if last is not None:
        yield Step(last, b"")  # nothing but the end, when it came


def _in_order(steps: Iterator[Step], start: float) -> Iterator[Step]:
    """No step is before an earlier one: what ends a body comes when its last piece does."""
    for step in steps:
        start = max(start, step.at)
        yield Step(start, step.data)


def _with_pings(steps: Iterator[Step], body: bytes, start: float, silence: float) -> Iterator[Step]:
    sent, last = 0, start
    for step in steps:
        number = 1
        # By a count and not by a sum, which would drift.
        while last + number * silence < step.at and _at_event_end(body, sent):
            yield Step(last + number * silence, _PING)
            number += 1
        yield step
        sent, last = sent + len(step.data), step.at


def _at_event_end(body: bytes, offset: int) -> bool:
    """Whether something can be put in there without being in an event."""
    before = body[max(0, offset - 4) : offset]
    return not offset or len(before) in _event_ends(before)
