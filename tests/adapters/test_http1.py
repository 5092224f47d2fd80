"""The exchange without I/O: bytes in, events and errors out, however the bytes are cut."""

from __future__ import annotations

import gzip
import time
import zlib
from typing import Any

import h11
import pytest
from faultserver import (
    CHUNKED,
    DOCUMENT,
    EVENTS,
    HALF,
    LAST_CHUNK,
    MESSAGE_DELTA,
    OVERLOADED,
    PING,
    START,
    STOP,
    WHOLE,
    answer,
    chunked,
    head,
)

from sansio_step import (
    APIError,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    IncompleteStream,
    LimitExceeded,
    Outcome,
    StreamError,
    UnexpectedResponse,
)
from sansio_step_adapters._coding import content_decoder
from sansio_step_adapters.http1 import Exchange

HEADERS = [(b"host", b"example.org")]


def feed(data: bytes, size: int = 0, *, eof: bool = True, error: BaseException | None = None, **arguments: Any) -> Any:
    """An exchange that has had these bytes in pieces of a size, and its events."""
    exchange = Exchange(**arguments)
    exchange.request("/v1/messages", HEADERS, b"{}")
    events = []
    for start in range(0, len(data), size or max(len(data), 1)):
        events += exchange.receive_data(data[start : start + (size or len(data))])
    if eof:
        events += exchange.receive_eof(error)
    return exchange, events


def described(exchange: Exchange, events: list[Any]) -> Any:
    """All that a caller can see, to be compared."""
    error, cause = exchange.error, exchange.error.__cause__ if exchange.error is not None else None
    deviations = [(deviation.code, deviation.count) for deviation in exchange.deviations]
    ended = exchange.outcome, exchange.reusable, exchange.count
    return events, repr(error), str(error), repr(cause), deviations, exchange.messages, *ended


def flushed(body: bytes, wbits: int = 31) -> bytes:
    """The beginning of a compressed stream, whole up to here."""
    coder = zlib.compressobj(wbits=wbits)
    return coder.compress(body) + coder.flush(zlib.Z_SYNC_FLUSH)


RESPONSES = {
    "length": answer(),
    "chunked": head(200, CHUNKED) + chunked(WHOLE, 7) + LAST_CHUNK,
    "trailers and extensions": head(200, CHUNKED) + b"%x;a=b\r\n%s\r\n0\r\nx: y\r\n\r\n" % (len(WHOLE), WHOLE),
    "1xx first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + answer(),
    "close-delimited": head(200) + WHOLE,
    "HTTP/1.0": head(200, version="1.0") + WHOLE,
    "gzip": answer(gzip.compress(WHOLE), "content-encoding: gzip"),
    "deflate": answer(zlib.compress(WHOLE), "content-encoding: deflate"),
    "text/plain": answer(content_type="text/plain"),
    "no content type": answer(content_type=None),
    "BOM and blank lines": answer(b"\xef\xbb\xbf\n\n" + WHOLE),
    "BOM, text/plain": answer(b"\xef\xbb\xbf" + WHOLE, content_type="text/plain"),
    "truncated": answer(HALF),
    "missing last chunk": head(200, CHUNKED) + chunked(WHOLE),
    "cut in a chunk": head(200, CHUNKED) + chunked(HALF)[:-9],
    "length too long": head(200, f"content-length: {len(WHOLE) + 5}") + WHOLE,
    "length too short": head(200, f"content-length: {len(HALF)}") + WHOLE,
    "broken gzip": answer(gzip.compress(WHOLE)[:40] + b"\0" * 40, "content-encoding: gzip"),
    "not gzip": answer(WHOLE, "content-encoding: gzip"),
    "gzip with a broken block": answer(flushed(HALF) + b"\xff" * 20, "content-encoding: gzip"),
    "deflate with a broken block": answer(flushed(HALF, 15) + b"\xff" * 20, "content-encoding: deflate"),
    "bare deflate with a broken block": answer(flushed(HALF, -15) + b"\xff" * 20, "content-encoding: deflate"),
    "two codings": answer(gzip.compress(zlib.compress(WHOLE)), "content-encoding: deflate, gzip"),
    "gzip with a wrong checksum": answer(gzip.compress(WHOLE)[:-8] + b"\0" * 8, "content-encoding: gzip"),
    "cut gzip": answer(gzip.compress(WHOLE)[:-9], "content-encoding: gzip"),
    "unknown coding": answer(b"...", "content-encoding: compress"),
    "broken JSON": answer(HALF + b"event: message_stop\ndata: {\n\n" + STOP),
    "error event": answer(HALF + OVERLOADED),
    "error event first": answer(OVERLOADED),
    "HTML": answer(b"<!DOCTYPE html><html>no</html>", content_type="text/html"),
    "JSON": answer(b'{"detail": "no"}', content_type="application/json"),
    "whole message": answer(DOCUMENT, content_type="application/json"),
    "whole message as a stream": answer(DOCUMENT),
    "error under 200": answer(b'{"error":{"type":"x","message":"y"}}', content_type="application/json"),
    "text": answer(b"data", content_type="text/plain"),
    "empty": answer(b""),
    "only comments": answer(b": hello\n\n"),
    "no content": head(204, content_type=None),
    "redirect": answer(b"", "location: https://example.org/", status=307),
    "400": answer(b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}', status=400),
    "502 HTML": answer(b"<html>bad gateway</html>", status=502, content_type="text/html"),
    "500 cut": head(500, "content-length: 100") + b'{"error"',
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "nothing": b"",
    "cut head": head(200)[:-3],
    "TLS alert": b"\x15\x03\x03\x00\x02\x02\x46",
    "pings": answer(PING * 3),
    "pings, then an error": answer(PING + OVERLOADED),
    "open after the stop": head(200, CHUNKED) + chunked(WHOLE + PING * 2),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_cutting_is_invisible(name: str) -> None:
    """Whole, byte by byte or in any pieces, a response gives the same events, error, outcome and deviations."""
    data = RESPONSES[name]
    whole = described(*feed(data))
    for size in (1, 2, 3, 7, 64, 1460):
        assert described(*feed(data, size)) == whole


@pytest.mark.parametrize("name", list(RESPONSES)[:12])
def test_whole_responses(name: str) -> None:
    """Every framing and coding gives every event and the message."""
    exchange, events = feed(RESPONSES[name])
    assert len(events) == EVENTS
    assert exchange.error is None
    assert exchange.outcome is Outcome.COMPLETE
    assert exchange.result().text == "Hello"


@pytest.mark.parametrize("name", ["length", "chunked", "trailers and extensions", "1xx first", "gzip"])
def test_reusable(name: str) -> None:
    """A response that ends by itself leaves its connection for another, which the exchange after it uses."""
    connection = h11.Connection(h11.CLIENT)
    for _ in range(3):
        exchange, _ = feed(RESPONSES[name], eof=False, connection=connection)
        assert exchange.done
        assert exchange.reusable
        connection.start_next_cycle()


@pytest.mark.parametrize("name", ["close-delimited", "HTTP/1.0", "missing last chunk", "length too short"])
def test_not_reusable(name: str) -> None:
    """After an end of the connection, a cut or bytes too many it is not."""
    exchange, _ = feed(RESPONSES[name])
    assert exchange.done
    assert not exchange.reusable


def test_the_request() -> None:
    """One POST, with the length of its body."""
    sent = Exchange().request("/v1/messages", [*HEADERS, (b"x", b"y")], b'{"a":1}')
    assert sent == b'POST /v1/messages HTTP/1.1\r\nhost: example.org\r\nx: y\r\ncontent-length: 7\r\n\r\n{"a":1}'


def test_before_the_head() -> None:
    """Without a head there is no stream, no status and no error yet."""
    exchange, events = feed(head(200)[:20], eof=False)
    assert (events, exchange.status, exchange.headers) == ([], None, {})
    assert (exchange.message, exchange.messages, exchange.deviations, exchange.count) == (None, [], [], None)
    assert (exchange.done, exchange.begun, exchange.outcome) == (False, True, Outcome.STREAMING)
    assert exchange.error is None
    with pytest.raises(IncompleteStream):
        exchange.result()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing last chunk", "inside the response's body"),
        ("cut in a chunk", "inside the response's body"),
        ("length too long", "inside the response's body"),
        ("cut gzip", "inside its content coding"),
    ],
)
def test_an_early_end(name: str, words: str) -> None:
    """It is never silent: the message whole by then stays so, with the loss beside it; else the loss is the cause."""
    exchange, _ = feed(RESPONSES[name])
    assert isinstance(exchange.transport_error, ConnectionLost)
    assert words in str(exchange.transport_error)
    if name != "cut in a chunk":
        assert exchange.outcome is Outcome.COMPLETE
        assert exchange.result().text == "Hello"
        assert exchange.error is None
        return
    assert exchange.outcome is Outcome.TRUNCATED
    with pytest.raises(IncompleteStream) as caught:
        exchange.result()
    assert caught.value is exchange.error
    assert caught.value.__cause__ is exchange.transport_error
    assert caught.value.partial.text == "Hel"


def test_what_came_before_a_broken_coding_counts() -> None:
    """zlib keeps what it had decoded in the same call to itself; the events in it are there all the same."""
    exchange, events = feed(RESPONSES["gzip with a wrong checksum"])
    assert len(events) == EVENTS
    assert exchange.result().text == "Hello"
    assert "not in its content coding" in str(exchange.transport_error)
    for name in RESPONSES:
        if "broken block" in name:
            exchange, events = feed(RESPONSES[name])
            assert len(events) == 5
            assert exchange.error.partial.text == "Hello"
            assert "not in its content coding" in str(exchange.error.__cause__)


def test_a_stop_reason_seen() -> None:
    """An end after the stop_reason is COMPLETE with its deviation, and the loss can be read."""
    exchange, _ = feed(head(200, CHUNKED) + chunked(WHOLE[: -len(STOP)]))
    assert exchange.outcome is Outcome.COMPLETE
    assert [deviation.code for deviation in exchange.deviations] == ["no_message_stop"]
    assert isinstance(exchange.transport_error, ConnectionLost)
    assert MESSAGE_DELTA in WHOLE


def test_a_reset_in_a_body_that_the_end_delimits() -> None:
    """Without a length only the proper end is one: a reset is a loss."""
    reset = ConnectionResetError(104, "Connection reset by peer")
    exchange, events = feed(head(200) + HALF, error=reset)
    assert len(events) == 5
    assert isinstance(exchange.error, IncompleteStream)
    assert isinstance(exchange.error.__cause__, ConnectionLost)
    assert exchange.error.__cause__.__cause__ is reset


@pytest.mark.parametrize(
    ("name", "type", "words"),
    [
        ("broken gzip", ConnectionLost, "inside its content coding"),
        (
            "unknown coding",
            UnexpectedResponse,
            "'compress' is not supported: status 200, content type 'text/event-stream'",
        ),
        ("not gzip", UnexpectedResponse, "the body is not in its content coding: "),
        ("broken JSON", DecodeError, "event 5"),
        ("error event", APIError, "overloaded_error: busy"),
        ("error event first", APIError, "overloaded_error: busy"),
        ("HTML", UnexpectedResponse, "HTML: status 200, content type 'text/html', body b'<!DOCTYPE"),
        ("JSON", UnexpectedResponse, "no message: status 200, content type 'application/json', body b'{\"detail"),
        ("whole message", UnexpectedResponse, "a whole message where an event stream was asked for"),
        ("whole message as a stream", UnexpectedResponse, "a whole message where an event stream was asked for"),
        ("error under 200", UnexpectedResponse, "an error under a status of success"),
        ("text", UnexpectedResponse, "b'data'"),
        ("empty", UnexpectedResponse, "an empty body: status 200"),
        ("only comments", UnexpectedResponse, "a stream without a single event: status 200"),
        ("no content", UnexpectedResponse, "an empty body: status 204, content type 'none'"),
        ("redirect", UnexpectedResponse, "a redirect to 'https://example.org/': status 307"),
        ("400", APIError, "400 invalid_request_error: no"),
        ("502 HTML", APIError, "502 error: <html>bad gateway</html>"),
        ("500 cut", APIError, "500"),
        ("no HTTP", ConnectionLost, "no valid HTTP"),
        ("nothing", ConnectionLost, "before a response"),
        ("cut head", ConnectionLost, "inside the response's head"),
    ],
)
def test_errors(name: str, type: type[StreamError], words: str) -> None:
    """What is wrong has its type and says what came."""
    exchange, _ = feed(RESPONSES[name])
    assert exchange.done
    assert exchange.error.__class__ is type
    assert words.replace("'none'", "'none'") in str(exchange.error)
    with pytest.raises(type):
        exchange.result()


def test_a_whole_message_is_the_partial_of_its_error() -> None:
    """A gateway that answers a streaming request with a document has given the message all the same."""
    for name in ("whole message", "whole message as a stream"):
        exchange, _ = feed(RESPONSES[name])
        assert exchange.error.partial.text == "Hello"
    exchange, _ = feed(RESPONSES["JSON"])
    assert exchange.error.partial is None
    exchange, _ = feed(RESPONSES["error under 200"])
    assert isinstance(exchange.error.__cause__, APIError)
    assert exchange.error.__cause__.message == "y"


def test_a_document_where_one_was_asked_for() -> None:
    """Without streaming the document is the message."""
    exchange, events = feed(answer(DOCUMENT, content_type="application/json"), streaming=False)
    assert (events, exchange.error) == ([], None)
    assert exchange.result().text == "Hello"
    assert exchange.outcome is Outcome.COMPLETE
    assert exchange.messages == [exchange.message] == [exchange.result()]
    exchange, _ = feed(answer(b"<html>", content_type="text/html"), streaming=False)
    with pytest.raises(UnexpectedResponse, match="HTML"):
        exchange.result()


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_an_error_body_of_any_size(size: int) -> None:
    """Of an endless error page only the start is read, and then no more."""
    exchange, _ = feed(head(500) + b"x" * 70_000, size, eof=False)
    assert exchange.done
    assert not exchange.reusable
    assert exchange.error.status == 500
    assert len(str(exchange.error)) < 500


@pytest.mark.parametrize("name", ["gzip", "deflate", "identity"])
def test_max_response_size(name: str) -> None:
    """A bomb of comments ends in LimitExceeded, with what came in front of it."""
    body = START + b": bomb\n" * 1_000_000
    coded = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[name](body)
    exchange, events = feed(answer(coded, f"content-encoding: {name}"), max_response_size=100_000)
    assert len(events) == 1
    assert isinstance(exchange.error, LimitExceeded)
    assert (exchange.error.name, exchange.error.limit) == ("max_response_size", 100_000)
    assert exchange.error.partial.id == "msg_1"
    assert exchange.outcome is Outcome.FAILED
    with pytest.raises(LimitExceeded):
        exchange.result()


def test_the_limit_is_exact_and_behind_a_whole_message_it_leaves_that() -> None:
    """As many bytes as allowed are fine; one more is refused, though the message is whole."""
    exchange, _ = feed(answer(), max_response_size=len(WHOLE))
    assert exchange.error is None
    exchange, events = feed(answer(WHOLE + b"\n"), max_response_size=len(WHOLE))
    assert len(events) == EVENTS
    assert isinstance(exchange.error, LimitExceeded)
    assert exchange.outcome is Outcome.COMPLETE
    assert exchange.result().text == "Hello"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_document_too_large(streaming: bool) -> None:
    """A JSON document is bounded by max_message_size."""
    body = DOCUMENT[:-1] + b" " * 10_000 + b"}"
    response = answer(body, content_type="application/json")
    exchange, _ = feed(response, 100, streaming=streaming, max_message_size=1000)
    assert isinstance(exchange.error, UnexpectedResponse if streaming else LimitExceeded)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_page_too_large_is_a_page(streaming: bool) -> None:
    """What is no JSON is named by what it is, however large: no limit that could be raised would help."""
    page = answer(b"<!DOCTYPE html>" + b" " * 100_000, content_type="text/html")
    exchange, _ = feed(page, 1000, streaming=streaming)
    assert isinstance(exchange.error, UnexpectedResponse)
    assert str(exchange.error).startswith("HTML: ")


def test_a_head_without_end() -> None:
    """A head of headers is refused before it fills the memory."""
    exchange, _ = feed(b"HTTP/1.1 200 OK\r\n" + b"x-bomb: yes\r\n" * 100_000, 1000, eof=False)
    assert isinstance(exchange.error, ConnectionLost)
    assert "no valid HTTP" in str(exchange.error)
    exchange, _ = feed(b"HTTP/1.1 200 OK\r\n" + b"\xff" * 60_000 + b": x\r\n\r\n", eof=False)
    assert len(str(exchange.error)) < 300


def test_events_in_front_of_a_broken_chunk_are_kept() -> None:
    """Bytes that came before the framing broke count."""
    exchange, events = feed(head(200, CHUNKED) + chunked(HALF) + b"zz\r\n", eof=False)
    assert len(events) == 5
    assert isinstance(exchange.error, IncompleteStream)
    assert "no valid HTTP" in str(exchange.error.__cause__)


def test_abort() -> None:
    """A deadline ends the stream with an error of its own and the partial message; what is whole stays whole."""
    deadline = DeadlineExceeded("stall", 5)
    exchange, _ = feed(head(200) + HALF, eof=False)
    assert exchange.abort(deadline) == []
    assert exchange.error is deadline
    assert deadline.partial.text == "Hello"
    assert exchange.outcome is Outcome.TRUNCATED
    assert exchange.abort(DeadlineExceeded("total", 6)) == []
    assert exchange.receive_eof() == []

    exchange, _ = feed(head(200) + WHOLE, eof=False)
    exchange.abort(DeadlineExceeded("idle", 5))
    assert exchange.error is None
    assert exchange.transport_error.name == "idle"
    assert exchange.result().text == "Hello"

    exchange, _ = feed(b"", eof=False)
    exchange.abort(deadline)
    assert exchange.outcome is Outcome.TRUNCATED
    with pytest.raises(DeadlineExceeded):
        exchange.result()


def test_the_api_error_of_a_stream_has_the_requests_id() -> None:
    """An error event has no id of its own as a rule; the response's headers have."""
    exchange, _ = feed(answer(HALF + OVERLOADED, "request-id: req_9"))
    assert exchange.error.request_id == "req_9"
    assert exchange.error.partial.text == "Hello"


@pytest.mark.parametrize(
    "response",
    [
        answer(b'{"error":{"type":"x","message":"bad key sk/secret"}}', status=401),
        answer(b'{"error":{"type":"x","message":"bad key sk\\/secret"}}', "x-trace-id: sk/secret", status=401),
        answer(b"bad key sk/secret", status=401),
        answer(HALF + b'event: error\ndata: {"type":"error","error":{"type":"x","message":"bad key sk\\/secret"}}\n\n'),
        answer(b'{"error":{"type":"x","message":"bad key sk\\/secret"}}', content_type="application/json"),
        answer(b"", "location: /login?key=sk/secret", status=302),
        answer(b": bad key sk/secret\n" * 3),
        answer(b":" + b" " * 190 + b"sk/secret, indeed\n\n"),
        answer(b"<html>sk/secret", content_type="text/sk/secret"),
    ],
    ids=["401", "escaped", "text", "in a stream", "under 200", "redirect", "comments", "at the edge", "content type"],
)
def test_secrets_show_in_no_error(response: bytes) -> None:
    """Servers repeat a refused key; no error passes it on, however it was spelt, and nor does an error's cause."""
    for size in (0, 7):
        exchange, _ = feed(response, size, secrets=["sk/secret"])
        error = exchange.error
        while error is not None:
            for text in (str(error), repr(error), repr(error.__dict__)):
                assert "secret" not in text
                assert "sk/" not in text
            error = error.__cause__


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_decoded_in_small_pieces(coding: str) -> None:
    """What one chunk of a compressed body can take of the memory at any moment is 64 KiB, not what it decodes to."""
    bomb = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](b" " * 10_000_000)
    decoder = content_decoder(coding)
    assert decoder is not None
    sizes = [len(piece) for piece in decoder.decode(bomb)]
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 64 * 1024
    assert decoder.whole


@pytest.mark.parametrize("coding", ["gzip, gzip", "deflate, gzip", "GZIP,identity,gzip", "gzip, gzip, gzip, gzip"])
def test_one_coding_at_most(coding: str) -> None:
    """Codings one on the other are refused before a byte is decoded, be the body good: they are a bomb, no transport."""
    body = gzip.compress(gzip.compress(WHOLE))
    exchange, events = feed(answer(body, f"content-encoding: {coding}"), eof=False)
    assert events == []
    assert isinstance(exchange.error, UnexpectedResponse)
    assert f"{len(coding.lower().replace('identity,', '').split(','))} content codings" in str(exchange.error)
    assert not exchange.error.retryable
    assert exchange.error.start == b""


def test_codings_that_say_nothing_do_not_count() -> None:
    """`identity` and an empty entry of the list undo nothing, and stand beside a coding."""
    exchange, events = feed(answer(gzip.compress(WHOLE), "content-encoding: identity, gzip,"))
    assert (len(events), exchange.error) == (EVENTS, None)


def test_gzip_padding_and_an_empty_coded_body() -> None:
    """Zeros behind a gzip member are padding; no byte at all is an empty body."""
    exchange, events = feed(answer(gzip.compress(WHOLE) + b"\0" * 20, "content-encoding: gzip"))
    assert (len(events), exchange.error) == (EVENTS, None)
    for coding in ("gzip", "deflate"):
        exchange, _ = feed(answer(b"", f"content-encoding: {coding}"))
        assert "an empty body" in str(exchange.error)


@pytest.mark.parametrize("members", [1, 50_000])
def test_every_gzip_member_counts(members: int) -> None:
    """A member with nothing in it is 18 bytes of its coding, and counts as these: it takes as much work as others."""
    empty = gzip.compress(b"", mtime=0)
    body = gzip.compress(WHOLE, mtime=0) + empty * members
    response = answer(body, "content-encoding: gzip")
    enough = len(WHOLE) + 18 * (members + 1)
    exchange, events = feed(response, 65536, max_response_size=enough)
    assert (len(events), exchange.error) == (EVENTS, None)
    exchange, events = feed(response, 65536, max_response_size=enough - 1)
    assert isinstance(exchange.error, LimitExceeded)
    assert exchange.error.name == "max_response_size"
    assert len(events) == EVENTS


def test_members_without_end() -> None:
    """Members with nothing in them run into the limit before the stream's first event, too."""
    empty = gzip.compress(b"", mtime=0)
    exchange, events = feed(
        head(200, "content-encoding: gzip") + empty * 1000, 100, eof=False, max_response_size=10_000
    )
    assert events == []
    assert isinstance(exchange.error, LimitExceeded)


def some(exchange: Exchange, data: bytes) -> list[list[Any]]:
    """What each turn gives."""
    turns = [exchange.receive_some(data)]
    while exchange.pending:
        turns.append(exchange.receive_some(b""))
    return turns


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_turn_decodes_some(coding: str) -> None:
    """One call of `receive_some` gives what 256 KiB hold, and while `pending` there is more, in the same order."""
    body = START + b"".join(b": %7d\n" % number for number in range(400_000)) + WHOLE[len(START) :]
    coded = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](body)
    response = answer(coded, f"content-encoding: {coding}")
    exchange = Exchange()
    exchange.request("/v1/messages", HEADERS, b"{}")
    turns = some(exchange, response)
    # A turn ends with the piece of at most 64 KiB that goes over it.
    assert len(body) / (320 * 1024) <= len(turns) <= len(body) / (256 * 1024) + 1
    assert [event.type for event in turns[0]] == ["message_start"]
    assert not any(turns[1:-1])
    assert exchange.done
    assert exchange.reusable
    whole, events = feed(response)
    assert not whole.pending
    assert sum(turns, []) == events
    assert described(exchange, events) == described(whole, events)


def test_turns_count_members() -> None:
    """Members with nothing in them are work, and end a turn as decoded bytes do."""
    coded = gzip.compress(WHOLE) + gzip.compress(b"") * 40_000
    exchange = Exchange()
    exchange.request("/v1/messages", HEADERS, b"{}")
    turns = some(exchange, answer(coded, "content-encoding: gzip"))
    assert len(turns) == 3
    assert exchange.result().text == "Hello"


def test_the_end_while_pending() -> None:
    """The connection's end, and how it broke, comes after what is pending; an abort doesn't wait for that."""
    bomb = gzip.compress(START + b": bomb\n" * 1_000_000 + WHOLE[len(START) :])
    for broken in (None, ConnectionResetError(104, "reset")):
        exchange = Exchange()
        exchange.request("/v1/messages", HEADERS, b"{}")
        events = exchange.receive_some(head(200, "content-encoding: gzip") + bomb)
        assert exchange.pending
        events += exchange.receive_eof(broken)
        assert exchange.pending
        assert not exchange.done
        while exchange.pending:
            events += exchange.receive_some(b"")
        assert len(events) == EVENTS
        assert exchange.done
        assert exchange.outcome is Outcome.COMPLETE
        assert (exchange.transport_error is None) is (broken is None)

    exchange = Exchange()
    exchange.request("/v1/messages", HEADERS, b"{}")
    exchange.receive_some(answer(bomb, "content-encoding: gzip"))
    exchange.abort(DeadlineExceeded("total", 1))
    assert exchange.done
    assert not exchange.pending
    assert exchange.receive_some(b"") == []
    assert exchange.error.partial.id == "msg_1"


def test_one_large_piece_takes_linear_time() -> None:
    """A body of many members given in one piece costs a turn no more than in many pieces."""
    coded = gzip.compress(WHOLE) + gzip.compress(b"") * 100_000
    response = answer(coded, "content-encoding: gzip")
    began = time.process_time()
    feed(response, 65536)
    between = time.process_time()
    exchange, events = feed(response)
    assert time.process_time() - between < 5 * (between - began)
    assert (len(events), exchange.error) == (EVENTS, None)


REFUSED = {
    "401": (answer(b"no", status=401), Outcome.FAILED),
    "503 without a body": (answer(b"", status=503), Outcome.FAILED),
    "a page": (answer(b"<html>no</html>"), Outcome.FAILED),
    "no message": (answer(b"{}", content_type="application/json"), Outcome.FAILED),
    "no message, as a stream": (answer(b"{}"), Outcome.FAILED),
    "text": (answer(b"no", content_type="text/plain"), Outcome.FAILED),
    "a redirect": (answer(b"", "location: /", status=302), Outcome.FAILED),
    "a message where a stream was asked for": (answer(DOCUMENT), Outcome.FAILED),
    "unknown coding": (answer(b"x", "content-encoding: compress"), Outcome.FAILED),
    "two codings": (answer(b"x", "content-encoding: gzip, gzip"), Outcome.FAILED),
    "too large": (answer(b": x" * 400_000), Outcome.FAILED),
    "a document cut short": (head(200, "content-length: 999", content_type="") + DOCUMENT[:40], Outcome.TRUNCATED),
    "a stream cut short": (answer(HALF), Outcome.TRUNCATED),
    "no head": (head(200)[:-9], Outcome.TRUNCATED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_outcome_of_what_is_no_stream(name: str) -> None:
    """An answer that was refused has FAILED, one that was cut short is TRUNCATED; none stays STREAMING."""
    response, outcome = REFUSED[name]
    exchange, _ = feed(response, max_response_size=1_000_000)
    assert exchange.error is not None
    assert exchange.outcome is outcome


def test_a_document_cut_short_where_one_was_asked_for() -> None:
    """What is there of a document is no message, and how it was cut is the error."""
    cut = head(200, "content-length: 999", content_type="application/json") + DOCUMENT[:-1]
    exchange, _ = feed(cut, streaming=False)
    assert isinstance(exchange.error, ConnectionLost)
    assert exchange.outcome is Outcome.TRUNCATED
    # The bytes of a whole document are whole, whatever came of the rest.
    exchange, _ = feed(cut + b"}", streaming=False)
    assert exchange.result().text == "Hello"
    assert exchange.outcome is Outcome.COMPLETE
    assert isinstance(exchange.transport_error, ConnectionLost)


def test_a_stream_where_a_document_was_asked_for() -> None:
    """A server that streams all the same has answered: its message counts if it is whole, else what there is of it."""
    exchange, events = feed(answer(), streaming=False)
    assert len(events) == EVENTS
    assert exchange.error is None
    assert exchange.result().text == "Hello"
    exchange, _ = feed(answer(HALF), streaming=False)
    with pytest.raises(IncompleteStream) as caught:
        exchange.result()
    assert caught.value.partial.text == "Hello"
    exchange, _ = feed(answer(HALF + OVERLOADED), streaming=False)
    with pytest.raises(APIError, match="busy"):
        exchange.result()


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", None])
def test_a_count(content_type: str | None) -> None:
    """With `counting` the answer is a number, whatever else its document has."""
    for body in (b'{"input_tokens": 12}', b' {"x":[],"input_tokens":12}\n'):
        for size in (0, 1):
            exchange, events = feed(answer(body, content_type=content_type), size, counting=True)
            assert (events, exchange.error, exchange.count) == ([], None, 12)
            assert exchange.outcome is Outcome.COMPLETE


@pytest.mark.parametrize(
    ("response", "type"),
    [
        (answer(b"{}"), UnexpectedResponse),
        (answer(b'{"input_tokens": "12"}'), UnexpectedResponse),
        (answer(b'{"input_tokens": 12.5}'), UnexpectedResponse),
        (answer(b'{"input_tokens": true}'), UnexpectedResponse),
        (answer(b'{"input_tokens": null}'), UnexpectedResponse),
        (answer(b"12"), UnexpectedResponse),
        (answer(b""), UnexpectedResponse),
        (answer(b"<html>"), UnexpectedResponse),
        (answer(DOCUMENT), UnexpectedResponse),
        (answer(WHOLE), UnexpectedResponse),
        (answer(b'{"error":{"type":"x","message":"y"}}'), UnexpectedResponse),
        (answer(b'{"error":{"type":"not_found_error","message":"y"}}', status=404), APIError),
        (head(200, "content-length: 99") + b'{"input_tokens": 1', ConnectionLost),
    ],
    ids=[
        *("{}", "text", "fraction", "true", "null", "bare", "empty", "page", "message", "stream"),
        *("error", "404", "cut"),
    ],
)
def test_no_count(response: bytes, type: type[StreamError]) -> None:
    """An answer that is no count says what it is, and there is no number and no message to be had."""
    exchange, _ = feed(response, counting=True)
    assert exchange.count is None
    assert exchange.error.__class__ is type
    with pytest.raises(type):
        exchange.result()


def test_http_to_a_port_that_speaks_tls() -> None:
    """A TLS alert in place of an answer says in one line that the URL has to begin with https."""
    exchange, _ = feed(RESPONSES["TLS alert"])
    assert isinstance(exchange.error, ConnectionLost)
    assert "TLS" in str(exchange.error)
    assert "https" in str(exchange.error)
    assert "\n" not in str(exchange.error)
