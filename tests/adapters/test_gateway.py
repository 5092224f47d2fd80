"""What a gateway lets through, what it adds if it is asked to, and what it tells of each call."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import base64
import gzip
import json
import logging
import threading
import zlib
from typing import Any

import anyio
import anyio.to_thread
import pytest
from asgicaller import Caller
from faultserver import (
    CHUNKED,
    DOCUMENT,
    HALF,
    LAST_CHUNK,
    OVERLOADED,
    PING,
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
    AWSFrame,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Outcome,
    Timeouts,
    encode_aws_frame,
    iter_events,
    parse,
    to_json,
)
from sansio_step_adapters._coding import CODINGS
from sansio_step_adapters._head import readable_only
from sansio_step_adapters.asgi import PassThrough, Report


def one_call(
    backend: str, script: Any, *, caller: dict[str, Any] | None = None, fails: Any = None, **options: Any
) -> Any:
    """A call through a gateway: what the caller saw, the reports of `on_end`, and the upstream's requests."""
    seen: list[tuple[bytes, bytes]] = []
    reports: list[Report] = []
    options.setdefault("on_end", reports.append)

    def reads(peer: Peer) -> None:
        seen.append(peer.read_request())
        script(peer)

    made: list[Caller] = []

    async def main() -> None:
        with FaultServer(reads) as server:
            async with PassThrough(server.base_url, **options) as app:
                made.append(Caller(b"{}", **(caller or {})))
                if fails is None:
                    await made[0].call(app)
                else:
                    with pytest.raises(fails):
                        await made[0].call(app)

    anyio.run(main, backend=backend)
    return made[0], reports, seen


def sends(*parts: bytes) -> Any:
    def script(peer: Peer) -> None:
        for part in parts:
            peer.send(part)

    return script


# Targets.

BAD_TARGETS = {
    "absolute": {"raw_path": b"http://evil.example/v1/messages", "path": "http://evil.example/v1/messages"},
    "asterisk": {"method": "OPTIONS", "raw_path": b"*", "path": "*"},
    "CONNECT": {"method": "CONNECT", "path": "/v1/messages"},
    "authority": {"method": "GET", "raw_path": b"evil.example:443", "path": "evil.example:443"},
    "empty": {"method": "GET", "raw_path": b"", "path": ""},
    "dots": {"method": "GET", "path": "/v1/../admin"},
    "dots at the end": {"method": "GET", "path": "/v1/.."},
    "one dot": {"method": "GET", "path": "/v1/./messages"},
    "encoded dots": {"method": "GET", "raw_path": b"/v1/%2E%2e/admin", "path": "/v1/../admin"},
    "encoded dots alone": {"method": "GET", "raw_path": b"/v1/%2e%2E/admin", "path": "/v1/x"},
    "decoded dots alone": {"method": "GET", "raw_path": None, "path": "/v1/../admin"},
    "encoded slash": {"method": "GET", "raw_path": b"/v1/..%2fadmin", "path": "/v1/../admin"},
    "encoded twice": {"method": "GET", "raw_path": b"/v1/%252e%252e/admin", "path": "/v1/%2e%2e/admin"},
    "encoded twice alone": {"method": "GET", "raw_path": b"/v1/%252e%252e/admin", "path": "/v1/x"},
    "backslash": {"method": "GET", "raw_path": b"/v1/..%5cadmin", "path": "/v1/..\\admin"},
    "parameter": {"method": "GET", "path": "/v1/..;x/admin"},
    "fragment": {"method": "GET", "raw_path": b"/v1/models#part", "path": "/v1/models"},
    "fragment in the query": {"method": "GET", "path": "/v1/models", "query_string": b"a=b#part"},
    "a space": {"method": "GET", "raw_path": b"/v1/a b", "path": "/v1/a b"},
    "a line end": {"method": "GET", "raw_path": b"/v1/a\r\nx: y", "path": "/v1/a"},
    "no method": {"method": "GE T", "path": "/v1/models"},
    "dots below the mount": {"method": "GET", "path": "/api/../x", "root_path": "/api"},
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_what_is_no_path_is_a_400(backend: str, name: str) -> None:
    """It never reaches the upstream, where the gateway's own key would go with it."""
    requests: list[Report] = []
    ends: list[Report] = []

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            hooks: dict[str, Any] = {"on_request": requests.append, "on_end": ends.append}
            async with PassThrough(server.base_url, api_key="sk-own", **hooks) as app:
                caller = Caller(b"{}", **BAD_TARGETS[name])  # type: ignore[arg-type]
                await caller.call(app)
                assert caller.status == 400
                assert caller.error["type"] == "invalid_request_error"
                assert caller.whole
            assert server.connections == 0

    anyio.run(main, backend=backend)
    assert ends == []
    assert [report.status for report in requests] == [None]


@pytest.mark.parametrize(
    "path", ["/v1/models/a.b..c", "/v1/...", "/v1/.hidden", "/v1//x", "/v1/a%2Fb", "/v1/caf%C3%A9", "/", "/v1/a;b=.."]
)
def test_a_sound_path_goes_on_as_it_is(backend: str, path: str) -> None:
    """Dots inside a segment, escapes and parameters are no business of the gateway's."""
    caller, _, seen = one_call(backend, sends(answer(b"{}")), caller={"method": "GET", "path": path})
    assert caller.status == 200
    assert seen[0][0].startswith(f"GET {path} HTTP/1.1\r\n".encode())


BAD_REQUESTS = {
    "too long a body": ({"headers": [(b"content-length", b"1")]}, 400),
    "too short a body": ({"headers": [(b"content-length", b"3")]}, 400),
    "two lengths": ({"headers": [(b"content-length", b"2"), (b"content-length", b"3")]}, 400),
    "no number": ({"headers": [(b"content-length", b"+2")]}, 400),
    "no name of a header": ({"headers": [(b"a b", b"x")]}, 400),
    "a line end in a header": ({"headers": [(b"x", b"a\r\nevil: yes")]}, 400),
    "the same length twice": ({"headers": [(b"content-length", b"2"), (b"content-length", b"2")]}, 200),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_requests_that_are_not_what_they_say(backend: str, name: str) -> None:
    """A 400 to the caller, and no request to the upstream that it could take for two."""
    scope, status = BAD_REQUESTS[name]

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(b"{}", **scope)
                await caller.call(app)
                assert caller.status == status

    anyio.run(main, backend=backend)


def test_a_body_that_grows_too_long_after_the_answer_began(backend: str) -> None:
    """Then it is too late for a 400: both sides are broken off."""
    reports: list[Report] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(b"{", b"}}}", length=2)
                first = True

                async def receive() -> Any:
                    nonlocal first
                    if not first:
                        while not caller.sent:
                            await anyio.sleep(0)
                    first = False
                    return await caller.receive()

                with pytest.raises(ConnectionLost, match="Content-Length"):
                    await app(caller._scope, receive, caller.send)
                assert caller.status == 200
                assert not caller.whole

    anyio.run(main, backend=backend)


def test_a_length_beside_a_transfer_coding(backend: str) -> None:
    """RFC 9112 6.3: the coding counts, and the length goes no further, in either direction."""
    both = head(200, CHUNKED, "content-length: 5") + chunked(WHOLE) + LAST_CHUNK
    bodies: list[bytes] = []

    def script(peer: Peer) -> None:
        request = peer.read_head()
        assert b"content-length" not in request.lower()
        assert peer.read_rest() == len(b"2\r\n{}\r\n0\r\n\r\n")
        bodies.append(request)
        peer.send(both)

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url) as app:
                headers = [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")]
                caller = Caller(b"{", b"}", headers=headers)
                await caller.call(app)
                assert b"content-length" not in caller.headers
                assert caller.body == WHOLE

    anyio.run(main, backend=backend)
    assert len(bodies) == 1


# Content codings.


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("gzip, deflate", "gzip, deflate"),
        ("gzip;q=0.5, identity", "gzip;q=0.5, identity"),
        ("gzip, compress", "gzip"),
        ("compress", "identity"),
        ("compress, *;q=0", "*;q=0"),
        ("compress, identity;q=0", "identity;q=0"),
        ("gzip;q=0, compress", "identity, gzip;q=0"),
        ("GZIP, x-gzip ; q=0.000", "GZIP, x-gzip ; q=0.000"),
        ("*;q=0.3, gzip", "gzip, " + ", ".join(f"{coding};q=0.3" for coding in CODINGS if coding != "gzip")),
        ("", "identity"),
    ],
)
def test_what_is_offered_can_be_read(asked: str, offered: str) -> None:
    """Of the codings that the caller accepts those stay that can be undone here; what it refuses stays refused."""
    headers = [(b"Accept-Encoding", asked.encode()), (b"x", b"y")]
    assert readable_only(headers) == [(b"x", b"y"), (b"accept-encoding", offered.encode())]
    assert readable_only([(b"x", b"y")]) == [(b"x", b"y")]


def test_br_and_zstd_are_offered_with_their_extra() -> None:
    """Without it they would leave the metering blind."""
    for name, package in (("br", "brotli"), ("zstd", "zstandard")):
        try:
            __import__(package)
        except ModuleNotFoundError:
            assert name not in CODINGS
        else:
            assert name in CODINGS


def test_codings_on_the_way(backend: str) -> None:
    """They are chosen on paths that are read, and left alone on all others."""
    headers = [(b"accept-encoding", b"compress, gzip"), (b"accept-encoding", b"deflate;q=0")]
    _, _, seen = one_call(backend, sends(answer()), caller={"headers": headers})
    assert b"\r\naccept-encoding: gzip, deflate;q=0" in seen[0][0]
    assert b"compress" not in seen[0][0]
    _, _, seen = one_call(backend, sends(answer()), caller={"headers": headers, "path": "/v1/files"})
    assert b"compress, gzip" in seen[0][0]
    _, _, seen = one_call(backend, sends(answer()), caller={"headers": headers}, is_messages=lambda path: False)
    assert b"compress, gzip" in seen[0][0]


# What every SDK understands of a stream that broke.


@pytest.mark.parametrize("how", ["loss", "idle"])
def test_an_error_event_ends_a_broken_stream(backend: str, how: str) -> None:
    """With `error_event` the caller's stream ends well formed, with an error that says what went wrong, not where."""

    def script(peer: Peer) -> None:
        peer.send(head(200, CHUNKED) + chunked(HALF))
        if how == "idle":
            peer.wait_closed()

    caller, reports, _ = one_call(backend, script, error_event=True, timeouts=Timeouts(idle=0.5))
    assert caller.whole
    assert caller.body.startswith(HALF)
    with pytest.raises(APIError) as caught:
        parse(caller.body)
    assert caught.value.type == ("api_error" if how == "loss" else "timeout_error")
    assert caught.value.partial.text == "Hello"
    assert "127.0.0.1" not in str(caught.value)
    assert reports[0].outcome is Outcome.TRUNCATED
    assert reports[0].response_bytes == len(HALF)
    assert reports[0].error is not None


def test_an_error_event_before_any_other(backend: str) -> None:
    """A stream of which nothing came but its head ends in one, too."""
    caller, _, _ = one_call(backend, sends(head(200, CHUNKED)), error_event=True)
    assert caller.whole
    with pytest.raises(APIError):
        parse(caller.body)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("left", [0, 1, 2, 7])
def test_an_error_event_stands_between_two_events(backend: str, line_end: bytes, left: int) -> None:
    """Whatever its line ends are, nothing is added inside an event: then the stream is broken off as without the
    option.
    """
    body = HALF.replace(b"\n", line_end)
    body = body[: len(body) - left]
    at_border = left == 0
    caller, _, _ = one_call(
        backend,
        sends(head(200, CHUNKED) + chunked(body)),
        error_event=True,
        fails=None if at_border or (line_end, left) == (b"\r\n", 1) else ConnectionLost,
    )
    assert caller.body.startswith(body)
    if at_border:
        with pytest.raises(APIError):
            parse(caller.body)


UNTOUCHED = {
    "coded": head(200, CHUNKED, "content-encoding: gzip") + chunked(gzip.compress(HALF)[:-8]),
    "with a length": head(200, "content-length: 9999") + HALF,
    "a document": head(200, CHUNKED, content_type="application/json") + chunked(DOCUMENT),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_other_bodies_are_broken_off(backend: str, name: str) -> None:
    """Only to an event stream without a coding and a length can an event be added."""
    caller, _, _ = one_call(backend, sends(UNTOUCHED[name]), error_event=True, fails=ConnectionLost)
    assert not caller.whole
    assert b"event: error" not in caller.body


@pytest.mark.parametrize("body", [WHOLE, HALF + OVERLOADED], ids=["whole message", "error event"])
def test_nothing_is_added_to_what_is_settled(backend: str, body: bytes) -> None:
    """A message that is whole, and a stream whose error was told, end as they are: SDKs would take the former for lost."""
    caller, reports, _ = one_call(backend, sends(head(200, CHUNKED) + chunked(body)), error_event=True)
    assert caller.whole
    assert caller.body == body
    assert reports[0].outcome is (Outcome.COMPLETE if body is WHOLE else Outcome.FAILED)


def test_without_the_option_nothing_is_added(backend: str) -> None:
    """It is off unless asked for."""
    caller, _, _ = one_call(backend, sends(head(200, CHUNKED) + chunked(HALF)), fails=ConnectionLost)
    assert caller.body == HALF


# Long silences.


def test_comments_keep_a_connection_alive(backend: str) -> None:
    """In a silence comments go to the caller, again and again, before the first event and between two, and nowhere
    else.
    """
    reports: list[Report] = []
    enough = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED))
        assert enough.acquire(timeout=10)
        peer.send(chunked(HALF))
        assert enough.acquire(timeout=10)
        peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, keep_alive=0.02, on_end=reports.append) as app:
                caller = Caller(b"{}")

                async def send(message: Any) -> None:
                    await caller.send(message)
                    comments = [sent["body"] for sent in caller.sent[1:]].count(b": keep-alive\n\n")
                    if comments in (3, 6) and message["body"].startswith(b":"):
                        enough.release()

                await app(caller._scope, caller.receive, send)
                assert parse(caller.body).text == "Hello"
                assert caller.body.replace(b": keep-alive\n\n", b"") == WHOLE
                assert caller.body.startswith(b": keep-alive\n\n" * 3 + HALF)

    anyio.run(main, backend=backend)
    assert reports[0].response_bytes == len(WHOLE)
    assert reports[0].outcome is Outcome.COMPLETE


def test_comments_do_not_hide_a_silence(backend: str) -> None:
    """`idle` is about the upstream, and runs on under them."""

    def script(peer: Peer) -> None:
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    options: dict[str, Any] = {"keep_alive": 0.02, "timeouts": Timeouts(idle=0.6)}
    caller, reports, _ = one_call(backend, script, fails=DeadlineExceeded, **options)
    assert caller.body.count(b": keep-alive\n\n") > 2
    assert reports[0].error.name == "idle"


@pytest.mark.parametrize("name", [*UNTOUCHED, "inside an event"])
def test_no_comments_where_they_would_do_harm(backend: str, name: str) -> None:
    """Not in other bodies, nor inside an event."""
    response = UNTOUCHED.get(name) or head(200, CHUNKED) + chunked(HALF[:-1])

    def script(peer: Peer) -> None:
        peer.send(response)
        peer.wait_closed()

    options: dict[str, Any] = {"keep_alive": 0.01, "timeouts": Timeouts(idle=0.5)}
    caller, _, _ = one_call(backend, script, fails=DeadlineExceeded, **options)
    assert b"keep-alive" not in caller.body


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_silence_is_that_short(seconds: float) -> None:
    """A wrong number of seconds is a ValueError."""
    with pytest.raises(ValueError, match="^keep_alive"):
        PassThrough("http://example.org", keep_alive=seconds)


def test_an_option_that_a_gateway_has_not() -> None:
    """It is a TypeError that says what there is, not an option without effect."""
    with pytest.raises(TypeError, match=r"no option 'max_retries'; there are .*timeouts"):
        PassThrough("http://example.org", max_retries=3)  # type: ignore[call-arg]


# Reports.

PATHS = {
    "/v1/messages": True,
    "/messages": True,
    "/step_plan/v1/messages": True,
    "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict": True,
    "/v1/projects/p/locations/l/publishers/anthropic/models/m@20250101:streamRawPredict": True,
    "/model/vendor.name-v1:0/invoke": True,
    "/model/arn:aws:x:1:inference-profile/us.name/invoke-with-response-stream": True,
    "/v1/messages/count_tokens": False,
    "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict": False,
    "/v1/messages/batches": False,
    "/v1/xmessages": False,
    "/v1/models": False,
    "/invoke": False,
}


@pytest.mark.parametrize("path", PATHS)
def test_which_calls_are_reported(backend: str, path: str) -> None:
    """`on_end` is called after POSTs to the Messages API, by whichever vendor's path, `on_request` after all."""
    requests: list[Report] = []
    caller, ends, _ = one_call(backend, sends(answer()), caller={"path": path}, on_request=requests.append)
    assert caller.body == WHOLE
    assert [report.path for report in ends] == ([path] if PATHS[path] else [])
    assert [report.path for report in requests] == [path]
    assert (requests[0].message is not None) is PATHS[path]
    assert requests[0].response_bytes == len(WHOLE)
    assert requests[0].status == 200
    _, ends, _ = one_call(backend, sends(answer()), caller={"path": path, "method": "PUT"})
    assert ends == []
    _, ends, _ = one_call(backend, sends(answer()), caller={"path": path}, is_messages=lambda p: p == path)
    assert [report.message.text for report in ends] == ["Hello"]


def test_a_report_says_who_and_what(backend: str) -> None:
    """Method, request id, headers and the ASGI scope, in whose state middleware leaves who called."""
    response = answer(WHOLE, "request-id: req_1", "x-limit: 1", "x-limit: 2")
    _, (report,), _ = one_call(backend, sends(response), caller={"state": {"tenant": "t-5"}})
    assert (report.method, report.path, report.request_id) == ("POST", "/v1/messages", "req_1")
    assert report.response_headers["x-limit"] == "1, 2"
    assert report.scope["state"] == {"tenant": "t-5"}
    assert not report.unreadable
    assert "tenant" not in repr(report)


def test_a_report_of_several_messages(backend: str) -> None:
    """Each has its own usage; `message` and `usage` are those of the last."""
    second = WHOLE.replace(b"msg_1", b"msg_2").replace(b'"output_tokens":2', b'"output_tokens":9')
    _, (report,), _ = one_call(backend, sends(answer(WHOLE + second)))
    assert [message.usage.output_tokens for message in report.messages] == [2, 9]
    assert report.message is report.messages[-1]
    assert report.usage.output_tokens == 9
    assert report.usage_is_final


_packer = zlib.compressobj(wbits=31)
FLUSHED = _packer.compress(HALF) + _packer.flush(zlib.Z_SYNC_FLUSH)
UNREADABLE = {
    "coding": (answer(b"xyz", "content-encoding: compress"), True),
    "no coding": (answer(WHOLE, "content-encoding: gzip"), True),
    "broken coding": (answer(FLUSHED + b"\xff" * 50, "content-encoding: gzip"), True),
    "cut coding": (answer(FLUSHED, "content-encoding: gzip"), False),
    "page": (answer(b"<html>", content_type="text/html"), True),
    "another format": (answer(b"\0\0\0\x10", content_type="application/vnd.amazon.eventstream"), True),
    "broken JSON": (answer(HALF + b"event: message_stop\ndata: {\n\n"), True),
    "nothing": (answer(b""), False),
    "refusal": (answer(b'{"error":{"type":"api_error","message":"no"}}', status=500), False),
    "cut": (answer(HALF), False),
    "whole": (answer(), False),
    "document": (answer(DOCUMENT, content_type="application/json"), False),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_report_says_if_it_is_blind(backend: str, name: str) -> None:
    """A body that was there and could not be read is told from one that said nothing, was cut or refused."""
    response, unreadable = UNREADABLE[name]
    caller, (report,), _ = one_call(backend, sends(response))
    assert caller.body == response.partition(b"\r\n\r\n")[2]
    assert report.unreadable is unreadable


@pytest.mark.parametrize("hook", ["on_end", "on_request"])
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("fails", [False, True])
def test_hooks(backend: str, hook: str, kind: str, fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Each may be async; what it raises is logged, and the caller and the other hook don't notice."""
    told: list[Report] = []

    def plain(report: Report) -> None:
        told.append(report)
        if fails:
            raise RuntimeError("a bug of the meter")

    async def asynchronous(report: Report) -> None:
        await anyio.sleep(0)
        plain(report)

    others: list[Report] = []
    hooks: dict[str, Any] = {"on_end": others.append, "on_request": others.append}
    hooks[hook] = plain if kind == "plain" else asynchronous
    caller, _, _ = one_call(backend, sends(answer()), **hooks)
    assert caller.body == WHOLE
    assert caller.whole
    assert len(told) == len(others) == 1
    assert told[0].ended_after is not None
    assert [record.levelname for record in caplog.records] == (["ERROR"] if fails else [])
    assert ("a bug of the meter" in caplog.text) is fails


def test_a_call_that_is_cancelled_is_reported(backend: str) -> None:
    """It costs money too, and an async hook can finish."""
    told: list[Report] = []

    async def hook(report: Report) -> None:
        await anyio.sleep(0)
        told.append(report)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, on_end=hook) as app:
                caller = Caller(b"{}")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(caller.call, app)
                    while len(caller.sent) < 2:
                        await caller.arrived.wait()
                    tasks.cancel_scope.cancel()
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert told[0].message.text == "Hello"
    assert told[0].usage is not None


# What goes wrong, and who hears of it.


def test_a_502_tells_no_address(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where the upstream is, the report and the log know; a line of it is enough."""
    reports: list[Report] = []

    async def main() -> None:
        async with PassThrough("http://127.0.0.1:1", on_end=reports.append) as app:
            caller = Caller(b"{}")
            await caller.call(app)
            assert caller.status == 502
            assert "127" not in caller.body.decode()

    anyio.run(main, backend=backend)
    assert isinstance(reports[0].error, ConnectError)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert record.getMessage().startswith("POST '/v1/messages': no connection to 127.0.0.1:1")
    assert "\n" not in record.getMessage()


def test_a_broken_upstream_is_a_line_of_log(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error that breaks the response off has neither a traceback nor a cause for servers to print."""
    import traceback  # noqa: PLC0415

    async def main() -> None:
        with FaultServer(says(head(200, CHUNKED) + chunked(HALF))) as server:
            async with PassThrough(server.base_url) as app:
                with pytest.raises(ConnectionLost) as caught:
                    await Caller(b"{}").call(app)
                error = caught.value
                shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
                assert shown.count("\n") == 1
                error.__traceback__ = caught.tb  # as context managers do
                assert error.__traceback__ is None

    anyio.run(main, backend=backend)
    (record,) = caplog.records
    assert "the connection ended inside the response's body" in record.getMessage()


@pytest.mark.parametrize("where", ["send", "receive"])
@pytest.mark.parametrize("kind", [OSError, ZeroDivisionError])
def test_what_the_servers_functions_raise(backend: str, where: str, kind: type[Exception]) -> None:
    """An OSError is a caller that has gone, anything else the server's own, and no group wraps it."""
    reports: list[Report] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, on_end=reports.append) as app:
                caller = Caller(b"{}")

                async def send(message: Any) -> None:
                    await caller.send(message)
                    if where == "send" and message["type"] == "http.response.body":
                        raise kind

                async def receive() -> Any:
                    if caller.waiting:
                        return await caller.receive()
                    while where == "send" or len(caller.sent) < 2:
                        await anyio.sleep(0.001)
                    raise kind

                if kind is OSError:
                    await app(caller._scope, receive, send)
                else:
                    with pytest.raises(kind):
                        await app(caller._scope, receive, send)
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert reports[0].disconnected is (kind is OSError or where == "receive")


def test_a_gateways_limits_unless_given() -> None:
    """Nothing that would cut other people's calls: no `stall` and no `total`; `idle` and `caller` bound each silence."""
    trio = pytest.importorskip("trio")
    testing = pytest.importorskip("trio.testing")

    class Silent(OpenStream):
        """Says nothing, or a ping each ten seconds for two hours."""

        def __init__(self, *parts: bytes) -> None:
            self._parts = list(parts)

        async def receive(self, max_bytes: int = 65536) -> bytes:
            if not self._parts:
                await anyio.sleep_forever()
            await anyio.sleep(10)
            return self._parts.pop(0)

        async def send(self, item: bytes) -> None:
            await anyio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            pass

    async def seconds(*parts: bytes, stops: str = "") -> tuple[float, Caller]:
        async def connect(host: str, port: int) -> Silent:
            return Silent(*parts)

        began = trio.current_time()
        caller = Caller(b"{}", stops=stops)
        async with PassThrough("http://example.org", connect=connect, trust_env=False) as app:
            try:
                await caller.call(app)
            except DeadlineExceeded as error:
                assert stops == "reading" or error.name == "idle"
        return trio.current_time() - began, caller

    async def main() -> None:
        took, caller = await seconds()
        assert (took, caller.status) == (300, 504)
        took, caller = await seconds(stops="asking")
        assert (took, caller.status) == (60, 408)
        took, caller = await seconds(head(200, CHUNKED) + chunked(HALF), stops="reading")
        assert took == 70
        pings = [chunked(PING)] * 720
        took, caller = await seconds(
            head(200, CHUNKED) + chunked(HALF), *pings, chunked(WHOLE[len(HALF) :]) + LAST_CHUNK
        )
        assert took == 7220
        assert caller.whole

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))


def test_two_calls_share_a_connection(backend: str) -> None:
    """A connection is kept after a call that was read along and after one that was not."""

    async def main() -> None:
        with FaultServer(keeps_saying(answer(), answer(b"[]"), answer())) as server:
            async with PassThrough(server.base_url) as app:
                for path in ("/v1/messages", "/v1/models", "/v1/messages"):
                    caller = Caller(b"{}", path=path)
                    await caller.call(app)
                    assert caller.whole
            assert server.connections == 1

    anyio.run(main, backend=backend)


def test_an_error_event_on_a_path_that_is_not_read(backend: str) -> None:
    """A stream of another API breaks as well, and its readers understand the event as well."""
    response = head(200, CHUNKED) + chunked(b"data: 1\n\n")
    caller, _, _ = one_call(backend, sends(response), error_event=True, caller={"path": "/v1/other"})
    assert caller.whole
    assert caller.body.startswith(b"data: 1\n\nevent: error\ndata: {")


def test_more_of_a_request_that_is_whole(backend: str) -> None:
    """A server that goes on to say that there is a request is not listened to."""

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            async with PassThrough(server.base_url) as app:
                caller = Caller(b"{}")
                extra = 3

                async def receive() -> Any:
                    nonlocal extra
                    if caller.waiting or not extra:
                        return await caller.receive()
                    extra -= 1
                    await anyio.lowlevel.checkpoint()
                    return {"type": "http.request", "body": b"more", "more_body": False}

                await app(caller._scope, receive, caller.send)
                assert caller.body == WHOLE

    anyio.run(main, backend=backend)


def test_a_report_of_bedrocks_frames(backend: str) -> None:
    """They pass as they are, and are read along; nothing of the gateway's own goes between them."""
    frames = []
    for event in iter_events([WHOLE]):
        payload = json.dumps({"bytes": base64.b64encode(to_json(event)).decode()}).encode()
        headers = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
        frames.append(encode_aws_frame(AWSFrame(headers, payload)))
    kind = "application/vnd.amazon.eventstream"
    body = b"".join(frames)
    path = "/model/vendor.name-v1:0/invoke-with-response-stream"
    response = head(200, CHUNKED, content_type=kind) + chunked(body, 50)
    caller, (report,), _ = one_call(backend, sends(response + LAST_CHUNK), caller={"path": path})
    assert caller.body == body
    assert (report.streamed, report.outcome, report.unreadable) == (True, Outcome.COMPLETE, False)
    assert report.usage.output_tokens == 2
    options = {"error_event": True, "fails": ConnectionLost, "caller": {"path": path}}
    caller, (report,), _ = one_call(
        backend, sends(head(200, CHUNKED, content_type=kind) + chunked(frames[0])), **options
    )
    assert caller.body == frames[0]
    assert report.outcome is Outcome.TRUNCATED
