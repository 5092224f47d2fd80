"""Time limits of one streaming call, decided without a clock: the owner of one says what happened and when.

    now = clock()
    deadlines = Deadlines(Timeouts(), now)
    deadlines.connected(clock())                      # the request is on its way
    deadlines.bytes_received(clock())                 # any byte of the response
    deadlines.events_received(events, clock())        # what the decoder made of it
    deadlines.next_deadline()                         # (when, name): wait for bytes no longer than this
    deadlines.check(clock())                          # raises DeadlineExceeded once a limit has passed

`now` is a number of seconds on any clock that never runs backwards; its zero doesn't matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from ._errors import DeadlineExceeded
from ._events import KNOWN_EVENTS

# The events that carry a message. A ping doesn't, and an unknown event might be a heartbeat.
_CONTENT: Final = frozenset(cls.type for cls in KNOWN_EVENTS) - {"ping"}


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one call in seconds, None for no limit.

    `connect`: the time until a connection is made, TLS and proxy included, for each attempt.
    `first_event`: the time from then until the first event that is not a ping.
    `idle`: the time from then without a single byte, sent or received. Before the response's own head nothing that
    is received counts, so that neither a server that says nothing nor one that sends 1xx for ever holds a call.
    `stall`: the time without content after the first event, however many pings and comments come.
    `after_stop`: the time after a message_stop without another message_start. The message is whole by then, and
    some servers leave the response open.
    `caller`: the time that a gateway waits for its caller: for more of the request's body, or to take what there is
    for it. The clients don't apply it, since their caller is the program that they are part of.
    `total`: the time for the whole call, including retries and the waits between them.
    """

    connect: float | None = 10.0
    first_event: float | None = 300.0
    idle: float | None = 300.0
    stall: float | None = 600.0
    after_stop: float | None = 5.0
    caller: float | None = 60.0
    total: float | None = 3600.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            seconds = getattr(self, name)
            if seconds is not None and not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf):
                raise ValueError(f"{name}: {seconds!r} is not a positive number of seconds (None for no limit)")


class Deadlines:
    """Knows which limits of `timeouts` are running, and when the next one ends.

    Make it when the call begins: the limit on connecting runs from then. Call `connected`, `bytes_sent`,
    `bytes_received` and `events_received` as these happen, `connecting` for a further attempt and `paused` for the time
    in between. A gateway calls `caller_awaited` when it can't go on without its caller, and `caller_returned` when it
    can.
    """

    __slots__ = ("_after_stop", "_awaited", "_begun", "_caller", "_connect", "_content", "_first_event", "_idle",
                 "_idle_seconds", "_stall", "_stall_seconds", "_total", "timeouts")  # fmt: skip

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.timeouts: Timeouts = timeouts
        # When each limit ends; infinity if it is not running. They are attributes, since all of them are looked at for
        # each event of a live stream: a table of those that run took three times as long.
        self._connect: float = _end(timeouts.connect, now)
        self._first_event: float = math.inf
        self._idle: float = math.inf
        self._stall: float = math.inf
        self._after_stop: float = math.inf
        self._caller: float = math.inf
        self._total: float = _end(timeouts.total, now)
        # Those of the two limits that begin anew with each event.
        self._idle_seconds: float = math.inf if timeouts.idle is None else timeouts.idle
        self._stall_seconds: float = math.inf if timeouts.stall is None else timeouts.stall
        self._begun = False  # an event other than a ping has come
        self._content = True  # the events that came last carried content; true before any came
        self._awaited: float | None = None  # since when the caller is waited for

    def __repr__(self) -> str:
        running = (f"{name} at {ends:g}" for name, ends in self._ends().items() if ends < math.inf)
        return f"<Deadlines {', '.join(running) or 'none running'}>"

    def connecting(self, now: float) -> None:
        """A new attempt begins: of the limits that were running, only `total` goes on."""
        self.paused()
        self._connect = _end(self.timeouts.connect, now)

    def connected(self, now: float, *, streaming: bool = True) -> None:
        """The connection is made. Without `streaming` the response is one document, which has no first event."""
        self._connect = math.inf
        self._idle = now + self._idle_seconds
        if streaming:
            self._first_event = _end(self.timeouts.first_event, now)

    def bytes_sent(self, now: float) -> None:
        """Bytes of the request went out."""
        self._idle = (now if self._awaited is None else self._awaited) + self._idle_seconds

    def bytes_received(self, now: float) -> None:
        """Bytes of the response came, whatever they were."""
        # `caller_returned` will add all of a wait that is still on, as if nothing had come in it.
        self._idle = (now if self._awaited is None else self._awaited) + self._idle_seconds

    def events_received(self, events: Iterable[object], now: float) -> None:
        """These events came. There may be none: the bytes were a comment, or part of an event."""
        self._content = False
        for event in events:
            kind = getattr(event, "type", None)
            if kind == "ping":
                continue
            if not self._begun:
                # An unknown event counts too: from here on the wait is for content.
                self._begun = True
                self._first_event = math.inf
                self._stall = now + self._stall_seconds
            if kind == "message_stop":
                self._stall = math.inf
                self._after_stop = _end(self.timeouts.after_stop, now)
            elif kind in _CONTENT and (self._after_stop == math.inf or kind == "message_start"):
                self._after_stop = math.inf
                self._stall = now + self._stall_seconds
            self._content = self._content or kind in _CONTENT

    @property
    def flowing(self) -> bool:
        """Whether content comes: more of it only begins the waits anew, so that `flowed` says all that there is to say."""
        if not (self._begun and self._content) or self._awaited is not None:
            return False
        # After a message_stop `stall` stands still, and content would begin it.
        return self._after_stop == math.inf and (self._stall < math.inf or self._stall_seconds == math.inf)

    def flowed(self, now: float) -> None:
        """More content has come while it was `flowing`, and the wait for the next begins.

        This is what `bytes_received`, `events_received` and `away` come to, at a tenth of their time. No limit ends
        sooner than it did before.
        """
        self._idle = now + self._idle_seconds
        self._stall = now + self._stall_seconds

    def away(self, seconds: float) -> None:
        """The caller was busy elsewhere for so many seconds: limits on the other side's silence don't count them.

        If the last events carried no content, only `idle` doesn't count them: a flood of pings and comments keeps
        the caller busy too, and it is exactly the silence that `stall` and `after_stop` are for.
        """
        self._idle += seconds
        if self._content:
            self._first_event += seconds
            self._stall += seconds
            self._after_stop += seconds

    def caller_awaited(self, now: float) -> None:
        """Nothing can go on without the caller: from now on, or as before, only `caller` and `total` run."""
        if self._awaited is None:
            self._awaited = now
            self._caller = _end(self.timeouts.caller, now)

    def caller_returned(self, now: float) -> None:
        """The caller has done what was waited for. The wait was no silence of the other side's."""
        if self._awaited is not None:
            self._caller = math.inf
            self.away(now - self._awaited)
            self._awaited = None

    def paused(self) -> None:
        """The attempt is over: only `total` goes on."""
        self._begun = False
        self._content = True
        self._awaited = None
        self._connect = self._first_event = self._idle = self._stall = self._after_stop = self._caller = math.inf

    @property
    def ends(self) -> float:
        """When the next limit ends, on the clock of `now`; infinity if none is running."""
        if self._awaited is not None:
            return min(self._caller, self._total)
        return min(self._connect, self._first_event, self._idle, self._stall, self._after_stop, self._total)

    def next_deadline(self) -> tuple[float, str] | None:
        """When the next limit ends, and its name; None if none is running."""
        ends = self.ends
        return next(((ends, name) for name, end in self._ends().items() if end == ends < math.inf), None)

    def check(self, now: float) -> None:
        """Raise DeadlineExceeded for the limit that ended first, if one has ended by `now`."""
        ends = self.next_deadline()
        if ends is not None and now >= ends[0]:
            raise DeadlineExceeded(ends[1], getattr(self.timeouts, ends[1]))

    def _ends(self) -> dict[str, float]:
        if self._awaited is not None:
            return {"caller": self._caller, "total": self._total}
        return {
            "connect": self._connect,
            "first_event": self._first_event,
            "idle": self._idle,
            "stall": self._stall,
            "after_stop": self._after_stop,
            "total": self._total,
        }


def _end(seconds: float | None, now: float) -> float:
    return math.inf if seconds is None else now + seconds
