"""The pass-through proxy: the same bytes out as in, at once, and a report beside them."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from clocks import Jump, run_with_jumps
from faultserver import (
    CHUNKED,
    DOCUMENT,
    HALF,
    LAST_CHUNK,
    OVERLOADED,
    PING,
    REQUEST,
    WHOLE,
    FaultServer,
    Peer,
    answer,
    chunked,
    head,
    keeps_saying,
    says,
)
from streams import OpenStream

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    IncompleteStream,
    MessageStream,
    Outcome,
    Timeouts,
    UnexpectedResponse,
)
from sansio_step_adapters.asgi import PassThrough, Report
from sansio_step_adapters.replay import serve

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"


class Caller:
    """The server's side of one ASGI call: what the application receives, and what it sends."""

    def __init__(self, *pieces: bytes, stay: bool = True) -> None:
        self._pieces = list(pieces)
        self._stay = stay
        self.left = anyio.Event()
        self.sent: list[Any] = []
        self.arrived = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or not self._stay}
        if self._stay:
            await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.arrived.set()
            self.arrived = anyio.Event()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def whole(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1]["more_body"]


def scope(method: str = "POST", path: str = "/v1/messages", **more: Any) -> dict[str, Any]:
    headers: Sequence[tuple[bytes, bytes]] = [(b"host", b"gateway.example"), (b"content-type", b"application/json")]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        **more,
    }


BODY = json.dumps({**REQUEST, "stream": True}).encode()


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of captures is not here")
@pytest.mark.parametrize("chunk_size", [7, 1460, None])
def test_the_corpus_comes_through_unchanged(backend: str, chunk_size: int | None) -> None:
    """For every capture the proxy gives the bytes that it got, and the report says what they say.

    The smallest pieces are for captures of up to 16 KiB, 64 of 75: the larger ones are four fifths of all bytes.
    """
    captures = [path.read_bytes() for path in sorted(CORPUS.glob("*.sse"))]
    if chunk_size == 7:
        captures = [capture for capture in captures if len(capture) <= 16 * 1024]
    assert captures
    reports: list[Report] = []

    async def main() -> None:
        async with serve(captures, chunk_size=chunk_size) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                for capture in captures:
                    caller = Caller(BODY)
                    await app(scope(), caller.receive, caller.send)
                    assert caller.status == 200
                    assert caller.body == capture
                    assert caller.whole

    anyio.run(main, backend=backend)
    assert len(reports) == len(captures)
    for capture, report in zip(captures, reports, strict=True):
        stream = MessageStream()
        try:
            stream.receive_data(capture)
            stream.receive_eof()
        except Exception:  # noqa: BLE001, a capture with a fault
            pass
        assert report.outcome is stream.outcome
        assert report.message == stream.message
        assert report.deviations == stream.deviations
        assert report.response_bytes == len(capture)


def test_the_report(backend: str) -> None:
    """Usage, outcome, deviations and times, in the order in which things happened."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)

    anyio.run(main, backend=backend)
    (report,) = reports
    assert (report.path, report.status, report.streamed) == ("/v1/messages", 200, True)
    assert report.usage is not None
    assert (report.usage.input_tokens, report.usage.output_tokens) == (3, 2)
    assert report.outcome is Outcome.COMPLETE
    assert (report.deviations, report.error, report.disconnected) == ([], None, False)
    assert report.head_after is not None
    assert report.first_event_after is not None
    assert report.ended_after is not None
    assert 0 <= report.head_after <= report.first_event_after <= report.ended_after


def test_unbuffered(backend: str) -> None:
    """What the upstream has sent is with the caller before the upstream goes on."""
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        assert arrived.wait(10)
        peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(BODY)
                async with anyio.create_task_group() as tasks:
                    waiting = caller.arrived
                    tasks.start_soon(app, scope(), caller.receive, caller.send)
                    await waiting.wait()
                    assert caller.body == HALF
                    arrived.set()
                assert caller.body == WHOLE

    anyio.run(main, backend=backend)


def test_the_request_goes_on_as_it_came(backend: str) -> None:
    """Method, path, query, headers and body pass; what concerns one connection doesn't."""
    seen: list[tuple[bytes, bytes]] = []

    def script(peer: Peer) -> None:
        for _ in range(3):
            seen.append(peer.read_request())
            peer.send(answer(b"[]", "x-one: 1", "keep-alive: timeout=5", content_type="application/json"))

    headers = [
        (b"Host", b"gateway.example"),
        (b"authorization", b"Bearer caller"),
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"te", b"trailers"),
        (b"content-length", b"5"),
    ]

    async def main() -> None:
        with FaultServer(script) as server:
            reports: list[Report] = []
            async with PassThrough(f"{server.base_url}/step_plan", on_end=reports.append) as app:
                caller = Caller(b"he", b"llo")
                await app(scope(path="/v1/messages/batches%2F1", headers=headers), caller.receive, caller.send)
                assert caller.headers == [
                    (b"content-length", b"2"),
                    (b"x-one", b"1"),
                    (b"content-type", b"application/json"),
                ]
                caller = Caller(b"")
                await app(scope("GET", "/v1/models", query_string=b"a=b&c"), caller.receive, caller.send)
                caller = Caller(b"")
                await app(scope("GET", "/v1/f\u00fc", raw_path=None), caller.receive, caller.send)
                assert reports == []
                assert server.connections == 1

    anyio.run(main, backend=backend)
    lines = seen[0][0].split(b"\r\n")
    assert lines[0] == b"POST /step_plan/v1/messages/batches%2F1 HTTP/1.1"
    assert b"authorization: Bearer caller" in lines
    assert not any(line.lower().startswith((b"connection", b"te:", b"x-hop")) for line in lines)
    assert not any(b"gateway.example" in line for line in lines)
    assert seen[0][1] == b"hello"
    assert seen[1][0].startswith(b"GET /step_plan/v1/models?a=b&c HTTP/1.1\r\n")
    assert seen[2][0].startswith(b"GET /step_plan/v1/f%C3%BC HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/anthropic/v1/messages", "/anthropic", b"/v1/messages"),
        ("/\u00fc/v1/messages", "/\u00fc/", b"/v1/messages"),
        ("/apiary/v1/messages", "/api", b"/apiary/v1/messages"),
        ("/v1/messages", "/elsewhere", b"/v1/messages"),
    ],
)
def test_mounted(path: str, root_path: str, expected: bytes) -> None:
    """A router's prefix (Starlette's `Mount`) is no part of the upstream's path, if the server leaves it in."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_request()[0])
        peer.send(answer())

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(f"{server.base_url}/up") as app:
                for raw_path in (quote(path).encode(), None):
                    caller = Caller(BODY)
                    await app(scope(path=path, root_path=root_path, raw_path=raw_path), caller.receive, caller.send)

    anyio.run(main)
    assert [request.split(b" ")[1] for request in seen] == [b"/up" + expected] * 2


def test_a_body_without_a_length_is_chunked(backend: str) -> None:
    """A request whose length nobody knows yet is sent on in chunks, each piece as soon as it is there."""
    bodies: list[bytes] = []
    first_came = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        while b"abc\r\n" not in peer._buffer:
            peer._more()
        first_came.set()
        while not peer._buffer.endswith(b"0\r\n\r\n"):
            peer._more()
        bodies.append(peer._buffer)
        peer.send(answer())

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(b"abc", b"de")
                pieces = 0

                async def receive() -> Any:
                    nonlocal pieces
                    pieces += 1
                    if pieces == 2:
                        assert await anyio.to_thread.run_sync(first_came.wait, 10), "held back"
                    return await caller.receive()

                await app(scope(), receive, caller.send)

    anyio.run(main, backend=backend)
    assert bodies == [b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"]


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
def test_the_gateways_own_key(backend: str, auth: Any) -> None:
    """A key of the proxy's own replaces the caller's, whichever header that was in, and shows in no repr."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_request()[0])
        peer.send(answer())

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, api_key="sk-own", auth=auth) as app:
                caller = Caller(BODY)
                keys = [(b"Authorization", b"Bearer caller"), (b"x-api-key", b"caller")]
                await app(scope(headers=keys), caller.receive, caller.send)
                assert "sk-own" not in repr(app)

    anyio.run(main, backend=backend)
    assert b"caller" not in seen[0]
    assert (b"authorization: Bearer sk-own" in seen[0]) is (auth == "bearer")
    assert (b"x-api-key: sk-own" in seen[0]) is (auth == "x-api-key")


def test_a_coding_stays(backend: str) -> None:
    """A compressed body passes as it is, and is read for the report."""
    body = gzip.compress(WHOLE)
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(says(answer(body, "content-encoding: gzip"))) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                assert caller.body == body
                assert (b"content-encoding", b"gzip") in caller.headers

    anyio.run(main, backend=backend)
    assert reports[0].outcome is Outcome.COMPLETE


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain", None])
@pytest.mark.parametrize("body", [DOCUMENT, WHOLE], ids=["document", "stream"])
def test_a_document_or_a_stream(backend: str, body: bytes, content_type: str | None) -> None:
    """An answer that is no stream has usage too; which it is shows in the body, whatever its content type says."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(says(answer(body, content_type=content_type))) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(b"{}")
                await app(scope(), caller.receive, caller.send)
                assert caller.body == body

    anyio.run(main, backend=backend)
    assert reports[0].streamed is (body is WHOLE)
    assert reports[0].error is None
    assert reports[0].usage is not None
    assert reports[0].usage.output_tokens == 2
    assert reports[0].outcome is Outcome.COMPLETE


@pytest.mark.parametrize(
    ("response", "type"),
    [
        (answer(b'{"error":{"type":"rate_limit_error","message":"slow"}}', status=429), APIError),
        (answer(HALF + OVERLOADED), APIError),
        (answer(HALF), IncompleteStream),
    ],
    ids=["429", "error event", "truncated"],
)
def test_what_the_upstream_says_passes(backend: str, response: bytes, type: type[Exception]) -> None:
    """A refusal, an error event or a short stream is the caller's to handle; the report names it."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(says(response)) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                assert caller.body == response.partition(b"\r\n\r\n")[2]
                assert caller.whole

    anyio.run(main, backend=backend)
    assert isinstance(reports[0].error, type)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_an_upstream_that_breaks_off(backend: str, how: str) -> None:
    """The caller's response is broken off too, never ended as if it were whole; nothing stays open."""
    reports: list[Report] = []
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        assert arrived.wait(10)
        if how == "reset":
            peer.reset()

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                async with anyio.create_task_group() as tasks:
                    waiting = caller.arrived

                    async def call() -> None:
                        with pytest.raises(ConnectionLost):
                            await app(scope(), caller.receive, caller.send)

                    tasks.start_soon(call)
                    await waiting.wait()
                    arrived.set()
                assert caller.body == HALF
                assert not caller.whole

    anyio.run(main, backend=backend)
    assert reports[0].outcome is Outcome.TRUNCATED
    assert isinstance(reports[0].error, IncompleteStream)
    assert isinstance(reports[0].error.__cause__, ConnectionLost)
    assert reports[0].usage is not None


@pytest.mark.parametrize("notify", [True, False])
def test_an_upstream_that_ends_without_tls_own_end(
    backend: str, notify: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A body that the connection's end delimits goes on as whole only after close_notify; anyone can forge a FIN."""
    reports: list[Report] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200) + WHOLE)
        if notify:
            peer.sock.unwrap()  # type: ignore[attr-defined]
        else:
            socket.socket(fileno=peer.sock.detach()).close()

    async def main() -> None:
        with FaultServer(script, tls=server_tls) as server:
            async with PassThrough(server.base_url, ssl_context=client_tls, on_end=reports.append) as app:
                caller = Caller(BODY)
                with contextlib.nullcontext() if notify else pytest.raises(ConnectionLost, match="close_notify"):
                    await app(scope(), caller.receive, caller.send)
                assert caller.body == WHOLE
                assert caller.whole is notify

    anyio.run(main, backend=backend)
    assert reports[0].outcome is Outcome.COMPLETE


def test_an_upstream_that_hangs_up_in_the_middle(backend: str, client_tls: ssl.SSLContext) -> None:
    """During TLS it is a 502; while the request goes out too, unless it has answered before."""

    def resets(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.reset()

    async def main() -> None:
        with FaultServer(lambda peer: peer.sock.recv(65536), resets) as server:
            for url in (server.base_url.replace("http:", "https:"), server.base_url):
                async with PassThrough(url, ssl_context=client_tls) as app:
                    caller = Caller(*[b"x" * 2_000_000] * 8)
                    await app(scope(), caller.receive, caller.send)
                    assert caller.status == 502

    anyio.run(main, backend=backend)


@pytest.mark.parametrize(
    ("script", "type"), [(None, ConnectError), (says(), ConnectionLost), (says(b"SSH-2.0\r\n\r\n"), ConnectionLost)]
)
def test_no_answer_is_a_bad_gateway(backend: str, script: Any, type: type[Exception]) -> None:
    """If no response began, the caller gets a 502 in the API's form."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(script or says()) as server:
            async with PassThrough(server.base_url if script else "http://127.0.0.1:1", on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                assert caller.status == 502
                assert json.loads(caller.body)["error"]["type"] == "api_error"

    anyio.run(main, backend=backend)
    assert isinstance(reports[0].error, type)
    assert reports[0].status is None


def test_a_stale_connection_is_replaced(backend: str) -> None:
    """A request that a dead idle connection swallowed is sent once more on a fresh one, a body in pieces too."""
    requests: list[bytes] = []

    def gives_up(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer())
        # The end comes only with the second request, so that no look at the idle socket can see it.
        peer.read_request()

    def second(peer: Peer) -> None:
        requests.append(peer.read_request()[1])
        peer.send(answer())

    headers = [(b"content-length", str(len(BODY)).encode())]

    async def main() -> None:
        with FaultServer(gives_up, second) as server:
            async with PassThrough(server.base_url) as app:
                for _ in range(2):
                    caller = Caller(BODY[:10], BODY[10:])
                    await app(scope(headers=headers), caller.receive, caller.send)
                    assert caller.body == WHOLE
            assert server.connections == 2

    anyio.run(main, backend=backend)
    assert requests == [BODY]


@pytest.mark.parametrize("why", ["large", "answered", "fresh"])
def test_what_is_not_sent_again(backend: str, why: str) -> None:
    """Not what is too large to have been kept, nor after a byte of an answer, nor what a fresh connection lost."""

    def breaks_off(peer: Peer) -> None:
        if why != "fresh":
            peer.read_request()
            peer.send(answer())
        peer.read_request()
        peer.send(b"HTTP/1.1 2" if why == "answered" else b"")

    async def main() -> None:
        with FaultServer(breaks_off, says(answer())) as server:
            async with PassThrough(server.base_url) as app:
                for status in [502] if why == "fresh" else [200, 502]:
                    caller = Caller(BODY + b" " * (2_000_000 if why == "large" else 0))
                    await app(scope(), caller.receive, caller.send)
                    assert caller.status == status
            assert server.connections == 1

    anyio.run(main, backend=backend)


@pytest.mark.parametrize(
    ("name", "first", "again"),
    [
        ("connect", None, b""),
        ("total", b"", b""),
        ("idle", head(200, CHUNKED)[:20], b""),
        ("idle", head(200, CHUNKED) + chunked(HALF), b""),
        ("first_event", head(200, CHUNKED) + chunked(b": hello\n\n"), chunked(b": still here\n\n")),
        ("stall", head(200, CHUNKED) + chunked(HALF), chunked(PING)),
        ("total", head(200, CHUNKED) + chunked(HALF), chunked(HALF[-90:])),
    ],
    ids=["no TLS", "silence", "slow head", "idle", "comments", "pings for ever", "total"],
)
def test_deadlines(backend: str, name: str, first: bytes | None, again: bytes) -> None:
    """An upstream that is silent for too long is a 504, or breaks the response off if it had begun."""
    reports: list[Report] = []
    gone = threading.Event()

    def script(peer: Peer) -> None:
        if first is not None:
            peer.read_request()
            peer.send(first)
        while again and not gone.wait(0.005):
            peer.send(again)
        peer.wait_closed()

    async def main() -> None:
        limits = Timeouts(
            **{"connect": 20.0, "first_event": 20.0, "idle": 20.0, "stall": 20.0, "total": 20.0, name: 0.15}
        )
        with FaultServer(script) as server:
            url = server.base_url if first is not None else server.base_url.replace("http:", "https:")
            async with PassThrough(url, timeouts=limits, on_end=reports.append) as app:
                caller = Caller(BODY)
                if first is not None and b"\r\n\r\n" in first:
                    with pytest.raises(DeadlineExceeded):
                        await app(scope(), caller.receive, caller.send)
                    assert not caller.whole
                else:
                    await app(scope(), caller.receive, caller.send)
                    assert caller.status == 504
                    assert json.loads(caller.body)["error"]["type"] == "timeout_error"
            gone.set()
            assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    (report,) = reports
    assert isinstance(report.error, DeadlineExceeded)
    assert report.error.name == name


def test_a_slow_caller_is_no_silent_upstream(backend: str) -> None:
    """While the caller takes its time over the head or a piece, no limit on the upstream's silence runs."""
    go_on = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED))
        for part in (chunked(HALF), chunked(WHOLE[len(HALF) :]) + LAST_CHUNK):
            assert go_on.acquire(timeout=10)
            peer.send(part)

    async def main(jump: Jump) -> None:
        limits = Timeouts(first_event=40, idle=40, stall=40)
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, timeouts=limits) as app:
                caller = Caller(BODY)

                async def send(message: Any) -> None:
                    await caller.send(message)
                    if message["type"] == "http.response.start" or message["body"] == HALF:
                        jump(50)
                        # Whatever the event loop had set for a time that is now over has its turn first.
                        for _ in range(5):
                            await anyio.lowlevel.checkpoint()
                        go_on.release()

                await app(scope(), caller.receive, send)
                assert caller.body == WHOLE

    run_with_jumps(main, backend)


def test_a_servers_send_is_told_that_its_wait_is_over(backend: str) -> None:
    """Cleaned up as under a plain `await`, and ended once: by the limit on callers, and by whoever cancels the call."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        for limits in (Timeouts(caller=0.1), Timeouts()):
            ended: list[str] = []
            waits = anyio.Event()
            caller = Caller(BODY)

            async def send(message: Any, ended: list[str] = ended, waits: anyio.Event = waits) -> None:
                try:
                    await anyio.lowlevel.checkpoint()
                    if message["type"] == "http.response.body":
                        waits.set()
                        await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    ended.append("cancelled")
                    raise
                finally:
                    ended.append("finally")

            with FaultServer(script) as server:
                async with PassThrough(server.base_url, timeouts=limits) as app:
                    if limits.caller == 0.1:
                        with pytest.raises(DeadlineExceeded, match="caller"):
                            await app(scope(), caller.receive, send)
                    else:
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(app, scope(), caller.receive, send)
                            await waits.wait()
                            tasks.cancel_scope.cancel()
            assert ended == ["finally", "cancelled", "finally"]  # the head, and the piece

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("limit", [Timeouts(caller=30), Timeouts(caller=None, total=None)])
def test_a_servers_send_has_scopes_of_its_own(backend: str, limit: Timeouts) -> None:
    """A middleware gives each message a time limit, or may not be cancelled in it: scopes that end within the gateway's."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(WHOLE) + LAST_CHUNK)
        peer.wait_closed()

    async def main() -> None:
        caller = Caller(BODY)

        async def send(message: Any) -> None:
            with anyio.fail_after(30):
                await anyio.sleep(0)
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(caller.send, message)

        with FaultServer(script) as server:
            async with PassThrough(server.base_url, timeouts=limit) as app:
                await app(scope(), caller.receive, send)
        assert caller.body == WHOLE

    anyio.run(main, backend=backend)


def test_bytes_that_nobody_can_read_are_no_stall(backend: str) -> None:
    """After a fault the bytes still go through for as long as they come."""
    reports: list[Report] = []
    broken = HALF + b"event: message_stop\ndata: {\n\n"

    async def main(jump: Jump) -> None:
        class Pings(OpenStream):
            said = 0

            async def send(self, item: bytes) -> None:
                await anyio.lowlevel.checkpoint()

            async def receive(self, max_bytes: int = 65536) -> bytes:
                await anyio.lowlevel.checkpoint()
                self.said += 1
                if self.said == 1:
                    return head(200, CHUNKED) + chunked(broken)
                jump(20)
                return chunked(PING) if self.said < 12 else LAST_CHUNK

            async def aclose(self) -> None:
                pass

        async def connect(host: str, port: int) -> Pings:
            return Pings()

        limits = Timeouts(stall=60)
        app = PassThrough("http://example.org", connect=connect, timeouts=limits, on_end=reports.append)
        async with app:
            caller = Caller(BODY)
            await app(scope(), caller.receive, caller.send)
            assert caller.body == broken + PING * 10
            assert caller.whole

    run_with_jumps(main, backend)
    assert reports[0].outcome is Outcome.FAILED


BOMB = gzip.compress(HALF + b": bomb\n" * 5_000_000)


def test_others_have_their_turn_beside_a_bomb(backend: str) -> None:
    """While the report's reader decodes a bomb, the event loop runs; the bytes go on as they came."""
    reports: list[Report] = []
    turns = 0

    async def main() -> None:
        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        with FaultServer(says(answer(BOMB, "content-encoding: gzip"))) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                waiting = caller.arrived
                async with anyio.create_task_group() as tasks:

                    async def call() -> None:
                        await app(scope(), caller.receive, caller.send)
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(call)
                    await waiting.wait()
                    await count()
                assert caller.body == BOMB

    anyio.run(main, backend=backend)
    assert turns > 50
    assert reports[0].message is not None
    assert reports[0].message.text == "Hello"
    assert reports[0].outcome is Outcome.TRUNCATED


def test_a_bomb_runs_into_the_limits(backend: str) -> None:
    """A limit that passes while a bomb is decoded ends the call there, as it ends a silent upstream's."""
    reports: list[Report] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        # As much as goes into one read, so that only a look between two turns can see the limit pass.
        bomb = gzip.compress(HALF) + gzip.compress(b": bomb\n" * 6_000_000)
        peer.send(head(200, CHUNKED, "content-encoding: gzip") + chunked(bomb))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            limits = Timeouts(stall=0.05)
            async with PassThrough(server.base_url, timeouts=limits, on_end=reports.append) as app:
                caller = Caller(BODY)
                with pytest.raises(DeadlineExceeded):
                    await app(scope(), caller.receive, caller.send)
                assert not caller.whole

    anyio.run(main, backend=backend)
    assert isinstance(reports[0].error, DeadlineExceeded)
    assert reports[0].error.name == "stall"


def test_a_bomb_holds_nobodys_answer_back(backend: str) -> None:
    """The caller has all of it before it is read along, and no limit on the upstream counts the reading."""
    reports: list[Report] = []
    bomb = gzip.compress(HALF) + gzip.compress(b": bomb\n" * 6_000_000)

    async def main(jump: Jump) -> None:
        async def pass_time() -> None:
            while not reports:
                jump(10)
                await anyio.lowlevel.checkpoint()

        with FaultServer(says(answer(bomb, "content-encoding: gzip"))) as server:
            limits = Timeouts(stall=60)
            app = PassThrough(server.base_url, timeouts=limits, on_end=reports.append)
            async with app, anyio.create_task_group() as tasks:
                caller = Caller(BODY)

                async def send(message: Any) -> None:
                    assert not reports
                    await caller.send(message)
                    if caller.whole:
                        tasks.start_soon(pass_time)

                await app(scope(), caller.receive, send)
                assert caller.body == bomb
                assert caller.whole

    run_with_jumps(main, backend)
    assert reports[0].outcome is Outcome.TRUNCATED
    assert reports[0].message is not None
    assert reports[0].message.text == "Hello"


@pytest.mark.parametrize("coding", ["gzip, gzip", "compress"])
def test_a_coding_that_is_not_read(backend: str, coding: str) -> None:
    """Codings one on the other and unknown ones go through as they are; the report says why it has no message."""
    body = gzip.compress(gzip.compress(WHOLE))
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(says(answer(body, f"content-encoding: {coding}"))) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                assert caller.body == body
                assert caller.whole

    anyio.run(main, backend=backend)
    assert reports[0].message is None
    assert reports[0].unreadable
    assert isinstance(reports[0].error, UnexpectedResponse)
    assert "coding" in str(reports[0].error)


def test_a_head_request_for_a_compressed_body(backend: str) -> None:
    """A HEAD's answer says a coding and a length and has no body: it passes, and its connection is kept."""
    headers = ("content-encoding: gzip", "content-length: 500")

    async def main() -> None:
        with FaultServer(keeps_saying(head(200, *headers), answer())) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(b"")
                await app(scope("HEAD"), caller.receive, caller.send)
                assert (caller.status, caller.body, caller.whole) == (200, b"", True)
                assert (b"content-length", b"500") in caller.headers
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                assert caller.body == WHOLE
            assert server.connections == 1

    anyio.run(main, backend=backend)


def test_what_comes_long_after_the_stop(backend: str) -> None:
    """`after_stop` is the clients': a response that the upstream leaves open is the caller's to end."""
    reports: list[Report] = []
    came = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(WHOLE))
        for _ in range(5):
            assert came.wait(10)
            came.clear()
            peer.send(chunked(PING))
        peer.send(LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            limits = Timeouts(after_stop=1e-9)  # has passed when the upstream's next word comes
            async with PassThrough(server.base_url, timeouts=limits, on_end=reports.append) as app:
                caller = Caller(BODY)

                async def send(message: Any) -> None:
                    await caller.send(message)
                    came.set()

                await app(scope(), caller.receive, send)
                assert caller.body == WHOLE + PING * 5
                assert caller.whole

    anyio.run(main, backend=backend)
    assert reports[0].outcome is Outcome.COMPLETE
    assert reports[0].error is None


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (answer(b"no", status=401), Outcome.FAILED),
        (answer(b"{}", content_type="application/json"), Outcome.FAILED),
        (answer(b"<html>", content_type="text/html"), Outcome.FAILED),
        (answer(b"", "location: /", status=302), Outcome.FAILED),
        (answer(b"x", "content-encoding: compress"), Outcome.FAILED),
    ],
    ids=["401", "{}", "page", "redirect", "coding"],
)
def test_the_outcome_of_what_is_no_message(backend: str, response: bytes, outcome: Outcome) -> None:
    """A report of an answer that carries no message doesn't say that one is on its way."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(says(response)) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)

    anyio.run(main, backend=backend)
    assert reports[0].outcome is outcome


def test_a_dead_proxy_is_named(backend: str) -> None:
    """The report says that it is the proxy that can't be reached, and on the way to what; the 502 tells no address."""
    reports: list[Report] = []

    async def main() -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            proxy = f"http://127.0.0.1:{port}"
            async with PassThrough("http://example.invalid", proxy=proxy, on_end=reports.append) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                assert caller.status == 502
                assert json.loads(caller.body)["error"]["message"] == "the upstream can't be reached"
        assert f"the proxy 127.0.0.1:{port}, on the way to example.invalid:80" in str(reports[0].error)

    anyio.run(main, backend=backend)


def test_no_key_in_a_report(backend: str) -> None:
    """What a report says of an upstream's words shows neither the gateway's key nor the caller's."""
    reports: list[Report] = []
    body = b'{"error":{"type":"invalid_api_key","message":"bad keys sk\\/own and sk-caller"}}'

    async def main() -> None:
        with FaultServer(says(answer(body, status=401))) as server:
            async with PassThrough(server.base_url, api_key="sk/own", on_end=reports.append) as app:
                caller = Caller(BODY)
                headers = [(b"Authorization", b"Bearer sk-caller")]
                await app(scope(headers=headers), caller.receive, caller.send)
                assert caller.body == body

    anyio.run(main, backend=backend)
    assert str(reports[0].error) == "401 invalid_api_key: bad keys *** and ***"


def test_a_caller_that_goes_away(backend: str) -> None:
    """The upstream's connection is closed at once, and the report has what came until then."""
    reports: list[Report] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(BODY)
                async with anyio.create_task_group() as tasks:
                    waiting = caller.arrived
                    tasks.start_soon(app, scope(), caller.receive, caller.send)
                    await waiting.wait()
                    caller.left.set()
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert reports[0].disconnected
    assert reports[0].outcome is Outcome.TRUNCATED
    assert reports[0].message is not None
    assert reports[0].message.text == "Hello"


def test_a_caller_that_goes_when_all_is_said(backend: str) -> None:
    """Servers report a disconnect after a whole response too: that is no caller who went away."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(keeps_saying(answer(), answer())) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                for _ in range(2):
                    caller = Caller(BODY)

                    async def send(message: Any, caller: Caller = caller) -> None:
                        await caller.send(message)
                        if message["type"] == "http.response.body" and not message["more_body"]:
                            caller.left.set()
                            for _ in range(5):
                                await anyio.lowlevel.checkpoint()

                    await app(scope(), caller.receive, send)
                    assert caller.whole
            assert server.connections == 1

    anyio.run(main, backend=backend)
    assert [report.disconnected for report in reports] == [False, False]


def test_a_caller_that_goes_away_while_it_asks(backend: str) -> None:
    """A request that is never whole is not sent on as one, and its connection is closed."""
    reports: list[Report] = []

    async def main() -> None:
        with FaultServer(Peer.wait_closed) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                for pieces in ([b"{"], []):
                    caller = Caller(*pieces, stay=False)
                    await app(scope(), caller.receive, caller.send)
                    assert caller.sent == []
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert [report.disconnected for report in reports] == [True, True]


def test_cancelled(backend: str) -> None:
    """A server that gives a call up by cancelling it leaves nothing behind either."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(BODY)
                async with anyio.create_task_group() as tasks:
                    waiting = caller.arrived
                    tasks.start_soon(app, scope(), caller.receive, caller.send)
                    await waiting.wait()
                    tasks.cancel_scope.cancel()
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)


def test_lifespan(backend: str) -> None:
    """Startup and shutdown are answered, and shutdown closes what is idle."""

    async def main() -> None:
        with FaultServer(keeps_saying(answer())) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(BODY)
                await app(scope(), caller.receive, caller.send)
                incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
                sent: list[Any] = []

                async def receive() -> Any:
                    return incoming.pop(0)

                async def send(message: Any) -> None:
                    sent.append(message["type"])

                await app({"type": "lifespan"}, receive, send)
                assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
                assert await anyio.to_thread.run_sync(server.all_gone)
                with pytest.raises(ValueError, match="websocket"):
                    await app({"type": "websocket"}, receive, send)

    anyio.run(main, backend=backend)


def test_an_injected_transport(backend: str) -> None:
    """`connect` replaces the way to the upstream: here two streams in memory, without any socket."""

    class Memory(OpenStream):
        def __init__(self) -> None:
            self.requests = b""
            self._answer = [answer()]

        async def receive(self, max_bytes: int = 65536) -> bytes:
            await anyio.lowlevel.checkpoint()
            return self._answer.pop()

        async def send(self, item: bytes) -> None:
            await anyio.lowlevel.checkpoint()
            self.requests += item

        async def aclose(self) -> None:
            pass

    async def main() -> None:
        memory = Memory()

        async def connect(host: str, port: int) -> Memory:
            assert (host, port) == ("upstream.example", 80)
            return memory

        async with PassThrough("http://upstream.example", connect=connect, trust_env=False) as app:
            caller = Caller(BODY)
            await app(scope(), caller.receive, caller.send)
            assert caller.body == WHOLE
            assert BODY in memory.requests

    anyio.run(main, backend=backend)


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "https://example.org/v1", "http://a..b", "https://me:x@example.org"]
)
def test_a_wrong_upstream(url: str) -> None:
    """A ValueError names the argument."""
    with pytest.raises(ValueError, match="^upstream: "):
        PassThrough(url)


def test_the_last_message_is_sent_once(backend: str) -> None:
    """Servers say of every caller that it has gone once the last message is with them, be it before `send` returns."""
    sent: list[Any] = []

    async def main() -> None:
        over = anyio.Event()
        request = [{"type": "http.request", "body": BODY, "more_body": False}]

        async def receive() -> Any:
            if not request:
                await over.wait()
                return {"type": "http.disconnect"}
            return request.pop()

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message["more_body"]:
                over.set()
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()

        with FaultServer(says(answer())) as server:
            async with PassThrough(server.base_url) as app:
                await app(scope(), receive, send)

    anyio.run(main, backend=backend)
    assert b"".join(message.get("body", b"") for message in sent) == WHOLE
    assert [message.get("more_body") for message in sent].count(False) == 1


def test_an_answer_that_comes_while_a_write_waits(backend: str) -> None:
    """On a stream that can't say how far a write has got, too: each piece goes on at once, and no limit cuts the write."""
    written = b""

    async def main(jump: Jump) -> None:
        class Slow(OpenStream):
            """Takes the request when all of the answer but its end has come."""

            def __init__(self) -> None:
                self.said = 0
                self.enough = anyio.Event()

            async def send(self, item: bytes) -> None:
                nonlocal written
                if len(item) > 1000:
                    await self.enough.wait()
                written += item

            async def receive(self, max_bytes: int = 65536) -> bytes:
                await anyio.lowlevel.checkpoint()
                self.said += 1
                jump(3)
                if self.said > 5:
                    self.enough.set()
                    return LAST_CHUNK
                return head(200, CHUNKED) + chunked(HALF) if self.said == 1 else chunked(PING)

            async def aclose(self) -> None:
                pass

        stream = Slow()

        async def connect(host: str, port: int) -> Slow:
            return stream

        given: list[int] = []
        limits = Timeouts(idle=4, stall=None)
        async with PassThrough("http://example.org", connect=connect, timeouts=limits) as app:
            caller = Caller(b"x" * 60_000)

            async def send(message: Any) -> None:
                given.append(stream.said)
                await caller.send(message)
                jump(5)  # a caller that takes its time
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()

            await app(scope(), caller.receive, send)
        assert caller.body == HALF + PING * 4
        assert caller.whole
        assert given[:3] == [1, 1, 2]

    run_with_jumps(main, backend)
    assert written.endswith(b"x" * 1000)
