"""A client's call: one transfer, and others after it as long as the failure may be retried, read as events. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sansio_step import (
    APIError,
    ConnectionLost,
    ErrorEvent,
    Message,
    MessageStream,
    Outcome,
    PingEvent,
    StreamError,
    StreamEvent,
    TransportError,
    retry_delay,
)

from ._body import Body
from ._config import Config
from ._connection import Connection
from ._reader import Wanted, error_of
from ._secrets import Mask
from ._transfer import Phase, Transfer
from ._wants import Proceed


class Call(Transfer):
    """One call. See `_transfer` for how to drive it; `events` fills meanwhile.

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
        super().__init__(config, config.deadlines(now), Body.of(body), streaming=wanted is Wanted.STREAM, now=now)
        self._wanted = wanted
        self._wall_time, self._jitter = wall_time, jitter
        self._attempt = 0
        self.events: deque[StreamEvent] = deque()
        # Whether an event other than a ping has come, after which nothing is retried.
        self.delivered = False
        self._given = False  # any event has come
        # What is wrong, to be raised once `events` is empty. Known only when the response is over.
        self.error: StreamError | None = None
        self.exchange = config.exchange(None, wanted)

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
        if self.error is not None or self.exchange.count is None:
            self.result()  # raises
        assert self.exchange.count is not None, "a call that counts ends with a count or an error"
        return self.exchange.count

    def proceeded(self, now: float) -> None:
        """Others have had their turn."""
        self._heard = now
        if self.exchange.pending:
            self._deadlines.bytes_received(now)  # to read takes time, too, in which the server is not silent
            self._take(self.exchange.read(b""), now)

    def abandon(self) -> None:
        """The caller goes away before the end. Ask `want` again for what has to be closed."""
        if not self.over:
            self.exchange.abort(ConnectionLost("closed by the caller"))
            self.error = self.exchange.error
        self.events.clear()
        self._finish()

    # What a transfer asks.

    def _asked(self, now: float) -> None:
        if self._given and now > self._heard:
            # The caller had the events in hand meanwhile: that is no silence of the server's.
            self._deadlines.away(now - self._heard)

    @property
    def _flows(self) -> bool:
        return self.exchange.flowing and self._deadlines.flowing

    def _want_first(self) -> Proceed | None:
        return Proceed() if self.exchange.pending else None

    def _begin(self, connection: Connection) -> bytes:
        self.exchange = self._config.exchange(connection.http, self._wanted)
        self.framing = self.exchange.framing
        headers = self._config.request_headers(streaming=self._streaming)
        headers.append((b"content-length", str(self._body.size).encode()))
        path = self._config.path + ("/count_tokens" if self._wanted is Wanted.COUNT else "")
        self._body.rewind()
        return self.framing.request("POST", path, headers, None)

    def _came(self, body: bytes, now: float) -> None:
        events = self.exchange.read(body)
        if self.exchange.flowing and self._flows_on(events):
            self.events += events
        else:
            self._take(events, now)

    def _failed(self, error: TransportError, now: float) -> None:
        if self._phase is Phase.EXCHANGE:
            self._take(self.exchange.abort(error), now)
            return
        if self._phase in (Phase.CONNECT, Phase.OPEN):
            # The attempt is over without a response.
            self.exchange = self._config.exchange(None, self._wanted)
            if self._retry(error, now):
                return
        self._end(error)

    # Decisions.

    def _take(self, events: list[StreamEvent], now: float) -> None:
        """Events came, or the response ended, or both."""
        exchange = self.exchange
        self._deadlines.events_received(events, now)
        if not self.delivered and self._begins_anew(events, now):
            return
        if events:
            self._given = True
            self.events.extend(events)
        if exchange.done and (exchange.error is None or not self._retry(exchange.error, now)):
            self._end(exchange.error)

    def _begins_anew(self, events: list[StreamEvent], now: float) -> bool:
        """Whether the first event but pings is an error after which there is another attempt."""
        for position, event in enumerate(events):
            if isinstance(event, PingEvent):
                continue
            if isinstance(event, ErrorEvent) and self._retry(error_of(event), now):
                # Pings are given at once, and say nothing that a second answer would contradict.
                self._given = self._given or position > 0
                self.events.extend(events[:position])
                return True
            self._body.forget()  # a thousand streams would hold their requests to the end
            self.delivered = True
            break
        return False

    def _retry(self, failure: StreamError, now: float) -> bool:
        """Whether there is another attempt after this failure; if so, it is arranged."""
        if self.delivered:
            return False
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
        if now + delay >= self._deadlines.ends:
            return False  # the time that is left would pass in waiting, and the failure be lost
        self._again(now + delay)
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
        self._finish()


def add_hint(error: StreamError, hint: str) -> None:
    """Say in an error's text what the caller can do."""
    error.reason = f"{error.reason}; {hint}"
    error.args = (error.reason,)
