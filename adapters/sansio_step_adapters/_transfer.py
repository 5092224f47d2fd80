"""One HTTP exchange over one connection, as a machine that does no I/O.

A driver asks `want`, does the one thing that it says, and reports how that went:

    Connect   connect a socket, or take an idle connection      connected / reuse / failed
    Send      write, and read what comes meanwhile              sent / send_failed, and as Receive
    Receive   read what is there                                received / ended / failed
    Proceed   let others have a turn                            proceeded
    Sleep     wait                                              waited
    Give      hand something to a gateway's caller              given, or stuck first
    Keep      give the connection to the pool                   released
    Close     close the socket                                  released
    None      it is over

Whatever waits does so until `until` at most, on the clock that `now` is read from, and then reports `waited`.

The phases:

    SLEEP --> CONNECT --> OPEN --> EXCHANGE --> RELEASE --> DONE
      ^          |          |                      |
      +----------+----------+--- another attempt --+

All else is decided here, for clients and gateway alike, and each decision has one place. `_check_deadlines` asks
`Deadlines` what is too late; `_is_stale` says when a connection is replaced; `_can_keep` says when it is used again.

`Call` adds retries and events, `Forward` a gateway's two directions. Both say what to do with what comes (`_came`), and
with a failure that leaves nothing to read (`_failed`).
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from sansio_step import (
    ConnectError,
    ContentBlockDeltaEvent,
    DeadlineExceeded,
    Deadlines,
    StreamEvent,
    TransportError,
)

from ._body import Body
from ._config import Config
from ._connection import Connection
from ._framing import Framing
from ._wants import Close, Connect, Give, Keep, Proceed, Receive, Send, Sleep, Want

# How much of a request is framed and encrypted at once: an answer that comes before its end saves the rest.
_PIECE: Final = 64 * 1024


class Phase(enum.Enum):
    """Where a transfer is."""

    SLEEP = enum.auto()  # before the next attempt, if there is one
    CONNECT = enum.auto()  # no connection
    OPEN = enum.auto()  # TLS and the proxy's tunnel
    EXCHANGE = enum.auto()  # the request goes out, the response comes in
    RELEASE = enum.auto()  # the exchange is over, the connection still there
    DONE = enum.auto()


# Named once: up to Python 3.11 an enum takes 0.1 microseconds to find a member.
_OPEN: Final = Phase.OPEN
_EXCHANGE: Final = Phase.EXCHANGE
_AT_WORK: Final = (Phase.OPEN, Phase.EXCHANGE)
_ENDED: Final = (Phase.RELEASE, Phase.DONE)


class Transfer(ABC):
    """A request and its response. See the module for how to drive it."""

    def __init__(self, config: Config, deadlines: Deadlines, body: Body, *, streaming: bool, now: float) -> None:
        self._config = config
        self._deadlines = deadlines
        self._body = body
        self._streaming = streaming  # whether the response will be a stream, whose first event has a limit
        self._phase = Phase.CONNECT
        self._fresh = False  # whether an idle connection won't do, since the last one was stale
        # The wait of a transfer that flows. Content only lets it be longer, so that it is wanted again as it is: who
        # has waited too short asks once more.
        self._flow: Receive | None = None
        self._flowed = False  # content has come since then, and nothing else
        self._heard = now  # when the driver last spoke
        self._wake: float | None = None  # when the next attempt begins, once there is to be one
        self._out = b""  # what the socket takes next
        self._ended_body = False  # the request is framed to its end
        self._send_error: BaseException | None = None
        self.connection: Connection | None = None
        self.framing = Framing()

    # For subclasses.

    @abstractmethod
    def _begin(self, connection: Connection) -> bytes:
        """Make `framing` for this connection, and return the request's head."""

    @abstractmethod
    def _came(self, body: bytes, now: float) -> None:
        """The response went on: its head, bytes of its body, its end (`framing.complete`) or its loss (`.lost`)."""

    @abstractmethod
    def _failed(self, error: TransportError, now: float) -> None:
        """A limit has passed, or no connection was made: `_phase` says what it was at."""

    @abstractmethod
    def _asked(self, now: float) -> None:
        """The driver asks what to do: where time was spent meanwhile that no limit counts, they are told of it."""

    @property
    @abstractmethod
    def _flows(self) -> bool:
        """Whether more content changes nothing but when limits end, so that only `flowed` has to tell them."""

    @abstractmethod
    def _want_first(self) -> Give | Proceed | None:
        """What goes before the socket: something for a gateway's caller, or what is still to be read of what came."""

    # What to do.

    @property
    def over(self) -> bool:
        """Whether the transfer has come to its end, though a connection may still be held."""
        return self._phase in _ENDED and self._wake is None

    @property
    def at_work(self) -> bool:
        """Whether what comes from the socket, or goes to it, is still of use."""
        return self._phase in _AT_WORK

    def want(self, now: float) -> Want | None:
        """The next thing to do; None if it is over and nothing is held any more."""
        if self._flowed:
            self._flowed = False
            if self._phase is _EXCHANGE and self._flow is not None and self.connection is not None:
                # Live, nearly each event: with what `_came` leaves out, 34,700 instructions instead of 49,600.
                self._deadlines.flowed(now)
                self._heard = now
                until = self._flow.until
                if self.connection.silent and not self._out and (until is None or now < until):
                    return self._flow
        self._asked(now)
        self._heard = now
        until = self._check_deadlines(now)
        if self._phase is not _EXCHANGE:
            return self._want_around(until, now)
        ours = self._want_first()
        if ours is not None:
            return ours
        self._fill()
        if self._out:
            return Send(self._out, until)
        reading = Receive(until)
        self._flow = reading if self._flows else None
        return reading

    def _want_around(self, until: float | None, now: float) -> Want | None:
        """The same before an exchange and after it."""
        if self._phase is Phase.RELEASE:
            return Keep() if self._can_keep else Close(self._farewell())
        ours = self._want_first()
        if isinstance(ours, Give) or self._phase is Phase.DONE:
            return ours
        if self._phase is Phase.SLEEP:
            if self._wake is None or now < self._wake:
                return Sleep(self._wake if self._wake is not None else until)
            self._wake = None
            self._deadlines.connecting(now)
            self._phase = Phase.CONNECT
            until = self._check_deadlines(now)
        if self.connection is None:
            first = self._config.first
            return Connect(first.host, first.port, self._fresh, until)
        self._fill()
        return Send(self._out, until) if self._out else Receive(until)

    # What happened.

    def reuse(self, connection: Connection, now: float) -> None:
        """An idle connection was taken."""
        self._heard = now
        if self.over:
            return
        connection.next_exchange()
        self.connection = connection
        self._begin_exchange(now)

    def connected(self, now: float) -> None:
        """The socket is connected."""
        self._heard = now
        if self.over:
            return
        self.connection = Connection(self._config)
        self._phase = Phase.OPEN
        if self.connection.ready:
            self._begin_exchange(now)

    def sent(self, count: int, now: float) -> None:
        """So many bytes of what `Send` had are written."""
        self._heard = now
        self._out = self._out[count:]
        if self._phase is Phase.EXCHANGE:
            self._deadlines.bytes_sent(now)

    def received(self, data: bytes, now: float) -> None:
        """Bytes came from the socket."""
        if self._flowed:  # and more has come before `want` was asked
            self._deadlines.flowed(self._heard)
        self._heard = now
        if self.connection is None or self._phase not in _AT_WORK:
            return  # closed meanwhile, by another task or thread
        try:
            plain = self.connection.receive_data(data)
        except (ConnectError, OSError) as error:
            self.failed(error, now)
            return
        if self._phase is _OPEN:
            if self.connection.ready:
                self._begin_exchange(now)
            return
        framing = self.framing
        body = framing.receive_data(plain) if plain else b""
        if framing.status is not None:
            self._deadlines.bytes_received(now)
        if framing.lost is not None:
            self._advance(body, now)
        elif plain:
            self._came(body, now)
        if self.connection is not None and self.connection.ended and not self._settled:
            self.ended(now)

    def ended(self, now: float) -> None:
        """The socket has come to its end."""
        if self.connection is None or not self.at_work:
            return
        try:
            self.connection.receive_eof()
        except (ConnectError, OSError) as error:
            self.failed(error, now)
            return
        self._lost(self._send_error, now)

    def send_failed(self, error: BaseException, now: float) -> None:
        """Writing went wrong. What the peer said before it hung up (413, 401) is still to be read."""
        if self._phase is Phase.OPEN:
            self.failed(error, now)
        elif self._phase is Phase.EXCHANGE and self._send_error is None:
            self._out = b""
            self._send_error = error

    def send_cut(self) -> None:
        """A write was ended in the middle, and nobody knows where: no byte can follow it."""
        if self._phase is Phase.EXCHANGE and self._send_error is None:
            self._out = b""
            self._send_error = ConnectionAbortedError("the request was cut off")

    def failed(self, error: BaseException, now: float) -> None:
        """Connecting or reading went wrong."""
        self._heard = now
        if self._phase in (Phase.CONNECT, Phase.OPEN):
            self._failed(connect_error(self._config, error), now)
        elif self._phase is Phase.EXCHANGE:
            self._lost(self._send_error or error, now)

    def waited(self, now: float) -> None:
        """Nothing happened until the time that `until` set."""
        self._heard = now

    @abstractmethod
    def proceeded(self, now: float) -> None:
        """Others have had their turn."""

    def stuck(self, now: float) -> float | None:
        """The caller does not take at once what `Give` has. Returns until when it may."""
        return self._check_deadlines(now)

    def given(self, now: float) -> None:  # noqa: B027, only a gateway's transfer gives
        """What `Give` had is with the caller."""

    def released(self) -> None:
        """`Keep` or `Close` is done."""
        self.connection = None
        self._out = b""
        self._phase = Phase.SLEEP if self._wake is not None else Phase.DONE

    # Decisions.

    def _check_deadlines(self, now: float) -> float | None:
        """Where a limit ends something, and nowhere else does one. Returns when the next one does."""
        ends = self._deadlines.ends
        if now >= ends and not self.over:
            try:
                self._deadlines.check(now)
            except DeadlineExceeded as error:
                self._failed(error, now)
            ends = self._deadlines.ends
        return ends if ends < math.inf else None

    @property
    def _settled(self) -> bool:
        """Whether nothing more is to be read."""
        return self.framing.complete or self.framing.lost is not None

    @property
    def _can_keep(self) -> bool:
        """Whether the connection can carry another exchange: both sides are done with this one, and no end is in sight."""
        clean = self.connection is not None and not self.connection.ended and self._send_error is None
        return clean and not self._out and self.framing.reusable

    @property
    def _is_stale(self) -> bool:
        """Whether the peer, which is lost, had given an idle connection up: nothing was read, and a fresh one is not stale."""
        return not self.framing.begun and self.connection is not None and self.connection.reused

    def _farewell(self) -> bytes:
        # If a write has stopped in the middle, TLS can't say anything after it.
        if self.connection is None or self._out or self._send_error is not None:
            return b""
        return self.connection.farewell()

    def _begin_exchange(self, now: float) -> None:
        """The connection stands: the request goes out."""
        assert self.connection is not None
        self._deadlines.connected(now, streaming=self._streaming)
        self._send_error = None
        self._ended_body = False
        self._phase = Phase.EXCHANGE
        self.connection.send(self._begin(self.connection))

    def _fill(self) -> None:
        """Make the next bytes for the socket, if there are any now."""
        assert self.connection is not None
        if self._out or self._send_error is not None:
            return
        if not self._ended_body and self._phase is Phase.EXCHANGE:
            piece = self._body.take(_PIECE)
            if piece:
                self.connection.send(self.framing.data(piece))
            if self._body.whole and not self._body.unsent:
                self._ended_body = True
                self.connection.send(self.framing.end())
        self._out = self.connection.outgoing()

    def _advance(self, body: bytes, now: float) -> None:
        """The response went on, if only by being lost."""
        if self.framing.lost is not None and self._is_stale and self._body.rewind():
            self._fresh = True
            self._again(now)
        else:
            self._came(body, now)

    def _lost(self, error: BaseException | None, now: float) -> None:
        body = self.framing.receive_eof(error)
        self._advance(body, now)

    def _flows_on(self, events: Sequence[StreamEvent] | None) -> bool:
        """Whether these events are a lone delta in a stream that flows, as most that come live; else it flows no longer."""
        if self._flow is not None and events and len(events) == 1 and events[0].__class__ is ContentBlockDeltaEvent:
            self._flowed = True
            return True
        self._flow = None
        return False

    def _again(self, at: float) -> None:
        """Arrange another attempt at that time."""
        self._deadlines.paused()
        self._wake = at
        self._phase = Phase.SLEEP if self.connection is None else Phase.RELEASE

    def _finish(self) -> None:
        """Arrange the end: nothing is tried again."""
        self._wake = None
        self._phase = Phase.DONE if self.connection is None else Phase.RELEASE


def connect_error(config: Config, error: BaseException) -> ConnectError:
    """The error of a connection that was never made. It names the server, and the proxy on the way to it."""
    if isinstance(error, ConnectError):
        return error
    to = config.origin.authority
    where = to if config.proxy is None else f"the proxy {config.proxy.origin.authority}, on the way to {to}"
    failure = ConnectError(f"no connection to {where}: {error or type(error).__name__}")
    failure.__cause__ = error
    return failure
