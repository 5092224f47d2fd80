"""`sansio-step check`: what it shows in a pipe, in a terminal and as JSON, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sansio_step import parse, to_json
from sansio_step_adapters.check import check_body
from sansio_step_adapters.cli import _captures, main
from sansio_step_adapters.cli._check_view import Shown, show
from sansio_step_adapters.record import Recorder

from .program import POSIX, START, Server, Terminal, cell_width, commands_in, environment, in_terminal, run

WHOLE = _captures.first_party()
STEPFUN = _captures.stepfun()
NO_KEY = {"STEP_API_KEY": "", "STEPFUN_API_KEY": ""}
# A server's words that are commands to a terminal: a type, and what stands where an event line should.
HOSTILE = WHOLE.replace(b"event: message_stop\n", "event: \x1b[2J\u202e\x07\n".encode(), 1).replace(
    b'"stop_reason":"tool_use"', b'"stop_reason":"\\u001b[2J\\u202e"'
)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], str]:
    """A file with these bytes."""

    def save(body: bytes) -> str:
        (tmp_path / "a").write_bytes(body)
        return str(tmp_path / "a")

    return save


def shown_as_json(*arguments: str, stdin: bytes = b"") -> dict[str, Any]:
    ended = run("check", "--json", *arguments, stdin=stdin, **NO_KEY)
    assert ended.stderr == b""
    found: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == (0 if found["good"] else 1)
    return found


# --- in a pipe -------------------------------------------------------------------------------------------


@POSIX
def test_a_name_of_any_bytes(tmp_path):
    """JSON is UTF-8, and a file's name need not be: what was found in it says so in escapes."""
    path = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(path)).write_bytes(WHOLE[:-40])
    found = shown_as_json(os.fsdecode(path))
    assert found["target"].endswith("/\\xff")
    assert {each["source"] for each in found["findings"]} == {found["target"]}


def test_a_good_capture_is_0(saved):
    ended = run("check", saved(WHOLE))
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode() == f"{saved(WHOLE)}: good: nothing found\n"


def test_a_finding_is_a_line_for_grep(saved):
    name = saved(STEPFUN)
    ended = run("check", name, FORCE_COLOR="1")
    lines = ended.stdout.decode().splitlines()
    assert (ended.returncode, ended.stderr, len(lines)) == (1, b"", 4)
    assert re.fullmatch(
        re.escape(name) + r": error: no_block_stop \(event \d+, byte \d+\): .* \[docs/deviations\.md#no_block_stop\]",
        lines[2],
    )
    assert lines[3] == f"{name}: not good: 3 errors"


def test_what_is_allowed_is_shown_and_is_0(saved):
    codes = ("bare_message_start", "bare_message_delta", "no_block_stop")
    allow = [word for code in codes for word in ("--allow", code)]
    ended = run("check", saved(STEPFUN), *allow)
    assert ended.returncode == 0
    assert ended.stdout.count(b" [allowed] [docs/") == 3
    assert b": good: 3 errors, 3 of them allowed\n" in ended.stdout
    assert run("check", saved(STEPFUN), *allow[2:]).returncode == 1


def test_notes_alone_are_0(saved):
    ended = run("check", saved(WHOLE.replace(b'"stop_reason":"tool_use"', b'"stop_reason":"odd"')))
    assert ended.returncode == 0
    assert b"note: unknown_stop_reason" in ended.stdout
    assert ended.stdout.endswith(b": good: 1 note\n")


def test_a_server_reads_no_commands_into_a_pipe(saved):
    ended = run("check", saved(HOSTILE))
    shown = ended.stdout.decode()
    assert "type_mismatch" in shown
    assert "unknown_stop_reason" in shown
    assert commands_in(shown) == []
    assert commands_in(run("check", "--json", saved(HOSTILE)).stdout.decode()) == []


def test_json_has_all_of_it(saved):
    found = shown_as_json(saved(STEPFUN), "--allow", "no_block_stop")
    assert (found["target"], found["good"], found["interrupted"]) == (saved(STEPFUN), False, False)
    last = found["findings"][-1]
    assert (last["code"], last["severity"], last["allowed"]) == ("no_block_stop", "error", True)
    assert last.keys() == {
        "code",
        "severity",
        "detail",
        "source",
        "event_number",
        "byte_offset",
        "time",
        "count",
        "allowed",
        "more",
    }
    assert STEPFUN[last["byte_offset"] :].startswith(b"event: message_delta")
    assert last["more"] == "docs/deviations.md#no_block_stop"


def test_standard_input_and_a_document():
    assert run("check", "-", stdin=WHOLE).stdout == b"<stdin>: good: nothing found\n"
    assert run("check", stdin=WHOLE).returncode == 0
    assert shown_as_json("-", stdin=to_json(parse(WHOLE)))["findings"] == []
    assert [one["code"] for one in shown_as_json("-", stdin=b"{}")["findings"]] == ["unexpected_answer"]


def test_a_recording_has_times(tmp_path):
    now = [0]
    recorder = Recorder(tmp_path / "tea", clock=lambda: now[0])
    recorder.receive_head(200, {"content-type": "text/event-stream", "request-id": "r"})
    now[0] = 4_000_000_000
    recorder.receive_data(WHOLE)
    recorder.receive_eof()
    (found,) = shown_as_json(str(tmp_path / "tea"))["findings"]
    assert (found["code"], found["time"]) == ("burst", 4.0)


# --- wrong arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing\x1b"], r"sansio-step check: missing\\u001b: No such file or directory"),
        (["."], r"sansio-step check: \.: Is a directory"),
        (["x", "--allow", "no_blok_stop"], "did you mean no_block_stop"),
        (["x", "--model", "m"], r"--model is for a server, and x is no http:// or https:// URL"),
        (["http://h", "--extra", "[1]"], r"'\[1\]' is no JSON object"),
        (["http://h", "--extra", "{"], "is no JSON object"),
        (["http://h", "--extra", '{"temperature": 9}'], "temperature: 9 "),
        (["http://h", "--timeout", "0"], "'0' is no number of seconds above 0"),
        (["http://h", "--timeout", "soon"], "'soon' is no number of seconds above 0"),
        (["http://h/v1"], "check: http://h/v1: give it without /v1"),
        (["localhost:8000"], "localhost:8000: No such file or directory; a server's URL begins with http://"),
        (["http://h", "--auth", "basic"], "invalid choice"),
        (["x", "y"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_2(arguments, said):
    ended = run("check", *arguments, **NO_KEY)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert re.search(said, ended.stderr.decode())
    assert "Traceback" not in ended.stderr.decode()


def test_a_server_without_the_packages_of_a_client_is_2():
    missing = f"import sys; sys.modules['h11'] = None; {START}"
    ended = run("check", "http://127.0.0.1:9", code=missing)
    assert ended.returncode == 2
    assert ended.stderr == b"sansio-step check: no module 'h11'; run: pip install \"sansio-step[anyio]\"\n"


def test_a_capture_needs_no_package_of_an_extra(saved):
    missing = f"import sys; sys.modules.update(dict.fromkeys(['h11', 'anyio', 'rich'])); {START}"
    assert run("check", saved(WHOLE), code=missing).returncode == 0


def test_parse_starts_without_what_check_needs():
    code = f"import sys, atexit; atexit.register(lambda: print('sansio_step_adapters.check' in sys.modules)); {START}"
    assert run("parse", "--compact", stdin=WHOLE, code=code).stdout.endswith(b"\nFalse\n")


# --- a server --------------------------------------------------------------------------------------------


def test_a_server_is_asked_and_the_key_is_not_said():
    """This one says everything as the same stream, and says the key in it."""
    key = "sk-a-real-secret"
    body = WHOLE.replace(b"event: message_stop\n", f"event: {key}\n".encode())
    with Server(body) as server:
        ended = run(
            "check", server.url, "--model", "m", "--auth", "x-api-key", "--extra", '{"seed": 7}', STEP_API_KEY=key
        )
        assert [request.get("model") for request in server.requests] == ["m"] * 6 + [None, "m"]
        assert all(headers["x-api-key"] == key for headers in server.headers)
        assert all(request["seed"] == 7 for request in server.requests)
    shown = ended.stdout.decode()
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert "short text, streamed: error: type_mismatch" in shown
    assert "short text, not streamed: error: unexpected_answer" in shown
    assert "no model: error: not_refused" in shown
    assert key not in shown


def test_a_server_that_is_not_there():
    with Server(b"") as server:
        url = server.url
    ended = run("check", url, "--timeout", "5", **NO_KEY)
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert b"short text, streamed: error: no_answer: " in ended.stdout
    assert b"Traceback" not in ended.stdout


# --- in a terminal ---------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("colours", ["on", "off", "dumb"])
def test_in_a_terminal_it_is_no_wider_than_that(columns, colours, saved):
    changes = {"on": {}, "off": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}[colours]
    name = saved(HOSTILE + "杭州".encode() * 80)
    code, shown = in_terminal(["check", name, "--allow", "type_mismatch"], columns, **changes)
    assert code == 1
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n").split("\n")
    assert max(map(cell_width, lines)) <= columns
    assert commands_in("\n".join(lines)) == []
    assert any(re.match(r"error +type_mismatch \(allowed\)", line) for line in lines)
    assert any("docs/deviations.md#type_mismatch" in line for line in lines)
    assert ("\x1b" in shown) == (colours != "dumb")
    assert lines[-2].endswith("allowed")


@POSIX
def test_what_is_alike_stands_once_and_questions_are_told(tmp_path):
    with Server(WHOLE) as server:
        code, shown = in_terminal(["check", server.url], 100, **NO_KEY)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")
    assert code == 1
    assert plain.startswith("asking: short text, streamed\nasking: short text, not streamed\n")
    assert plain.count("no_request_id") == 2
    assert re.search(r"no_request_id.*\n +none of .*\n( +\w+ \w+, (not )?streamed *\n){6} +no model *\n", plain)
    assert plain.index("error") < plain.index("warning")


@POSIX
def test_a_good_one_in_a_terminal(saved):
    code, shown = in_terminal(["check", saved(WHOLE)], 80)
    assert code == 0
    assert "good: nothing found" in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown).split())
    code, shown = in_terminal(["check", "--json", saved(WHOLE)], 80)
    assert code == 0
    assert shown.startswith('{\r\n  "target":')


def test_a_terminal_without_rich_gets_the_lines_of_a_pipe(monkeypatch):
    class FakeTerminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setitem(sys.modules, "rich.console", None)
    shown = FakeTerminal()
    show(Shown("tea", check_body(WHOLE[:-2], source="tea"), frozenset(), interrupted=False), shown)
    assert shown.getvalue().startswith("tea: error: unterminated_event (event ")
    assert shown.getvalue().endswith("\ntea: not good: 1 error\n")


@POSIX
def test_nothing_in_a_terminal_does_not_wait():
    code, shown = in_terminal(["check"], 80)
    assert code == 2
    assert "name a file, a URL, or - for standard input" in shown


# --- how it ends -----------------------------------------------------------------------------------------


@POSIX
def test_ctrl_c_shows_what_is_known_of_standard_input():
    listening = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {START}"
    body = STEPFUN[: STEPFUN.index(b"event: content_block_delta")]
    command = [sys.executable, "-c", listening, "check", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Nothing tells when a pipe is read, but that there is room in it again: more than it holds has gone in.
        process.stdin.write(body + b": nothing\n\n" * 40_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        shown = process.stdout.read().decode()
    assert process.returncode == 130
    assert "<stdin>: error: bare_message_start (event 0, byte 0)" in shown
    assert "truncated" not in shown
    assert shown.endswith("<stdin>: interrupted: 1 error\n")


@POSIX
def test_ctrl_c_shows_what_a_server_has_answered():
    asked = threading.Event()
    gone = threading.Event()

    def hangs(_: Callable[[bytes], Any]) -> None:
        asked.set()
        gone.wait(60)

    with Server(WHOLE.replace(b"event: message_stop\n", b""), hangs) as server:
        terminal = Terminal(["check", server.url], **NO_KEY)
        terminal.read_until("asking: short text, not streamed")
        assert asked.wait(60)
        terminal.type("\x03")
        code, shown = terminal.end()
        gone.set()
    assert code == 130
    assert "no_event_line" in shown
    assert "interrupted: " in shown
    assert "Traceback" not in shown


@POSIX
def test_a_closed_pipe_ends_it_quietly(saved):
    command = [sys.executable, "-c", START, "check", saved(STEPFUN)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_help_fits_a_screen_and_ends_with_examples():
    ended = run("check", "--help", COLUMNS="80")
    lines = ended.stdout.decode().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith("example:  sansio-step check ")


def test_in_this_process(saved, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sansio-step", "check", saved(STEPFUN)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "no_block_stop" in capsys.readouterr().out
