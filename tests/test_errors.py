"""The errors: one family, with data beside a short text, that survive being sent elsewhere."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import sys

import pytest

import sansio_step
from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    Deviation,
    IncompleteStream,
    LimitExceeded,
    MessageStream,
    ProtocolViolation,
    StreamError,
    ToolInputError,
    TransportError,
    UnexpectedResponse,
    decode_error,
    decode_event,
    decode_message,
    iter_events,
    parse,
)

from .helpers import TEXT, block_start, block_stop, delta, frame, message_start, text_block, whole

TREE = {
    DecodeError: StreamError,
    LimitExceeded: StreamError,
    ProtocolViolation: StreamError,
    IncompleteStream: StreamError,
    APIError: StreamError,
    ToolInputError: StreamError,
    TransportError: StreamError,
    ConnectError: TransportError,
    ConnectionLost: TransportError,
    DeadlineExceeded: TransportError,
    UnexpectedResponse: TransportError,
}


def test_the_family():
    """Every public error stands under StreamError, as its docs say; a broken tool input is a ValueError too."""
    public = {
        thing
        for name in sansio_step.__all__
        if isinstance(thing := getattr(sansio_step, name), type) and issubclass(thing, BaseException)
    }
    assert public == {StreamError, *TREE}
    for error, base in TREE.items():
        assert error.__bases__[0] is base
    assert issubclass(ToolInputError, ValueError)
    assert not issubclass(DecodeError, ValueError)


BROKEN = frame("message_stop")[:-3] + b"\n\n"


@pytest.mark.parametrize(
    ("body", "bad"),
    [
        (whole() + BROKEN, BROKEN),
        (message_start() + b": c\r\n" + BROKEN, BROKEN),
        (message_start() + b"event: ping\ndata: " + b"x" * 999, b"event: ping"),
        (message_start() + block_start(TEXT) + message_start(id="msg_2"), message_start(id="msg_2")),
    ],
)
def test_every_stream_error_says_where(body, bad):
    """event_number and byte_offset of the frame at fault, and the partial message, on the error that is raised."""
    with pytest.raises(StreamError) as caught:
        list(iter_events([body], max_event_size=400))
    error = caught.value
    assert error.byte_offset == body.rindex(bad)
    assert error.event_number == body[: error.byte_offset].count(b"\n\n")
    assert f"event {error.event_number}, byte {error.byte_offset}" in str(error)
    assert error.partial.id == "msg_1"


def test_place_and_partial_are_none_where_unknown():
    """An error about no stream knows no place, and says none."""
    for call in (lambda: decode_event("{", "ping"), lambda: decode_message(b"{")):
        with pytest.raises(DecodeError) as caught:
            call()
        assert (caught.value.event_number, caught.value.byte_offset, caught.value.partial) == (None, None, None)
        assert "(event" not in str(caught.value)


BIG = "x" * 300_000
LONG = {
    "id of a spliced message": message_start(id=BIG) + block_start(TEXT) + message_start(id=f"2{BIG}"),
    "id of a duplicate": message_start(id=BIG) * 2,
    "event name": frame("ping", _name=BIG),
    "type": frame(BIG, _name="ping"),
    "type without a name": frame(BIG, _name=None),
    "name without a type": b"event: %b\ndata: {}\n\n" % BIG.encode(),
    "foreign name": b"event: %b\ndata: %b\n\n" % (BIG.encode(), BIG.encode()),
    "late type": whole() + frame(BIG),
    "type of a block": whole(block_start({"type": BIG}), block_start(TEXT), block_stop(), delta(text="a")),
    "type with half a character": frame(BIG, a="\ud800"),
    "text that is not JSON": b"event: ping\ndata: %b\n\n" % BIG.encode(),
    "index": frame("content_block_stop", index=BIG),
    "key": frame("message_start", message={"content": {BIG: BIG}}),
    "cut event": b"data: %b" % BIG.encode(),
    "error": frame("error", error={"type": BIG, "message": BIG}),
    "bare error": frame("error", error=BIG),
    "error text": b"event: error\ndata: %b\n\n" % BIG.encode(),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", LONG)
def test_texts_are_short_whatever_the_server_sent(name, strict):
    """Errors, deviations and objects are some hundred characters in a log, even if the server sent megabytes."""
    stream = MessageStream(strict=strict)
    shown = [stream]
    try:
        stream.receive_data(LONG[name])
        stream.receive_eof()
        stream.result()
    except StreamError as error:
        shown.append(error)
    assert stream.deviations or stream.fault or len(shown) == 2
    for thing in (*shown, stream.fault, *stream.deviations, stream.message):
        assert len(str(thing)) < 1000
        assert len(repr(thing)) < 1500


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: StreamError("r"), "r"),
        (lambda: LimitExceeded("max_event_size", 9), "more than 9 bytes (max_event_size)"),
        (lambda: ProtocolViolation("no_type", "x" * 301), "no_type: " + "x" * 300 + "..."),
        (lambda: ProtocolViolation("no_type", "x" * 300), "no_type: " + "x" * 300),
        (lambda: APIError(), "error: no message given"),
        (lambda: APIError("t", "m", status=503), "503 t: m"),
        (lambda: APIError(None, "m", status=0), "0 error: m"),
        (lambda: APIError("t", "m", code="c", status=429), "429 t c: m"),
        (lambda: APIError("t", "m", code="t", details={"a": 1}, extra={"b": 2}), "t: m"),
        (lambda: APIError(None, "m", code=1302), "1302: m"),
        (lambda: APIError("server_error", "m", code=500, status=500), "500 server_error: m"),
        (lambda: APIError(None, "m", code=500, status=500), "500 error: m"),
        (lambda: APIError("t", "m", code=500, status=200), "200 t 500: m"),
        (lambda: APIError("t", "m", code="\x1b\n" + "c" * 90), f"t \\x1b\\n{'c' * 74}...: m"),
        (lambda: APIError("t", "m", code=10**5000), "t an integer of 16610 bits: m"),
        (lambda: ToolInputError("r", "[1", 2), "r (character 2 of 2)"),
        (lambda: DeadlineExceeded("idle", 2.50), "deadline 'idle' of 2.5 seconds passed"),
        (
            lambda: UnexpectedResponse("r", status=200, content_type="", start=b"x" * 61),
            f"r: status 200, content type 'none', body {b'x' * 60!r}...",
        ),
        (
            lambda: UnexpectedResponse("r", status=200, content_type="", start=b"x" * 60),
            f"r: status 200, content type 'none', body {b'x' * 60!r}",
        ),
        (
            lambda: UnexpectedResponse("r", status=302, content_type="text/html"),
            "r: status 302, content type 'text/html', body b''",
        ),
        (
            lambda: UnexpectedResponse("r", status=200, content_type="x" * 301),
            f"r: status 200, content type '{'x' * 300}'..., body b''",
        ),
        (
            lambda: UnexpectedResponse("r", status=200, content_type="\x1b"),
            "r: status 200, content type '\\x1b', body b''",
        ),
    ],
)
def test_what_an_error_says(make, text):
    """What is wrong, in the order of what one asks; its own words are in args, for those that look there."""
    error = make()
    assert str(error) == text
    assert error.args == (error.reason,) == (text,)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@pytest.mark.parametrize(
    ("pieces", "stop", "reason"),
    [
        (["{}"], b"", "the block is not finished (character 2 of 2)"),
        (["[1]"], block_stop(), "tool input is not a JSON object (character 0 of 3)"),
        (
            ['{"a"'],
            block_stop(),
            "broken tool input: the text ends too early: expected ':' after a key (character 4 of 4)",
        ),
    ],
)
def test_why_there_are_no_arguments(pieces, stop, reason):
    """Not finished, not an object, not JSON: each says so, with the place."""
    stream = MessageStream()
    tool = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    stream.receive_data(
        message_start() + block_start(tool) + b"".join(delta(partial_json=piece) for piece in pieces) + stop
    )
    with pytest.raises(ToolInputError) as caught:
        stream.message.tool_uses[0].input  # noqa: B018
    assert str(caught.value) == reason


def test_an_unexpected_response_keeps_what_came():
    """Status, content type and the start of the body, for whoever wants to look closer."""
    error = UnexpectedResponse("r", status=302, content_type="text/html", start=b"<html>")
    assert (error.status, error.content_type, error.start) == (302, "text/html", b"<html>")
    nothing = UnexpectedResponse("r", status=204, content_type="", retryable=True)
    assert (nothing.start, nothing.retryable, error.retryable) == (b"", True, False)


def test_texts_of_errors_about_responses_are_short():
    """So are those of what stands around a stream; the whole words are in the attributes."""
    errors = [
        APIError(BIG, BIG, code=f"c{BIG}", details={BIG: BIG}, extra={BIG: BIG}, request_id=BIG, status=500),
        decode_error(500, {"request-id": BIG}, BIG.encode()),
        UnexpectedResponse("no event stream", status=200, content_type=BIG, start=BIG.encode()),
        ToolInputError("reason", BIG, 3),
        ProtocolViolation("no_type", BIG),
    ]
    for error in errors:
        assert len(str(error)) < 1000
        assert len(repr(error)) < 1000
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert (errors[0].type, errors[0].message, errors[0].request_id) == (BIG, BIG, BIG)
    assert errors[2].content_type == BIG


def api_errors(wire):
    """The error of an envelope, by each of the doors through which one comes."""
    yield decode_error(500, {}, json.dumps(wire))
    if wire.get("error") is None and wire.get("type") != "error":
        return  # no envelope but for the status
    with pytest.raises(APIError) as caught:
        decode_message(json.dumps(wire))
    yield caught.value
    if wire.get("type") not in (None, "error"):
        return  # in a stream an event of another type
    for body in (
        message_start() + b"event: error\ndata: %b\n\n" % json.dumps(wire).encode(),
        message_start() + b"data: %b\n\n" % json.dumps(wire).encode(),
    ):
        with pytest.raises(APIError) as caught:
            parse(body)
        yield caught.value


@pytest.mark.parametrize(
    ("wire", "code", "details", "extra"),
    [
        ({"type": "error", "error": {"type": "t", "message": "m"}}, None, None, {}),
        ({"type": "error", "error": {"type": "t", "message": "m"}, "request_id": "r"}, None, None, {}),
        (
            {"type": "error", "error": {"type": "t", "message": "m", "details": {"error_code": "c", "limit": 5}}},
            "c",
            {"error_code": "c", "limit": 5},
            {},
        ),
        # The first party's code is the first; what another is called so stays where it was.
        (
            {"error": {"type": "t", "message": "m", "code": "other", "details": {"error_code": "c"}}, "code": 9},
            "c",
            {"error_code": "c"},
            {"code": 9, "error": {"code": "other"}},
        ),
        ({"error": {"type": "t", "message": "m", "code": "c", "details": {"a": 1}}}, "c", {"a": 1}, {}),
        ({"error": {"type": "t", "message": "m", "code": "c"}, "code": "d"}, "c", None, {"code": "d"}),
        ({"error": {"type": "t", "message": "m", "code": "c"}, "code": "c", "message": "m"}, "c", None, {}),
        ({"error": {"type": "t", "message": "m", "code": 1}, "code": True}, 1, None, {"code": True}),
        ({"error": {"type": "t", "message": "m"}, "code": "c", "details": {"a": 1}}, "c", {"a": 1}, {}),
        ({"error": {"type": "t", "message": "m", "code": 1302}}, 1302, None, {}),
        ({"error": {"type": "t", "message": "m", "code": 0}}, 0, None, {}),
        ({"error": {"type": "t", "message": "m", "code": ""}, "code": "c"}, "c", None, {"error": {"code": ""}}),
        (
            {"error": {"type": "t", "message": "m", "status": 500, "param": None}, "success": False, "trace": {"id": 1}},
            None,
            None,
            {"success": False, "trace": {"id": 1}, "error": {"status": 500, "param": None}},
        ),
        ({"type": "t", "error": {"message": "m", "extra": {"a": 1}}, "extra": 2}, None, None,
         {"error": {"extra": {"a": 1}}, "extra": 2}),
        ({"type": "error", "error": None, "message": "m", "code": "c", "type_": 1}, "c", None, {"type_": 1}),
        ({"type": "t", "message": "m", "code": "c", "a": 1}, "c", None, {"a": 1}),
        # Of a wrong type, and so no attribute: kept all the same.
        ({"error": {"type": "t", "message": "m", "code": True}}, None, None, {"error": {"code": True}}),
        ({"error": {"type": "t", "message": "m", "code": 1.5}}, None, None, {"error": {"code": 1.5}}),
        ({"error": {"type": "t", "message": "m", "code": ["c"]}}, None, None, {"error": {"code": ["c"]}}),
        ({"error": {"type": "t", "message": "m", "code": {"error_code": "c"}}}, None, None,
         {"error": {"code": {"error_code": "c"}}}),
        ({"error": {"type": "t", "message": "m", "details": ["c"]}}, None, None, {"error": {"details": ["c"]}}),
        ({"error": {"type": "t", "message": "m", "details": {"error_code": None}}}, None, {"error_code": None}, {}),
        ({"error": {"type": "t", "message": "m", "details": {"error_code": ["c"]}, "code": "d"}}, "d",
         {"error_code": ["c"]}, {}),
        ({"error": {"type": "t", "message": "m", "details": {"error_code": ""}, "code": "d"}}, "d", {"error_code": ""}, {}),
        ({"error": {"type": "t", "message": "m"}, "request_id": 5}, None, None, {"request_id": 5}),
        ({"error": {"type": 5, "message": "m"}}, None, None, {"error": {"type": 5}}),
        ({"error": {"type": "t", "message": {"a": 1}}}, None, None, {"error": {"message": {"a": 1}}}),
        ({"error": {"type": "t", "message": "m", "isRetryable": "no"}}, None, None, {"error": {"isRetryable": "no"}}),
    ],
)  # fmt: skip
def test_an_api_error_keeps_what_the_server_said(wire, code, details, extra):
    """Each field is an attribute, or in `extra` where it stood; the same by every door; copies have it all."""
    doors = 0
    for error in api_errors(wire):
        assert error.code == code
        assert type(error.code) is type(code)
        assert (error.details, error.extra) == (details, extra)
        assert error.request_id == ("r" if wire.get("request_id") == "r" else None)
        kept = extra.get("error", {})
        untyped = "type" in kept or wire.get("error", wire) is None
        assert (error.type, error.message) == (None if untyped else "t", None if "message" in kept else "m")
        twin = pickle.loads(pickle.dumps(error))
        assert (twin.code, twin.details, twin.extra) == (code, details, extra)
        assert twin.retryable == error.retryable
        doors += 1
    assert doors in (1, 2, 4)


@pytest.mark.parametrize(("said", "shown"), [([1, {"a": "\u4f60"}], '[1,{"a":"\u4f60"}]'), (5, "5"), (False, "false")])
def test_an_error_that_is_neither_object_nor_text(said, shown):
    """Its JSON is the message."""
    for error in api_errors({"error": said, "a": 1}):
        assert (error.type, error.message, error.extra) == (None, shown, {"a": 1})


def test_an_error_event_without_a_word():
    """Its error has none, and makes none up."""
    with pytest.raises(APIError) as caught:
        parse(message_start() + b"event: error\ndata:\n\n")
    error = caught.value
    assert (error.type, error.message, error.code, error.details, error.extra) == (None, None, None, None, {})


def test_an_api_error_by_hand_has_a_dict_of_its_own():
    """`extra` can be read without a look whether there is one, and is nobody else's."""
    assert APIError().extra == {}
    assert APIError().extra is not APIError().extra
    assert (APIError().code, APIError().details) == (None, None)


def test_a_deep_error_leaves_no_recursion_error():
    """An error that is not a text is written as JSON without recursion: a caller's deep stack does not make it fail."""
    deep = "[" * 190 + "]" * 190

    def down(levels):
        if levels:
            return down(levels - 1)
        event = decode_event(f'{{"error":{deep}}}', "error")
        return event.error.message, decode_error(500, {}, f'{{"error":{deep}}}').message

    # Left is what the calls themselves need, with room for pytest's frames: less than the levels of the value.
    room = sys.getrecursionlimit() - len(inspect.stack()) - 60
    assert down(room) == (deep, deep)


# WIRE's table of types and statuses, and StepFun's; which are worth a retry.
STATUSES = {
    400: ("invalid_request_error", False), 401: ("authentication_error", False), 402: ("billing_error", False),
    403: ("permission_error", False), 404: ("not_found_error", False), 413: ("request_too_large", False),
    429: ("rate_limit_error", True), 500: ("api_error", True), 504: ("timeout_error", True), 529: ("overloaded_error", True),
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
def test_type_and_status_agree_on_a_retry(status):
    """An error event has a type and no status; it is worth a retry if its status would be."""
    kind, retryable = STATUSES[status]
    assert APIError(kind, "m").retryable is retryable
    assert APIError(kind, "m", status=status).retryable is retryable
    assert APIError("new_error", "m", status=status).retryable is retryable


def test_a_retry_is_for_408_409_429_and_5xx():
    """Of all statuses, these and no other."""
    worth = {status for status in range(400, 600) if APIError(None, None, status=status).retryable}
    assert worth == {408, 409, 429, *range(500, 600)}


PASSING = [
    "overloaded_error", "api_error", "timeout_error", "rate_limit_error", "rate_limit_exceeded", "server_error",
    "internal_error", "internal_server_error", "service_unavailable", "engine_overloaded", "model_overloaded",
    "internalServerException", "modelStreamErrorException", "throttlingException", "serviceUnavailableException",
    "modelTimeoutException",
]  # fmt: skip
STAYING = [
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large",
    "validationException", "Overloaded_Error", "InternalServerException", "api_error ", "", "censorship_blocked",
]  # fmt: skip


@pytest.mark.parametrize("name", [*PASSING, *STAYING])
def test_a_name_stands_for_a_status(name):
    """Without a status a failure's name tells whether it passes, as type or as code, spelt as on the wire."""
    worth = name in PASSING
    assert APIError(name, "m").retryable is worth
    assert APIError(None, "m", code=name).retryable is worth
    assert APIError(name, "m", status=200).retryable is worth
    assert APIError(name, "m", status=400).retryable is False
    assert APIError(name, "m", status=503).retryable is True


MONEY = [
    "contract_spend_limit_reached", "enforced_spend_limit_reached", "linked_organization_spend_limit_reached",
    "organization_spend_limit_exceeded", "billing_error", "billing_hard_limit_reached",
    "linked_organization_billing_unavailable", "quota_exceeded", "terminal_quota_exhausted", "insufficient_quota",
    "insufficient_balance", "insufficient_credits", "insufficient_funds",
]  # fmt: skip


@pytest.mark.parametrize("name", MONEY)
@pytest.mark.parametrize("status", [None, 402, 429, 500, 529])
def test_no_wait_lifts_a_limit_of_money(name, status):
    """A spend limit, billing, a used-up quota: final under any status, as type or as code, whatever else is named."""
    assert APIError(name, "m", status=status).retryable is False
    assert APIError("rate_limit_error", "m", code=name, status=status).retryable is False
    assert APIError(name, "m", code="overloaded_error", status=status).retryable is False


@pytest.mark.parametrize(
    "code", ["ramp_limit_exceeded", "request_quota_per_minute", "insufficient_capacity", 402, None]
)
def test_other_limits_pass(code):
    """A limit on how fast one asks is the usual 429; so is one whose code says nothing here."""
    assert APIError("rate_limit_error", "m", code=code, status=429).retryable is True


@pytest.mark.parametrize("word", [True, False])
def test_the_servers_own_word_on_a_retry(word):
    """`isRetryable` counts over names and status, in the error object and beside it; the object's own is the first."""
    for more in (
        {"status": 400},
        {"status": 529},
        {"type": "overloaded_error"},
        {"code": "quota_exceeded", "status": 429},
    ):
        assert APIError(**more, extra={"error": {"isRetryable": word}}).retryable is word
        assert APIError(**more, extra={"isRetryable": word}).retryable is word
        assert APIError(**more, extra={"isRetryable": not word, "error": {"isRetryable": word}}).retryable is word
    for wire in ({"error": {"type": "t", "isRetryable": word}}, {"error": {"type": "t"}, "isRetryable": word}):
        assert [error.retryable for error in api_errors(wire)] == [word] * 4


@pytest.mark.parametrize(
    "extra", [{"isRetryable": "true"}, {"isRetryable": 1}, {"error": [1]}, {"error": {"isRetryable": None}}]
)
def test_a_word_that_is_none(extra):
    """A value that is not a boolean says nothing."""
    assert APIError(status=400, extra=extra).retryable is False
    assert APIError(status=503, extra={**extra, "isRetryable": None}).retryable is True


@pytest.mark.parametrize("error", [
    StreamError("r"), DecodeError("r"), LimitExceeded("max_event_size", 5), ProtocolViolation("no_type", "d"), IncompleteStream("r"),
    APIError("t", "m", code=5, details={"a": [1]}, extra={"b": {}}, request_id="q", status=429), APIError(), ToolInputError("r", "{", 1), TransportError("r"), ConnectError("r"),
    ConnectionLost("r"), DeadlineExceeded("idle", 1.5), UnexpectedResponse("r", status=200, content_type="t", start=b"<"),
], ids=lambda error: type(error).__name__)  # fmt: skip
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_pickles_with_every_protocol(error, protocol):
    """Class, text, arguments and every attribute come back, the partial message among them."""
    error = copy.copy(error)
    error.event_number, error.byte_offset = 1, 2
    error.partial = parse(whole(text_block("a")))
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is type(error)
    assert (str(twin), twin.args) == (str(error), error.args)
    assert vars(twin) == vars(error)


def test_an_error_of_a_live_stream_pickles():
    """The partial message of a stream that goes on is that of the moment."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="a"))
    with pytest.raises(IncompleteStream) as caught:
        stream.result()
    twin = pickle.loads(pickle.dumps(caught.value))
    stream.receive_data(delta(text="b"))
    assert (twin.partial.text, stream.message.text) == ("a", "ab")


def test_errors_of_the_source_are_not_the_streams():
    """What the iterable of chunks raises goes through parse and iter_events as it is, a StreamError too."""
    lost = ConnectionLost("reset by peer")

    def source():
        yield message_start()
        raise lost

    for call in (lambda: parse(source()), lambda: list(iter_events(source()))):
        with pytest.raises(ConnectionLost) as caught:
            call()
        assert caught.value is lost


def test_a_deviation_is_a_value():
    """Frozen, comparable, with a text of its own."""
    one = Deviation("no_type", 3, "detail", 2)
    assert one == Deviation("no_type", 3, "detail", 2)
    assert hash(one) == hash(Deviation("no_type", 3, "detail", 2))
    assert str(one) == "no_type at event 3, 2 times: detail"
    assert str(Deviation("no_type", 3, "detail")) == "no_type at event 3: detail"
    with pytest.raises(AttributeError):
        one.count = 3
