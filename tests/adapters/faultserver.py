"""A server on a raw socket that says exactly what a test tells it to, however wrong, and streams to say."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

REQUEST: dict[str, Any] = {
    "model": "step-3.5-flash",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"step-3.5-flash","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":3,"output_tokens":0}}}\n\n'
)
BLOCK = (
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
)
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
MESSAGE_DELTA = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":2}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def delta(text: str) -> bytes:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + json.dumps(event).encode() + b"\n\n"


HALF = START + BLOCK + PING + delta("Hel") + delta("lo")
WHOLE = HALF + BLOCK_STOP + MESSAGE_DELTA + STOP
EVENTS = 8
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
DOCUMENT = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"step-3.5-flash","stop_reason":"end_turn",'
    b'"usage":{"input_tokens":3,"output_tokens":2},"content":[{"type":"text","text":"Hello"}]}'
)


def head(
    status: int = 200, *headers: str, content_type: str | None = "text/event-stream", version: str = "1.1"
) -> bytes:
    lines = [f"HTTP/{version} {status} Whatever", *headers]
    if content_type is not None:
        lines.append(f"content-type: {content_type}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(body: bytes, size: int = 0) -> bytes:
    """A body in chunks of a size, or in one, without the last chunk."""
    size = size or len(body)
    parts = [body[start : start + size] for start in range(0, len(body), size)] if body else []
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def answer(
    body: bytes = WHOLE, *headers: str, status: int = 200, content_type: str | None = "text/event-stream"
) -> bytes:
    """A whole response with a length."""
    return head(status, f"content-length: {len(body)}", *headers, content_type=content_type) + body


CHUNKED = "transfer-encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def read_request(self) -> tuple[bytes, bytes]:
        """The head and the body of the next request; EOFError where there is none."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        request, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in request.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return request, body

    def read_head(self) -> bytes:
        """The head of a request, and no more of its body than came with it."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        return self._buffer.partition(b"\r\n\r\n")[0]

    def read_rest(self) -> int:
        """All of a request whose head was read, without keeping it; tells the size of its body on the wire."""
        request, _, body = self._buffer.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        size, tail, self._buffer = len(body), body[-5:], b""
        while size < length or not (length or tail == b"0\r\n\r\n"):
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("the client has gone")
            size += len(data)
            tail = (tail + data)[-5:]
        return size

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """One byte at a time, each in a packet of its own."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            self.sock.sendall(bytes([byte]))

    def reset(self) -> None:
        """End the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_closed(self) -> None:
        """Return when the client has gone."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def wait_client_gone(self) -> None:
        """The same without reading a byte, so that what the client sends is stuck."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        assert poll.poll(20_000), "the client is still there"

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the client has gone")
        self._buffer += data


Script = Callable[[Peer], None]


class FaultServer:
    """Runs one script a connection, in order, each in a thread; the last one again for all that follow.

    A connection is closed after its script. What a script raises is raised at the end of the `with` block, but for
    the client's going away.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._scripts = scripts
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, 0))
        self._listener.listen(64)
        self.host, self.port = host, self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> FaultServer:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        self._threads[0].join(10)
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a script hangs"
        if self._errors and kind is None:
            raise self._errors[0]

    def all_gone(self) -> bool:
        """Whether every script so far comes to its end, since the client has closed its connections."""
        threads = self._threads[1:]
        for thread in threads:
            thread.join(10)
        return not any(thread.is_alive() for thread in threads)

    def some_gone(self) -> bool:
        """Whether any script has come to its end."""
        return not all(thread.is_alive() for thread in self._threads[1:])

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._open.append(sock)
            self._spawn(self._run, sock, script)

    def _run(self, sock: socket.socket, script: Script) -> None:
        sock.settimeout(20)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
                self._open.append(sock)
            script(Peer(sock))
        except (OSError, EOFError):
            pass  # the client went away, or was meant to
        except BaseException as error:  # noqa: BLE001
            self._errors.append(error)
        finally:
            sock.close()


def says(*parts: bytes) -> Script:
    """Read one request, send these parts, close."""

    def script(peer: Peer) -> None:
        peer.read_request()
        for part in parts:
            peer.send(part)

    return script


def keeps_saying(*answers: bytes) -> Script:
    """Answer one request after another on one connection, then wait for the client to go."""

    def script(peer: Peer) -> None:
        for data in answers:
            peer.read_request()
            peer.send(data)
        peer.wait_closed()

    return script


def refuses_early(status: int, then: str) -> Script:
    """Read a little of a request, refuse it, and hang up, stop reading or read on to the end."""
    body = json.dumps({"type": "error", "error": {"type": "some_error", "message": "no"}}).encode()

    def script(peer: Peer) -> None:
        peer.read_head()
        # What waits to be sent when a socket with unread bytes is closed would be lost.
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.send(answer(body, "connection: close", status=status, content_type="application/json"))
        if then == "stops reading":
            peer.wait_client_gone()
        elif then == "reads on":
            peer.wait_closed()
        # To hang up on what was not read resets the connection.

    return script


def sends_1xx(peer: Peer) -> None:
    """Say again and again that an answer will come, until the client goes."""
    peer.read_head()
    while True:
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        if select.select([peer.sock], [], [], 0.005)[0] and not peer.sock.recv(65536):
            return


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Both ways until one side ends, in one thread: a TLS socket of Python's is not to be used by two at once."""
    while True:
        waiting = [sock for sock in (one, other) if isinstance(sock, ssl.SSLSocket) and sock.pending()]
        for sock in waiting or select.select([one, other], [], [], 20)[0]:
            data = sock.recv(65536)
            if not data:
                return
            (other if sock is one else one).sendall(data)


def tunnels(to: FaultServer, seen: list[bytes]) -> Script:
    """A proxy that does CONNECT."""

    def script(peer: Peer) -> None:
        request, _ = peer.read_request()
        seen.append(request)
        with socket.create_connection((to.host, to.port)) as onward:
            peer.send(b"HTTP/1.1 200 Connection established\r\nx-proxy: 1\r\n\r\n")
            pass_on(peer.sock, onward)

    return script
