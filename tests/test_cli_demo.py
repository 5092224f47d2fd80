"""`sansio-step demo`: what it shows in pipes and terminals of all sizes, what it saves, what it says of other readers."""

from __future__ import annotations

import io
import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from sansio_step import Outcome, parse
from sansio_step_adapters.cli import _captures, _other_readers, demo
from sansio_step_adapters.cli._demo_report import Report, Tally, facts_of
from sansio_step_adapters.cli._demo_view import PlainView, TerminalView
from sansio_step_adapters.cli.arguments.demo import DemoArguments
from sansio_step_adapters.record import read_recording
from sansio_step_adapters.replay import serve

from .helpers import MESSAGE_STOP, block_start, block_stop, message_start
from .program import POSIX, Terminal, cell_width, environment, in_terminal, run

WHOLE = _captures.first_party()
STEPFUN = _captures.stepfun()
FILE = _captures.written_file()
CUT = _captures.cut_short()
CAPTURES = {"whole.sse": WHOLE, "stepfun.sse": STEPFUN, "file.sse": FILE, "cut.sse": CUT}
PACKAGES = {"anthropic": "anthropic", "httpx-sse": "httpx_sse", "jiter": "jiter", "partial-json-parser": "partial_json_parser"}  # fmt: skip


def plain(shown: str) -> str:
    """What a terminal was told to show, without colours and moves."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).replace("\r\n", "\n")


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.fixture(scope="module")
def shown() -> str:
    """What it shows in a pipe."""
    return run("demo", "--fast").stdout.decode()


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """An environment in which no other reader is installed: to import them takes longer than the demo."""
    for module in PACKAGES.values():
        (tmp_path / f"{module}.py").write_text("raise ImportError")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])}


# --- in a pipe -------------------------------------------------------------------------------------------


def test_in_a_pipe_it_is_plain_text():
    """No colours, no control codes, even for those who force colours; the model's characters and words as they are."""
    ended = run("demo", "--fast", FORCE_COLOR="1", TERM="xterm-256color")
    assert (ended.returncode, ended.stderr) == (0, b"")
    shown = ended.stdout.decode()
    assert not re.search(r"[^\n -~\u00a0-\U0010ffff]", shown)
    for message in (parse(WHOLE), parse(STEPFUN)):
        for block in message.content[:2]:
            assert f"{block.type}: {getattr(block, block.type)}\n" in shown  # type: ignore[union-attr]
    assert "tool_use find_tea_house:\n  city: 杭州\n  near: Broken Bridge 断桥\n" in shown
    assert "\\u" not in shown
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("outcome")] == ["COMPLETE"] * 3 + ["TRUNCATED"]  # fmt: skip
    for code in ("bare_message_start", "bare_message_delta", "no_block_stop"):
        assert code in shown
    assert "172 events (4 pings), 703 characters" in shown
    assert "312 input, 256 from the cache, 196 output, 71 of it thinking" in shown
    assert "input raises ToolInputError" in shown
    assert 'partial_input() is {"house":"湖畔居","at":"15:30"}' in shown
    assert shown.count(" events/s") == 4, "one rate a stream"


def test_a_file_is_shown_as_it_is_written(shown):
    """Each line of it, decoded; its path is known long before the arguments are all there."""
    (call,) = parse(FILE).tool_uses
    written = call.input["content"]
    assert "\n  path: tea/order.py\n  content: " + written.replace("\n", "\n    ") in shown
    known, total = map(int, re.findall(r"path known after (\d+) of (\d+) characters", shown)[0])
    assert total == len(call.input_json)
    # The pieces have 5 characters: the one with the end of the path's string is the one after which it is known.
    end = call.input_json.index('order.py"') + len('order.py"')
    assert known == -(-end // 5) * 5


def test_its_last_lines_say_what_to_do_next(shown):
    """Each command is one that there is, and the first works without a key."""
    next_steps = shown.rstrip().rpartition("\n\n")[2].splitlines()
    assert [re.split(r"\s{2,}", line) for line in next_steps] == [
        ["Next", "sansio-step demo --save captures"],
        ["then", "sansio-step inspect captures/cut.sse"],
        ["with STEP_API_KEY", 'sansio-step chat "Why is the sky blue?"'],
    ]


def test_its_pace_is_kept(alone):
    """So many seconds lie between two events that are sent. Those that wait to be read arrive closer, but not all of them."""
    shown = run("demo", "--pace", "0.001", **alone).stdout.decode()
    arrived = re.findall(r"arrived +(\d+) events .* in ([0-9.]+) s", shown)
    assert len(arrived) == 4
    for events, seconds in arrived:
        assert float(seconds) >= (int(events) - 1) * 0.001 / 2


def test_it_writes_utf_8_whatever_the_locale():
    ended = run("demo", "--fast", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "周六想从上海市区骑车去朱家角".encode() in ended.stdout


@pytest.fixture
def no_others(monkeypatch):
    """No other reader begins beside it: to import them takes longer than the demo."""
    monkeypatch.setattr(_other_readers, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_others")
def test_in_this_process(capsys):
    assert demo.run(DemoArguments(0.0, None))
    shown = capsys.readouterr().out
    assert shown.count("outcome ") == 4


@pytest.mark.usefixtures("no_others")
def test_one_that_fails_says_why_in_one_line(monkeypatch, capsys):
    """It shows what came, as ever, and the reason on stderr."""
    scene = demo.Scene("Nothing", "an empty body", "Hello?", b"", "nothing.sse")
    monkeypatch.setattr(demo, "scenes", lambda: [scene])
    assert not demo.run(DemoArguments(0.0, None))
    out, err = capsys.readouterr()
    assert "you: Hello?" in out
    assert err.startswith("sansio-step: ")
    assert err.count("\n") == 1


OTHER = b"".join(
    [
        message_start(usage=None), block_start({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}), block_stop(),
        block_start({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, 1), block_stop(1), MESSAGE_STOP,
    ]
)  # fmt: skip


@pytest.mark.usefixtures("no_others")
@pytest.mark.parametrize("in_colours", [False, True])
@pytest.mark.parametrize("capture", [OTHER, b""], ids=["other blocks", "nothing"])
def test_any_capture_can_be_a_scene(capture, in_colours, monkeypatch):
    """Blocks of any kind, a call that came at once, no usage and no stop_reason; and a stream without an event."""
    out = io.StringIO()
    view = TerminalView(Console(file=out, force_terminal=True, width=80)) if in_colours else PlainView(out, None)
    scene = demo.Scene("Another", "note", "Hello?", capture, "other.sse")
    monkeypatch.setattr(demo, "scenes", lambda: [scene])
    monkeypatch.setattr(demo, "make_view", lambda _: view)
    assert demo.run(DemoArguments(0.0, None)) == bool(capture)
    shown = plain(out.getvalue())
    if capture:
        assert "server_tool_use" in shown
        assert "tool_use f(a)" in shown
        assert "not given" in shown
        assert not re.search(r"^ *stop_reason ", shown, re.MULTILINE)
        assert "no_stop_reason" in shown


# --- in a terminal ---------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("colours", ["on", "off"])
def test_in_a_terminal(columns, colours):
    """Blocks grow in place, the cursor comes back, no line is wider than the terminal."""
    options = {} if colours == "on" else {"NO_COLOR": "1"}
    code, shown = Terminal(["demo", "--fast"], columns, **options).end()
    assert code == 0
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 4
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) == (colours == "on")
    text = plain(shown)
    for word in ("西湖", "周六", "find_tea_house", "tea/order.py", "COMPLETE", "TRUNCATED", "no_block_stop", "✂"):
        assert word in text
    widths = [cell_width(part) for line in text.split("\n") for part in line.split("\r")]
    assert max(widths) == columns


@POSIX
@pytest.mark.parametrize(("columns", "lines"), [(60, 20), (80, 24), (120, 30)])
def test_the_cut_is_still_there_at_the_end(columns, lines):
    """The call that was cut, what it came to and what to do next fill no more than the screen, the shell's prompt included."""
    code, shown = Terminal(["demo", "--fast"], columns, lines=lines).end()
    assert code == 0
    rest = shown[shown.rindex("book_table") :]
    assert "\x1b[2K" not in rest, "nothing of it is drawn over, so that its lines can be counted"
    assert "✂" in rest
    assert "sansio-step chat" in rest
    assert rest.count("\n") < lines


@POSIX
@pytest.mark.parametrize(("columns", "lines"), [(60, 20), (40, 8)])
def test_what_grows_is_no_higher_than_the_terminal(columns, lines, alone):
    """Its last lines are shown: a redraw that is too high would leave its first ones behind."""
    code, shown = Terminal(["demo", "--pace", "0.005"], columns, lines=lines, **alone).end()
    assert code == 0
    heights = [
        1 + len(moves) // len("\x1b[1A\x1b[2K") for moves in re.findall(r"\r\x1b\[2K((?:\x1b\[1A\x1b\[2K)+)", shown)
    ]
    assert len(heights) > 50
    assert max(heights) <= lines


@POSIX
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_dumb_terminal_has_whole_words(columns, shown):
    """No control codes; lines end between words, and no character is lost or turned into an escape."""
    code, wrapped = in_terminal(["demo", "--fast"], columns, TERM="dumb")
    assert code == 0
    assert "\x1b" not in wrapped
    lines = wrapped.split("\r\n")
    assert max(map(cell_width, lines)) <= columns
    assert any(line.startswith("outcome     COMPLETE") for line in lines)
    measured = r"127\.0\.0\.1:\d+|in[0-9.]+s|[0-9,]+events/s"
    assert re.sub(measured, "", squeezed(wrapped)) == re.sub(measured, "", squeezed(shown))
    assert set(re.findall("[A-Za-z_]+", wrapped)) == set(re.findall("[A-Za-z_]+", shown)), (
        "of a word that is cut, half is none"
    )
    assert not [line for line in lines if line.startswith(tuple("，。、？！"))]


# --- what it saves ---------------------------------------------------------------------------------------


def test_save_records_its_streams(tmp_path):
    """Byte for byte, with the times of the reads; the last lines name the directory."""
    ended = run("demo", "--fast", "--save", str(tmp_path / "new" / "captures"))
    assert (ended.returncode, ended.stderr) == (0, b"")
    directory = tmp_path / "new" / "captures"
    assert {path.name: path.read_bytes() for path in directory.glob("*.sse")} == CAPTURES
    for name in CAPTURES:
        recording = read_recording(directory / name)
        assert (recording.status, recording.end) == (200, "eof")
    assert f"sansio-step inspect {directory}/cut.sse" in ended.stdout.decode()
    assert "--save" not in ended.stdout.decode()
    inspected = json.loads(run("inspect", "--json", str(directory / "file.sse")).stdout)
    assert inspected["outcome"] == "complete"
    assert inspected["first_event_ns"] > 0


def test_save_replaces_what_a_demo_left_and_nothing_else(tmp_path):
    """An earlier demo can have been interrupted; a file of somebody's is named in one line, before anything is shown."""
    (tmp_path / "whole.sse").write_bytes(WHOLE[:1000])
    (tmp_path / "whole.times.jsonl").write_bytes(b"old")
    assert run("demo", "--fast", "--save", str(tmp_path)).returncode == 0
    assert (tmp_path / "whole.sse").read_bytes() == WHOLE
    assert read_recording(tmp_path / "whole").end == "eof"
    (tmp_path / "file.sse").write_bytes(b"mine")
    ended = run("demo", "--fast", "--save", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.count(b"\n") == 1
    assert b"file.sse" in ended.stderr
    assert (tmp_path / "file.sse").read_bytes() == b"mine"
    assert (tmp_path / "whole.sse").read_bytes() == WHOLE


def test_a_directory_that_is_none_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ended = run("demo", "--fast", "--save", str(tmp_path / "file"))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.count(b"\n") == 1


# --- other readers ---------------------------------------------------------------------------------------


async def beside(wait: float) -> list[_other_readers.Verdict]:
    async with serve(CUT) as server:
        with _other_readers.OtherReaders(server.base_url) as others:
            return await anyio.to_thread.run_sync(others.verdicts, wait)


def test_every_other_reader_is_said_to_do_what_it_does():
    """What is written down is what each package does that is installed; `python -m pip install` those that are not."""
    found = anyio.run(beside, 60.0)
    assert [verdict.package for verdict in found] == list(PACKAGES)
    live = {verdict.package: verdict for verdict in found if verdict.is_live}
    for package, module in PACKAGES.items():
        try:
            __import__(module)
        except ImportError:
            assert package not in live
        else:
            assert live[package].version == version(package)
    if not live:
        pytest.skip("no other reader is installed")
    known = {verdict.package: verdict.said for verdict in _other_readers.KNOWN}
    assert {package: verdict.said for package, verdict in live.items()} == {package: known[package] for package in live}


def test_what_another_package_raises_is_what_it_did(monkeypatch):
    """Whatever it is; and a package that is not installed does nothing."""
    pytest.importorskip("httpx_sse", reason="no httpx-sse")
    monkeypatch.setattr(_other_readers, "find_spec", lambda name: name if name == "httpx_sse" else None)
    assert _other_readers.answers("http://127.0.0.1:1") == {"httpx-sse": (version("httpx-sse"), "ConnectError")}


def test_without_other_readers_no_process_begins(monkeypatch):
    monkeypatch.setattr(_other_readers, "find_spec", lambda name: None)
    with _other_readers.OtherReaders("http://127.0.0.1:1") as others:
        assert others.verdicts(60.0) == list(_other_readers.KNOWN)


def test_those_that_did_not_run_now_are_marked():
    """Each line says whether it has just happened."""
    live = _other_readers.Verdict("a", "1", "x", is_live=True)
    old = _other_readers.Verdict("b", "2", "y")
    tally = Tally()
    message = parse(WHOLE)

    def others(*verdicts: _other_readers.Verdict) -> list[str]:
        report = Report(message, Outcome.COMPLETE, [], None, tally, 1.0, list(verdicts))
        return str(dict(facts_of(report))["others"]).split("\n")

    assert others(live) == ["a 1: x", "on these bytes, run just now"]
    assert others(old) == ["b 2: y", "on these bytes, run when this was written"]
    assert others(live, old) == ["a 1: x", "b 2*: y", "* on these bytes, run when this was written"]


def test_one_that_has_not_answered_did_what_it_did_before():
    assert anyio.run(beside, 0.0) == list(_other_readers.KNOWN)
