"""An assertion on the body of a stream, for those who write servers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal, NamedTuple, overload

from .._deviations import READINGS, Deviation
from .._errors import StreamError, quoted
from .._events import ErrorEvent
from .._message import Message
from .._states import Outcome
from .._stream import MessageStream

# An event ends at a line end, so that feeding line by line tells which bytes it took.
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MOST_SHOWN: Final = 160
_MOST_LISTED: Final = 10
_UNREADABLE: Final = "spliced_message_start"


@overload
def assert_stream(
    body: bytes | Iterable[bytes],
    *,
    allow: Collection[str] = (),
    outcome: Literal[Outcome.COMPLETE] = Outcome.COMPLETE,
) -> Message: ...


@overload
def assert_stream(
    body: bytes | Iterable[bytes], *, allow: Collection[str] = (), outcome: Outcome
) -> Message | None: ...


def assert_stream(
    body: bytes | Iterable[bytes], *, allow: Collection[str] = (), outcome: Outcome = Outcome.COMPLETE
) -> Message | None:
    """Assert that the body of a response, or its pieces, is a Messages stream as the protocol has it; return its message.

    That is one without deviations, whose last message is whole. `allow` has the codes of deviations that may show
    (`DEVIATION_CODES`, all but spliced_message_start, which nobody can read). `outcome` says how the last message ends if
    not COMPLETE: FAILED for a server that reports an error in the stream, TRUNCATED for one that breaks off. What has
    come of the message by then is returned, or None. It needs no Hypothesis test around it.

    The AssertionError says of all that is wrong which rule it breaks, at which event and byte, and what was sent there.
    Raises ValueError for a code that can't be allowed and TypeError for a body that is no bytes.
    """
    allowed = _allowed(allow)
    sent = _Sent(_joined(body))
    wrong = [_of_deviation(deviation, sent) for deviation in sent.stream.deviations if deviation.code not in allowed]
    if len(wrong) > _MOST_LISTED:
        wrong[_MOST_LISTED:] = [f"  {len(wrong) - _MOST_LISTED} deviations more"]
    fault = sent.stream.fault
    if fault is not None:
        wrong.append(f"  {type(fault).__name__}: {fault}{sent.shown_at(fault.byte_offset)}")
    elif sent.stream.outcome is not outcome or (sent.failed_at is not None and outcome is Outcome.COMPLETE):
        wrong.append(_of_outcome(outcome, sent))
    if wrong:
        raise AssertionError("\n".join([f"the stream of {sent} is not as it must be:", *wrong]))
    return sent.stream.message


def _allowed(allow: Collection[str]) -> frozenset[str]:
    if isinstance(allow, str):
        raise TypeError(f"allow is the text {allow!r}, must be a collection of codes")
    for code in allow:
        if code not in READINGS:
            raise ValueError(f"{code!r} is none of DEVIATION_CODES")
        if code == _UNREADABLE:
            raise ValueError(f"{code} can't be allowed: no reader can read it safely")
    return frozenset(allow)


def _joined(body: bytes | Iterable[bytes]) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if isinstance(body, str):
        raise TypeError("the body is a str, must be bytes as they are on the wire")
    return b"".join(body)


class _Frame(NamedTuple):
    """The bytes of an event, from the end of the one before it."""

    start: int
    end: int


class _Sent:
    """A body that was read, and which bytes each event took."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.stream = MessageStream(on_fault="keep")
        self.frames: list[_Frame] = []
        # The number of the first event that failed a message. Another message can follow, and be whole.
        self.failed_at: int | None = None
        for events, frame in self._read():
            for event in events:
                has_failed = isinstance(event, ErrorEvent) and self.stream.outcome is Outcome.FAILED
                if has_failed and self.failed_at is None:
                    self.failed_at = len(self.frames)
                self.frames.append(frame)

    def __str__(self) -> str:
        return f"{len(self.frames)} events in {len(self.body)} bytes"

    def _read(self) -> Iterator[tuple[list[object], _Frame]]:
        start = 0
        for line in _LINE.finditer(self.body):
            events = self.stream.receive_data(line[0])
            if events:
                yield list(events), _Frame(start, line.end())
                start = line.end()
        yield list(self.stream.receive_eof()), _Frame(start, len(self.body))

    def place(self, number: int) -> str:
        """Where an event stands; the end of the body if it has no such event."""
        if number >= len(self.frames):
            return f"the end (byte {len(self.body)})"
        return f"event {number} (byte {self.frames[number].start})"

    def shown(self, number: int) -> str:
        """What was sent as an event, or at the end of the body."""
        if number < len(self.frames):
            start, end = self.frames[number]
            return _shown(self.body[start:end])
        end_of_it = _shown(self.body[-_MOST_SHOWN:])
        return end_of_it if len(self.body) <= _MOST_SHOWN else end_of_it.replace("sent: ", "sent last: ...", 1)

    def shown_at(self, offset: int | None) -> str:
        """What was sent from a byte on."""
        return "" if offset is None else _shown(self.body[offset : offset + 4 * _MOST_SHOWN])


def _shown(sent: bytes) -> str:
    text = sent.decode("utf-8", "replace").strip("\r\n")
    return f"\n    sent: {quoted(text, _MOST_SHOWN)}" if text else "\n    nothing was sent"


def _of_deviation(deviation: Deviation, sent: _Sent) -> str:
    number, rule = deviation.event_number, READINGS[deviation.code].came
    times = f", {deviation.count} times" if deviation.count > 1 else ""
    found = "" if deviation.detail.startswith(rule) else f"\n    found: {deviation.detail}"
    return f"  {deviation.code} at {sent.place(number)}{times}: {rule}{found}{sent.shown(number)}"


def _of_outcome(outcome: Outcome, sent: _Sent) -> str:
    stream = sent.stream
    if stream.outcome is outcome:  # another message than the last has failed
        is_or_was, said = "failed before that", "an error event"
    else:
        is_or_was, said = stream.outcome.value, "it ends well"
        try:
            stream.result()
        except StreamError as error:
            said = str(error)
    number = len(sent.frames) if sent.failed_at is None else sent.failed_at
    return f"  outcome at {sent.place(number)}: {is_or_was}, must be {outcome.value}: {said}{sent.shown(number)}"
