"""A gateway's call: one transfer whose body comes from a caller and whose response goes to it. No I/O.

The caller gets ASGI messages, by `Give`. Each goes out first and is read along afterwards, in `given`: neither a fault
in a stream nor slow reading holds a byte of it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import h11
import msgspec

from sansio_step import (
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Deadlines,
    Timeouts,
    TransportError,
)

from ._body import Body
from ._config import Config
from ._connection import Connection
from ._framing import Framing
from ._head import Headers, end_to_end
from ._report import Observer
from ._transfer import Phase, Transfer
from ._wants import Give, Proceed, Receive, Want

# What is kept of a request while it goes through, to be sent once more if an idle connection turns out to be dead.
# Nearly all requests are smaller; those with images in them are not worth their memory.
MOST_KEPT: Final = 1024 * 1024
# How much of a body is taken in before it goes out; a caller that sends more has to wait.
MOST_UNSENT: Final = 1024 * 1024

_KEEP_ALIVE: Final = b": keep-alive\n\n"
# An event ends with a blank line, whichever line ends the stream has.
_BORDERS: Final = (b"\n\n", b"\r\r", b"\n\r\n", b"\r\r\n", b"\n\r")

ASGIMessage: TypeAlias = MutableMapping[str, Any]


@dataclass(frozen=True)
class Outgoing:
    """A request's head as the upstream gets it, but for the length of its body."""

    method: str
    target: str
    headers: Headers
    # What the caller has stated as the length of its body.
    declared: int | None = None

    def sized(self, first: bytes, *, more: bool) -> Headers:
        """The headers with the body's length, or chunked if nobody knows it yet."""
        if self.declared is not None:
            return self.headers
        if more:
            return [*self.headers, (b"transfer-encoding", b"chunked")]
        return [*self.headers, (b"content-length", str(len(first)).encode())] if first else self.headers


class Forward(Transfer):
    """One call through a gateway. See `_transfer` for how to drive it.

    Besides that, give what the caller sends to `feed`, as long as it is not `full`, and say `caller_left` if it goes.
    Once it is over, `error` is what has to break the caller's response off, if something has.
    """

    def __init__(
        self,
        config: Config,
        request: Outgoing,
        observer: Observer,
        *,
        now: float,
        error_event: bool = False,
        keep_alive: float | None = None,
    ) -> None:
        # A response that the upstream leaves open after its message is the caller's to end.
        self._timeouts = msgspec.structs.replace(config.timeouts, after_stop=None)
        super().__init__(config, Deadlines(self._timeouts, now), Body(MOST_KEPT), streaming=False, now=now)
        # No connection is held for a caller that has not begun to send.
        self._phase = Phase.SLEEP
        self._deadlines.paused()
        self._request, self._observer = request, observer
        self._error_event, self._keep_alive = error_event, keep_alive
        self._headers: Headers = []
        # Messages for the caller. With each: whether it is the upstream's, and so is read along.
        self._gives: deque[tuple[ASGIMessage, bool]] = deque()
        self._awaited = False  # the limits know that the caller is waited for
        self._answered = False  # the caller has a head, or is about to get one
        self._abandoned = False  # the caller has left
        self._ending = False  # the last message is on its way to the caller
        self._may_insert = False  # the response is a stream to which something of our own can be added
        self._tail = b""  # the last bytes that the caller has
        self._quiet_since = now
        self._broken: TransportError | None = None
        self.error: TransportError | None = None

    # The caller's side.

    @property
    def full(self) -> bool:
        """Whether the caller has to wait before it sends more."""
        return self._body.unsent >= MOST_UNSENT

    @property
    def fed(self) -> bool:
        """Whether the request has come in whole."""
        return self._body.whole

    def feed(self, piece: bytes, now: float, *, more: bool) -> None:
        """The caller has sent a piece of the request's body; without `more` the last."""
        if super().over:
            return  # the upstream has answered without it
        if not self._gives:  # which it may not take all the same
            self._deadlines.caller_returned(now)
        self._flow = None  # there is more to do than to read on
        self._body.feed(piece, more=more)
        declared = self._request.declared
        if declared is not None and (self._body.size > declared or (self._body.whole and self._body.size < declared)):
            self.refuse("the body is not as long as its Content-Length says")
        elif self._phase is Phase.SLEEP and self._wake is None:
            self._headers = self._request.sized(piece, more=more)
            try:
                h11.Request(method=self._request.method, target=self._request.target, headers=self._headers)
            except h11.LocalProtocolError:
                self.refuse("the request has what HTTP can't carry")
            else:
                self._again(now)

    def refuse(self, why: str) -> None:
        """The request must not go on, or not any further."""
        if self._answered:
            self._break(ConnectionLost(f"the request was broken: {why}"))
            return
        self._answer(400, "invalid_request_error", why)
        self._gives_up()

    def caller_left(self) -> bool:
        """The caller has gone; says whether that ends the call. After the last message servers say so of everyone."""
        if self._ending:
            return False
        self._observer.report.disconnected = True
        self.abandon()
        return True

    def abandon(self) -> None:
        """End the call: the caller gets nothing more, and what has come is read no further."""
        self._abandoned = True
        self._gives.clear()
        self._broken = None
        self._finish()

    def given(self, now: float) -> None:
        """The caller has what `Give` had. Now it is read."""
        if not self._gives:
            return  # it has left meanwhile
        message, read = self._gives.popleft()
        self._quiet_since = now
        body = message.get("body", b"")
        if body and read:
            self._tail = (self._tail + body[-4:])[-4:]
            self._read(self._observer.body(body, now), now)
        else:
            self._taken(now)
        self._settle_break()

    def stuck(self, now: float) -> float | None:
        """The caller does not take at once what `Give` has. Returns until when it may."""
        giving = self._gives[0]
        self._awaited = True
        self._deadlines.caller_awaited(self._heard)
        until = super().stuck(now)
        ended = not self._gives or self._gives[0] is not giving  # by a limit that has passed while it was given
        return now if ended else until

    def proceeded(self, now: float) -> None:
        """Others have had their turn."""
        if self._observer.pending:
            self._read(self._observer.body(b"", now), now)

    # What to do.

    @property
    def over(self) -> bool:
        """Whether all has been said and read."""
        return super().over and not self._gives and not self._pending

    def want(self, now: float) -> Want | None:
        """The next thing to do; None if it is over and nothing is held any more."""
        if self._gives and not self._awaited and self._phase is Phase.EXCHANGE:
            # Nearly every caller takes all at once, before any limit has to be asked.
            return self._want_first()
        due = self._quiet_since + self._keep_alive if self._keep_alive is not None and self._inserts else None
        if due is not None and now >= due:
            self._insert(_KEEP_ALIVE)
        want = super().want(now)
        if due is not None and isinstance(want, Receive) and (want.until is None or due < want.until):
            return Receive(due)
        return want

    # What a transfer asks.

    @property
    def _pending(self) -> bool:
        return self._observer.pending and not self._abandoned

    def _asked(self, now: float) -> None:
        self._awaited = self._awaits_caller
        if self._awaited:
            self._deadlines.caller_awaited(now)
        else:
            self._deadlines.caller_returned(now)

    @property
    def _flows(self) -> bool:
        return self._observer.flowing and self._deadlines.flowing

    def _want_first(self) -> Give | Proceed | None:
        if not self._gives:
            return Proceed() if self._pending else None
        message, _ = self._gives[0]
        self._ending = message["type"] == "http.response.body" and not message["more_body"]
        return Give(message)

    @property
    def _awaits_caller(self) -> bool:
        """Whether nothing can go on without the caller."""
        if self._gives or (self._phase is Phase.SLEEP and self._wake is None):
            return True
        starving = not self._body.whole and not self._body.unsent and not self._out
        return starving and self._phase is Phase.EXCHANGE and self.framing.status is None

    def _begin(self, connection: Connection) -> bytes:
        self.framing = Framing(connection.http)
        return self.framing.request(self._request.method, self._request.target, self._headers, None)

    def _came(self, body: bytes, now: float) -> None:
        framing = self.framing
        if framing.status is not None and not self._answered:
            self._head(framing.status, now)
        if framing.complete:
            self._give_body(body, more=False)
            self._deadlines.paused()
            self._finish()
            return
        if body:
            self._give_body(body, more=True)
        if framing.lost is not None:
            self._break(framing.lost)

    def _failed(self, error: TransportError, now: float) -> None:
        if isinstance(error, DeadlineExceeded) and self._awaits_caller:
            self._gives.clear()
            if self._answered or self._broken is not None:
                # The caller reads nothing, so that nothing can be said to it.
                self._observer.failed(error)
                self._broken, self.error = None, self.error or error
                self._gives_up()
                return
        self._break(error)

    # Decisions.

    def _head(self, status: int, now: float) -> None:
        framing = self.framing
        self._answered = True
        self._awaited = False
        self._deadlines.caller_returned(now)  # nobody waits any longer for the rest of its request
        self._body.forget()  # a thousand streams would hold their requests to the end
        self._observer.head(status, framing.headers, now)
        headers = end_to_end(framing.raw_headers)
        self._gives.append(({"type": "http.response.start", "status": status, "headers": headers}, False))
        self._quiet_since = now
        if self._observer.report.streamed:
            self._deadlines.connected(now, streaming=True)
            is_sse = framing.headers.get("content-type", "").strip().lower().startswith("text/event-stream")
            coding = framing.headers.get("content-encoding", "identity").strip().lower()
            sized = any(name.lower() == b"content-length" for name, _ in headers)
            self._may_insert = is_sse and coding in ("", "identity") and not sized and self._request.method != "HEAD"

    def _read(self, events: list[Any] | None, now: float) -> None:
        """Tell the limits what was read. None says that nothing can be read any more; then only silence is limited."""
        if not self._awaited and self._flows_on(events):
            return
        self._taken(now)
        if self._phase is not Phase.EXCHANGE:
            return
        if events is None:
            self._deadlines.paused()
        else:
            self._deadlines.events_received(events, now)
        self._deadlines.bytes_received(now)  # to read takes time, too, in which the upstream is not silent

    def _taken(self, now: float) -> None:
        """The caller took what it was given: that was no silence of the upstream's."""
        if self._awaited:
            self._awaited = False
            self._deadlines.caller_returned(now)
        else:
            self._deadlines.away(now - self._heard)
        self._heard = now

    @property
    def _inserts(self) -> bool:
        """Whether a comment or an event of the gateway's own can go to the caller now: between two events of a stream."""
        at_border = not self._tail or self._tail.endswith(_BORDERS)
        return self._may_insert and not self._gives and self._phase is Phase.EXCHANGE and at_border

    def _insert(self, data: bytes) -> None:
        self._gives.append(({"type": "http.response.body", "body": data, "more_body": True}, False))

    def _break(self, error: TransportError) -> None:
        """The upstream won't answer, or won't go on."""
        self._observer.failed(error)
        if self._answered:
            self._broken = error
            self._settle_break()
            self._gives_up()
            return
        late = isinstance(error, DeadlineExceeded)
        if late and self._awaits_caller:
            status, type_ = 408, "timeout_error"
        else:
            status, type_ = (504, "timeout_error") if late else (502, "api_error")
        self._answer(status, type_, _told(error))
        self._gives_up()

    def _settle_break(self) -> None:
        """Once the caller has all that came before the break, tell it in the stream, or break the response off as well."""
        if self._broken is None or self._gives:
            return
        error, self._broken = self._broken, None
        at_border = not self._tail or self._tail.endswith(_BORDERS)
        if not (self._error_event and self._may_insert and at_border):
            self.error = error
            return
        if not self._observer.settled():
            type_ = "timeout_error" if isinstance(error, DeadlineExceeded) else "api_error"
            self._insert(b"event: error\ndata: " + _error_document(type_, _told(error)) + b"\n\n")
        self._give_body(b"", more=False)

    def _answer(self, status: int, type_: str, text: str) -> None:
        """An answer of the gateway's own, in the API's form."""
        self._answered = True
        self._gives.clear()
        document = _error_document(type_, text)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(document)).encode())]
        if not self._body.whole and self._observer.report.scope.get("http_version", "1.1").startswith("1"):
            headers.append((b"connection", b"close"))  # the rest of the request will never be read
        self._gives.append(({"type": "http.response.start", "status": status, "headers": headers}, False))
        self._gives.append(({"type": "http.response.body", "body": document, "more_body": False}, False))

    def _give_body(self, body: bytes, *, more: bool) -> None:
        self._gives.append(({"type": "http.response.body", "body": body, "more_body": more}, True))

    def _gives_up(self) -> None:
        """The upstream's part is over: for what the caller still gets, only its own time counts."""
        limits = Timeouts(
            connect=None,
            first_event=None,
            idle=None,
            stall=None,
            after_stop=None,
            caller=self._timeouts.caller,
            total=None,
        )
        self._deadlines = Deadlines(limits, 0.0)
        self._finish()


def _error_document(type_: str, text: str) -> bytes:
    return msgspec.json.encode({"type": "error", "error": {"type": type_, "message": text}})


def _told(error: TransportError) -> str:
    """What a caller may know of a failure: no address, and nothing that the network said. The report has these."""
    if isinstance(error, DeadlineExceeded) and error.name == "caller":
        return f"the request did not come in: nothing for {error.seconds:g} seconds"
    if isinstance(error, DeadlineExceeded):
        return f"the upstream took too long: the limit {error.name!r} is {error.seconds:g} seconds"
    if isinstance(error, ConnectError):
        return "the upstream can't be reached"
    return "the connection to the upstream broke"
