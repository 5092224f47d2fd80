"""`sansio-step inspect`: what happened in a capture, in words, in lanes, as JSON and as a page."""

from __future__ import annotations

import gzip
import html.parser
import json
import re
import shutil
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sansio_step import Outcome, parse, to_dict
from sansio_step_adapters.cli import _captures
from sansio_step_adapters.cli._inspection import inspect_body
from sansio_step_adapters.record import Recorder

from .helpers import MESSAGE_STOP, block_start, block_stop, delta, message_delta, message_start
from .program import POSIX, START, cell_width, commands_in, environment, in_terminal, run

WHOLE = _captures.first_party()
STEPFUN = _captures.stepfun()
CUT = _captures.cut_short()
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[2J\u202e\"'&"


def recorded(path: Path, body: bytes, *, step: int = 20_000_000, silent: tuple[int, ...] = ()) -> str:
    """A recording: the first event after a step and 200 ms, one each step, 900 ms before those that are `silent`."""
    now = [0]
    recorder = Recorder(path, clock=lambda: now[0])
    now[0] = 200_000_000
    recorder.receive_head(200, {})
    for number, event in enumerate(body.split(b"\n\n")[:-1]):
        now[0] += 900_000_000 if number in silent else step
        recorder.receive_data(event + b"\n\n")
    recorder.receive_eof()
    return str(path)


def hostile() -> bytes:
    said = json.dumps(HOSTILE)[1:-1].encode()
    return WHOLE.replace(b"find_tea_house", said).replace(b" lake", said).replace(b"step-3.7-flash", said)


def inspected(name: str) -> dict[str, Any]:
    ended = run("inspect", "--json", name)
    assert b"Traceback" not in ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_json_has_everything_with_its_times(tmp_path):
    found = inspected(recorded(tmp_path / "tea", WHOLE, silent=(60, 120)))
    assert (found["outcome"], found["error"], found["events"], found["pings"]) == ("complete", None, 172, 4)
    # message_start is the first read, content the fourth: ping and block start are between.
    assert (found["first_event_ns"], found["first_content_ns"]) == (220_000_000, 280_000_000)
    assert found["gaps"] == [{"ns": 900_000_000, "before": 60}, {"ns": 900_000_000, "before": 120}]
    # 196 tokens from the first delta with text, event 3, to the last, event 168: 163 steps and two silences.
    assert found["tokens_per_second"] == pytest.approx(196 / (163 * 0.02 + 1.8))
    message = parse(WHOLE)
    assert [(block["type"], block["characters"]) for block in found["blocks"]] == [
        ("thinking", len(message.content[0].thinking)),  # type: ignore[union-attr]
        ("text", len(message.text)),
        ("tool_use", len(message.tool_uses[0].input_json)),
    ]
    # Events 2 to 70 are the first block's, 20 ms apart, with one silence.
    assert (found["blocks"][0]["first_ns"], found["blocks"][0]["last_ns"]) == (260_000_000, 200_000_000 + 70 * 20_000_000 + 900_000_000)  # fmt: skip
    assert found["message"] == to_dict(message)
    assert found["usage"] == to_dict(message)["usage"]


def test_a_capture_without_times_has_none(tmp_path):
    (tmp_path / "tea").write_bytes(gzip.compress(WHOLE))
    found = inspected(str(tmp_path / "tea"))
    assert (found["forms"], found["bytes"], found["gaps"]) == (["gzip"], len(WHOLE), [])
    assert found["first_event_ns"] is found["tokens_per_second"] is None


def test_usage_and_blocks_are_tables(tmp_path):
    """A count a line, those of an object by its name; of each block its size, and when it began and ended."""
    shown = run("inspect", recorded(tmp_path / "tea", WHOLE, silent=(60, 120)), fresh=True).stdout.decode()
    lines = [line.split() for line in shown.splitlines()]
    at = lines.index(["usage", "312", "input_tokens"])
    assert lines[at + 1 : at + 4] == [["196", "output_tokens"], ["256", "cache_read_input_tokens"], ["71", "output_tokens_details.thinking_tokens"]]  # fmt: skip
    at = lines.index(["block", "characters", "deltas", "first", "last"])
    thinking, text, call = lines[at + 1 : at + 4]
    message = parse(WHOLE)
    assert thinking == ["0", "thinking", str(len(message.content[0].thinking)), "67", "260.0", "ms", "2.50", "s"]  # type: ignore[union-attr]
    assert text[:4] == ["1", "text", str(len(message.text)), "66"]
    assert call[:4] == ["2", "tool_use", str(len(message.tool_uses[0].input_json)), "26"]


@pytest.mark.parametrize("body", [CUT, message_start() + MESSAGE_STOP], ids=["cut", "whole"])
def test_a_count_that_is_no_last_one_says_so(body, tmp_path):
    """message_start has a placeholder: who takes it for the count pays, or bills, too little."""
    (tmp_path / "tea").write_bytes(body)
    assert re.search(r"1 +output_tokens \(not final\)", run("inspect", str(tmp_path / "tea")).stdout.decode())
    found = inspected(str(tmp_path / "tea"))
    assert (found["usage"]["output_tokens"], found["usage_is_final"]) == (1, False)


FOREIGN = {
    "chunks": (b'data: {"object":"chat.completion.chunk","choices":[]}\n\ndata: [DONE]\n\n', "OpenAI's chat completion chunks"),
    "document": (b'{"object":"chat.completion","choices":[]}', "an OpenAI chat completion"),
    "log": (b'{"sessionId":"s","uuid":"u"}\n{"sessionId":"s","uuid":"v"}\n', "a log of Claude Code"),
    "page": (b"<!doctype html><title>Log in</title>", "an HTML page"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "name"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_format_is_named(body, name, tmp_path):
    """As `parse` names it: who takes another API's capture for one of this learns it, and what to do."""
    (tmp_path / "a").write_bytes(body)
    error = inspected(str(tmp_path / "a"))["error"]
    assert error.startswith(f"this is {'' if name.startswith('a') else 'a stream of '}{name}, no Messages stream; ")


@pytest.mark.parametrize("body", [CUT, b'{"type":"error","error":{"type":"overloaded_error","message":"later"}}', b"event: error\ndata: {\n\n", b""])  # fmt: skip
def test_what_an_endpoint_sends_is_not_foreign(body, tmp_path):
    (tmp_path / "a").write_bytes(body)
    error = inspected(str(tmp_path / "a"))["error"]
    assert error is not None
    assert "this is" not in error


def test_a_page_that_cant_be_written_is_said(tmp_path):
    (tmp_path / "a").write_bytes(WHOLE)
    page = tmp_path / "missing" / "page"
    ended = run("inspect", str(tmp_path / "a"), "--html", str(page))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.decode() == f"--html {page}: error: No such file or directory\n"


def test_lines_in_a_pipe_have_no_blanks_at_their_ends(tmp_path):
    shown = run("inspect", recorded(tmp_path / "tea", STEPFUN)).stdout.decode()
    assert [line for line in shown.split("\n") if line != line.rstrip()] == []
    assert shown.endswith(" s\n")


def test_blocks_of_a_capture_without_times_have_bytes(tmp_path):
    (tmp_path / "tea").write_bytes(CUT)
    shown = run("inspect", str(tmp_path / "tea")).stdout.decode()
    lines = [line.split() for line in shown.splitlines()]
    at = lines.index(["block", "characters", "deltas", "first", "byte", "last", "byte"])
    first = CUT.index(b"event: content_block_start")
    last = CUT.index(b"\n\n", CUT.index(b"event: content_block_stop")) + 1
    assert lines[at + 1] == ["0", "text", "42", "10", str(first), f"{last:,}"]
    assert lines[at + 2][-1] == f"{len(CUT) - 1:,}"


RESULT = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}


def test_content_that_came_at_once_has_its_size(tmp_path):
    """In the message's start, or in a block's; a result's is that of its JSON."""
    given = [{"type": "text", "text": "12345"}]
    body = [
        message_start(content=given),
        block_start({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, 1), block_stop(1),
        block_start(RESULT, 2), block_stop(2), delta(3, text="no start"), message_delta("end_turn"), MESSAGE_STOP,
    ]  # fmt: skip
    (tmp_path / "a").write_bytes(b"".join(body))
    found = inspected(str(tmp_path / "a"))
    size = len(json.dumps(RESULT, separators=(",", ":")))
    assert [(block["index"], block["type"], block["characters"]) for block in found["blocks"]] == [
        (0, "text", 5), (1, "tool_use", len('{"a":1}')), (2, "web_search_tool_result", size), (3, "text", 8)
    ]  # fmt: skip


DOCUMENT = {
    "id": "m", "type": "message", "role": "assistant", "model": "step", "stop_reason": "tool_use", "usage": {"input_tokens": 35, "output_tokens": 20},
    "content": [{"type": "text", "text": "I'm ..."}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
}  # fmt: skip


def test_a_document_is_shown_as_one(tmp_path):
    """The answer to a request without `stream`: its message, blocks and usage, and nothing about events, which it has none of."""
    (tmp_path / "a").write_text(json.dumps(DOCUMENT, indent=1))
    found = inspected(str(tmp_path / "a"))
    assert (found["is_document"], found["outcome"], found["error"], found["forms"]) == (True, "complete", None, ["JSON document"])  # fmt: skip
    assert [(block["type"], block["characters"], block["first_ns"]) for block in found["blocks"]] == [("text", 7, None), ("tool_use", 7, None)]  # fmt: skip
    assert found["message"]["content"] == DOCUMENT["content"]
    ended = run("inspect", str(tmp_path / "a"))
    assert (ended.returncode, ended.stderr) == (0, b"")
    shown = ended.stdout.decode()
    assert "(JSON document)" in re.sub(r"\s+", " ", shown)
    assert "35  input_tokens" in shown
    assert "events" not in shown
    assert "deltas" not in shown
    ended = run("inspect", str(tmp_path / "a"), "--html", str(tmp_path / "page.html"))
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "<svg" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":{"message":"no key","type":"invalid_api_key"}}', "invalid_api_key: no key"),
        (b'{"content":[', "at character 12 of the body"),
        (b'{"a":' + b" " * (65 << 20) + b"1}", "max_message_size"),
    ],
)
def test_a_document_that_is_no_message_says_why_and_is_1(body, said, tmp_path):
    (tmp_path / "a").write_bytes(body)
    ended = run("inspect", str(tmp_path / "a"))
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert said in re.sub(r"\s+", " ", ended.stdout.decode())
    assert "FAILED" in ended.stdout.decode() or "max_message_size" in said


def test_a_note_before_events_makes_no_document(tmp_path):
    (tmp_path / "a").write_bytes(b'{"note": 1}\n\n' + WHOLE)
    found = inspected(str(tmp_path / "a"))
    assert (found["is_document"], found["outcome"], found["events"]) == (False, "complete", 173)


def test_deviations_have_their_event_and_bytes(tmp_path):
    (tmp_path / "bike").write_bytes(STEPFUN)
    first = inspected(str(tmp_path / "bike"))["deviations"][0]
    assert (first["code"], first["event"], first["start"]) == ("bare_message_start", 0, 0)
    assert first["end"] == STEPFUN.index(b"\n\n") + 2
    for deviation in inspected(str(tmp_path / "bike"))["deviations"][1:]:
        assert STEPFUN[deviation["start"] : deviation["end"]].startswith(b"event: message_delta")


def test_of_many_deviations_the_rest_is_counted(tmp_path):
    """An entry is one of a message, and a body can have many of them."""
    (tmp_path / "a").write_bytes(b"".join(message_start(id=f"m{number}") + MESSAGE_STOP for number in range(30)))
    assert len(inspected(str(tmp_path / "a"))["deviations"]) == 30
    shown = run("inspect", str(tmp_path / "a")).stdout.decode()
    assert "and 10 more: --json has them all" in shown


@pytest.mark.parametrize("body", [CUT, WHOLE.replace(b'{"type":"message_delta"', b'{"type":"message_delta"]'), b"", b"<html>",
    CUT + b'event: error\ndata: {"type":"error","error":{"type":"t","message":"m"}}\n\n', gzip.compress(WHOLE)[:-20]])  # fmt: skip
def test_what_is_not_whole_is_shown_and_is_1(body, tmp_path):
    (tmp_path / "a").write_bytes(body)
    for options in ([], ["--json"], ["--html", str(tmp_path / "page.html")]):
        ended = run("inspect", *options, str(tmp_path / "a"))
        assert ended.returncode == 1
        assert b"Traceback" not in ended.stderr
        if options != ["--json"] and ended.stdout:
            assert b"error" in ended.stdout


@pytest.mark.parametrize(
    ("body", "said"),
    [(WHOLE[:-1], "unterminated_event"), (b'event: ping\ndata: {"type":"ping"}\n\n', "first event never"), (delta(text="a"), "no_message_start")],
    ids=["no last line end", "pings", "a delta alone"],
)  # fmt: skip
def test_recordings_of_odd_bodies_are_shown(body, said, tmp_path):
    """The last event without its blank line, no event but a ping, nothing but a delta."""
    name = tmp_path / "odd"
    recorder = Recorder(name)
    recorder.receive_head(200, {})
    recorder.receive_data(body)
    recorder.receive_eof()
    ended = run("inspect", str(name))
    assert ended.stderr == b""
    assert said in re.sub(r"\s+", " ", ended.stdout.decode())
    assert ended.returncode == (0 if said == "unterminated_event" else 1)


def test_a_file_that_is_not_there_is_one_line():
    ended = run("inspect", "missing\x1b")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr == b"missing\\u001b: error: No such file or directory\n"
    ended = run("inspect", __file__, "--html", "missing/page.html")
    assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1)


def test_standard_input_and_a_cell_for_each_part_of_the_time(tmp_path):
    ended = run("inspect", "-", stdin=WHOLE, FORCE_COLOR="1")
    assert (ended.returncode, ended.stderr) == (0, b"")
    shown = ended.stdout.decode()
    assert "\x1b" not in shown
    assert "<stdin>, 21,294 bytes" in shown
    assert re.search(r"^0 thinking +[▁▂▃▄▅▆▇█]", shown, re.MULTILINE)
    assert "place" in shown


@POSIX
@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("colours", ["on", "off", "dumb"])
def test_lanes_in_a_terminal_are_no_wider_than_it(columns, colours, tmp_path):
    changes = {"on": {}, "off": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}[colours]
    # `in_terminal` takes NO_COLOR away from the test's own environment, not from the changes.
    code, shown = in_terminal(["inspect", recorded(tmp_path / "tea", hostile(), silent=(60,))], columns, **changes)
    assert code == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n").split("\n")
    assert max(map(cell_width, lines)) <= columns
    assert commands_in("\n".join(lines)) == []
    assert any(line.startswith("1 text") and "█" in line for line in lines)
    assert any(
        re.fullmatch(rf"1 text +{len(parse(hostile()).text)} +66 +[0-9.]+ m?s +[0-9.]+ m?s *", line) for line in lines
    )
    assert any("900.0 ms before event 60" in line for line in lines)
    if colours == "dumb":
        assert "\x1b" not in shown


def many(events: int, blocks: int) -> bytes:
    """A stream of so many deltas, one block after the other in turn."""
    turns = [delta(number % blocks, text=f"word{number} ") for number in range(events)]
    starts = [block_start({"type": "text", "text": ""}, index) for index in range(blocks)]
    return b"".join([message_start(), *starts, *turns, message_delta("end_turn"), MESSAGE_STOP])


BIG = "m" * 10_000_000
LONG = {f"key{number}\n" + "k" * 500: "v" * 500 for number in range(99)}


@pytest.mark.parametrize(
    ("make_body", "most"),
    [
        (partial(many, 40_000, 3), 2 << 20),
        (partial(many, 30_000, 400), 4 << 20),
        (partial(many, 20_000, 5_000), 4 << 20),
        (lambda: message_start(model=BIG, usage=LONG) + message_delta(BIG) + MESSAGE_STOP, 2 << 20),
    ],
    ids=["events", "lanes", "blocks", "texts"],
)
def test_a_page_of_much_is_bounded(make_body, most, tmp_path):
    """However many events, blocks and counts there are, and however long texts: so many bytes and marks, and no line too long for a terminal."""
    (tmp_path / "a").write_bytes(make_body())
    page = tmp_path / "page.html"
    assert run("inspect", str(tmp_path / "a"), "--html", str(page)).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert len(text) < most
    assert text.count("<rect") <= 20_000
    shown = run("inspect", str(tmp_path / "a")).stdout.decode()
    assert max(map(cell_width, shown.splitlines())) <= 100
    assert shown.count("\n") < 400


def test_marks_of_many_events_say_how_many_they_are(tmp_path):
    """Together the marks of a lane have each of its events."""
    (tmp_path / "a").write_bytes(many(30_000, 150))
    page = tmp_path / "page.html"
    run("inspect", str(tmp_path / "a"), "--html", str(page))
    text = page.read_text(encoding="utf-8")
    together = [int(count) for count in re.findall(r"<title>(\d+) events, ", text)]
    alone = len(re.findall(r"<title>event \d+: ", text))
    assert sum(together) + alone == 30_000 + 150 + 3
    assert "50 more blocks" in text


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_replaces_a_page_and_no_capture(tmp_path):
    """`inspect --html sky.sse` in a script: the option takes the name, and the capture would be gone."""
    capture, page = tmp_path / "sky.sse", tmp_path / "sky.html"
    capture.write_bytes(WHOLE)
    for arguments in ([], [str(capture)]):
        ended = run("inspect", *arguments, "--html", str(capture))
        assert (ended.returncode, ended.stdout) == (1, b"")
        assert ended.stderr.decode() == f"--html {capture}: error: it is there already, and is no page\n"
        assert capture.read_bytes() == WHOLE
    pages = []
    for _ in range(2):
        assert run("inspect", str(capture), "--html", str(page)).returncode == 0
        pages.append(page.read_text())
    assert pages[0] == pages[1]
    ended = run("inspect", str(capture), "--html", "a" * 300)
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"--html aaa")
    assert ended.stderr.count(b"\n") == 1


def test_of_an_endless_body_the_begin_is_shown(tmp_path):
    (tmp_path / "a").write_bytes(message_start() + b'event: ping\ndata: {"type":"ping"}\n\n' * 50 + WHOLE)
    seen = inspect_body(str(tmp_path / "a"), most_events=20)
    assert (len(seen.events), seen.pings, seen.outcome) == (20, 19, Outcome.STREAMING)
    assert seen.error == "only the first 20 events are shown"


def test_the_page_is_one_file_in_which_a_hostile_capture_stays_text(tmp_path):
    page = tmp_path / "tea.html"
    ended = run("inspect", recorded(tmp_path / "<b>tea", hostile(), silent=(60,)), "--html", str(page))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    text = page.read_text(encoding="utf-8")
    found = _Tags()
    found.feed(text)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "img", "link", "iframe", "object", "b"}
    assert not any(name.startswith(("on", "src", "href")) for _, attributes in found.tags for name in attributes)
    assert not re.search(r"https?:|url\(|@import", text.replace("http-equiv", ""))
    assert commands_in(text) == []
    assert "</script><script>document.title" in found.text
    rects = [attributes for tag, attributes in found.tags if tag == "rect"]
    assert len([one for one in rects if one["class"] == "gap"]) >= 1
    assert len([one for one in rects if one["class"] != "gap"]) == 172, "each event is there to point at"
    assert "event 60: " in found.text
    assert "prefers-color-scheme: dark" in text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def in_chromium(page: Path, profile: Path, *options: str) -> bytes:
    """What Chromium writes of a page. It is asked nothing over the network, and skips if it doesn't run here."""
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    ended = subprocess.run([str(CHROMIUM), *common, *options, page.as_uri()], capture_output=True, timeout=120)
    if ended.returncode:
        pytest.skip(f"Chromium does not run here: {ended.stderr[-200:]!r}")
    return ended.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is NOT TESTED in a browser")
@pytest.mark.parametrize(
    ("make_body", "marks"), [(hostile, 172), (partial(many, 40_000, 3), None)], ids=["hostile", "long"]
)
def test_the_page_in_a_browser(make_body, marks, tmp_path):
    """It draws every event, and nothing that the server said runs."""
    page = tmp_path / "tea.html"
    run("inspect", recorded(tmp_path / "tea", make_body()), "--html", str(page))
    shown = in_chromium(page, tmp_path / "profile", "--dump-dom").decode()
    found = _Tags()
    found.feed(shown)
    drawn = [tag for tag, attributes in found.tags if tag == "rect" and attributes["class"] != "gap"]
    assert len(drawn) == marks if marks is not None else 0 < len(drawn) <= 20_000
    assert "<title>owned" not in shown
    assert "sansio-step inspect" in shown


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is NOT TESTED in a browser")
def test_the_page_is_light_and_dark(tmp_path):
    """As the reader's system is: its background is drawn light in one, dark in the other."""
    page = tmp_path / "tea.html"
    run("inspect", recorded(tmp_path / "tea", WHOLE), "--html", str(page))
    corners = []
    for scheme in (1, 0):  # Blink's numbers of light and dark
        picture = tmp_path / f"{scheme}.png"
        in_chromium(page, tmp_path / "profile", f"--blink-settings=preferredColorScheme={scheme}", "--window-size=300,300", f"--screenshot={picture}")  # fmt: skip
        corners.append(first_pixel(picture.read_bytes()))
    light, dark = corners
    assert min(light) > 200
    assert max(dark) < 60


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is NOT TESTED in a browser")
@pytest.mark.parametrize("width", [800, 1130, 1200, 1600])
def test_a_short_picture_is_seen_whole(width, tmp_path):
    """Its end, with the last events and the time, is not beyond a scroll bar, in a window of any usual width."""
    page = tmp_path / "tea.html"
    run("inspect", recorded(tmp_path / "tea", WHOLE), "--html", str(page))
    measure = "const lanes = document.querySelector('.lanes'); document.title = lanes.scrollWidth - lanes.clientWidth;"
    text = re.sub("<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))  # its policy lets no script run
    page.write_text(text.replace("</body>", f"<script>{measure}</script></body>"), encoding="utf-8")
    shown = in_chromium(page, tmp_path / "profile", f"--window-size={width},900", "--dump-dom").decode()
    assert re.findall("<title>(.*?)</title>", shown)[0] == "0"


def first_pixel(png: bytes) -> tuple[int, ...]:
    """The upper left pixel of an RGB or RGBA picture, which is stored as it is in its first row."""
    data, place = b"", 8
    while place < len(png):
        size = int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + size]
        place += 12 + size
    return tuple(zlib.decompressobj().decompress(data, 4)[1:4])


@POSIX
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_closed_pipe_ends_it_quietly(options, tmp_path):
    (tmp_path / "tea").write_bytes(WHOLE)
    command = [sys.executable, "-c", START, "inspect", *options, str(tmp_path / "tea")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
