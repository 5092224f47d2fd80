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

# The events that carry a message. A ping doesn't, and an unknown event might be a heartbeat.
_CONTENT: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)


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

    __slots__ = ("_awaited", "_begun", "_content", "_running", "timeouts")

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.timeouts: Timeouts = timeouts
        # The name of each limit that is running, and when it ends.
        self._running: dict[str, float] = {}
        self._begun = False  # an event other than a ping has come
        self._content = True  # the events that came last carried content; true before any came
        self._awaited: float | None = None  # since when the caller is waited for
        self._start("total", now)
        self._start("connect", now)

    def __repr__(self) -> str:
        return (
            f"<Deadlines {', '.join(f'{name} at {ends:g}' for name, ends in self._running.items()) or 'none running'}>"
        )

    def connecting(self, now: float) -> None:
        """A new attempt begins: of the limits that were running, only `total` goes on."""
        self.paused()
        self._start("connect", now)

    def connected(self, now: float, *, streaming: bool = True) -> None:
        """The connection is made. Without `streaming` the response is one document, which has no first event."""
        self._running.pop("connect", None)
        self._start("idle", now)
        if streaming:
            self._start("first_event", now)

    def bytes_sent(self, now: float) -> None:
        """Bytes of the request went out."""
        self._start("idle", now)

    def bytes_received(self, now: float) -> None:
        """Bytes of the response came, whatever they were."""
        self._start("idle", now)

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
                self._running.pop("first_event", None)
                self._start("stall", now)
            if kind == "message_stop":
                self._running.pop("stall", None)
                self._start("after_stop", now)
            elif kind in _CONTENT and ("after_stop" not in self._running or kind == "message_start"):
                self._running.pop("after_stop", None)
                self._start("stall", now)
            self._content = self._content or kind in _CONTENT

    def away(self, seconds: float) -> None:
        """The caller was busy elsewhere for so many seconds: limits on the other side's silence don't count them.

        If the last events carried no content, only `idle` doesn't count them: a flood of pings and comments keeps
        the caller busy too, and it is exactly the silence that `stall` and `after_stop` are for.
        """
        for name in ("first_event", "idle", "stall", "after_stop") if self._content else ("idle",):
            if name in self._running:
                self._running[name] += seconds

    def caller_awaited(self, now: float) -> None:
        """Nothing can go on without the caller: from now on, or as before, only `caller` and `total` run."""
        if self._awaited is None:
            self._awaited = now
            self._start("caller", now)

    def caller_returned(self, now: float) -> None:
        """The caller has done what was waited for. The wait was no silence of the other side's."""
        if self._awaited is not None:
            self._running.pop("caller", None)
            self.away(now - self._awaited)
            self._awaited = None

    def paused(self) -> None:
        """The attempt is over: only `total` goes on."""
        self._begun = False
        self._content = True
        self._awaited = None
        for name in [name for name in self._running if name != "total"]:
            del self._running[name]

    def next_deadline(self) -> tuple[float, str] | None:
        """When the next limit ends, and its name; None if none is running."""
        running = self._running
        if self._awaited is not None:
            running = {name: running[name] for name in ("caller", "total") if name in running}
        if not running:
            return None
        name = min(running, key=running.__getitem__)
        return running[name], name

    def check(self, now: float) -> None:
        """Raise DeadlineExceeded for the limit that ended first, if one has ended by `now`."""
        ends = self.next_deadline()
        if ends is not None and now >= ends[0]:
            raise DeadlineExceeded(ends[1], getattr(self.timeouts, ends[1]))

    def _start(self, name: str, now: float) -> None:
        seconds: float | None = getattr(self.timeouts, name)
        if seconds is not None:
            self._running[name] = now + seconds
