"""HTTP/1.1 framing by h11: a request to bytes, bytes to a response's head and the bytes of its body. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import h11

from sansio_step import ConnectionLost

# The most that a response's head may take (and a chunk's header, and the trailers). Node has 80 KiB, Go 1 MiB;
# gateways pile up cookies and policies, but none has been seen above 32 KiB.
MAX_HEAD_SIZE: Final = 64 * 1024


def new_connection() -> h11.Connection:
    """The h11 state of a fresh connection."""
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_SIZE)


class Framing:
    """One request and its response on a connection.

    Send what `request` returns (and, for a body in pieces, `data` and `end`), feed what comes to `receive_data` and its
    end to `receive_eof`; both return bytes of the body. `status` and `headers` are there once the head is, 1xx
    responses are skipped. Then either `complete` becomes true or `lost` says why it never will; nothing is raised for a
    peer's mistake, since the bytes before it count.
    """

    def __init__(self, connection: h11.Connection | None = None) -> None:
        self._connection = new_connection() if connection is None else connection
        self.status: int | None = None
        # Names in lower case, repeated ones joined by a comma as RFC 9110 5.3 has it.
        self.headers: dict[str, str] = {}
        # As they came, for who passes them on.
        self.raw_headers: list[tuple[bytes, bytes]] = []
        # Whether any byte of an answer came, be it of a broken one.
        self.begun = False
        self._first = 0  # its first byte
        self.complete = False
        self.lost: ConnectionLost | None = None

    def request(
        self, method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes | None = b""
    ) -> bytes:
        """The bytes of a request. With None as the body its pieces follow through `data` and `end`."""
        head = self._connection.send(h11.Request(method=method, target=target, headers=list(headers)))
        if body is None:
            return head
        return head + self.data(body) + self.end()

    def data(self, piece: bytes) -> bytes:
        """A piece of the request's body as it goes over the wire."""
        return self._connection.send(h11.Data(data=piece)) if piece else b""

    def end(self) -> bytes:
        """What marks the end of the request's body."""
        return self._connection.send(h11.EndOfMessage())

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes from the peer; return those of the response's body."""
        if data:
            # Bytes after the response go in too: they show in `reusable`.
            if not self.begun:
                self._first = data[0]
            self.begun = True
            self._connection.receive_data(data)
        return self._advance()

    def receive_eof(self, error: BaseException | None = None) -> bytes:
        """The peer has ended the connection; with `error`, it broke. Bytes of the body may have waited for this."""
        if self.complete or self.lost is not None:
            return b""
        if error is not None:
            # A body that only the end delimits can't be told from a whole one by h11: it must not see this end.
            self._lose(f"the connection broke {self._where()}: {error or type(error).__name__}", error)
            return b""
        self._connection.receive_data(b"")
        return self._advance()

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry a further request: both sides done, no end of it, not a byte too many."""
        states = {self._connection.our_state, self._connection.their_state}
        return self.complete and states == {h11.DONE} and not any(self._connection.trailing_data)

    def _advance(self) -> bytes:
        body: list[bytes] = []
        while not self.complete and self.lost is None:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                gone = self._connection.trailing_data[1]
                if self._first == 0x15:  # how TLS refuses what is no TLS: an alert's type (RFC 8446 5.1)
                    what = "the server speaks TLS at this port: the URL has to begin with https"
                elif gone:
                    what = f"the connection ended {self._where()}"
                else:
                    # h11 shows the line at fault, which can be as long as a head.
                    text = str(error)
                    what = f"no valid HTTP: {text[:200]}{'...' if len(text) > 200 else ''}"
                self._lose(what, error)
                break
            if isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.Response):
                self._head(event)
            elif isinstance(event, h11.EndOfMessage):
                self.complete = True
            elif isinstance(event, h11.ConnectionClosed):
                self._lose(f"the connection ended {self._where()}", None)
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                break
        return body[0] if len(body) == 1 else b"".join(body)

    def _head(self, response: h11.Response) -> None:
        self.status = response.status_code
        self.raw_headers = [(bytes(name), bytes(value)) for name, value in response.headers]
        for name, value in self.raw_headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def _where(self) -> str:
        if self.status is not None:
            return "inside the response's body"
        return "inside the response's head" if self.begun else "before a response"

    def _lose(self, reason: str, cause: BaseException | None) -> None:
        self.lost = ConnectionLost(reason)
        self.lost.__cause__ = cause
