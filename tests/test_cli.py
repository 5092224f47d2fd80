"""The program: what it prints, where, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import sansio_step
from sansio_step import parse, to_dict
from sansio_step_adapters import cli
from sansio_step_adapters.cli import _captures

from .program import COMMANDS, POSIX, START, commands_in, environment, in_terminal, run

FIRST_PARTY = _captures.first_party()
STEPFUN = _captures.stepfun()
CUT = _captures.cut_short()


class Ended:
    """What a run inside this process left behind."""

    def __init__(self, code: Any, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out
        self.err = err.decode()

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ended]:
    """`main()` with arguments and standard input."""

    def call(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["sansio-step", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))  # type: ignore[arg-type]
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.stdout.flush()
        sys.stderr.flush()
        return Ended(ended.value.code, *capfdbinary.readouterr())

    return call


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sequence[str]]:
    """Bodies in files of the current directory."""
    monkeypatch.chdir(tmp_path)

    def write(**bodies: bytes) -> Sequence[str]:
        for name, body in bodies.items():
            Path(name).write_bytes(body)
        return list(bodies)

    return write


def offset(body: bytes, what: bytes) -> int:
    return body.index(what)


# --- parse: whole streams --------------------------------------------------------------------------------


def test_parse_prints_the_message_on_one_line(main, files):
    files(tea=FIRST_PARTY)
    ended = main("parse", "tea")
    assert ended.documents == [to_dict(parse(FIRST_PARTY))]
    assert "西湖".encode() in ended.out
    assert (ended.code, ended.err) == (0, "")


def test_parse_reads_several_files_and_says_which_deviates(main, files):
    files(tea=FIRST_PARTY, bike=STEPFUN)
    ended = main("parse", "tea", "bike")
    assert ended.documents == [
        {"file": "tea", "outcome": "complete", "message": to_dict(parse(FIRST_PARTY))},
        {"file": "bike", "outcome": "complete", "message": to_dict(parse(STEPFUN))},
    ]
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "bike: warning: bare_message_start at event 0: message_start without content, usage",
        "bike: warning: bare_message_delta at event 119: message_delta without delta, stop_reason at the top level",
        "bike: warning: no_block_stop at event 119: message_delta while blocks 0, 1, 2 are open",
    ]


@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_quiet_says_nothing_of_deviations(main, files, option):
    files(bike=STEPFUN)
    ended = main("parse", option, "bike")
    assert (ended.code, ended.err, len(ended.documents)) == (0, "", 1)


def test_every_message_of_a_body_is_a_document(main):
    ended = main("parse", "-q", "-", stdin=FIRST_PARTY + STEPFUN)
    assert [document["id"] for document in ended.documents] == ["msg_demo_hangzhou", "msg_demo_zhujiajiao"]


@pytest.mark.parametrize("arguments", [["-"], []])
def test_standard_input_is_a_dash_or_nothing(main, arguments):
    ended = main("parse", *arguments, stdin=FIRST_PARTY)
    assert ended.documents == [to_dict(parse(FIRST_PARTY))]
    assert ended.code == 0


def test_pretty_is_indented_json(main):
    ended = main("parse", "--pretty", "-", stdin=FIRST_PARTY)
    assert ended.out.startswith(b'{\n  "type": "message",\n')
    assert json.loads(ended.out) == to_dict(parse(FIRST_PARTY))


def test_events_are_one_a_line(main):
    ended = main("parse", "--events", "-", stdin=FIRST_PARTY)
    assert ended.documents == [to_dict(event) for event in sansio_step.iter_events([FIRST_PARTY])]
    assert ended.code == 0


def test_a_document_is_read_too(main, files):
    """The answer to a request without `stream`, as StepFun's page has it, after a BOM and spaces."""
    files(answer=b'\xef\xbb\xbf\n {"id":"msg_1","type":"message","content":[{"type":"text","text":"hi"}]}')
    ended = main("parse", "answer")
    assert [document["content"] for document in ended.documents] == [[{"type": "text", "text": "hi"}]]
    assert (ended.code, ended.err) == (0, "")


# --- parse: what is wrong --------------------------------------------------------------------------------


def test_a_truncated_stream_gives_what_there_is_and_is_not_taken_for_a_whole_one(main, files):
    """It is never printed as a whole message is: whoever looks for its content in the output finds none."""
    files(cut=CUT)
    ended = main("parse", "cut")
    (told,) = ended.documents
    assert (told["file"], told["outcome"], set(told)) == ("cut", "truncated", {"file", "outcome", "error", "message"})
    assert told["error"] == f"the stream ended before the message did (event 25, byte {len(CUT)})"
    document = told["message"]
    assert document["content"][1]["input"] == {"house": "湖畔居", "at": "15:30"}
    assert document["content"][1]["input_json"].endswith('"seats": 1')
    assert ended.code == 1
    assert ended.err == f"cut: error: the stream ended before the message did (event 25, byte {len(CUT)})\n"


def test_broken_json_is_placed_by_event_and_byte(main, files):
    broken = FIRST_PARTY.replace(b'{"type":"message_delta"', b'{"type":"message_delta"]')
    place = offset(broken, b"event: message_delta")
    files(broken=broken, tea=FIRST_PARTY)
    ended = main("parse", "broken", "tea")
    assert [len(document["message"]["content"]) for document in ended.documents] == [3, 3]
    assert [document["outcome"] for document in ended.documents] == ["failed", "complete"]
    assert ended.code == 1, "one of two is broken"
    assert ended.err.startswith("broken: error: message_delta: ")
    assert ended.err.endswith(f"(event 170, byte {place})\n")


def test_events_in_front_of_a_fault_are_printed(main):
    broken = FIRST_PARTY.replace(b'{"type":"message_delta"', b'{"type":"message_delta"]')
    ended = main("parse", "--events", "-", stdin=broken)
    assert len(ended.documents) == 170
    assert ended.code == 1
    assert ended.err.startswith("<stdin>: error: message_delta: ")


def test_strict_takes_a_deviation_for_an_error(main, files):
    files(bike=STEPFUN)
    ended = main("parse", "--strict", "bike")
    assert ended.code == 1
    assert ended.err == ("bike: error: bare_message_start: message_start without content, usage (event 0, byte 0)\n")


def test_what_the_server_says_is_said(main):
    body = CUT + b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    ended = main("parse", "-", stdin=body)
    assert len(ended.documents) == 1
    assert ended.code == 1
    assert ended.err == "<stdin>: error: overloaded_error: Overloaded (event 25)\n"


def test_a_failed_message_in_front_of_a_whole_one_is_not_passed_over(main):
    error = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"no"}}\n\n'
    ended = main("parse", "-", stdin=CUT + error + FIRST_PARTY)
    assert [document.get("outcome") for document in ended.documents] == ["failed", None]
    assert ended.documents[1] == to_dict(parse(FIRST_PARTY))
    assert ended.code == 1
    assert "error: api_error: no (event 25)" in ended.err


def test_a_body_without_events_is_named(main):
    ended = main("parse", "-")
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err == "<stdin>: error: there is no event in these 0 bytes\n"


def test_a_broken_document_and_an_error_document(main, files):
    files(broken=b'{"content":[', failed=b'{"error":{"message":"no key","type":"invalid_api_key"}}')
    ended = main("parse", "broken", "failed")
    assert [(told["file"], told["outcome"], told["message"]) for told in ended.documents] == [
        ("broken", "failed", None),
        ("failed", "failed", None),
    ]
    assert ended.code == 1
    first, second = ended.err.splitlines()
    assert re.fullmatch(r"broken: error: .*at character 12 of the body", first)
    assert second == "failed: error: invalid_api_key: no key"


def test_a_document_has_no_events(main):
    ended = main("parse", "--events", "-", stdin=b"{}")
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err == "<stdin>: error: a JSON document, which has no events\n"


def test_a_file_that_is_not_there_is_named_and_the_others_read(main, files):
    files(tea=FIRST_PARTY)
    ended = main("parse", "missing", "tea")
    assert ended.code == 1
    assert ended.documents[0] == {
        "file": "missing",
        "outcome": "unreadable",
        "error": "No such file or directory",
        "message": None,
    }
    assert [told["outcome"] for told in ended.documents] == ["unreadable", "complete"]
    assert ended.err == "missing: error: No such file or directory\n"


def test_what_was_read_before_a_read_error_is_printed(main, monkeypatch):
    class Failing(io.RawIOBase):
        def __init__(self) -> None:
            self.pieces = [CUT]

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.pieces:
                raise OSError(5, "Input/output error")
            piece = self.pieces.pop()
            buffer[: len(piece)] = piece
            return len(piece)

    monkeypatch.setattr(io, "BytesIO", lambda _: Failing())
    ended = main("parse", "-")
    assert len(ended.documents) == 1
    assert (ended.code, ended.err) == (1, "<stdin>: error: Input/output error\n")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["parse", "--nonsense"], ["nonsense"], ["demo", "--pace", "-1"], ["demo", "--pace", "x"],
     ["demo", "--pace", "2"], ["demo", "--pace", "nan"], ["demo", "now"], ["parse", "--event"]])  # fmt: skip
def test_wrong_arguments_are_2(main, arguments):
    ended = main(*arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert "Traceback" not in ended.err


HOSTILE = f"a{COMMANDS}[2Jb"


def hostile(*, name: str = "note", message: str | None = None) -> bytes:
    """A stream whose server says such things wherever it can."""
    said = json.dumps(HOSTILE, ensure_ascii=False)[1:-1].encode()
    body = FIRST_PARTY.replace(b"msg_demo_hangzhou", said).replace("西湖".encode(), said)
    if message is None:
        return body
    wrong = f"event: {name}\ndata: {{}}{name}\n\n".encode()
    return (
        CUT.replace(b"msg_demo", said)
        + wrong
        + b"event: error\ndata: "
        + json.dumps({"type": "error", "error": {"type": message, "message": message}}, ensure_ascii=False).encode()
        + b"\n\n"
    )


@pytest.mark.parametrize("options", [[], ["--events"], ["--strict"]])
def test_no_control_character_of_a_servers_reaches_stderr(main, files, options):
    """Each complaint is one line, in which what a terminal could obey is written out."""
    # An event's name ends at a line end, and CR is one; NUL, C1 and the rest can stand in it.
    name = HOSTILE.replace("\r", "")
    files(stream=hostile(name=name, message=HOSTILE), document=json.dumps({"error": {"message": HOSTILE}}).encode())
    ended = main("parse", *options, "stream", "document")
    assert ended.code == 1
    assert commands_in(ended.err) == []
    assert "\\x1b" in ended.err
    assert len(ended.err.split("\n")) == len(ended.err.splitlines()) + 1
    for line in ended.err.splitlines():
        assert line.startswith(("stream: ", "document: "))


@POSIX
def test_no_control_character_of_a_files_name_reaches_stderr(main, tmp_path, monkeypatch):
    """A server names files, too: of those that `curl -O` saves."""
    monkeypatch.chdir(tmp_path)
    name = HOSTILE.replace("\x00", "") + "\n"
    ended = main("parse", name, os.fsdecode(b"\x9b2J"))
    assert ended.code == 1
    assert commands_in(ended.err) == []
    assert not re.search("[\udc80-\udc9f]", ended.err)
    assert len(ended.err.splitlines()) == 2


def test_in_a_pipe_the_json_is_as_ever(main):
    """To a pipe or a file goes the JSON of the message, byte for byte."""
    body = hostile()
    assert main("parse", "-q", "-", stdin=body).out == sansio_step.to_json(parse(body)) + b"\n"
    assert "\x9b".encode() in main("parse", "-", stdin=body).out
    events = b"".join(sansio_step.to_json(event) + b"\n" for event in sansio_step.iter_events([body]))
    assert main("parse", "--events", "-", stdin=body).out == events


@POSIX
@pytest.mark.parametrize("options", [[], ["--compact"], ["--events"]])
def test_in_a_terminal_the_json_says_the_same_in_escapes(tmp_path, options):
    """What a terminal could obey is written as JSON's escapes, so that the document still says what the server said."""
    capture = tmp_path / "tea"
    capture.write_bytes(hostile())
    code, shown = in_terminal(["parse", *options, str(capture)], 80)
    assert code == 0
    shown = shown.replace("\r\n", "\n")
    assert commands_in(shown) == []
    assert "\\u009b" in shown
    documents = [json.loads(line) for line in shown.splitlines()] if options else [json.loads(shown)]
    if options == ["--events"]:
        assert documents == [to_dict(event) for event in sansio_step.iter_events([hostile()])]
    else:
        assert documents == [to_dict(parse(hostile()))]
        assert documents[0]["id"] == HOSTILE


@POSIX
def test_complaints_in_a_terminal(tmp_path):
    """What goes to stderr is as clean there as what goes to stdout."""
    capture = tmp_path / "tea"
    capture.write_bytes(hostile(name="x\x1by\x9bz", message=HOSTILE))
    code, shown = in_terminal(["parse", str(capture)], 80)
    assert code == 1
    assert commands_in(shown.replace("\r\n", "\n")) == []


# --- parse: as a process ---------------------------------------------------------------------------------


def test_output_is_utf_8_whatever_the_locale():
    ended = run("parse", "-", stdin=STEPFUN, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="")
    assert ended.returncode == 0
    assert json.loads(ended.stdout.decode("utf-8")) == to_dict(parse(STEPFUN))


@POSIX
def test_a_name_of_any_bytes_is_named_as_it_is(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xe6\xb5\xb7"
    command = [sys.executable, "-c", START, "parse", name]
    ended = subprocess.run(command, capture_output=True, env=environment(), timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == name + b": error: No such file or directory\n"


@POSIX
def test_events_are_printed_as_they_come():
    """The first is there before the second is sent."""
    first, second, *_ = (block + b"\n\n" for block in FIRST_PARTY.split(b"\n\n"))
    command = [sys.executable, "-c", START, "parse", "--events", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for block, kind in ((first, "message_start"), (second, "ping")):
            process.stdin.write(block)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["type"] == kind
        process.communicate()
        assert process.returncode == 1


@POSIX
def test_a_broken_pipe_ends_it_quietly():
    command = [sys.executable, "-c", START, "parse", "--events", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(FIRST_PARTY)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # fails as the output is handed over, or as it is printed
def test_a_full_disk_is_said(unbuffered):
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-c", START, "parse", "-"]
        ended = subprocess.run(
            command, input=FIRST_PARTY, stdout=full, stderr=subprocess.PIPE, timeout=60,
            env=environment() | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.count(b"\n") == 1
    assert b"No space left on device" in ended.stderr


@POSIX
@pytest.mark.parametrize(
    ("arguments", "closed", "said"),
    [(["parse", "-"], 1, b"standard output is closed"), (["demo", "--fast"], 1, b"standard output is closed"),
     (["parse", "-"], 0, b"<stdin>"), (["parse"], 0, b"<stdin>"), (["parse", "missing"], 2, b"")],
)  # fmt: skip
def test_what_the_shell_closed_is_no_traceback(arguments, closed, said):
    """`>&-` and its like: one line says what is wrong, if there is anywhere to say it."""
    ended = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, env=environment(), timeout=60,
        preexec_fn=lambda: os.close(closed),  # noqa: PLW1509
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert said in ended.stderr
    assert ended.stderr.count(b"\n") == (1 if said else 0)


@POSIX
@pytest.mark.parametrize(("arguments", "shown"), [(["parse", "--events", "-"], b"{"), (["demo"], b"you")])
def test_control_c_ends_it_without_a_traceback(arguments, shown):
    """Once it has shown something it is at work, and Control-C ends it as it ends other programs."""
    # If these tests run in the background of a shell, the signal is ignored, and the program would ignore it too.
    listening = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {START}"
    with subprocess.Popen(
        [sys.executable, "-c", listening, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if "-" in arguments:
            process.stdin.write(FIRST_PARTY)
            process.stdin.flush()
        while not process.stdout.readline().startswith(shown):
            pass
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert complaints == b""
    assert process.returncode == 130


# --- the rest --------------------------------------------------------------------------------------------


def test_version(main):
    ended = main("--version")
    assert (ended.code, ended.out) == (0, f"sansio-step {sansio_step.__version__}\n".encode())


def test_help_names_the_commands(main):
    ended = main("--help")
    assert ended.code == 0
    assert b"demo" in ended.out
    assert b"parse" in ended.out


BLOCKED = """
import sys
sys.modules[{name!r}] = None
sys.argv[1:] = {arguments!r}
""" + START.replace("; ", "\n")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("rich.live", ["demo"]), ("h11", ["demo"]), ("anyio", ["demo"]), ("anyio", ["serve"]), ("h11", ["serve"])],
)
def test_without_the_extra_it_says_in_one_line_what_to_install(name, arguments):
    ended = run(code=BLOCKED.format(name=name, arguments=arguments))
    assert ended.returncode == 1
    assert ended.stdout == b""
    assert ended.stderr.decode().splitlines() == [
        f'sansio-step: no module {name!r}; run: pip install "sansio-step[cli]"'
    ]


@pytest.mark.parametrize("name", ["anyio", "h11", "rich", "typer", "click"])
def test_parse_does_without_any_extra(name):
    ended = run(code=BLOCKED.format(name=name, arguments=["parse", "-"]), stdin=FIRST_PARTY)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout) == to_dict(parse(FIRST_PARTY))


def test_nothing_but_msgspec_is_imported_to_parse():
    """The wheel alone is enough for it, whatever else is installed."""
    code = START + "\n"
    code = code.replace("main()", "__import__('atexit').register(lambda: print(*sys.modules, file=sys.stderr)); main()")
    ended = run("parse", "-", code=f"import sys; {code}", stdin=FIRST_PARTY)
    assert ended.returncode == 0
    loaded = set(ended.stderr.decode().split())
    assert "sansio_step_adapters.cli.parse" in loaded
    assert not {"anyio", "h11", "rich", "typer", "asyncio"} & loaded


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [[], ["parse"], ["demo"], ["chat"], ["inspect"], ["serve"]])
def test_help_of_each_command(main, command, option):
    """Both spellings, and every option of the command is there."""
    ended = main(*command, option)
    assert (ended.code, ended.err) == (0, "")
    named = {
        "parse": ["FILE", "--events", "--strict", "--quiet", "--pretty", "--compact"],
        "demo": ["--pace", "--fast", "--save"],
        "inspect": ["FILE", "--json", "--html"],
        "serve": [
            "FILE",
            "--by",
            "--script",
            "--echo",
            "--host",
            "--port",
            "--pace",
            "--chunk",
            "--latency",
            "--ping",
            "--fail-after",
            "--cut",
            "--error",
        ],
        "chat": [
            "PROMPT",
            "--base-url",
            "--model",
            "--effort",
            "--system",
            "--max-tokens",
            "--image",
            "--tool-schema",
            "--auth",
            "--extra",
            "--json",
            "--events",
            "--record",
            "--with-request",
        ],
    }
    for name in named.get(command[0] if command else "", ["demo", "parse", "--version"]):
        assert name.encode() in ended.out


@pytest.mark.parametrize("command", [[], ["parse"], ["demo"], ["chat"], ["inspect"], ["check"], ["serve"], ["archive"]])
def test_help_fits_a_screen_and_has_an_example(command):
    """24 lines of 80 cells, the shell's prompt among them; `python -m` is the program too."""
    ended = run(
        *command, "-h", code="import runpy; runpy.run_module('sansio_step_adapters', run_name='__main__')", COLUMNS="80"
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    lines = ended.stdout.decode().splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert (
        lines[-1].rpartition(": ")[2].strip().startswith("sansio-step demo" if not command else ("sansio-step", "curl"))
    )


def test_without_a_command_it_says_what_there_is(main):
    ended = main()
    assert (ended.code, ended.out) == (2, b"")
    assert "parse" in ended.err


def test_options_may_stand_between_the_files(main, files):
    files(tea=FIRST_PARTY, bike=STEPFUN)
    ended = main("parse", "tea", "--quiet", "bike", "--compact")
    assert (ended.code, ended.err, len(ended.documents)) == (0, "", 2)


# --- parse: in a terminal ---------------------------------------------------------------------------------


@POSIX
def test_parse_in_a_terminal_is_indented(tmp_path):
    capture = tmp_path / "tea"
    capture.write_bytes(FIRST_PARTY)
    code, shown = in_terminal(["parse", str(capture)], 80)
    assert code == 0
    assert shown.startswith('{\r\n  "type": "message",')


@POSIX
def test_parse_of_nothing_in_a_terminal_does_not_wait():
    code, shown = in_terminal(["parse"], 80)
    assert code == 2
    assert "name a file" in shown
