"""A call from its first connect to its last event, with retries and deadlines, as a machine that does no I/O.

A driver asks `want`, does the one thing that it says, and reports how that went:

    Connect   connect a socket, or take an idle connection   connected / reuse / failed
    Send      write all of it                                sent / failed
    Receive   read what is there                             received / ended / failed
    Proceed   let others have a turn                         proceeded
    Sleep     wait                                           waited
    Keep      give the connection to the pool                released
    Close     close the socket                               released
    None      the call is over

Whatever waits does so until `until` at most, on the clock that `now` is read from, and then reports `waited`. All
else is decided here: whether to retry, what a deadline ends, whether a connection can be used again.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    ErrorEvent,
    Message,
    MessageStream,
    Outcome,
    PingEvent,
    StreamError,
    StreamEvent,
    retry_delay,
)

from ._config import Config
from ._connection import Connection
from ._reader import Wanted, error_of
from ._secrets import Mask


@dataclass(frozen=True)
class Connect:
    """Connect to this address, or take an idle connection where `fresh` is false."""

    host: str
    port: int
    fresh: bool
    until: float | None


@dataclass(frozen=True)
class Send:
    """Write all of these bytes."""

    data: bytes
    until: float | None


@dataclass(frozen=True)
class Receive:
    """Read some bytes."""

    until: float | None


@dataclass(frozen=True)
class Proceed:
    """What was read holds more than one turn's worth: go on with it."""


@dataclass(frozen=True)
class Sleep:
    """Wait."""

    until: float


@dataclass(frozen=True)
class Keep:
    """The connection can carry another call."""


@dataclass(frozen=True)
class Close:
    """The connection is of no further use."""


Want = Connect | Send | Receive | Proceed | Sleep | Keep | Close


class _Phase(enum.Enum):
    CONNECT = enum.auto()  # no connection
    OPEN = enum.auto()  # TLS and the proxy's tunnel
    SEND = enum.auto()  # the request
    RECEIVE = enum.auto()  # the response
    RELEASE = enum.auto()  # the response is over, the connection still there
    SLEEP = enum.auto()  # before the next attempt
    DONE = enum.auto()


class Call:
    """One call. See the module for how to drive it; `events` fills meanwhile.

    `wall_time` is asked for seconds since the epoch and `jitter` for a random number from 0 to 1, both only when a
    failure may be retried.
    """

    def __init__(
        self,
        config: Config,
        body: bytes,
        *,
        wanted: Wanted,
        now: float,
        wall_time: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._config = config
        self._body = body
        self._wanted = wanted
        self._wall_time, self._jitter = wall_time, jitter
        self._deadlines = config.deadlines(now)
        self._phase = _Phase.CONNECT
        self._attempt = 0
        self._fresh = False  # whether an idle connection won't do: the last one was stale
        self._wake: float | None = None  # when the next attempt begins, once there is to be one
        self._asked = now  # when the driver was last heard of
        self._sending = b""
        self._send_error: BaseException | None = None
        self.events: deque[StreamEvent] = deque()
        # Whether an event other than a ping has come, after which nothing is retried.
        self.delivered = False
        self._given = False  # any event has come
        # What is wrong, to be raised once `events` is empty. Known only when the response is over.
        self.error: StreamError | None = None
        self.connection: Connection | None = None
        self.exchange = config.exchange(None, wanted)

    @property
    def over(self) -> bool:
        """Whether no more events will come."""
        return self._phase in (_Phase.RELEASE, _Phase.DONE) and self._wake is None

    @property
    def started(self) -> bool:
        """Whether the caller's part begins: an event is there, be it a ping, or there will be none."""
        return self._given or self.over

    @property
    def mask(self) -> Mask:
        """Hides what the call must not show."""
        return self._config.mask

    @property
    def outcome(self) -> Outcome:
        """How the message stands."""
        if self._wake is not None:
            return Outcome.STREAMING  # there will be another attempt
        outcome = self.exchange.outcome
        return Outcome.FAILED if self.error is not None and outcome is Outcome.STREAMING else outcome

    def result(self) -> Message:
        """The finished message, or raise what is wrong."""
        if self._wake is not None:
            return MessageStream().result()  # raises: nothing came yet
        if self.error is not None and not self.exchange.done:
            raise self.error
        return self.exchange.result()

    def count(self) -> int:
        """The number of tokens, or raise what is wrong."""
        if self.error is None and self.exchange.count is not None:
            return self.exchange.count
        self.result()
        raise AssertionError("a call that counts ends with a count or an error")

    # What to do.

    def want(self, now: float) -> Want | None:
        """The next thing to do; None when the call is over and nothing is held any more."""
        if self._given:
            # The caller had the events in hand meanwhile: that is no silence of the server's.
            self._deadlines.away(now - self._asked)
        self._asked = now
        ends = self._deadlines.next_deadline()
        if ends is not None and now >= ends[0]:
            self._check_deadlines(now)
            ends = self._deadlines.next_deadline()
        if self._phase is _Phase.RELEASE:
            return Keep() if self._keep else Close()
        if self._phase is _Phase.DONE:
            return None
        if self._phase is _Phase.SLEEP and self._wake is not None:
            if now < self._wake:
                return Sleep(self._wake)
            self._wake = None
            self._deadlines.connecting(now)
            ends = self._deadlines.next_deadline()
            self._phase = _Phase.CONNECT
        until = ends[0] if ends is not None else None
        if self.exchange.pending and self._phase in (_Phase.SEND, _Phase.RECEIVE):
            return Proceed()
        if self.connection is None:
            first = self._config.first
            return Connect(first.host, first.port, self._fresh, until)
        if not self._sending:
            self._sending = self.connection.outgoing()
        return Send(self._sending, until) if self._sending else Receive(until)

    # What happened.

    def reuse(self, connection: Connection, now: float) -> None:
        """An idle connection was taken."""
        if self.over:
            return
        connection.next_exchange()
        self.connection = connection
        self._begin(now)

    def connected(self, now: float) -> None:
        """The socket is connected."""
        if self.over:
            return
        self.connection = Connection(self._config)
        self._phase = _Phase.OPEN
        if self.connection.ready:
            self._begin(now)

    def sent(self, now: float) -> None:
        """What `Send` had is written."""
        self._asked = now
        self._sending = b""
        if self._phase is _Phase.SEND:
            self._phase = _Phase.RECEIVE

    def received(self, data: bytes, now: float) -> None:
        """Bytes came from the socket."""
        self._asked = now
        if self.connection is None:
            return  # closed meanwhile, by another task or thread
        try:
            plain = self.connection.receive_data(data)
        except (ConnectError, OSError) as error:
            self.failed(error, now)
            return
        if self._phase is _Phase.OPEN:
            if self.connection.ready:
                self._begin(now)
            return
        self._deadlines.bytes_received(now)
        if plain:
            self._take(self.exchange.receive_some(plain), now)
        if self.connection.ended and not self.exchange.done:
            self.ended(now)

    def proceeded(self, now: float) -> None:
        """Others have had their turn."""
        self._asked = now
        if self.exchange.pending:
            self._take(self.exchange.receive_some(b""), now)

    def ended(self, now: float) -> None:
        """The socket has come to its end."""
        self._asked = now
        if self.connection is None:
            return
        try:
            self.connection.receive_eof()
        except (ConnectError, OSError) as error:
            self.failed(error, now)
            return
        self._take(self.exchange.receive_eof(self._send_error), now)

    def failed(self, error: BaseException, now: float) -> None:
        """Connecting, writing or reading went wrong."""
        self._asked = now
        if self.over:
            return
        if self._phase in (_Phase.CONNECT, _Phase.OPEN):
            self._give_up(connect_error(self._config, error), now)
        elif self._sending:
            # The server may have answered before it had read all (413, 401) and hung up: its answer counts for more.
            self._sending = b""
            self._send_error = error
            self._phase = _Phase.RECEIVE
        else:
            self._take(self.exchange.receive_eof(self._send_error or error), now)

    def waited(self, now: float) -> None:
        """Nothing happened until the time that `until` set."""
        self._asked = now

    def released(self) -> None:
        """`Keep` or `Close` is done."""
        self.connection = None
        self._phase = _Phase.SLEEP if self._wake is not None else _Phase.DONE

    def abandon(self) -> None:
        """The caller goes away before the end. Ask `want` again for what has to be closed."""
        if not self.over:
            self.exchange.abort(ConnectionLost("closed by the caller"))
            self.error = self.exchange.error
        self.events.clear()
        self._wake = None
        self._phase = _Phase.DONE if self.connection is None else _Phase.RELEASE

    # Decisions.

    @property
    def _keep(self) -> bool:
        clean = self.connection is not None and not self.connection.ended and self._send_error is None
        return clean and self.exchange.done and self.exchange.reusable

    def _begin(self, now: float) -> None:
        """The connection stands: the request goes out."""
        assert self.connection is not None
        self._deadlines.connected(now, streaming=self._wanted is Wanted.STREAM)
        self._send_error = None
        self.exchange = self._config.exchange(self.connection.http, self._wanted)
        headers = self._config.request_headers(streaming=self._wanted is Wanted.STREAM)
        path = self._config.path + ("/count_tokens" if self._wanted is Wanted.COUNT else "")
        self.connection.send(self.exchange.request(path, headers, self._body))
        self._phase = _Phase.SEND

    def _take(self, events: list[StreamEvent], now: float) -> None:
        """Events came, or the response ended, or both."""
        exchange = self.exchange
        self._deadlines.events_received(events, now)
        for position, event in enumerate(events):
            if isinstance(event, PingEvent):
                continue
            if not self.delivered and isinstance(event, ErrorEvent) and self._retry(error_of(event), now):
                # Pings are given at once, and say nothing that a second answer would contradict.
                events = events[:position]
                self._given = self._given or bool(events)
                self.events.extend(events)
                return
            self.delivered = True
            break
        self._given = self._given or bool(events)
        self.events.extend(events)
        if exchange.done and (exchange.error is None or not self._retry(exchange.error, now)):
            self._end(exchange.error)

    def _give_up(self, error: StreamError, now: float) -> None:
        """The attempt is over without a response."""
        self.exchange = self._config.exchange(None, self._wanted)
        if not self._retry(error, now):
            self._end(error)

    def _retry(self, failure: StreamError, now: float) -> bool:
        """Whether there is another attempt after this failure; if so, it is arranged."""
        if self.delivered:
            return False
        stale = self.connection is not None and self.connection.reused and not self.exchange.begun
        if stale and isinstance(failure, ConnectionLost):
            # The server had given the idle connection up: nothing was read there, and a fresh one is not stale.
            self._fresh = True
            delay: float | None = 0.0
        else:
            delay = retry_delay(
                self._config.retries,
                failure,
                attempt=self._attempt,
                delivered=self.delivered,
                jitter=self._jitter(),
                now=self._wall_time(),
                headers=self.exchange.headers,
            )
            self._attempt += 1
        if delay is None:
            return False
        self._deadlines.paused()
        ends = self._deadlines.next_deadline()
        if ends is not None and now + delay >= ends[0]:
            return False  # the time that is left would pass in waiting, and the failure be lost
        self._wake = now + delay
        self._phase = _Phase.SLEEP if self.connection is None else _Phase.RELEASE
        return True

    def _end(self, error: StreamError | None) -> None:
        if error is not None:
            self._config.mask.error(error)
            if isinstance(error, APIError) and error.status == 401 and self._config.keyless:
                add_hint(error, "no key was sent: set STEP_API_KEY or pass api_key")
            if isinstance(error, ConnectionLost) and not self.exchange.begun and not self._config.origin.tls:
                # Many servers hang up on what is no TLS, without a word.
                add_hint(error, "if the server speaks TLS at this port, the URL begins with https")
        self.error = error
        self._phase = _Phase.DONE if self.connection is None else _Phase.RELEASE

    def _check_deadlines(self, now: float) -> None:
        if self._phase in (_Phase.RELEASE, _Phase.DONE):
            return
        try:
            self._deadlines.check(now)
        except DeadlineExceeded as error:
            if self._phase in (_Phase.CONNECT, _Phase.OPEN):
                self._give_up(error, now)
            elif self._phase is _Phase.SLEEP:
                self._wake = None
                self._end(error)
            else:
                self._take(self.exchange.abort(error), now)


def connect_error(config: Config, error: BaseException) -> ConnectError:
    """The error of a connection that never stood: what it was to lead to, and through what."""
    if isinstance(error, ConnectError):
        return error
    to = config.origin.authority
    where = to if config.proxy is None else f"the proxy {config.proxy.origin.authority}, on the way to {to}"
    failure = ConnectError(f"no connection to {where}: {error or type(error).__name__}")
    failure.__cause__ = error
    return failure


def add_hint(error: StreamError, hint: str) -> None:
    """Say in an error's text, once, what the caller can do."""
    if hint not in error.reason:
        error.reason = f"{error.reason}; {hint}"
        error.args = (error.reason,)
