"""A check of a server: what it asks, what it compares, and that nothing a server does is a traceback or a wait without end."""

from __future__ import annotations

import gc
import gzip
import json
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from faultserver import (
    BLOCK,
    BLOCK_STOP,
    CHUNKED,
    HALF,
    LAST_CHUNK,
    START,
    STOP,
    FaultServer,
    Peer,
    Script,
    chunked,
    delta,
    head,
    says,
)

from sansio_step_adapters.check import Finding, Limits, ServerCheck, Severity, check_server

QUESTIONS = ["short text", "tool call", "long text"]
NAMES = [f"{question}, {how}" for question in QUESTIONS for how in ("streamed", "not streamed")]
WRONG = ["no model", "max_tokens 0"]
USAGE = {"input_tokens": 3, "output_tokens": 2}

Answer = Callable[[dict[str, Any]], bytes]


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message_of(request: dict[str, Any]) -> dict[str, Any]:
    """What a model says that does as it is asked."""
    content: list[dict[str, Any]] = [{"type": "text", "text": "Hello"}]
    stop = "end_turn"
    if "tools" in request:
        content = [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Hangzhou"}}]
        stop = "tool_use"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"], "content": content}
    return message | {"stop_reason": stop, "stop_sequence": None, "usage": USAGE}


def streamed(message: dict[str, Any]) -> bytes:
    """The same as a stream: blocks that come whole, text that comes in a delta."""
    first = message | {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}}
    body = event("message_start", message=first)
    for index, block in enumerate(message["content"]):
        shown = block | {"text": ""} if block["type"] == "text" else block
        body += event("content_block_start", index=index, content_block=shown)
        body += delta(block["text"]) if block["type"] == "text" else b""
        body += event("content_block_stop", index=index)
    last = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return body + event("message_delta", delta=last, usage=message["usage"]) + STOP


def stream(body: bytes, *headers: str, status: int = 200, **more: Any) -> bytes:
    return head(status, CHUNKED, "request-id: req_1", *headers, **more) + chunked(body) + LAST_CHUNK


def document(fields: Any, *headers: str, status: int = 200) -> bytes:
    return stream(json.dumps(fields).encode(), *headers, status=status, content_type="application/json")


def refuses(request: dict[str, Any]) -> bytes | None:
    """The answer to a request that is wrong, None for one that isn't."""
    if "model" in request and request["max_tokens"] > 0:
        return None
    error = {"type": "invalid_request_error", "message": "no"}
    return document({"type": "error", "error": error, "request_id": "req_1"}, status=400)


def good(request: dict[str, Any]) -> bytes:
    message = {} if refuses(request) else message_of(request)
    return refuses(request) or (stream(streamed(message)) if request.get("stream") else document(message))


def serves(answer: Answer, requests: list[tuple[bytes, dict[str, Any]]] | None = None) -> Script:
    """Answer each request on a connection until the client goes."""

    def script(peer: Peer) -> None:
        while True:
            top, body = peer.read_request()
            request = json.loads(body)
            if requests is not None:
                requests.append((top, request))
            peer.send(answer(request))

    return script


def checked(answer: Answer | Script, **more: Any) -> list[Finding]:
    script = answer if more.pop("raw", False) else serves(answer)  # type: ignore[arg-type]
    with FaultServer(script) as server:  # type: ignore[arg-type]
        return check_server(server.base_url, **{"model": "m", "timeout": 10, "trust_env": False, **more})


def codes(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.source, finding.code) for finding in findings]


def altered(**changes: Any) -> Answer:
    """A good server but for these fields of its documents."""

    def answer(request: dict[str, Any]) -> bytes:
        if refuses(request) or request.get("stream"):
            return good(request)
        return document(message_of(request) | changes)

    return answer


# --- what is asked ---------------------------------------------------------------------------------------


def test_a_good_server_has_no_finding():
    assert checked(good) == []


def test_each_question_is_asked_streamed_and_not_and_then_what_is_wrong():
    """Over one connection, with the key where it belongs, and with what is extra in each."""
    requests: list[tuple[bytes, dict[str, Any]]] = []
    names: list[str] = []
    with FaultServer(serves(good, requests)) as server:
        check = ServerCheck(server.base_url, model="m", extra={"temperature": 0, "seed": 7}, api_key="sk-secret-key")
        check.run(names.append)
        assert server.connections == 1
    assert check.findings == []
    assert names == [*NAMES, *WRONG]
    sent = [request for _, request in requests]
    assert [request.get("stream", False) for request in sent] == [True, False, True, False, True, False, False, True]
    assert [request.get("model") for request in sent] == [*["m"] * 6, None, "m"]
    assert [request["max_tokens"] > 0 for request in sent] == [*[True] * 7, False]
    assert [len(request.get("tools", ())) for request in sent] == [0, 0, 1, 1, 0, 0, 0, 0]
    assert all((request["temperature"], request["seed"]) == (0, 7) for request in sent)
    assert all(b"authorization: Bearer sk-secret-key" in top for top, _ in requests)


def test_extra_can_replace_what_is_asked():
    requests: list[tuple[bytes, dict[str, Any]]] = []
    with FaultServer(serves(good, requests)) as server:
        check_server(server.base_url, model="m", extra={"max_tokens": 5}, auth="x-api-key", api_key="sk-secret-key")
    assert [request["max_tokens"] for _, request in requests] == [*[5] * 7, 0]
    assert all(b"x-api-key: sk-secret-key" in top for top, _ in requests)


@pytest.mark.parametrize(
    ("url", "more", "wrong"),
    [
        ("http://127.0.0.1:9/v1", {}, "without /v1"),
        ("ftp://127.0.0.1", {}, "http"),
        ("http://127.0.0.1:9", {"extra": {"temperature": 9}}, "temperature"),
        ("http://127.0.0.1:9", {"model": ""}, "model"),
        ("http://127.0.0.1:9", {"timeout": 0}, "positive number"),
        ("http://127.0.0.1:9", {"auth": "none"}, "auth"),
    ],
)
def test_arguments_that_cant_be_used_are_said_before_anything_is_asked(url, more, wrong):
    with pytest.raises(ValueError, match=wrong):
        check_server(url, **{"model": "m", **more})


# --- what is compared ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"stop_reason": "max_tokens"}, "stop_reason_differs", "'end_turn' in the stream, 'max_tokens' in the document"),
        ({"usage": USAGE | {"cached_tokens": 1}}, "usage_differs", "input_tokens, output_tokens in the stream, cached_tokens, "),
        ({"id": "chatcmpl-1"}, "ids_differ", "message msg_... in the stream, message chatcmpl-... in the document"),
        ({"id": "4f0c"}, "ids_differ", "message msg_... in the stream, message without a prefix in the document"),
        ({"model": "other"}, "model_differs", "'m' in the stream, 'other' in the document"),
    ],
)  # fmt: skip
def test_what_differs_between_the_stream_and_the_document(changes, code, detail):
    found = [one for one in checked(altered(**changes)) if one.source == "short text"]
    assert [one.code for one in found] == [code]
    assert found[0].detail.startswith(detail)
    assert found[0].severity is Severity.WARNING


def test_a_model_that_says_something_else_may_end_for_another_reason():
    """Models sample. A reason that has no name is a difference all the same."""
    other = [{"type": "text", "text": "Good morning"}]
    found = checked(altered(content=other, stop_reason="max_tokens"))
    assert "stop_reason_differs" not in [one.code for one in found]
    found = checked(altered(content=other, stop_reason="length"))
    assert ("short text", "stop_reason_differs") in codes(found)


def test_a_servers_words_are_one_short_line_without_commands():
    usage = USAGE | {"\x1b[2J\u202e\n" * 500: 1}
    (found,) = (one for one in checked(altered(usage=usage)) if one.source == "short text")
    assert found.code == "usage_differs"
    assert found.detail.isprintable()
    assert "\\x1b[2J\\u202e\\n" in found.detail
    assert len(found.detail) < 3000


def test_other_kinds_of_blocks_are_a_note():
    thinking = [{"type": "thinking", "thinking": "Hm", "signature": "s"}, {"type": "text", "text": "Hello"}]
    found = [one for one in checked(altered(content=thinking)) if one.code == "blocks_differ"]
    assert (found[0].severity, found[0].detail) == (Severity.NOTE, "text in the stream, text, thinking in the document")


def test_a_message_without_an_id_has_another_form():
    found = [one for one in checked(altered(id="")) if one.code == "ids_differ"]
    assert found[0].detail == "message msg_... in the stream, message none in the document"


def test_a_model_that_calls_no_tool_is_noted():
    def answer(request: dict[str, Any]) -> bytes:
        return good({name: value for name, value in request.items() if name != "tools"})

    (found,) = checked(answer)
    assert (found.source, found.code, found.severity) == ("tool call", "no_tool_call", Severity.NOTE)


# --- servers that fail -----------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_asked_once():
    with FaultServer(good) as server:  # type: ignore[arg-type]  # nobody comes
        url = server.base_url
    found = check_server(url, model="m")
    assert codes(found) == [(NAMES[0], "no_answer"), ("", "not_asked")]
    assert found[1].count == 7
    assert "Connection refused" in found[0].detail


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_server_that_refuses_is_asked_once_and_the_key_is_not_shown(status):
    key = "sk-a-real-secret-key"

    def answer(request: dict[str, Any]) -> bytes:
        error = {"type": f"no {key}", "message": f"the key {key} is wrong"}
        return document({"type": "error", "error": error}, status=status)

    found = checked(answer, api_key=key)
    assert codes(found) == [(NAMES[0], "api_error"), (NAMES[0], "wrong_error_type"), ("", "not_asked")]
    assert key not in repr(found)
    assert "***" in found[0].detail


def test_a_server_that_refuses_some_is_asked_on():
    def answer(request: dict[str, Any]) -> bytes:
        if request.get("stream"):
            return document({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, status=529)
        return good(request)

    found = checked(answer)
    assert codes(found) == [
        *((f"{name}, streamed", "api_error") for name in QUESTIONS),
        ("max_tokens 0", "wrong_status"),
    ]
    assert found[0].detail == "529 overloaded_error: busy"


@pytest.mark.parametrize("what", ["nothing", "half a head", "1xx without end"])
def test_a_server_that_hangs_is_waited_for_once(what):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(
            {"nothing": b"", "half a head": b"HTTP/1.1 200 OK\r\n", "1xx without end": b"HTTP/1.1 102 P\r\n\r\n"}[what]
        )
        peer.wait_closed()

    found = checked(script, raw=True, timeout=0.2)  # type: ignore[arg-type]
    assert codes(found) == [(NAMES[0], "timed_out"), ("", "not_asked")]
    assert re.fullmatch(r"deadline '\w+' of 0\.2 seconds passed", found[0].detail)


def test_a_slow_document_is_no_server_that_hangs():
    """Its head comes when all of it is made: the other questions are asked all the same."""

    def script(peer: Peer) -> None:
        while True:
            request = json.loads(peer.read_request()[1])
            if not request.get("stream") and not refuses(request):
                peer.wait_closed()
                return
            peer.send(good(request))

    found = checked(script, raw=True, timeout=0.4)  # type: ignore[arg-type]
    assert codes(found) == [(f"{name}, not streamed", "timed_out") for name in QUESTIONS]


def test_a_server_that_hangs_in_the_middle_is_found_each_time():
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED, "request-id: r") + chunked(HALF))
        peer.wait_closed()

    found = checked(script, raw=True, timeout=0.4)  # type: ignore[arg-type]
    streams = [one for one in found if one.code == "timed_out"]
    assert [one.source for one in streams] == NAMES
    assert (streams[0].event_number, streams[0].detail) == (5, "deadline 'total' of 0.4 seconds passed")


def test_a_server_that_breaks_off_is_found_each_time():
    found = checked(says(head(200, CHUNKED, "request-id: r") + chunked(HALF)), raw=True)  # type: ignore[arg-type]
    cut = [one for one in found if one.code == "truncated"]
    assert [one.source for one in cut] == NAMES
    assert cut[0].detail.startswith("the stream ended before the message did: ")
    assert ("no model", "not_refused") in codes(found)


def test_a_server_that_hangs_up_without_a_word():
    found = checked(says(), raw=True)  # type: ignore[arg-type]
    assert codes(found) == [(NAMES[0], "no_answer"), ("", "not_asked")]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (lambda _: stream(b"<html>Sign in", content_type="text/html"), "HTML"),
        (lambda _: stream(b"", "location: /login", status=302), "a redirect to '/login'"),
        (lambda _: stream(b""), "an empty body"),
    ],
)
def test_an_answer_of_another_kind(answer, detail):
    found = [one for one in checked(answer) if one.code == "unexpected_answer"]
    assert {one.source for one in found} >= set(NAMES)
    assert found[0].detail.startswith(detail)


def test_a_stream_for_a_document_and_a_document_for_a_stream():
    def answer(request: dict[str, Any]) -> bytes:
        return refuses(request) or good(request | {"stream": not request.get("stream", False)})

    found = checked(answer)
    assert codes(found) == [(name, "unexpected_answer") for name in NAMES]
    assert found[0].detail.startswith("a whole message where an event stream was asked for")
    assert found[1].detail == "an event stream where a document was asked for"


# --- errors ----------------------------------------------------------------------------------------------


def test_a_wrong_request_has_to_be_refused():
    def answer(request: dict[str, Any]) -> bytes:
        return good(request | {"model": "m", "max_tokens": 9})

    assert codes(checked(answer)) == [(name, "not_refused") for name in WRONG]


def test_a_refusal_inside_a_stream_of_success_is_none():
    error = event("error", error={"type": "invalid_request_error", "message": "no"})
    found = checked(lambda request: stream(error) if request.get("max_tokens") == 0 else good(request))
    assert codes(found) == [("max_tokens 0", "not_refused")]
    assert "says that it failed" in found[0].detail


def test_a_refusal_has_its_status_its_envelope_and_its_id():
    def answer(request: dict[str, Any]) -> bytes:
        if not refuses(request):
            return good(request)
        body = b'{"detail":[{"loc":["body"],"msg":"field required"}]}'
        return head(422, CHUNKED, content_type="application/json") + chunked(body) + LAST_CHUNK

    found = checked(answer)
    assert codes(found) == [
        (name, code) for name in WRONG for code in ("wrong_status", "no_request_id", "wrong_envelope")
    ]
    assert found[0].detail == "status 422 for a request that is wrong"


def test_a_page_where_a_refusal_is_due_is_of_another_kind():
    found = checked(lambda request: stream(b"<html>", content_type="text/html") if refuses(request) else good(request))
    assert {code for _, code in codes(found)} == {"unexpected_answer", "wrong_content_type"}


# --- heads and times -------------------------------------------------------------------------------------


def test_content_codings_are_undone_and_noted():
    def answer(request: dict[str, Any]) -> bytes:
        body = streamed(message_of(request | {"model": "m"}))
        return refuses(request) or (
            stream(gzip.compress(body), "content-encoding: gzip") if request.get("stream") else good(request)
        )

    found = checked(answer)
    assert codes(found) == [(f"{name}, streamed", "compressed_stream") for name in QUESTIONS]


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", b"\x1f\x8b\x08\x00 broken"), ("compress", b"x"), ("gzip", gzip.compress(HALF)[:-9])]
)
def test_a_coding_that_cant_be_undone(coding, body):
    found = checked(lambda request: refuses(request) or stream(body, f"content-encoding: {coding}"))
    assert {(name, "unreadable") for name in NAMES} <= set(codes(found))


def test_bedrocks_frames_are_read_as_such():
    kind = "application/vnd.amazon.eventstream"
    found = checked(lambda request: refuses(request) or stream(b"no frame at all", content_type=kind))
    assert (NAMES[0], "undecodable") in codes(found)


def test_the_times_are_those_of_the_clock():
    """Sixteen seconds pass before each thing that comes."""
    now = [0]

    def clock() -> int:
        now[0] += 16_000_000_000
        return now[0]

    with FaultServer(serves(good)) as server:
        check = ServerCheck(server.base_url, model="m", clock=clock, limits=Limits(stall=1000.0))
        check.run()
    first = check.findings[0]
    assert (first.source, first.code, first.count, first.time) == (NAMES[0], "no_ping", 2, 16.0)


def test_what_is_known_can_be_asked_while_it_runs():
    """A listener that gives up leaves what was found before, as Ctrl-C does."""
    seen: list[str] = []

    def listen(name: str) -> None:
        seen.append(name)
        if len(seen) == 3:
            raise KeyboardInterrupt

    nameless = streamed(message_of({"model": "m"})).replace(b"event: message_stop\n", b"")
    with FaultServer(serves(lambda request: stream(nameless) if request.get("stream") else good(request))) as server:
        check = ServerCheck(server.base_url, model="m")
        with pytest.raises(KeyboardInterrupt):
            check.run(listen)
    assert codes(check.findings) == [(NAMES[0], "no_event_line")]


def test_an_answer_that_is_still_coming_has_its_findings():
    """Ctrl-C in the middle of an answer: what it has shown is known, and that it has no end is not called a fault."""
    first, second = BLOCK.replace(b"event: content_block_start\n", b""), BLOCK_STOP
    calls: list[int] = []
    read = threading.Event()

    def clock() -> int:
        # The beginning, the head with the first read, and then the second read, which the user interrupts.
        calls.append(len(calls))
        if len(calls) == 3:
            read.set()
        if len(calls) == 4:
            raise KeyboardInterrupt
        return len(calls)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED, "request-id: r") + chunked(START + first))
        read.wait(20)
        peer.send(chunked(second))
        peer.wait_closed()

    with FaultServer(script) as server:
        check = ServerCheck(server.base_url, model="m", clock=clock, timeout=20)
        with pytest.raises(KeyboardInterrupt):
            check.run()
    assert codes(check.findings) == [(NAMES[0], "no_event_line")]


def test_large_answers_do_not_add_up() -> None:
    """Nothing of an answer is left when the next is asked for, whenever the collector would run by itself."""
    size = 4 << 20
    answer = stream(b'{"a":"' + b"x" * size, content_type="application/json")
    gc.disable()
    tracemalloc.start()
    try:
        found = checked(lambda _: answer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert ("max_tokens 0", "unexpected_answer") in codes(found)
    assert peak < 16 * size
