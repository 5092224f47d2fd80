"""The rules of a check: each is red for a stream that breaks it, and silent for one that doesn't."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sansio_step import AWSFrame, encode_aws_frame, iter_events, to_json
from sansio_step._deviations import READINGS
from sansio_step_adapters.check import (
    CODES,
    CaptureCheck,
    Finding,
    Limits,
    Severity,
    check_body,
    check_capture,
    check_codes,
    failing,
)
from sansio_step_adapters.check._codes import CORE, OWN
from sansio_step_adapters.check._observation import Observation
from sansio_step_adapters.cli import _captures
from sansio_step_adapters.record import Recorder

from .shared import CORPUS, needs_corpus, streams

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
HEAD = {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1"}
JSON = {"content-type": "application/json", "request-id": "req_1"}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def start(**changes: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    message |= {"usage": {"input_tokens": 3, "output_tokens": 1}} | changes
    return event("message_start", message=message)


def delta(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def opens(index: int = 0, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block or {"type": "text", "text": ""})


def call(arguments: str, *, index: int = 0, id: str | None = "toolu_1") -> bytes:
    block = {"type": "tool_use", "id": id, "name": "weather", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": arguments}
    return opens(index, **block) + event("content_block_delta", index=index, delta=piece) + ends(index)


def ends(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


def reason(stop: str | None = "end_turn", output_tokens: int | None = 9) -> bytes:
    usage = {} if output_tokens is None else {"output_tokens": output_tokens}
    return event("message_delta", delta={"stop_reason": stop}, usage=usage)


STOP = event("message_stop")
PING = event("ping")
TEXT = opens() + delta("Hel") + delta("lo") + ends()
GOOD = start() + TEXT + reason() + STOP
DOCUMENT: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hello"}], "usage": {"input_tokens": 3, "output_tokens": 9},
}  # fmt: skip


def codes(findings: Iterable[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def checked(body: Any, headers: dict[str, str] = HEAD, status: int = 200, **more: Any) -> list[Finding]:
    return check_body(body, status=status, headers=headers, **more)


def timed(*pieces: tuple[bytes, float]) -> list[Finding]:
    return checked(pieces)


def document(**changes: Any) -> bytes:
    kept = {name: value for name, value in (DOCUMENT | changes).items() if value is not ...}
    return json.dumps(kept).encode()


def error(kind: str = "invalid_request_error", **envelope: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": "no"}} | envelope).encode()


# --- the table and the page ------------------------------------------------------------------------------


def test_the_table_has_every_code_of_the_core():
    """A new deviation has to be given a severity here."""
    assert CORE.keys() == READINGS.keys()
    assert not CORE.keys() & OWN.keys()


def test_the_page_has_a_heading_for_each_code_and_for_nothing_else():
    headings = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(CODES)


@pytest.mark.parametrize("code", CODES)
def test_the_page_says_what_the_tables_say(code):
    """The first lines under a heading are the tables' own, and something of the page's own follows."""
    section = PAGE.partition(f"\n### {code}\n\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    first, _, prose = section.partition("\n\n")
    if code in CORE:
        came, read = READINGS[code]
        expected = f"**{CODES[code].value}**: {came}. Read: {read}."
    else:
        expected = f"**{CODES[code].value}**: {OWN[code].what}."
    assert re.sub(r"\s+", " ", first) == expected
    assert len(prose.split()) > 8


# --- good streams ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (GOOD, HEAD),
        (_captures.first_party(), HEAD),
        (GOOD + GOOD.replace(b"msg_1", b"msg_2"), HEAD),
        (start() + call('{"city": "杭州"}') + reason("tool_use") + STOP, HEAD),
        (start() + call('{"city": "Ha') + reason("max_tokens") + STOP, HEAD),
        (PING + GOOD + PING, HEAD),
        # Content that the start brings whole, of which the first party counts no output.
        (start(content=[{"type": "text", "text": "Hello"}], stop_reason="end_turn", usage={"output_tokens": 0}) + STOP, HEAD),
        (b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n"), HEAD),
        (document(), JSON),
        (b" " + document(), JSON),
    ],
)  # fmt: skip
def test_what_is_good_has_no_finding(body, headers):
    """However it is cut, and with its head known or not."""
    assert checked(body, headers) == []
    assert checked([body[at : at + 7] for at in range(0, len(body), 7)], headers) == []
    assert check_body(body) == []


@needs_corpus
@pytest.mark.parametrize("path", streams(), ids=lambda path: path.stem[:60])
def test_streams_of_good_vendors_have_no_false_findings(path):
    """What was recorded from servers that go by the letter is good, but for what the storing of it cut off."""
    entry = {each["name"]: each for each in json.loads((CORPUS / "manifest.json").read_bytes())}[path.stem]
    if entry["provenance"] != "recorded" or entry["vendor"] == "openrouter":
        pytest.skip("not recorded from such a vendor")
    findings = [each for each in check_capture(str(path)) if each.severity is not Severity.NOTE]
    assert findings == []


@needs_corpus
def test_a_gateway_that_adds_done_is_found():
    found = check_capture(str(CORPUS / "rig--gateway-message-delta-metadata.sse"))
    assert codes(found) == ["foreign_data", "event_after_stop"]
    assert (found[0].event_number, found[0].byte_offset) == (9, 1933)


# --- what the core says ----------------------------------------------------------------------------------


def test_a_deviation_has_its_place_and_its_count():
    """Number, byte and time of the first event that shows it, in a body of two messages too."""
    nameless = GOOD.replace(b"event: content_block_delta\n", b"")
    found = checked([(start(), 0.5), (nameless[len(start()) :], 1.25), (nameless.replace(b"msg_1", b"msg_2"), 2.0)])
    assert codes(found) == ["no_event_line"]
    (finding,) = found
    assert (finding.severity, finding.event_number, finding.count) == (Severity.ERROR, 2, 4)
    assert finding.byte_offset == len(start() + opens())
    assert finding.time == 1.25
    assert finding.more == "docs/deviations.md#no_event_line"
    assert str(finding).startswith(f"error: no_event_line (event 2, byte {finding.byte_offset}, 1.250 s, 4 times): ")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 1000])
def test_an_event_begins_after_the_comments_before_it(end, size):
    """A frame of comments is a frame of its own, however its line ends are cut."""
    before = start() + opens() + b": nothing yet" + b"\n\n"
    body = (before + delta("x").replace(b"event: content_block_delta\n", b"") + ends() + reason() + STOP).replace(
        b"\n", end
    )
    (found,) = checked([body[at : at + size] for at in range(0, len(body), size)])
    assert (found.code, found.byte_offset) == ("no_event_line", len(before.replace(b"\n", end)))


def test_an_event_that_only_the_end_completes():
    (found,) = checked([(GOOD[:-1], 0.5), (b"", 0.75)])
    assert (found.code, found.event_number, found.byte_offset, found.time) == (
        "unterminated_event",
        6,
        len(GOOD) - len(STOP),
        0.75,
    )


def test_places_are_kept_of_some_events_only():
    """An endless body must not fill the memory with them: later ones have their number."""
    seen = Observation("", most_places=6)
    seen.receive_data(GOOD + start(id="msg_2") + TEXT.replace(b"event: content_block_stop\n", b"") + reason() + STOP)
    seen.receive_eof()
    (found,) = seen.findings
    assert (found.code, found.event_number, found.byte_offset) == ("no_event_line", 11, None)


def test_a_finding_without_a_place_says_none():
    (found,) = check_body(b"")
    assert str(found) == "error: unexpected_answer: an empty body"


def test_errors_come_first_and_then_by_event():
    found = checked(start(id="") + TEXT.replace(b"event: content_block_stop\n", b"") + reason() + STOP, {})
    assert codes(found) == ["no_event_line", "no_id"]


def test_an_endless_number_of_messages_is_one_entry_for_a_code():
    """What is kept does not grow with the body."""
    found = checked((start() + TEXT + STOP) * 300)
    assert [(one.code, one.count) for one in found] == [("no_stop_reason", 300), ("no_final_usage", 300)]


def aws(body: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
    payloads = (json.dumps({"bytes": base64.b64encode(to_json(one)).decode()}).encode() for one in iter_events([body]))
    return b"".join(encode_aws_frame(AWSFrame(headers, payload)) for payload in payloads)


def test_aws_frames_are_read_and_tell_no_byte(tmp_path):
    """A frame's bytes have no lines that could tell where it begins."""
    body = aws(start() + opens() + delta("Hello") + reason() + STOP)
    (found,) = checked(body, HEAD | {"content-type": "application/vnd.amazon.eventstream"})
    assert (found.code, found.event_number, found.byte_offset) == ("no_block_stop", 3, None)
    (tmp_path / "a").write_bytes(body)
    assert codes(check_capture(str(tmp_path / "a"))) == ["no_block_stop"]


def test_frames_that_were_saved_as_lines_are_read_as_lines(tmp_path):
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nrequest-id: r\r\n\r\n"
    (tmp_path / "a").write_bytes(head.encode() + GOOD)
    assert check_capture(str(tmp_path / "a")) == []


# --- how it ended ----------------------------------------------------------------------------------------

OVERLOADED = event("error", error={"type": "overloaded_error", "message": "busy"})


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        (start() + TEXT, "truncated", "the stream ended before the message did"),
        (start() + TEXT + OVERLOADED, "api_error", "overloaded_error: busy"),
        (start() + opens() + b'event: ping\ndata: {"type":"ping"]\n\n', "undecodable", "ping: expected"),
        (start() + opens() + b"data: " + b"x" * (17 << 20), "limit_exceeded", "max_event_size"),
        (start() + TEXT + start(id="msg_2"), "spliced_message_start", "message_start of 'msg_2' inside 'msg_1'"),
        (b"", "unexpected_answer", "empty"),
        (b"<html>no", "unexpected_answer", "HTML"),
        (b"<html>" + b" " * 100_000, "unexpected_answer", "HTML"),
        (b"{}", "unexpected_answer", "no message"),
    ],
)
def test_how_an_answer_ended(body, code, detail):
    found = checked(body, {"content-type": "text/event-stream", "request-id": "r"})
    kept = [
        finding for finding in found if finding.code not in ("wrong_content_type", "unfinished_event", "no_block_stop")
    ]
    assert codes(kept) == [code]
    assert detail in kept[0].detail
    assert kept[0].severity is Severity.ERROR


@pytest.mark.parametrize("code", ["truncated", "api_error", "undecodable"])
def test_what_ended_it_has_its_place(code):
    """The event at fault is the one after those that were read; it is where its bytes begin."""
    body = start() + TEXT
    last = {"truncated": b"", "api_error": OVERLOADED, "undecodable": b"event: ping\ndata: [1\n\n"}[code]
    (found,) = checked([(body, 0.5), (last, 0.75)])
    assert (found.code, found.event_number, found.byte_offset) == (code, 5, len(body))
    assert found.time == (0.75 if code == "api_error" else None)


def test_without_a_head_nothing_is_said_of_one():
    assert [(one.code, one.detail) for one in check_body(b"")] == [("unexpected_answer", "an empty body")]
    (found,) = check_body(b"<html>\x1b[2J")
    assert "'<html>\\x1b[2J'" in found.detail
    assert "200" not in found.detail


def test_a_coding_that_breaks_is_found_after_what_came(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(_captures.first_party(), compresslevel=0)[:-2000])
    found = check_capture(str(tmp_path / "a"))
    assert {"unreadable", "truncated"} <= set(codes(found))
    assert next(one for one in found if one.code == "unreadable").byte_offset > 0


def test_an_empty_file(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert codes(check_capture(str(tmp_path / "a"))) == ["unexpected_answer"]


def test_a_file_that_is_not_there_is_no_finding():
    with pytest.raises(FileNotFoundError):
        check_capture("missing")


# --- the head --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (GOOD, {"content-type": "text/plain"}, "wrong_content_type"),
        (GOOD, {"x": "y"}, "wrong_content_type"),
        (GOOD, {"content-type": "application/json"}, "wrong_content_type"),
        (document(), {"content-type": "text/event-stream"}, "wrong_content_type"),
        (GOOD, {"content-type": "text/event-stream; charset=ISO-8859-1"}, "wrong_charset"),
        (GOOD, {"content-type": "text/event-stream", "content-length": "900"}, "content_length"),
        (GOOD, {"content-type": "text/event-stream", "content-encoding": "gzip"}, "compressed_stream"),
    ],
)
def test_what_the_head_shows(body, headers, code):
    assert codes(checked(body, {**headers, "request-id": "r"})) == [code]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (GOOD, {"Content-Type": 'TEXT/event-stream;Charset="UTF-8"', "X-Trace-Id": "t"}),
        (document(), {"content-type": "application/json; charset=utf-8", "content-length": "9", "x-request-id": "r"}),
        (document(), {"content-type": "application/json", "content-encoding": "gzip", "request-id": "r"}),
        (GOOD, {"content-type": "text/event-stream; q=1", "content-encoding": "identity", "request-id": "r"}),
    ],
)
def test_what_the_head_may_say(body, headers):
    assert checked(body, headers) == []


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/html"])
def test_of_a_body_that_has_not_begun_nobody_knows_the_kind(kind):
    """Its end is found, and no type is wrong for it: a time limit that passes after the head is no wrong head."""
    assert codes(checked(b"", {"content-type": kind, "request-id": "r"})) == ["unexpected_answer"]


def test_no_request_id():
    assert codes(checked(GOOD, {"content-type": "text/event-stream"})) == ["no_request_id"]


# --- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "others"),
    [
        (400, error(), []),
        (529, error("overloaded_error"), []),
        (418, error("teapot_error"), []),
        (401, error("invalid_api_key"), ["wrong_error_type"]),
        (400, error("rate_limit_error"), ["wrong_error_type"]),
        (400, b'{"error":{"message":"no","type":"invalid_request_error"}}', ["wrong_envelope"]),
        (400, b'{"type":"error","error":{"message":"no"}}', ["wrong_envelope"]),
        (400, b'{"type":"error","error":"no"}', ["wrong_envelope"]),
        (502, b"<html>Bad Gateway", ["wrong_envelope"]),
        (529, OVERLOADED, ["wrong_envelope"]),
    ],
)
def test_an_error_status_has_its_envelope(status, body, others):
    assert codes(checked(body, JSON, status)) == ["api_error", *others]


# --- times -----------------------------------------------------------------------------------------------

# Forty words, and the times of what comes before and after them.
WORDS = [delta(f"word {number} ") for number in range(40)]


def paced(*seconds: float) -> list[Finding]:
    """A stream whose words come at these times."""
    pieces = [(start() + opens(), 0.1), *zip(WORDS, seconds, strict=True)]
    return timed(*pieces, (ends() + reason() + STOP, seconds[-1] + 0.01))


def test_a_stream_that_comes_as_it_is_made_is_good():
    assert paced(*(0.2 + number * 0.05 for number in range(40))) == []


def test_a_stream_that_comes_all_at_once_is_a_burst():
    """One read, after the seconds in which it was made."""
    (found,) = timed((GOOD.replace(TEXT, opens() + b"".join(WORDS) + ends()), 4.0))
    assert (found.code, found.severity, found.count, found.time) == ("burst", Severity.WARNING, 1, 4.0)
    assert found.detail.startswith("40 deltas with 310 characters at once after 4.0 s of silence")


def test_a_buffer_that_is_let_go_in_pieces_is_a_burst_each_time():
    """Two buffers of twenty deltas; a proxy writes each in several pieces within some milliseconds."""
    found = paced(*(2 + number * 0.0001 for number in range(20)), *(4 + number * 0.0001 for number in range(20)))
    assert [(one.code, one.count, one.event_number) for one in found] == [("burst", 2, 22)]


def test_one_long_delta_after_a_silence_is_a_burst():
    """A server that has no stream makes the whole text and calls it a delta."""
    text = opens() + delta("word " * 80) + ends()
    assert codes(timed((start(), 0.1), (text, 3.0), (reason() + STOP, 3.1))) == ["burst"]


def test_the_largest_burst_is_where_it_shows():
    long, short = (opens(index) + delta("word " * words, index) + ends(index) for index, words in ((0, 90), (1, 80)))
    (found,) = timed((start(), 0.1), (long, 3.0), (short, 6.0), (reason() + STOP, 6.1))
    assert (found.code, found.count, found.time) == ("burst", 2, 3.0)


def test_a_fast_model_after_a_wait_is_no_burst():
    """Its first words come at once with the head of the line; the rest comes as it is made."""
    assert paced(*(3 + number * 0.00001 for number in range(10)), *(3.1 + number * 0.02 for number in range(30))) == []
    assert paced(*([3.0] * 19), *(3.1 + number * 0.01 for number in range(21))) == []


def test_a_document_takes_its_time():
    assert checked([(document(), 40.0), (b" ", 60.0)], JSON) == []


def test_a_short_answer_at_once_is_no_burst():
    assert timed((GOOD, 5.0)) == []


def test_silence_without_a_ping():
    """The longest is where it shows."""
    found = timed((start(), 1.0), (TEXT, 17.0), (PING, 37.5), (reason() + STOP, 38.0))
    assert [(one.code, one.count, one.event_number, one.time) for one in found] == [("no_ping", 2, 5, 37.5)]
    assert "20.5 s" in found[0].detail


def test_comments_and_pings_break_a_silence():
    pieces = [(b": keep-alive\n\n", 14.0), (PING, 28.0)]
    assert timed((start(), 1.0), *pieces, (TEXT + reason() + STOP, 29.0)) == []


def test_a_stall_is_a_note_however_many_pings_come():
    pings = [(PING, 10.0 * number) for number in range(1, 5)]
    (found,) = timed((start(), 1.0), *pings, (TEXT + reason() + STOP, 41.0))
    assert (found.code, found.severity, found.time) == ("stall", Severity.NOTE, 41.0)
    assert failing([found]) == []


def test_a_stream_that_stalls_and_never_goes_on():
    found = timed((start() + TEXT, 1.0), (PING, 14.0), (PING, 28.0), (PING, 40.0))
    assert codes(found) == ["truncated", "stall"]


def test_a_response_that_stays_open():
    (found,) = timed((GOOD, 1.0), (PING, 4.0))
    assert (found.code, found.detail) == ("left_open", "still open 3.0 s after message_stop")
    assert timed((GOOD, 1.0), (PING, 1.5)) == []
    assert timed((GOOD, 1.0), (GOOD.replace(b"msg_1", b"msg_2"), 4.0)) == []


def test_the_limits_are_arguments():
    slow = [(start(), 0.1), (TEXT, 2.0), (reason() + STOP, 2.1)]
    assert checked(slow) == []
    assert codes(checked(slow, limits=Limits(ping=1.5))) == ["no_ping"]
    assert codes(checked(slow, limits=Limits(stall=1.5))) == ["stall"]
    assert codes(checked(slow, limits=Limits(burst_deltas=2))) == ["burst"]
    assert codes(checked(slow, limits=Limits(burst_characters=5))) == ["burst"]
    with pytest.raises(ValueError, match="ping: 0 is not above 0"):
        Limits(ping=0)


# --- events ----------------------------------------------------------------------------------------------


def test_text_that_was_cut_inside_a_character():
    """Both ways in which it shows: U+FFFD that the server made, and bytes that are no UTF-8 without their neighbours."""
    body = start() + opens() + delta("tea \ufffd") + delta("\ufffd\ufffd good") + ends() + reason() + STOP
    (found,) = checked(body)
    assert (found.code, found.count, found.event_number) == ("split_character", 2, 2)
    whole = "茶".encode()
    cut = (
        start()
        + opens()
        + delta("A").replace(b"A", whole[:1])
        + delta("B").replace(b"B", whole[1:])
        + ends()
        + reason()
        + STOP
    )
    for pieces in ([cut], [cut[at : at + 1] for at in range(len(cut))]):
        halves, byte = checked(pieces)
        assert (halves.code, halves.count, halves.event_number) == ("split_character", 2, 2)
        assert (byte.code, byte.count, byte.detail) == ("invalid_utf8", 3, "the byte 0xe8")
        assert byte.byte_offset == cut.index(whole[:1])


def test_halves_of_a_pair_are_the_cores_to_find():
    body = (
        start()
        + opens()
        + delta("A").replace(b"A", b"\\ud83c")
        + delta("B").replace(b"B", b"\\udf75")
        + ends()
        + reason()
        + STOP
    )
    assert codes(checked(body)) == ["lone_surrogate"]


def test_a_character_that_says_replaced_inside_a_piece_is_text():
    assert checked(start() + opens() + delta("U+FFFD is \ufffd.") + ends() + reason() + STOP) == []


def test_a_count_that_shrinks():
    body = start() + TEXT + reason(None, 9) + reason("end_turn", 7) + STOP
    (found,) = checked(body)
    assert (found.code, found.detail, found.event_number) == ("usage_shrinks", "output_tokens 9, then 7", 6)


def test_another_message_counts_anew():
    long = GOOD.replace(reason(), reason(output_tokens=900))
    assert checked(long + GOOD.replace(b"msg_1", b"msg_2")) == []


@pytest.mark.parametrize(
    ("part", "detail"),
    [
        (event("mood", score=1), "event 'mood'"),
        (event("content_block_delta", index=0, delta={"type": "text_delta_v2", "text": "x"}), "delta 'text_delta_v2'"),
        (opens(1, type="hologram") + ends(1), "block 'hologram'"),
    ],
)
def test_types_without_a_name_are_noted(part, detail):
    found = checked(start() + opens() + part + ends() + reason() + STOP)
    kept = [one for one in found if one.code == "unknown_type"]
    assert [(one.severity, one.detail) for one in kept] == [(Severity.NOTE, detail)]
    assert failing(kept) == []


# --- messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        (start(id="") + TEXT + reason() + STOP, "no_id", "the message has none"),
        (start() + call("{}", id="") + reason("tool_use") + STOP, "no_id", "the call of 'weather' has none"),
        (start() + call("{}") + call("{}", index=1) + reason("tool_use") + STOP, "repeated_tool_id", "'toolu_1'"),
        (start() + call('{"a": ') + reason("tool_use") + STOP, "broken_tool_input", "'weather': "),
        (start() + call("[1]") + reason("tool_use") + STOP, "broken_tool_input", "'weather': "),
        (start() + TEXT + reason(output_tokens=0) + STOP, "no_final_usage", "0 output tokens"),
        (start() + TEXT + reason("tool_use") + STOP, "wrong_stop_reason", "tool_use without a call"),
        (start() + call("{}") + reason("end_turn") + STOP, "wrong_stop_reason", "end_turn after a call"),
        (start() + TEXT + reason("stop") + STOP, "unknown_stop_reason", "'stop'"),
        (start() + TEXT[: -len(ends())] + event("content_block_delta", index=0, delta={"type": "mood_delta", "mood": "x"})
         + ends() + reason() + STOP, "unapplied_delta", "'mood_delta' for block 0"),
    ],
)  # fmt: skip
def test_what_a_message_shows(body, code, detail):
    found = [one for one in checked(body) if one.code not in ("usage_shrinks", "unknown_type")]
    assert codes(found) == [code]
    assert detail in found[0].detail


def test_no_final_usage():
    """A count before the stop_reason is none; the core says more of a message_delta that has no usage."""
    found = checked(start() + TEXT + reason(output_tokens=None) + STOP)
    assert codes(found) == ["no_final_usage"]
    found = checked(start() + TEXT + event("message_delta", delta={"stop_reason": "end_turn"}) + STOP)
    assert codes(found) == ["bare_message_delta", "no_final_usage"]


@pytest.mark.parametrize("missing", ["id", "role", "model", "stop_reason", "usage"])
def test_a_document_without_a_field(missing):
    """In a stream other codes say so."""
    found = checked(document(**{missing: ...}), JSON)
    assert next(one.detail for one in found if one.code == "bare_message") == f"without {missing}"
    assert set(codes(found)) <= {"bare_message", "no_final_usage"}


def test_a_message_whose_stop_never_comes_is_judged_at_the_end():
    assert codes(checked(start(id="") + TEXT + reason())) == ["no_message_stop", "no_id"]


def test_a_second_stop_judges_nothing_again():
    found = checked(start(id="") + TEXT + reason() + STOP + STOP)
    assert [(one.code, one.count) for one in found] == [("no_id", 1), ("event_after_stop", 1)]


# --- recordings ------------------------------------------------------------------------------------------


def recorded(
    path: Path, *reads: tuple[bytes, float], head: float = 0.1, end: Callable[[Recorder], None] | None = None
) -> str:
    """A recording of these reads; `end` says how it ends a tenth of a second later."""
    now = [0.0]
    recorder = Recorder(path, clock=lambda: round(now[0] * 1e9))
    now[0] = head
    recorder.receive_head(200, HEAD)
    for data, now[0] in reads:
        recorder.receive_data(data)
    now[0] += 0.1
    (end or Recorder.receive_eof)(recorder)
    return str(path)


def test_a_recording_has_its_times_and_its_head(tmp_path):
    assert check_capture(recorded(tmp_path / "a", (GOOD, 0.5))) == []
    (found,) = check_capture(recorded(tmp_path / "b", (GOOD, 20.5), head=20.0))
    assert (found.code, found.time, found.source) == ("no_ping", 20.0, str(tmp_path / "b"))
    found = check_capture(recorded(tmp_path / "c", (GOOD, 0.5), (PING, 3.5)))
    assert codes(found) == ["left_open"]


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda recorder: recorder.receive_eof(OSError()), "it was broken off, by the server or by who recorded it"),
        (Recorder.close, "the recording was ended before the answer was"),
    ],
)
def test_how_a_recording_ended_is_said(end, why, tmp_path):
    (found,) = check_capture(recorded(tmp_path / "a", (start() + TEXT, 0.5), end=end))
    assert (found.code, found.detail) == ("truncated", f"the stream ended before the message did: {why}")
    assert check_capture(recorded(tmp_path / "b", (GOOD, 0.5), end=end)) == []


def test_a_recording_without_its_end(tmp_path):
    """As a program that was killed leaves it: what is known goes to its last read."""
    name = recorded(tmp_path / "a", (start() + TEXT, 0.5), (PING, 20.0))
    times = tmp_path / "a.times.jsonl"
    times.write_bytes(b"".join(times.read_bytes().splitlines(keepends=True)[:-1]))
    found = check_capture(name)
    assert codes(found) == ["truncated", "no_ping"]
    assert "the program that recorded ended before the answer did" in found[0].detail
    times.write_bytes(times.read_bytes().splitlines(keepends=True)[0])
    assert codes(check_capture(name)) == ["truncated"]


def test_findings_can_be_asked_at_any_time(tmp_path):
    """A check that was not run, or not to its end, knows what it has seen."""
    (tmp_path / "a").write_bytes(aws(GOOD.replace(ends(), b"")))
    check = CaptureCheck(str(tmp_path / "a"))
    assert check.findings == []
    check.run()
    assert codes(check.findings) == ["no_block_stop"]


# --- what is allowed -------------------------------------------------------------------------------------


def test_failing_leaves_out_notes_and_what_is_allowed():
    found = checked(start() + TEXT + reason("stop"), {"content-type": "text/event-stream"})
    assert codes(found) == ["no_message_stop", "no_request_id", "unknown_stop_reason"]
    assert codes(failing(found)) == ["no_message_stop", "no_request_id"]
    assert codes(failing(found, allow=["no_message_stop"])) == ["no_request_id"]
    assert failing(found, allow={"no_message_stop", "no_request_id"}) == []


@pytest.mark.parametrize(
    ("code", "hint"),
    [("no_message_strat", "did you mean no_message_start"), ("zzz", "docs/deviations.md has all of them")],
)
def test_a_code_that_there_is_not_names_those_that_are_near(code, hint):
    with pytest.raises(ValueError, match=hint):
        check_codes([code])
    with pytest.raises(ValueError, match=hint):
        failing([], allow=[code])
