"""A Messages call over HTTP/1.1 without I/O: the request to bytes, bytes to the response's head and its events.

    exchange = Exchange()
    sock.sendall(exchange.request("/v1/messages", headers, request.to_json()))
    while not exchange.done:
        data = sock.recv(65536)
        for event in exchange.receive_data(data) if data else exchange.receive_eof():
            ...
    message = exchange.result()

Chunked bodies, bodies with a length and those that the end of the connection delimits; gzip and deflate undone as a
stream; 1xx responses, trailers and chunk extensions skipped. An error status becomes an `APIError`, an answer that is
no event stream an `UnexpectedResponse`, an early end the stream's own outcome with the `ConnectionLost` as its cause.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._extras import missing_extra

try:
    import h11
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error


from sansio_step import Delta, Deviation, Message, MessageStream, Outcome, StreamError, StreamEvent, TransportError

from ._framing import Framing
from ._reader import MAX_EVENT_SIZE, MAX_MESSAGE_SIZE, MAX_RESPONSE_SIZE, ResponseReader, Wanted
from ._secrets import Mask
from .record import Tap

__all__ = ["Exchange"]


class Exchange:
    """One request and its response.

    `receive_data` and `receive_eof` return events and raise nothing for what the peer does: once `done`, `error` is
    what is wrong with the response (None: nothing) and `result()` gives the message or raises. With `streaming=False`
    the response is one document and there are no events; with `counting=True` it is a count of tokens, to be had as
    `count`. `connection` is the h11 state of a connection that has been
    used before; after the response, `reusable` tells whether it can be used again (h11's `start_next_cycle` first).
    `secrets` (a key) show in no error, though the server may say them back. `tap` is told the response as it comes.
    """

    def __init__(
        self,
        connection: h11.Connection | None = None,
        *,
        streaming: bool = True,
        counting: bool = False,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        max_response_size: int = MAX_RESPONSE_SIZE,
        secrets: Iterable[str] | Mask = (),
        tap: Tap | None = None,
    ) -> None:
        self._framing = Framing(connection)
        self._reader: ResponseReader | None = None
        self._wanted = Wanted.COUNT if counting else Wanted.STREAM if streaming else Wanted.MESSAGE
        self._strict = strict
        self._limits = {
            "max_event_size": max_event_size,
            "max_message_size": max_message_size,
            "max_response_size": max_response_size,
        }
        self._mask = secrets if isinstance(secrets, Mask) else Mask(secrets)
        # What ended it before there was a head to read.
        self._error: TransportError | None = None
        self._tap = tap  # until there is nothing more to tell it

    def request(self, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
        """The bytes of a POST. `headers` must have host; the body's length is added."""
        length = (b"content-length", str(len(body)).encode())
        return self._framing.request("POST", target, [*headers, length], body)

    def receive_data(self, data: bytes) -> list[StreamEvent]:
        """Take bytes from the connection; return the events that they complete."""
        events = self.receive_some(data)
        while self.pending:
            events += self.receive_some(b"")
        return events

    def receive_some(self, data: bytes) -> list[StreamEvent]:
        """As `receive_data`, but of bytes that hold much the first only: while `pending`, ask again with b"".

        A compressed body can grow to a thousand times its size. One call decodes some 256 KiB, so that whoever waits
        for this one, for a deadline or for the event loop, gets a turn between two.
        """
        return self.read(self._framing.receive_data(data))

    def read(self, body: bytes) -> list[StreamEvent]:
        """As `receive_some`, for whoever feeds `framing` and has these bytes of the body from it."""
        framing, reader = self._framing, self._reader
        if reader is None:
            if framing.status is None:
                self._error = framing.lost and self._mask.error(framing.lost)
                return []
            if self._tap is not None:
                headers = {name: self._mask.text(value) for name, value in framing.headers.items()}
                self._tap.receive_head(framing.status, headers)
            reader = self._reader = ResponseReader(
                framing.status,
                framing.headers,
                wanted=self._wanted,
                strict=self._strict,
                mask=self._mask,
                **self._limits,
            )
        if self._tap is not None and body:
            self._tap.receive_data(body)
        events = reader.receive_data(body)
        if (framing.complete or framing.lost is not None) and not reader.pending:
            events += reader.receive_eof(framing.lost)
        if reader.finished:
            self._end_tap(framing.lost)
        return events

    def _end_tap(self, error: TransportError | None) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.receive_eof(error)

    @property
    def framing(self) -> Framing:
        """The HTTP of the exchange, below its events."""
        return self._framing

    @property
    def flowing(self) -> bool:
        """Whether a stream has begun and goes on, and bytes of it become events at once."""
        return self._reader is not None and self._reader.flowing

    @property
    def pending(self) -> bool:
        """Whether `receive_some` has more to give of what it was given."""
        return self._reader is not None and self._reader.pending

    def receive_eof(self, error: BaseException | None = None) -> list[StreamEvent]:
        """The connection has ended; `error` is how it broke, None for a proper end.

        What `receive_some` has left `pending` comes first, and is asked for as before.
        """
        if self.done:
            return []
        return self.read(self._framing.receive_eof(error))

    def abort(self, error: TransportError) -> list[StreamEvent]:
        """Give up: a deadline has passed, or the caller goes away. Returns what the end of the stream completes."""
        if self.done:
            return []
        if self._reader is None:
            self._error = self._mask.error(error)
            return []
        self._end_tap(error)
        return self._reader.receive_eof(error)

    @property
    def status(self) -> int | None:
        """The response's status, None before its head."""
        return self._framing.status

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers, with names in lower case; empty before its head."""
        return self._framing.headers

    @property
    def begun(self) -> bool:
        """Whether any byte of a response has come."""
        return self._framing.begun

    @property
    def done(self) -> bool:
        """Whether nothing more of the response is to be read."""
        return self._error is not None or (self._reader is not None and self._reader.finished)

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry a further request."""
        return self._framing.reusable and self._error is None

    @property
    def error(self) -> StreamError | None:
        """What is wrong with the response, once it is done."""
        return self._error or (self._reader.error if self._reader is not None else None)

    @property
    def transport_error(self) -> TransportError | None:
        """What broke under the response, even if its message was whole by then."""
        return self._error or (self._reader.transport_error if self._reader is not None else None)

    @property
    def message(self) -> Message | None:
        """The message so far, one live object; None before the first."""
        return self._reader.message if self._reader is not None else None

    @property
    def messages(self) -> list[Message]:
        """All messages of the response, the one on its way among them."""
        return self._reader.messages if self._reader is not None else []

    @property
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far."""
        return self._reader.deviations if self._reader is not None else []

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block."""
        return self._reader.unapplied if self._reader is not None else []

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it: before, it is a placeholder."""
        return self._reader is not None and self._reader.usage_is_final

    @property
    def count(self) -> int | None:
        """The answer to a call that counts tokens, once it is there."""
        return self._reader.count if self._reader is not None else None

    @property
    def outcome(self) -> Outcome:
        """How the response ended, STREAMING while it has not."""
        if self._reader is not None:
            return self._reader.outcome
        return Outcome.STREAMING if self._error is None else Outcome.TRUNCATED

    def result(self) -> Message:
        """The finished message; raises what is wrong, with what there is as `error.partial`."""
        if self._error is not None:
            raise self._error
        if self._reader is None:
            return MessageStream().result()  # raises: nothing came yet
        return self._reader.result()
