"""HTTP/1.1 framing by h11: a request to bytes, bytes to a response's head and the bytes of its body. No I/O.

Chunks in their plain form are cut here, at a tenth of what h11 takes for one. h11 gets the head alone, and at the first
chunk that is not plain (the last one, one with extensions, a broken one) all that follows. Up to there it has seen no
byte of the body, so that it goes on as if the body began there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import h11

from sansio_step import ConnectionLost

# The most that a response's head may take (and a chunk's header, and the trailers). Node has 80 KiB, Go 1 MiB;
# gateways pile up cookies and policies, but none has been seen above 32 KiB.
MAX_HEAD_SIZE: Final = 64 * 1024

# What ends a head, as h11 has it.
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
# A plain chunk's size. No chunk has more than 2**60 bytes, and what says so is h11's to judge.
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_LONGEST_SIZE_LINE: Final = 17
_NO_BODY: Final = (204, 304)


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
        self._method = ""
        self._last = b""  # the last bytes of an unfinished head
        # Chunks are cut here as long as this is true.
        self._cuts = False
        self._left = 0  # bytes to come of the present chunk, with the line end after it
        self._size_line = b""  # the beginning of a chunk's size

    def request(
        self, method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes | None = b""
    ) -> bytes:
        """The bytes of a request. With None as the body its pieces follow through `data` and `end`."""
        self._method = method
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
        if self._cuts:
            # Live, nearly each read is one chunk: an event takes 34,700 instructions instead of 47,500.
            size_end = data.find(b"\r\n", 0, _LONGEST_SIZE_LINE)
            size = len(data) - size_end - 4
            alone = size > 0 and data[:size_end] == b"%x" % size and data.endswith(b"\r\n")
            if alone and not (self._left or self._size_line):
                return data[size_end + 2 : -2]
            return self._cut(data) if data else b""
        if data and not self.begun:
            self._first = data[0]
            self.begun = True
        if self.status is None:
            data = self._receive_head(data)
            if self._cuts:
                return self._cut(data)
        if data:
            # Bytes after the response go in too: they show in `reusable`.
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
        # That the body is not over holds for h11 too, however much of it h11 has seen.
        self._connection.receive_data(b"")
        return self._advance()

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry a further request: both sides done, no end of it, not a byte too many."""
        states = {self._connection.our_state, self._connection.their_state}
        return self.complete and states == {h11.DONE} and not any(self._connection.trailing_data)

    def _receive_head(self, data: bytes) -> bytes:
        """Give h11 what there is of heads, and return what comes after them."""
        heads, given, begin = self._last + data, len(self._last), 0
        while self.status is None and self.lost is None and given < len(heads):
            border = _BLANK_LINE.search(heads, begin)
            end = len(heads) if border is None else border.end()
            self._connection.receive_data(heads[given:end])
            given = end
            if border is not None:
                begin = end
            self._advance()
        self._last = heads[begin:][-2:]
        plain = self.headers.get("transfer-encoding", "").lower() == "chunked"
        has_body = self._method != "HEAD" and self.status not in _NO_BODY
        self._cuts = plain and has_body and self.lost is None and not self._connection.trailing_data[0]
        return heads[given:]

    def _cut(self, data: bytes) -> bytes:
        """The bytes in plain chunks; at the first that is none h11 takes over."""
        body: list[bytes] = []
        if self._size_line:
            data, self._size_line = self._size_line + data, b""
        place, left, end = 0, self._left, len(data)
        while place < end:
            if left > 2:
                piece = data[place : place + left - 2]
                body.append(piece)
                place += len(piece)
                left -= len(piece)
            elif left:
                line_end = data[place : place + left]
                if not b"\r\n"[2 - left :].startswith(line_end):
                    break
                place += len(line_end)
                left -= len(line_end)
            else:
                size_end = data.find(b"\r\n", place, place + _LONGEST_SIZE_LINE)
                if size_end < 0 and end - place < _LONGEST_SIZE_LINE:
                    self._size_line = data[place:]
                    break
                size = _SIZE.fullmatch(data, place, size_end) if size_end > 0 else None
                length = int(size[0], 16) if size is not None else 0
                if not length:
                    break
                place, left = size_end + 2, length + 2
        self._left = left
        if place < end and not self._size_line:
            body.append(self._hand_over(data[place:]))
        return body[0] if len(body) == 1 else b"".join(body)

    def _hand_over(self, data: bytes) -> bytes:
        """Let h11 read from here on, between two chunks or in the line end of one; return what it finds of the body."""
        self._cuts = False
        connection = self._connection
        if self._left:
            # To wait for a chunk's end h11 has to have one, and gets one of its own.
            connection.receive_data(b"1\r\nx" + b"\r\n"[: 2 - self._left])
            self._advance()
        connection.receive_data(data)
        return self._advance()

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
        self._cuts = False
        self.lost = ConnectionLost(reason)
        self.lost.__cause__ = cause
