"""One connection without I/O: TLS and a proxy's tunnel around the bytes of HTTP. The driver owns the socket."""

from __future__ import annotations

import contextlib
import enum
import ssl
from collections.abc import Sequence

import h11

from sansio_step import ConnectError, __version__

from ._config import Config, Origin
from ._framing import new_connection


class BrokenTLS(OSError):
    """The transport ended without TLS's own end, or a record can't be read: what came may be cut."""


class _TLS:
    """One layer of TLS, over memory: bytes of the layer below in and out."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ready = False
        # Whether the peer has said that it ends: without that, an end of the transport is a break.
        self.closed = False
        # A broken record that came after good ones. It is raised later, so that they are not lost.
        self.error: ssl.SSLError | None = None

    def receive_data(self, data: bytes) -> bytes:
        """Take what came from below and return what it says. Raises ssl.SSLError."""
        self._incoming.write(data)
        plain: list[bytes] = []
        try:
            if not self.ready:
                self._object.do_handshake()
                self.ready = True
            while not self.closed:
                piece = self._object.read(65536)
                plain.append(piece)
                self.closed = not piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            if not plain:
                raise
            self.error = error
        return b"".join(plain)

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on, once ready."""
        return self._object.selected_alpn_protocol()

    def write(self, data: bytes) -> None:
        """Take what is to go below, encrypted."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]

    @property
    def speaks(self) -> bool:
        """Whether there is something for `outgoing`."""
        return self._outgoing.pending > 0

    def outgoing(self) -> bytes:
        """What has to go to the layer below now: handshakes and answers, too."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """What says to the peer that nothing more comes: without it a cut can't be told from an end (RFC 8446 6.1)."""
        if self.ready:
            # It is written, and then the peer's own is waited for, which nobody has to.
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
        return self._outgoing.read()


class _Stage(enum.Enum):
    PROXY_TLS = "TLS with the proxy"
    TUNNEL = "the proxy's tunnel"
    TLS = "TLS"
    READY = "ready"


class Connection:
    """A connection from just after its TCP connect until it is closed.

    Send what `outgoing` returns whenever it is not empty, feed what comes to `receive_data`. Once `ready`, `send` takes
    the bytes of HTTP, and `receive_data` returns them. Raises ConnectError while it is being made, BrokenTLS later.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._layers: list[_TLS] = []  # outermost first
        self._tunnel = h11.Connection(h11.CLIENT)
        self._out = bytearray()
        # The HTTP state, which outlives one exchange.
        self.http = new_connection()
        # Whether an exchange before the present one used it, so that the peer may have given it up meanwhile.
        self.reused = False
        proxy = config.proxy
        if proxy is None:
            self._enter(_Stage.TLS if config.origin.tls else _Stage.READY)
        else:
            self._enter(_Stage.PROXY_TLS if proxy.origin.tls else _Stage.TUNNEL)

    @property
    def ready(self) -> bool:
        """Whether HTTP can be spoken."""
        return self._stage is _Stage.READY

    @property
    def silent(self) -> bool:
        """Whether TLS has nothing for `outgoing`, as it can have after any byte that was read."""
        return not (self._layers and any(layer.speaks for layer in self._layers))

    @property
    def ended(self) -> bool:
        """Whether nothing more can come by TLS, whatever the socket does: its own end, or a broken record."""
        return bool(self._layers) and any(layer.closed or layer.error is not None for layer in self._layers)

    def send(self, data: bytes) -> None:
        """Take bytes of HTTP for `outgoing`."""
        self._write(data, self._layers)

    def outgoing(self) -> bytes:
        """What has to go to the socket now."""
        if not self._layers and not self._out:
            return b""
        for depth in range(len(self._layers) - 1, -1, -1):
            # Each layer's own words (handshakes, answers) pass through those below it.
            data = self._layers[depth].outgoing()
            if data:
                self._write(data, self._layers[:depth])
        data, self._out = bytes(self._out), bytearray()
        return data

    def farewell(self) -> bytes:
        """What the socket takes last: close_notify of each layer of TLS. Nothing can be sent after it."""
        for depth in range(len(self._layers) - 1, -1, -1):
            self._write(self._layers[depth].close(), self._layers[:depth])
        return self.outgoing()

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes from the socket; return those of HTTP."""
        if not self._layers and self._stage is _Stage.READY:
            return data
        try:
            for layer in self._layers:
                data = layer.receive_data(data)
            while self._stage is not _Stage.READY:
                before = self._stage
                data = self._advance(data)
                if self._stage is before:
                    self._raise_broken()
                    return b""
        except ssl.SSLError as error:
            raise self._broken(error) from error
        return data

    def receive_eof(self) -> None:
        """The socket has ended, or is `ended` for us. Raises if that is a break and not an end."""
        if self._stage is not _Stage.READY:
            raise ConnectError(f"the connection ended during {self._stage.value}")
        self._raise_broken()
        if not all(layer.closed for layer in self._layers):
            raise BrokenTLS("the connection ended without TLS's close_notify")

    def next_exchange(self) -> None:
        """Make ready for a further request; only after a response whose exchange was `reusable`."""
        self.http.start_next_cycle()
        self.reused = True

    def _enter(self, stage: _Stage) -> None:
        self._stage = stage
        if stage is _Stage.PROXY_TLS and self._config.proxy is not None:
            self._add_tls(self._config.proxy.origin)
        elif stage is _Stage.TLS:
            self._add_tls(self._config.origin)
        elif stage is _Stage.TUNNEL:
            self._write(self._tunnel_request(), self._layers)

    def _advance(self, data: bytes) -> bytes:
        """Go one stage on if the present one is over; returns what of `data` is for the stage after it."""
        if self._stage is _Stage.TUNNEL:
            data, over = self._read_tunnel(data)
            if over and self._config.origin.tls:
                self._enter(_Stage.TLS)
                data = self._layers[-1].receive_data(data)
            elif over:
                self._enter(_Stage.READY)
        elif self._layers[-1].ready:
            if self._layers[-1].protocol not in (None, "http/1.1"):
                # Only with an `ssl_context` of the caller's own that offers it.
                raise ConnectError(f"{self._stage.value} agreed on {self._layers[-1].protocol!r}, not on HTTP/1.1")
            self._enter(_Stage.TUNNEL if self._stage is _Stage.PROXY_TLS else _Stage.READY)
        return data

    def _add_tls(self, origin: Origin) -> None:
        context = self._config.ssl_context
        assert context is not None
        layer = _TLS(context, origin.host)
        self._layers.append(layer)
        layer.receive_data(b"")  # makes the client's first words

    def _write(self, data: bytes, layers: Sequence[_TLS]) -> None:
        for layer in reversed(layers):
            layer.write(data)
            data = layer.outgoing()
        self._out += data

    def _tunnel_request(self) -> bytes:
        proxy, authority = self._config.proxy, self._config.origin.authority
        headers = [("host", authority), ("user-agent", f"sansio-step/{__version__}")]
        if proxy is not None and proxy.authorization is not None:
            headers.append(("proxy-authorization", proxy.authorization.reveal()))
        request = h11.Request(method="CONNECT", target=authority, headers=headers)
        return self._tunnel.send(request) + self._tunnel.send(h11.EndOfMessage())

    def _read_tunnel(self, data: bytes) -> tuple[bytes, bool]:
        if data:
            self._tunnel.receive_data(data)
        try:
            event = self._tunnel.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._tunnel.next_event()
        except h11.RemoteProtocolError as error:
            raise ConnectError(f"the proxy doesn't speak HTTP: {error}") from error
        if not isinstance(event, h11.Response):
            return b"", False
        if not 200 <= event.status_code < 300:
            reason = bytes(event.reason).decode("latin-1")
            reason = f"{reason[:100]}..." if len(reason) > 100 else reason
            raise ConnectError(f"the proxy refused a tunnel: {event.status_code} {reason}".rstrip())
        return self._tunnel.trailing_data[0], True

    def _raise_broken(self) -> None:
        for layer in self._layers:
            if layer.error is not None:
                raise self._broken(layer.error) from layer.error

    def _broken(self, error: ssl.SSLError) -> Exception:
        text = error.strerror or str(error)
        if self._stage is not _Stage.READY and "WRONG_VERSION_NUMBER" in str(error.reason):
            text = f"{text} (the server speaks no TLS at this port: does its URL begin with http?)"
        if self._stage is _Stage.READY:
            return BrokenTLS(f"broken TLS: {text}")
        return ConnectError(f"{self._stage.value} failed: {text}")
