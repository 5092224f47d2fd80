"""What is served: files in every form, messages, echoes; and which request gets which of them."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from faultserver import DOCUMENT, HALF, OVERLOADED, REQUEST, WHOLE
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    AWSFrame,
    IncompleteStream,
    Message,
    MessageRequest,
    StreamError,
    ToolUseBlock,
    decode_message,
    encode_aws_frame,
    iter_events,
    parse,
    to_dict,
    to_json,
)
from sansio_step.testing import messages
from sansio_step_adapters._replay.captures import resolved
from sansio_step_adapters._replay.rules import NoAnswer, Selection
from sansio_step_adapters.record import Recorder
from sansio_step_adapters.replay import (
    Capture,
    Dials,
    Failure,
    Rule,
    echo,
    load_capture,
    message_capture,
    read_script,
    serve,
)

MESSAGE = decode_message(DOCUMENT)
ERROR = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
HTTP = b"HTTP/1.1 %d OK\r\ncontent-type: %s\r\nset-cookie: a=b\r\nretry-after: 7\r\n\r\n"


def saved(folder: Path, data: bytes, name: str = "sky.sse") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def recorded(path: Path, pieces: list[bytes], error: Exception | None = None, **head: Any) -> Path:
    """A recording whose head comes after a second, each read a second later, the end one after that."""
    seconds = iter(range(100))
    recorder = Recorder(path, clock=lambda: next(seconds) * 1_000_000_000)
    recorder.receive_head(**{"status": 200, "headers": {}, **head})
    for piece in pieces:
        recorder.receive_data(piece)
    recorder.receive_eof(error)
    return path


def asked(**fields: Any) -> MessageRequest:
    return MessageRequest(**{**REQUEST, **fields})


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [WHOLE, gzip.compress(WHOLE), HTTP % (200, b"text/event-stream") + WHOLE, b"\xef\xbb\xbf" + WHOLE, HALF]
)
def test_an_event_stream_is_served_as_it_is(tmp_path: Path, data: bytes) -> None:
    """In whatever form it was saved; nothing of the body is changed."""
    capture = load_capture(saved(tmp_path, data))
    assert capture.body == (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data[data.find(b"\r\n\r\n") + 4 :] if data[:4] == b"HTTP" else data)  # fmt: skip
    assert (capture.status, capture.name, capture.is_error, list(capture.reads)) == (200, "sky", False, [])


def test_a_recording_has_its_times(tmp_path: Path) -> None:
    path = recorded(tmp_path / "sky", [WHOLE[:100], WHOLE[100:]])
    capture = load_capture(path)
    assert capture == load_capture(tmp_path / "sky.sse") == load_capture(tmp_path / "sky.times.jsonl")
    assert (capture.body, capture.name, capture.is_broken) == (WHOLE, "sky", False)
    second = 1_000_000_000
    assert (capture.head_ns, capture.end_ns) == (second, 4 * second)
    assert list(capture.reads) == [(0, 2 * second), (100, 3 * second)]


def test_the_times_of_a_compressed_recording(tmp_path: Path) -> None:
    """They are those of the decoded bytes."""
    data = gzip.compress(WHOLE)
    capture = load_capture(recorded(tmp_path / "sky", [data[:5], data[5:]], headers={"content-encoding": "gzip"}))
    assert capture.body == WHOLE
    assert {ns for _, ns in capture.reads} == {3_000_000_000}, "the first read is nothing but gzip's head"
    assert "content-encoding" not in capture.headers


def test_a_recording_that_broke(tmp_path: Path) -> None:
    assert load_capture(recorded(tmp_path / "sky", [HALF], OSError("reset"))).is_broken


def aws(body: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": "chunk"}
    payloads = ({"bytes": base64.b64encode(to_json(event)).decode()} for event in iter_events([body]))
    return b"".join(encode_aws_frame(AWSFrame(headers, json.dumps(payload).encode())) for payload in payloads)


def test_aws_frames_become_an_event_stream(tmp_path: Path) -> None:
    """Which clients of this endpoint read; the recorded content type was that of the frames."""
    head = {"content-type": "application/vnd.amazon.eventstream", "retry-after": "1"}
    capture = load_capture(recorded(tmp_path / "sky", [aws(WHOLE)], headers=head))
    assert list(iter_events([capture.body])) == list(iter_events([WHOLE]))
    assert capture.headers == {"retry-after": "1"}
    assert [offset for offset, _ in capture.reads] == [0]
    with pytest.raises(ValueError, match="broken.sse: "):
        load_capture(saved(tmp_path, aws(WHOLE)[:-1] + b"?", "broken.sse"))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("sky.sse", "sky"),
        ("sky.json.gz", "sky"),
        ("step-3.7-flash.sse", "step-3.7-flash"),
        ("sky", "sky"),
        ("sky.sse.zst", "sky"),
    ],
)
def test_a_capture_has_the_name_of_its_file(tmp_path: Path, name: str, stem: str) -> None:
    assert load_capture(saved(tmp_path, WHOLE, name)).name == stem


def test_a_recording_named_without_its_ending(tmp_path: Path) -> None:
    """A model's name has dots, which are no ending."""
    recorded(tmp_path / "step-3.7-flash", [WHOLE])
    assert load_capture(tmp_path / "step-3.7-flash").name == "step-3.7-flash"


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        (HTTP % (529, b"text/event-stream") + OVERLOADED, 529, "text/event-stream"),
        (HTTP % (404, b"text/html") + b"<p>Not here", 404, "text/html"),
        (HTTP % (429, b"application/json") + ERROR, 429, "application/json"),
        (ERROR, 429, "application/json"),
        (b'{"error":{"type":"of_a_vendor","message":"m"}}', 500, "application/json"),
    ],
)
def test_an_error_is_an_error_again(tmp_path: Path, data: bytes, status: int, kind: str) -> None:
    """With its status, that of its type if it was saved without a head; and the headers that clients heed."""
    capture = load_capture(saved(tmp_path, data))
    assert (capture.status, capture.is_error, capture.headers["content-type"]) == (status, True, kind)
    assert capture.body == data.rpartition(b"\r\n\r\n")[2]
    assert capture.headers.keys() <= {"content-type", "retry-after"}


@pytest.mark.parametrize("data", [b'{"a":1}', b"{", b'{"type":"ping"}\n{"type":"ping"}', b"[1]" * 0 + b'{"x":' * 300])
def test_json_that_is_no_message(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match="sky.json: it is neither an event stream nor a message"):
        load_capture(saved(tmp_path, data, "sky.json"))


@pytest.mark.parametrize(
    "head",
    [
        b"100 Continue",
        b"204 No Content",
        b"304 Not Modified",
        b"200 OK\r\nretry-after: a\0b",
        b"200 OK\r\nretry-after: \x1b",
    ],
)
def test_a_head_that_http_cant_carry(tmp_path: Path, head: bytes) -> None:
    """It is said when the file is read: an answer with it would be none."""
    with pytest.raises(ValueError, match=r"sky\.sse: (status|headers): [ -~]+$"):
        load_capture(saved(tmp_path, b"HTTP/1.1 " + head + b"\r\n\r\n" + WHOLE))


@pytest.mark.parametrize("value", ["茶", "a\r\nb: c", " a", "a\t"])
def test_a_capture_with_such_a_head_cant_be_made(value: str) -> None:
    with pytest.raises(ValueError, match="headers: content-type is '"):
        Capture(WHOLE, headers={"content-type": value})


def test_a_head_in_latin_1_goes_out_as_it_came(tmp_path: Path) -> None:
    """HTTP has bytes there, and curl saves them."""
    kind = "text/event-stream; by=Café".encode("latin-1")
    with serve(saved(tmp_path, HTTP % (200, kind) + WHOLE)) as server:
        body = json.dumps({**REQUEST, "stream": True}).encode()
        request = urllib.request.Request(server.base_url + "/v1/messages", body)  # noqa: S310, our own server
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310, the same
            assert response.headers["content-type"].encode("latin-1", "surrogateescape") == kind
            assert response.read() == WHOLE


@pytest.mark.parametrize("content", [None, b"\x1f\x8bno gzip"])
def test_what_cant_be_read(tmp_path: Path, content: bytes | None) -> None:
    """One line that names the file, whatever it is that is wrong; when the server is made, not when it is asked."""
    path = tmp_path / "sky.sse"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sky\.sse: [^\n]+$"):
        serve(path)


def test_a_bomb(tmp_path: Path) -> None:
    """What does not fit is refused, before it fills the memory."""
    piece = gzip.compress(b":" * 2**24)
    with pytest.raises(ValueError, match=r"sky\.sse: it is larger than 268435456 bytes"):
        load_capture(saved(tmp_path, piece * 20))


def test_a_capture_that_begins_as_json_does(tmp_path: Path) -> None:
    """An error that was written bare into a stream makes no document of it."""
    body = b'{"error":"warming up"}\n' + WHOLE
    assert load_capture(saved(tmp_path, body)).body == body


# --- messages --------------------------------------------------------------------------------------------------------


@given(messages())
def test_a_message_is_served_as_the_stream_that_builds_it(message: Message) -> None:
    """And as itself to those who ask for no stream. A message that was cut stays one."""
    capture = message_capture(message)
    try:
        assert to_dict(parse(capture.body)) == to_dict(message)
    except IncompleteStream as error:
        assert not all(block.is_finished for block in message.content)
        assert error.partial is None or to_dict(error.partial) == to_dict(message)
    assert capture.as_document() == to_json(message)


def test_the_arguments_of_a_message_come_in_pieces() -> None:
    """As a model writes them, though the document has them whole; and the message that was given stays as it is."""
    call = ToolUseBlock(id="toolu_1", name="weather", input={"city": "Hangzhou", "days": 3})
    message = Message(role="assistant", model="m", content=[call, ToolUseBlock(id="toolu_2", name="now")])
    pieces = [
        event.delta.partial_json
        for event in iter_events([message_capture(message).body])
        if event.type == "content_block_delta" and event.delta.type == "input_json_delta"
    ]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == call.input
    assert call.input_json == ""


def test_a_file_with_a_message(tmp_path: Path) -> None:
    capture = load_capture(saved(tmp_path, DOCUMENT, "sky.json"))
    assert to_dict(parse(capture.body)) == to_dict(MESSAGE)
    assert json.loads(capture.as_document()) == to_dict(MESSAGE)


# --- echoes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "text"),
    [
        ([("user", "a"), ("assistant", "b"), ("user", "c")], "c"),
        ([("user", "a"), ("assistant", "b")], "a"),
        ([("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], "a\nb"),
        ([("user", [{"type": "tool_result", "tool_use_id": "t", "content": "found"}])], "found"),
        ([("user", [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}])], "x"),
        ([("user", [{"type": "tool_result", "tool_use_id": "t"}])], ""),
        ([("user", [{"type": "container_upload", "file_id": "f"}])], ""),
        ([("assistant", "b")], ""),
    ],
)
def test_an_echo_says_the_last_text(turns: list[tuple[str, Any]], text: str) -> None:
    """Of the user's, results of tools among it, as a message that is legal and whole."""
    message = echo(asked(messages=[{"role": role, "content": content} for role, content in turns]))
    assert message.text == text
    assert to_dict(parse(message_capture(message).body, strict=True)) == to_dict(message)
    assert (message.model, message.stop_reason) == (REQUEST["model"], "end_turn")


def test_a_blank_text_is_no_block_of_an_echo() -> None:
    assert echo(asked(messages=[{"role": "user", "content": ""}])).content == []


def test_the_ids_of_echoes_differ() -> None:
    """By what was asked, so that the same question gives the same bytes."""
    one, other = asked(), asked(messages=[{"role": "user", "content": "Bye"}])
    assert echo(one).id == echo(one).id != echo(other).id


def test_a_function_answers() -> None:
    """With anything that can be served, another function among it."""
    made: list[Any] = [WHOLE, MESSAGE, message_capture(MESSAGE), lambda request: echo]
    texts = [parse(resolved(lambda request, one=one: one, asked()).body).text for one in made]
    assert texts == ["Hello", "Hello", "Hello", "Hello"]


# --- which request gets what -----------------------------------------------------------------------------------------


def chosen(selection: Selection, **fields: Any) -> Any:
    found, _ = selection.choose(asked(**fields))
    return found.name if isinstance(found, Capture) else found


def named(*names: str) -> list[Capture]:
    return [Capture(WHOLE, name) for name in names]


def test_by_model_and_else_in_turn() -> None:
    """Those with a name of their own take nobody's turn."""
    selection = Selection(named("a", "b", ""))
    assert [chosen(selection, model=model) for model in ("x", "b", "x", "b", "x", "x")] == ["a", "b", "b", "b", "", "a"]
    assert selection.names == ["a", "b"]


def test_by_order_alone() -> None:
    selection = Selection(named("a", "b"), by="order")
    assert [chosen(selection, model="b") for _ in range(3)] == ["a", "b", "a"]
    assert selection.names == []


def test_by_model_alone() -> None:
    selection = Selection(named("a", "b"), by="model")
    assert chosen(selection, model="b") == "b"
    with pytest.raises(NoAnswer, match="model: x"):
        chosen(selection, model="x")
    with pytest.raises(ValueError, match="by: "):
        Selection([WHOLE], by="model")


def test_the_first_of_a_name() -> None:
    first, second = Capture(WHOLE, "a"), Capture(HALF, "a")
    selection = Selection([first, *named("b"), second])
    assert selection.choose(asked(model="a"))[0] is first
    assert selection.names == ["a", "b"]


def test_rules_come_first() -> None:
    """The first that is for a request and not used up; a shell's pattern, words of the last text, stream or not."""
    rules = [
        Rule(b"1", model="step-*", times=1),
        Rule(b"2", says="ell", stream=True),
        Rule(b"3", says="nothing like it"),
        Rule(b"4", times=2, model="step-*"),
    ]
    selection = Selection([b"else"], rules)
    asks = [{}, {"stream": True}, {}, {"model": "other"}, {}, {}, {"stream": True}]
    assert [chosen(selection, **fields) for fields in asks] == [b"1", b"2", b"4", b"else", b"4", b"else", b"2"]


def test_a_rule_without_an_answer_turns_dials() -> None:
    """Of what the request gets anyway; what it does not turn is as the server has it."""
    selection = Selection([b"a", b"b"], [Rule(times=1, dials=Dials(cut=3))], dials=Dials(pace=2, cut=9))
    assert selection.choose(asked()) == (b"a", Dials(pace=2, cut=3))
    assert selection.choose(asked()) == (b"b", Dials(pace=2, cut=9))


def test_an_error_takes_no_turn() -> None:
    """But one in the stream of a capture does."""
    rules = [Rule(times=1, dials=Dials(error="api_error")), Rule(times=1, dials=Dials(error="api_error@1"))]
    selection = Selection([b"a", b"b"], rules)
    assert [chosen(selection) for _ in range(3)] == [b"", b"a", b"b"]


def test_nothing_for_a_request() -> None:
    """A rule that has nothing to give is not used up by it."""
    selection = Selection(
        [], [Rule(b"1", model="a"), Rule(model="b", times=1), Rule(model="e", dials=Dials(error="x"))]
    )
    for model in ("b", "c"):
        with pytest.raises(NoAnswer, match="no rule"):
            chosen(selection, model=model)
    assert (chosen(selection, model="a"), chosen(selection, model="e")) == (b"1", b"")


# --- scripts ---------------------------------------------------------------------------------------------------------


def script(folder: Path, rules: object) -> Path:
    data = rules if isinstance(rules, bytes) else json.dumps(rules).encode()
    return saved(folder, data, "script.json")


def test_a_script(tmp_path: Path) -> None:
    """Each key of a rule; a file is beside the script, wherever the program runs."""
    saved(tmp_path, WHOLE, "sky.sse")
    rules = read_script(
        script(
            tmp_path,
            [
                {"times": 2, "error": "overloaded_error"},
                {"error": {"type": "rate_limit_error", "message": "later", "retry_after": 3}},
                {"model": "step-*", "says": "sky", "stream": True, "file": "sky.sse", "pace": "recorded", "chunk": 7},
                {"text": "Hi", "latency": 1, "ping": 0.5, "fail_after": 3, "cut": "20B"},
                {"message": to_dict(MESSAGE)},
                {"echo": True},
            ],
        )
    )
    busy, later, sky, text, message, echoed = rules
    assert (busy.answer, busy.times, busy.dials) == (None, 2, Dials(error="overloaded_error"))
    assert later.dials.failure == Failure("rate_limit_error", "later", retry_after=3)
    assert (sky.model, sky.says, sky.stream) == ("step-*", "sky", True)
    assert sky.answer == load_capture(tmp_path / "sky.sse")
    assert sky.dials == Dials(pace="recorded", chunk_size=7)
    assert text.dials == Dials(latency=1, ping=0.5, fail_after=3, cut="20B")
    said = [parse(resolved(rule.answer, asked()).body) for rule in (text, message, echoed) if rule.answer is not None]
    assert [one.text for one in said] == ["Hi", "Hello", "Hello"]
    assert all(one.stop_reason == "end_turn" for one in said)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "Expected `array`"),
        ([], "no rule"),
        ([{"modell": "x"}], "unknown field `modell`"),
        ([{"times": 0}], "times: 0 is less than 1"),
        ([{"times": "2"}], r"Expected `int \| null`, got `str` - at `\$\[0\]\.times`"),
        ([{"text": "a", "echo": True}], "text and echo: a rule gives one of them"),
        ([{"pace": -1}], "pace: -1.0 is no number of seconds"),
        ([{"pace": "slow"}], "slow"),
        ([{"error": {"type": "x", "status": 200}}], "200 is no status"),
        ([{"error": "x@y"}], "error: 'y' is no number"),
        ([{"file": "nowhere.sse"}], "nowhere.sse: No such file"),
        ([{"message": {"type": "nonsense"}}], "not a message"),
        (b"[", "truncated"),
        (b'[{"text":"\xff"}]', "UTF-8|utf-8|Invalid"),
        (b"[" * 100_000, "recursion|Expected"),
    ],
)
def test_a_script_that_is_wrong(tmp_path: Path, rules: object, words: str) -> None:
    """One line, which names the script and, where it can, the place."""
    with pytest.raises(ValueError, match=rf"script\.json: [^\n]*({words})[^\n]*$"):
        read_script(script(tmp_path, rules))


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_script(tmp_path / "script.json")


@given(st.binary(max_size=60))
def test_no_file_is_more_than_a_value_error(data: bytes) -> None:
    """Whatever a file holds, it is served or refused."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            capture = load_capture(saved(Path(folder), data))
        except ValueError:
            return
        try:
            capture.as_document()
        except StreamError:
            pass
