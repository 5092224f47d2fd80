"""`sansio-step inspect`: what happened in a capture, in words, in lanes, as JSON and as a page."""

from __future__ import annotations

import gzip
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sansio_step import parse, to_dict
from sansio_step_adapters.cli import _captures
from sansio_step_adapters.record import Recorder

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
    assert found["blocks"][0]["first_ns"] == 260_000_000
    assert found["message"] == to_dict(message)
    assert found["usage"] == to_dict(message)["usage"]


def test_a_capture_without_times_has_none(tmp_path):
    (tmp_path / "tea").write_bytes(gzip.compress(WHOLE))
    found = inspected(str(tmp_path / "tea"))
    assert (found["forms"], found["bytes"], found["gaps"]) == (["gzip"], len(WHOLE), [])
    assert found["first_event_ns"] is found["tokens_per_second"] is None


def test_deviations_have_their_event_and_bytes(tmp_path):
    (tmp_path / "bike").write_bytes(STEPFUN)
    first = inspected(str(tmp_path / "bike"))["deviations"][0]
    assert (first["code"], first["event"], first["start"]) == ("bare_message_start", 0, 0)
    assert first["end"] == STEPFUN.index(b"\n\n") + 2
    for deviation in inspected(str(tmp_path / "bike"))["deviations"][1:]:
        assert STEPFUN[deviation["start"] : deviation["end"]].startswith(b"event: message_delta")


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
    assert any("900.0 ms before event 60" in line for line in lines)
    if colours == "dumb":
        assert "\x1b" not in shown


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


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


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_in_a_browser(tmp_path):
    """It draws every event, and nothing that the server said runs."""
    page = tmp_path / "tea.html"
    run("inspect", recorded(tmp_path / "tea", hostile()), "--html", str(page))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    ended = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, timeout=60)
    if ended.returncode or not ended.stdout:
        pytest.skip(f"Chromium does not run here: {ended.stderr[-200:]!r}")
    found = _Tags()
    found.feed(ended.stdout.decode())
    assert len([tag for tag, attributes in found.tags if tag == "rect" and attributes["class"] != "gap"]) == 172
    assert "<title>owned" not in ended.stdout.decode()
    assert "sansio-step inspect" in ended.stdout.decode()


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
