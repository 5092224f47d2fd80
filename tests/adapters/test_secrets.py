"""Keys and passwords show in no error and no deviation, and nothing that was decoded is altered for their sake."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import base64
import json
import pickle
import time
import traceback
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from conftest import Driver
from faultserver import (
    BLOCK,
    BLOCK_STOP,
    CHUNKED,
    DOCUMENT,
    HALF,
    MESSAGE_DELTA,
    REQUEST,
    START,
    STOP,
    WHOLE,
    FaultServer,
    answer,
    chunked,
    delta,
    head,
    says,
)

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DecodeError,
    IncompleteStream,
    ProtocolViolation,
    RetryPolicy,
    StreamError,
    UnexpectedResponse,
)
from sansio_step_adapters._config import make_config
from sansio_step_adapters._connection import Connection
from sansio_step_adapters._secrets import Mask
from sansio_step_adapters.asgi import PassThrough, Report
from sansio_step_adapters.http1 import Exchange

KEY = "sk/secret-0123456789"
AS_PHP = KEY.replace("/", "\\/")
AS_ESCAPES = KEY.replace("/", "\\u002f").replace("-", "\\u002D")
# No part of the key that anyone could take for it.
PARTS = ("sk/secr", "sk\\/secr", "secret", "23456789")

HEADERS = [(b"host", b"example.org")]


def feed(data: bytes, size: int = 0, *, eof: bool = True, **arguments: Any) -> Any:
    """An exchange that has had these bytes in pieces of a size, and its events."""
    arguments = {"secrets": [KEY], **arguments}
    exchange = Exchange(**arguments)
    exchange.request("/v1/messages", HEADERS, b"{}")
    events = []
    for start in range(0, len(data), size or len(data)):
        events += exchange.receive_data(data[start : start + (size or len(data))])
    if eof:
        events += exchange.receive_eof()
    return exchange, events


def texts_of(error: BaseException | None) -> Iterator[str]:
    """All that an error, its causes and its contexts show or carry, but for the message that came."""
    waiting, known = [error], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in known:
            continue
        known.add(id(one))
        waiting += [one.__cause__, one.__context__]
        carried = {name: value for name, value in vars(one).items() if name != "partial"}
        yield from (str(one), repr(one), repr(one.args), repr(carried))
        yield from traceback.format_exception_only(one)


def assert_hidden(error: BaseException | None, *parts: str) -> None:
    """No part of the secret shows, but a mark does where it was."""
    texts = list(texts_of(error))
    for part in parts or PARTS:
        assert not [text for text in texts if part in text]
    assert [text for text in texts if "***" in text]


def error_event(message: str) -> bytes:
    return f'event: error\ndata: {{"type":"error","error":{{"type":"x","message":"{message}"}}}}\n\n'.encode()


def envelope(message: str) -> bytes:
    return f'{{"type":"error","error":{{"type":"authentication_error","message":"{message}"}}}}'.encode()


RESPONSES: dict[str, tuple[bytes, type[StreamError]]] = {
    "status line": (b"HTTP/1.1 2 %b\r\n\r\n" % KEY.encode(), ConnectionLost),
    "header line": (b"HTTP/1.1 200 OK\r\nx y: %b\r\n\r\n" % KEY.encode(), ConnectionLost),
    "chunk size": (head(200, CHUNKED) + b"%b\r\n" % KEY.encode(), ConnectionLost),
    "401": (answer(envelope(f"bad key {KEY}"), status=401), APIError),
    "401 as PHP spells it": (answer(envelope(f"bad key {AS_PHP}"), status=401), APIError),
    "401 in escapes": (answer(envelope(f"bad key {AS_ESCAPES}"), status=401), APIError),
    "401 as text": (answer(f"bad key {KEY}".encode(), status=401), APIError),
    "401, cut JSON in PHP's spelling": (answer(envelope(f"bad key {AS_PHP}")[:-2], status=401), APIError),
    "401, cut JSON in escapes": (answer(envelope(f"bad key {AS_ESCAPES}")[:-2], status=401), APIError),
    "401, a long text": (answer(envelope("x" * 285 + KEY), status=401), APIError),
    "401, a long page": (answer(b"y" * 285 + b" " * 706 + KEY.encode() * 3, status=401), APIError),
    "401, request id": (answer(envelope("no"), f"request-id: {KEY}", status=401), APIError),
    "error type": (answer(b'{"error":{"type":"%b","message":"no"}}' % KEY.encode(), status=400), APIError),
    "error event": (answer(HALF + error_event(f"bad key {KEY}")), APIError),
    "error event in escapes": (answer(HALF + error_event(f"bad key {AS_ESCAPES}")), APIError),
    "spliced ids": (answer(HALF + START.replace(b"msg_1", KEY.encode())), ProtocolViolation),
    "redirect": (answer(b"", f"location: /login?key={KEY}", status=302), UnexpectedResponse),
    "long redirect": (answer(b"", f"location: /{'x' * 190}{KEY}", status=302), UnexpectedResponse),
    "content type": (answer(b"<html>", content_type=f"text/{KEY}"), UnexpectedResponse),
    "long content type": (answer(b"<html>", content_type="x" * 290 + KEY), UnexpectedResponse),
    "page": (answer(f"<html>who is {KEY}?".encode(), content_type="text/html"), UnexpectedResponse),
    "page, at the edge": (answer(b"<html>" + b" " * 180 + KEY.encode() * 2), UnexpectedResponse),
    "page, at the text's edge": (answer(b"<html>" + b" " * 45 + KEY.encode() * 2), UnexpectedResponse),
    "comments": (answer(f": bad key {KEY}\n\n".encode()), UnexpectedResponse),
    "comments, PHP's spelling at the edge": (answer(b":" + b" " * 185 + AS_PHP.encode() * 2), UnexpectedResponse),
    "error under 200": (answer(envelope(f"bad key {KEY}")), UnexpectedResponse),
    "error under 200, PHP's spelling": (answer(envelope(AS_PHP)), UnexpectedResponse),
    "another document": (answer(b'{"type":"%b"}' % KEY.encode()), UnexpectedResponse),
    "another document, a long type": (answer(b'{"type":"%b%b"}' % (b"x" * 25, KEY.encode() * 5)), UnexpectedResponse),
    "error under 200, in escapes": (answer(envelope(AS_ESCAPES)), UnexpectedResponse),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_no_error_shows_a_secret(name: str) -> None:
    """Wherever a server says a key back and however it is spelt or cut, no error shows it, nor its causes and contexts."""
    response, kind = RESPONSES[name]
    for size in (0, 1, 7):
        exchange, _ = feed(response, size)
        assert kind in [type(error) for error in (exchange.error, exchange.transport_error)]
        assert_hidden(exchange.error)
        if exchange.transport_error is not None:
            assert not [text for text in texts_of(exchange.transport_error) for part in PARTS if part in text]
        assert not [part for part in PARTS if part.encode() in pickle.dumps(str(exchange.error))]


def test_a_decode_error_shows_no_secret() -> None:
    """A number can be a secret as well as a word: an index that is none shows in a DecodeError."""
    wrong = HALF + BLOCK_STOP.replace(b'"index":0', b'"index":12345678901234')
    exchange, _ = feed(answer(wrong))
    assert isinstance(exchange.error, DecodeError)
    assert "12345678901234" in str(exchange.error)
    exchange, _ = feed(answer(wrong), secrets=["12345678901234"])
    assert_hidden(exchange.error, "12345678")


DEVIATIONS = {
    "event line": b'event: %b\ndata: {"type":"content_block_stop","index":0}\n\n',
    "long event line": b"event: " + b"x" * 140 + b'%b\ndata: {"type":"content_block_stop","index":0}\n\n',
    "foreign data": b"event: note\ndata: bad key %b\n\n",
    "long foreign data": b"event: note\ndata: bad key of 20 chars, %b\n\n",
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_no_deviation_shows_a_secret(name: str) -> None:
    """What deviations tell of a server's words has no key in it; strict, the violation has none."""
    deviating = HALF + DEVIATIONS[name] % KEY.encode() + BLOCK_STOP + MESSAGE_DELTA + STOP
    exchange, _ = feed(answer(deviating))
    details = [deviation.detail for deviation in exchange.deviations]
    assert not [detail for detail in details for part in PARTS if part in detail]
    assert [detail for detail in details if "***" in detail]
    exchange, _ = feed(answer(deviating), strict=True)
    assert isinstance(exchange.error, ProtocolViolation)
    assert_hidden(exchange.error)


def test_nothing_decoded_is_touched() -> None:
    """Events and messages say what the model said, the key too, whatever the error beside them hides."""
    said = json.dumps(f"the key is {KEY}, or {KEY[:9]}...")
    body = HALF.replace(b"msg_1", KEY.encode()).replace(b'"Hel"', said.encode())
    exchange, events = feed(answer(body + error_event(KEY)))
    assert events[-1].error.message == KEY
    assert events[3].delta.text == json.loads(said)
    assert exchange.message.id == KEY
    assert exchange.error.partial is exchange.message
    assert exchange.message.text == f"the key is {KEY}, or {KEY[:9]}...lo"
    assert_hidden(exchange.error)

    document = DOCUMENT.replace(b'"Hello"', said.encode()).replace(b"end_turn", KEY.encode())
    exchange, _ = feed(answer(document), streaming=False)
    assert exchange.result().text == json.loads(said)
    assert exchange.result().stop_reason == KEY
    exchange, _ = feed(answer(document))
    assert exchange.error.partial.text == json.loads(said)


@pytest.mark.parametrize("key", ["k", "msg", "ollama", "assistant", KEY])
def test_an_answer_with_the_key_in_it(driver: Driver, key: str) -> None:
    """A placeholder key is an ordinary word: `create` and a stream give what came, byte for byte."""
    said = json.dumps(f"{key}: monkeys like {key}").encode()
    document = answer(DOCUMENT.replace(b'"Hello"', said), content_type="application/json")
    stream_body = answer(WHOLE.replace(b'"Hel"', said))

    async def main() -> None:
        with FaultServer(says(document), says(stream_body)) as server:
            async with driver.client(base_url=server.base_url, api_key=key) as client:
                assert (await client.create(REQUEST)).text == json.loads(said)
                async with client.stream(REQUEST) as stream:
                    texts = [piece async for piece in stream.text]
                assert texts == [json.loads(said), "lo"]
                assert stream.result().model == "step-3.5-flash"

    driver.run(main)


@pytest.mark.parametrize("key", ["k", "msg", "assistant", KEY])
def test_a_report_with_the_key_in_it(backend: str, key: str) -> None:
    """The gateway's report has the message as it came, with the gateway's key in it and the caller's."""
    reports: list[Report] = []
    said = json.dumps(f"{key}: monkeys like {key}").encode()
    messages: list[Any] = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def main() -> None:
        with FaultServer(says(answer(WHOLE.replace(b'"Hel"', said)))) as server:
            async with PassThrough(server.base_url, api_key=key, on_end=reports.append, trust_env=False) as app:
                await call(app, [(b"x-api-key", key.encode())], messages)

    anyio.run(main, backend=backend)
    assert reports[0].message is not None
    assert reports[0].message.text == f"{json.loads(said)}lo"
    assert reports[0].message.role == "assistant"


async def call(app: PassThrough, headers: Any, messages: list[Any]) -> list[Any]:
    """One ASGI call, and what the application sent."""
    sent: list[Any] = []

    async def receive() -> Any:
        if not messages:
            await anyio.sleep_forever()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    path = {"path": "/v1/messages", "raw_path": b"/v1/messages", "query_string": b""}
    await app({"type": "http", "method": "POST", **path, "headers": headers}, receive, send)
    return sent


GIVEN: dict[str, dict[str, Any]] = {
    "api_key": {"api_key": KEY},
    "x-api-key": {"api_key": KEY, "auth": "x-api-key"},
    "a header": {"headers": {"Authorization": f"Bearer {KEY}"}},
    "the other header": {"headers": {"X-Api-Key": KEY}},
    "a header over an argument": {"api_key": "other", "headers": {"authorization": KEY}},
}


@pytest.mark.parametrize("given", GIVEN)
def test_however_the_key_was_given(driver: Driver, given: str) -> None:
    """A key shows in no error of a client, by whatever argument it came."""

    async def main() -> None:
        refusals = [says(answer(envelope(KEY), status=401)), says(answer(HALF + error_event(KEY)))]
        with FaultServer(*refusals) as server:
            async with driver.client(base_url=server.base_url, **GIVEN[given]) as client:
                with pytest.raises(APIError) as caught:
                    await client.create(REQUEST)
                assert_hidden(caught.value)
                with pytest.raises(APIError) as caught:
                    async with client.stream(REQUEST) as stream:
                        [event async for event in stream]
                assert_hidden(caught.value)
                with pytest.raises(APIError) as caught:
                    stream.result()
                assert_hidden(caught.value)

    driver.run(main)


def test_a_secret_in_what_is_not_over(driver: Driver) -> None:
    """`result()` right after an error event, while the response goes on, hides the key as it does at the end."""

    async def main() -> None:
        response = head(200, CHUNKED) + chunked(HALF + error_event(KEY))
        with FaultServer(lambda peer: (peer.read_request(), peer.send(response), peer.wait_closed())) as server:
            async with driver.client(base_url=server.base_url, api_key=KEY) as client:
                async with client.stream(REQUEST) as stream:
                    async for event in stream:
                        if event.type == "error":
                            break
                    with pytest.raises(APIError) as caught:
                        stream.result()
                    assert_hidden(caught.value)

    driver.run(main)


@pytest.mark.parametrize("what", ["base64", "password"])
def test_a_proxy_that_says_its_credentials_back(driver: Driver, what: str) -> None:
    """Neither the base64 that a proxy is sent nor the password in it shows in a ConnectError."""
    encoded = base64.b64encode(b"me:p@ss/word-1234").decode()
    secret = encoded if what == "base64" else "p@ss/word-1234"

    async def main() -> None:
        with FaultServer(says(f"HTTP/1.1 407 {secret} is wrong\r\n\r\n".encode())) as proxy:
            url = f"http://me:p%40ss%2Fword-1234@127.0.0.1:{proxy.port}"
            async with driver.client(base_url="http://example.invalid", proxy=url, max_retries=0) as client:
                with pytest.raises(ConnectError, match=r"407 \*\*\* is wrong") as caught:
                    await client.create(REQUEST)
                assert_hidden(caught.value, secret, secret[:6])

    driver.run(main)


def test_a_long_reason_phrase() -> None:
    """A proxy's reason phrase is shown up to a limit, and the part of a password before that is hidden, too."""
    config = make_config(base_url="http://example.org", proxy="http://me:p%40ss-word-1234@127.0.0.1:1", trust_env=False)
    for length in range(80, 101):
        connection = Connection(config)
        connection.outgoing()
        with pytest.raises(ConnectError) as caught:
            connection.receive_data(b"HTTP/1.1 407 " + b"x" * length + b"p@ss-word-1234\r\n\r\n")
        config.mask.error(caught.value)
        assert not [text for text in texts_of(caught.value) if "p@ss-" in text]


def test_a_gateways_proxy_and_both_keys(backend: str) -> None:
    """Neither its report nor the 502 to the caller shows the proxy's password, the gateway's key or the caller's."""
    reports: list[Report] = []
    reply = f"HTTP/1.1 407 p@ss/word-1234 {KEY} sk-caller-42\r\n\r\n".encode()

    async def main() -> None:
        with FaultServer(says(reply)) as proxy:
            url = f"http://me:p%40ss%2Fword-1234@127.0.0.1:{proxy.port}"
            arguments: dict[str, Any] = {"proxy": url, "api_key": KEY, "on_end": reports.append}
            async with PassThrough("http://example.invalid", **arguments) as app:
                messages: list[Any] = [{"type": "http.request", "body": b"{}", "more_body": False}]
                sent = await call(app, [(b"authorization", b"Bearer sk-caller-42")], messages)
                assert sent[0]["status"] == 502
                assert json.loads(sent[1]["body"])["error"]["message"] == "the upstream can't be reached"

    anyio.run(main, backend=backend)
    assert "407 *** *** ***" in str(reports[0].error)
    assert_hidden(reports[0].error, "p@ss", KEY, "sk-caller")


def test_a_gateways_deviations(backend: str) -> None:
    """The deviations of a report hide both keys."""
    reports: list[Report] = []
    body = HALF + DEVIATIONS["event line"] % f"{KEY} sk-caller-42".encode() + MESSAGE_DELTA + STOP

    async def main() -> None:
        with FaultServer(says(answer(body))) as server:
            async with PassThrough(server.base_url, api_key=KEY, on_end=reports.append) as app:
                messages: list[Any] = [{"type": "http.request", "body": b"{}", "more_body": False}]
                sent = await call(app, [(b"x-api-key", b"sk-caller-42")], messages)
                assert b"".join(message.get("body", b"") for message in sent) == body

    anyio.run(main, backend=backend)
    details = " ".join(deviation.detail for deviation in reports[0].deviations)
    assert "*** ***" in details
    assert KEY not in details
    assert "sk-caller" not in details


def test_a_callers_long_token_takes_no_time(backend: str) -> None:
    """A caller chooses its token, and the work to hide one grows with its length, not with its square."""
    reports: list[Report] = []
    # Another for each, since `re` remembers what it has compiled.
    token = "".join(chr(97 + number * len(backend) % 26) for number in range(4000))

    async def main() -> None:
        with FaultServer(says(answer(envelope(f"bad key {token}"), status=401))) as server:
            async with PassThrough(server.base_url, on_end=reports.append, trust_env=False) as app:
                messages: list[Any] = [{"type": "http.request", "body": b"{}", "more_body": False}]
                await call(app, [(b"authorization", b"Bearer " + token.encode())], messages)

    began = time.process_time()
    anyio.run(main, backend=backend)
    assert time.process_time() - began < 3
    assert_hidden(reports[0].error, token[:40])


# The mask itself.


@pytest.mark.parametrize("key", ["k", "key", "ollama", "1234567"])
def test_a_short_secret_is_hidden_as_a_word(key: str) -> None:
    """Fewer than eight characters are a placeholder that other words contain: only alone do they stand for the key."""
    mask = Mask([key])
    assert mask.text(f"bad '{key}', {key}: {key}") == "bad '***', ***: ***"
    for other in (f"mon{key}s", f"{key}s", f"x{key}", f"{key}_1", key[:-1], f"{key[:4]}xx..."):
        assert mask.text(other) == other


def test_the_word_for_no_key_is_no_secret() -> None:
    """`none` is given where no key is needed, and messages say it of other things: "none of request-id, x-request-id"."""
    assert Mask(["Bearer none", "none"]).text("none of a, b; bad 'Bearer none'") == "none of a, b; bad '***'"
    assert Mask(["None"]).text("None") == "***"


def test_a_long_secret_is_hidden_anywhere() -> None:
    """Eight characters and more are a key wherever they stand."""
    assert Mask(["12345678"]).text("x12345678y 1234567 12345678") == "x***y 1234567 ***"


def test_a_secret_inside_another() -> None:
    """Of two secrets the longer is hidden first, so that nothing of it stays."""
    assert Mask(["longpass", "longpass-and-more"]).text("longpass-and-more longpass") == "*** ***"
    assert Mask(["", "longpass"]).text("a longpass") == "a ***"
    assert Mask(()).text("a longpass") == "a longpass"


def test_a_secret_that_a_text_was_cut_in() -> None:
    """What is left of a key at a mark of omission is hidden from four characters on, in quotes too."""
    mask = Mask([KEY])
    for length in range(4, len(KEY)):
        assert mask.text(f"bad {KEY[:length]}...") == "bad ***..."
        assert mask.text(f"bad '{KEY[:length]}'...") == "bad '***'..."
        assert mask.text(f"...{KEY[-length:]} is bad") == "...*** is bad"
        # Without a mark it is a text of its own.
        assert mask.text(f"bad {KEY[:length]}") == f"bad {KEY[:length]}"


@pytest.mark.parametrize("secret", ['pa"ss-word-12', "pa\\ss-word-12", "pa'ss-word-12", "pa'ss\"word-12", KEY])
def test_a_secret_in_the_start_of_a_document(secret: str) -> None:
    """A body that is shown raw has a secret as JSON spells it, quotes and backslashes too."""
    for body in (envelope("bad key ").replace(b'key "', b"key " + json.dumps(secret)[1:].encode()), secret.encode()):
        exchange, _ = feed(answer(body, content_type="application/json"), secrets=[secret])
        assert_hidden(exchange.error, "ss-word-12", 'ss\\"word-12', 'ss"word-12', "23456789")


def test_the_callers_own_exceptions_stay(driver: Driver) -> None:
    """A call inside an `except` block leaves the exception that is being handled as it is."""

    async def main() -> None:
        with FaultServer(says(RESPONSES["spliced ids"][0])) as server:
            async with driver.client(base_url=server.base_url, api_key=KEY) as client:
                try:
                    raise KeyError(f"about {KEY}")
                except KeyError as mine:
                    with pytest.raises(ProtocolViolation) as caught:
                        async with client.stream(REQUEST) as stream:
                            [event async for event in stream]
                    assert mine.args == (f"about {KEY}",)
                assert "***" in str(caught.value)

    driver.run(main)


def test_a_partial_message_is_the_one_that_came(driver: Driver) -> None:
    """`error.partial` of a cut stream says what came, with the key in it."""
    body = START + BLOCK + delta(f"the key is {KEY}")

    async def main() -> None:
        with FaultServer(says(answer(body))) as server:
            arguments = {"api_key": KEY, "retries": RetryPolicy(max_retries=0)}
            async with driver.client(base_url=server.base_url, **arguments) as client:
                with pytest.raises(IncompleteStream) as caught:
                    await client.create(REQUEST)
                assert caught.value.partial.text == f"the key is {KEY}"

    driver.run(main)
