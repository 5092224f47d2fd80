"""`sansio-step chat`: what is sent, what is shown while it comes, and how it ends."""

from __future__ import annotations

import base64
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

from sansio_step import iter_events, parse, to_dict, to_param
from sansio_step_adapters.cli import _captures
from sansio_step_adapters.record import read_recording
from sansio_step_adapters.replay import Dials, Failure, Rule, serve

from .program import POSIX, START, STOPPABLE, Server, Terminal, commands_in, environment, run

WHOLE = _captures.first_party()
STEPFUN = _captures.stepfun()
CUT = _captures.cut_short()
KEY = {"STEP_API_KEY": "sk-a-real-secret", "STEPFUN_API_KEY": ""}
NO_KEY = {"STEP_API_KEY": "", "STEPFUN_API_KEY": ""}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(9)
TOOL = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}


def stream(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str = "end_turn", start: Any = None) -> bytes:
    """A stream of these blocks, each with its deltas."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "model": "x", "content": start or []}}
    ]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 1}})
    events.append({"type": "message_stop"})
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def says(text: str) -> bytes:
    return stream(({"type": "text", "text": ""}, [{"type": "text_delta", "text": text}]))


def calls(*pieces: str, **more: Any) -> bytes:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return stream(({"type": "tool_use", "id": "t", "name": "f", "input": {}, **more}, deltas), stop="tool_use")


def plain(shown: str) -> str:
    """What a terminal shows, without colours and moves."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).replace("\r\n", "\n")


# --- in a pipe -------------------------------------------------------------------------------------------


def test_a_pipe_gets_the_text_and_the_calls_alone():
    with Server(WHOLE) as server:
        ended = run("chat", "--base-url", server.url, "Tea?", FORCE_COLOR="1", **KEY)
    assert (ended.returncode, ended.stderr) == (0, b"")
    text, call = ended.stdout.decode().split("\n\n")
    assert text == parse(WHOLE).text
    assert call.splitlines() == ["find_tea_house", "  city: 杭州", "  near: Broken Bridge 断桥", "  at: 15:30", "  seats: 2",
        "  wishes:", "    - window", "    - quiet", "    - Longjing 龙井", "  price:", "    at_most: 120.5", "    currency: CNY"]  # fmt: skip


def test_what_is_sent_is_what_was_said(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.webp").write_bytes(b"RIFF0000WEBP")
    (tmp_path / "one.json").write_text(json.dumps(TOOL))
    (tmp_path / "more.json").write_text(json.dumps({"tools": [TOOL | {"name": "two"}]}))
    with Server(says("ok")) as server:
        ended = run("chat", "Why?", "--base-url", server.url, "--model", "step-3.5-flash", "--effort", "low", "--system", "Be short",
            "--max-tokens", "7", "--image", str(tmp_path / "a.png"), "--image", str(tmp_path / "b.webp"), "--auth", "x-api-key",
            "--tool-schema", str(tmp_path / "one.json"), "--tool-schema", str(tmp_path / "more.json"),
            "--extra", '{"temperature": 0.5, "metadata": {"user_id": "u"}}', **KEY)  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"ok\n", b"")
    (sent,) = server.requests
    images = [("image/png", PNG), ("image/webp", b"RIFF0000WEBP")]
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}}
        for kind, data in images
    ]
    assert sent == {
        "model": "step-3.5-flash",
        "max_tokens": 7,
        "stream": True,
        "messages": [{"role": "user", "content": [*content, {"type": "text", "text": "Why?"}]}],
        "system": "Be short",
        "tools": [TOOL, TOOL | {"name": "two"}],
        "output_config": {"effort": "low"},
        "temperature": 0.5,
        "metadata": {"user_id": "u"},
    }
    assert server.headers[0]["x-api-key"] == "sk-a-real-secret"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_without_a_terminal_standard_input_is_the_question(arguments):
    with Server(says("ok")) as server:
        ended = run("chat", "--base-url", server.url, *arguments, stdin="为什么？\nWhy?".encode(), **NO_KEY)
    assert (ended.returncode, ended.stdout) == (0, b"ok\n")
    assert server.requests[0]["messages"] == [{"role": "user", "content": "为什么？\nWhy?"}]


def test_json_is_the_message_and_events_are_the_events():
    with Server(WHOLE) as server:
        as_json = run("chat", "--base-url", server.url, "--json", "?", **NO_KEY)
        as_events = run("chat", "--base-url", server.url, "--events", "?", **NO_KEY)
    assert json.loads(as_json.stdout) == to_dict(parse(WHOLE))
    assert [json.loads(line) for line in as_events.stdout.splitlines()] == [to_dict(e) for e in iter_events([WHOLE])]
    assert (as_json.returncode, as_events.returncode) == (0, 0)


def test_an_answer_that_breaks_off_is_shown_as_far_as_it_came():
    with Server(CUT) as server:
        as_text = run("chat", "--base-url", server.url, "?", **NO_KEY)
        as_json = run("chat", "--base-url", server.url, "--json", "?", **NO_KEY)
        as_events = run("chat", "--base-url", server.url, "--events", "?", **NO_KEY)
    assert as_text.stdout.decode().endswith("book_table\n  house: 湖畔居\n  at: 15:30\n ✂ cut here\n")
    assert json.loads(as_json.stdout)["content"][1]["input"] == {"house": "湖畔居", "at": "15:30"}
    assert len(as_events.stdout.splitlines()) == 25
    for ended in (as_text, as_json, as_events):
        assert ended.returncode == 1
        assert ended.stderr == b"sansio-step chat: the stream ended before the message did (event 25)\n"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (calls('{"a": "', "x\\ny", '", "b": "", "c": [], "d": {}, "e": null}'), 'f\n  a: x\n    y\n  b: ""\n  c: []\n  d: {}\n  e: null\n'),
        (calls(input={"a": 1}), "f\n  a: 1\n"),
        (calls("", input={"a": 1}), "f\n  a: 1\n"),
        (calls(), "f {}\n"),
        (calls('{"a": x}', "more"), "f\n ✂ no JSON: "),
        (calls('{"a\\u001b": "b'), "f\n  a\\u001b: b ✂ cut here\n"),
        (stream(start=[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "all at once"}]), "all at once\n"),
        (stream(({"type": "text", "text": "first"}, [{"type": "text_delta", "text": " more"}])), "first more\n"),
        (stream(({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, []), ({"type": "text", "text": "b"}, [])), "[server_tool_use]\n\nb\n"),
        (stream(({"type": "text", "text": "a"}, []), ({"type": "text", "text": "b"}, [])), "a\n\nb\n"),
        (b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}\n\ndata: {"type":"message_stop"}\n\n', "? {}\n"),
        (b'data: {"type":"message_stop"}\n\n', ""),
    ],
)  # fmt: skip
def test_calls_and_blocks_of_all_kinds(body, shown):
    with Server(body) as server:
        ended = run("chat", "--base-url", server.url, "?", **NO_KEY)
    assert ended.stdout.decode().startswith(shown)
    assert b"Traceback" not in ended.stderr


@POSIX
def test_each_event_is_written_when_it_comes():
    """The first is out of the pipe before the server sends the second."""
    go = threading.Event()
    first = WHOLE[: WHOLE.index(b"\n\n") + 2]

    def body(send: Callable[[bytes], Any]) -> None:
        send(first)
        go.wait(60)
        send(WHOLE[len(first) :])

    with Server(body) as server:
        command = [sys.executable, "-c", START, "chat", "--events", "--base-url", server.url, "?"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(**NO_KEY)) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "message_start"
            go.set()
            process.stdout.read()
        assert process.returncode == 0


@POSIX
@pytest.mark.parametrize("options", [[], ["--events"], ["--json"]])
def test_a_closed_pipe_ends_it_quietly(options):
    with Server(WHOLE) as server:
        command = [sys.executable, "-c", START, "chat", *options, "--base-url", server.url, "?"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**NO_KEY)) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


# --- what is wrong ---------------------------------------------------------------------------------------


def test_no_key_is_one_line_that_says_what_to_do():
    ended = run("chat", "?", **NO_KEY)
    assert (ended.returncode, ended.stdout) == (1, b"")
    said = ended.stderr.decode()
    assert said.count("\n") == 1
    for word in ("STEP_API_KEY", "--base-url", "sansio-step demo"):
        assert word in said


def test_no_network_is_one_line_that_says_what_to_do():
    ended = run("chat", "--base-url", "http://127.0.0.1:1", "?", **NO_KEY)
    assert (ended.returncode, ended.stdout) == (1, b"")
    said = ended.stderr.decode()
    assert said.count("\n") == 1
    for word in ("127.0.0.1:1", "refused", "--base-url", "sansio-step demo"):
        assert word in said


def test_a_refused_key_is_one_line_without_the_key():
    body = b'{"error":{"type":"authentication_error","message":"no such key: sk-a-real-secret\\u001b[2J"}}'
    with Server(body, status=401, kind="application/json") as server:
        ended = run("chat", "--base-url", server.url, "?", **KEY)
    assert (ended.returncode, ended.stdout) == (1, b"")
    said = ended.stderr.decode()
    assert said.count("\n") == 1
    assert "sk-a-real-secret" not in said
    assert "check STEP_API_KEY" in said
    assert commands_in(said) == []


WRONG = [
    (["--max-tokens", "0", "?"], "chat: --max-tokens: "), (["--max-tokens", "x", "?"], "--max-tokens"), (["--effort", "huge", "?"], "chat: --effort: "),
    (["--base-url", "ftp://x", "?"], "chat: --base-url: "), (["--auth", "basic", "?"], "--auth"), (["--extra", "[1]", "?"], "--extra: a JSON object"),
    (["--extra", "{", "?"], "--extra: no JSON"), (["--extra", '{"top_k": -1}', "?"], "top_k"), (["--image", "missing", "?"], "missing"),
    (["--image", __file__, "?"], "is no PNG, JPEG, GIF or WebP"), (["--tool-schema", __file__, "?"], "no JSON"),
    (["--with-request", "?"], "--record"), (["--record", "missing/a", "?"], "--record: No such directory"), (["--model", "", "?"], "model"),
    (["--extra", '{"max_tokens": 0}', "?"], "chat: max_tokens: "), (["--extra", '{"messages": []}', "?"], "messages"), ([], "there is no question"), (["a", "b"], "b"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_arguments_are_2_and_say_which(arguments, said, tmp_path):
    ended = run("chat", *arguments, **KEY)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert said in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("variable", ["STEP_API_KEY", "STEPFUN_API_KEY"])
def test_a_key_that_no_header_carries_is_said_by_its_variable(variable):
    ended = run("chat", "?", **(NO_KEY | {variable: "sk-a\nb"}))
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert f"chat: {variable}: ".encode() in ended.stderr
    assert b"sk-a" not in ended.stderr


def test_a_file_that_holds_no_tool_is_said(tmp_path):
    (tmp_path / "t").write_text("[1]")
    ended = run("chat", "--tool-schema", str(tmp_path / "t"), "?", **KEY)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"holds no tool" in ended.stderr


# --- recording -------------------------------------------------------------------------------------------


def test_record_says_where_the_answer_is_if_it_was_asked_for_again(tmp_path):
    """The file of the name as given has the refusal then: whoever looks into it has to know."""
    rules = [Rule(times=2, dials=Dials(error=Failure("overloaded_error", retry_after=0)))]
    with serve(WHOLE, rules=rules) as server:
        ended = run("chat", "--base-url", server.base_url, "--record", str(tmp_path / "tea"), "?", **KEY)
    assert ended.returncode == 0
    said = "sansio-step chat: asked 3 times: tea-3.sse has the last answer, tea.sse, tea-2.sse what came before it\n"
    assert ended.stderr.decode() == said
    assert (tmp_path / "tea-3.sse").read_bytes() == WHOLE
    assert read_recording(tmp_path / "tea").status == 529


@pytest.mark.parametrize("with_request", [False, True])
def test_record_keeps_the_answer_and_the_request_only_if_asked(with_request, tmp_path):
    path = tmp_path / "tea"
    more = ["--with-request"] if with_request else []
    with Server(WHOLE) as server:
        ended = run("chat", "--base-url", server.url, "--record", str(path), *more, "A question of mine", **KEY)
        assert (ended.returncode, ended.stderr) == (0, b"")
        again = run("chat", "--base-url", server.url, "--record", str(path), "?", **KEY)
        assert len(server.requests) == 1, "no call is made whose recording has no place"
    assert (again.returncode, again.stdout) == (2, b"")
    assert b"already" in again.stderr
    assert (tmp_path / "tea.sse").read_bytes() == WHOLE
    times = (tmp_path / "tea.times.jsonl").read_bytes()
    assert b"sk-a-real-secret" not in times
    request = read_recording(path).request
    if with_request:
        assert request is not None
        assert request["messages"] == server.requests[0]["messages"]
    else:
        assert request is None
        assert b"A question of mine" not in times


@POSIX
def test_record_keeps_each_turn_of_a_conversation(tmp_path):
    """A file for each answer, the one that broke off too, in the order of the questions; its request, if asked for, is its own."""
    bodies = [says("Hello."), CUT, says("Good.")]
    with Server(*bodies) as server:
        options = ["--record", str(tmp_path / "talk"), "--with-request"]
        terminal = Terminal(["chat", "--base-url", server.url, *options], **NO_KEY)
        for question, answer in (("Hi", "Hello."), ("Book", "before the message did"), ("Well?", "Good.")):
            terminal.read_until("you> ")
            terminal.type(question + "\n")
            terminal.read_until(answer)
            terminal.shown = terminal.shown.rpartition(answer)[2]
        terminal.read_until("you> ")
        terminal.type("\x04")
        assert terminal.end()[0] == 0
    names = ["talk", "talk-2", "talk-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        name + ending for name in names for ending in (".sse", ".times.jsonl")
    )
    for name, body, sent in zip(names, bodies, server.requests, strict=True):
        assert (tmp_path / f"{name}.sse").read_bytes() == body
        recording = read_recording(tmp_path / name)
        assert recording.end == "eof"
        assert recording.request is not None
        assert recording.request["messages"] == sent["messages"]


# --- in a terminal ---------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("colours", ["on", "off", "dumb"])
def test_an_answer_in_a_terminal(columns, colours):
    """Everything is there in any terminal, thinking dimmed if there are colours, no line drawn twice but the waiting."""
    changes = {"on": {}, "off": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}[colours]
    with Server(WHOLE) as server:
        code, shown = Terminal(["chat", "--base-url", server.url, "?"], columns, **NO_KEY, **changes).end()
    assert code == 0
    message = parse(WHOLE)
    text = plain(shown)
    for part in (message.content[0].thinking, message.text, "find_tea_house\n  city: 杭州\n", "312 in, 196 out"):  # type: ignore[union-attr]
        assert text.count(part) == 1
    if colours != "dumb":  # its width is not known
        facts = text[text.index("step-3.7-flash \N{MIDDLE DOT}") :].splitlines()
        assert max(map(len, facts)) <= columns, "words of the last line are whole"
    assert ("\x1b[2;3m" in shown) == (colours != "dumb")
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) == (colours == "on")
    if colours == "dumb":
        assert "\x1b" not in shown
        assert "(thinking) One afternoon" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


@POSIX
def test_a_waiting_line_counts_seconds_until_an_event_that_is_no_ping():
    go = threading.Event()

    def body(send: Callable[[bytes], Any]) -> None:
        send(b'event: ping\ndata: {"type":"ping"}\n\n')
        go.wait(60)
        send(says("done"))

    with Server(body) as server:
        terminal = Terminal(["chat", "--base-url", server.url, "?"], **NO_KEY)
        terminal.read_until(" 0.3 s")
        go.set()
        code, shown = terminal.end()
    assert code == 0
    assert "done" in plain(shown)
    assert "0.3 s" not in shown.partition("done")[2].replace("0.3 s,", "")


@POSIX
@pytest.mark.parametrize("when", ["waiting", "thinking"])
def test_control_c_leaves_what_came_and_a_clean_terminal(when):
    gone = threading.Event()
    half = WHOLE[: WHOLE.index(b" West")]
    half = half[: half.rindex(b"\n\n") + 2]

    def body(send: Callable[[bytes], Any]) -> None:
        if when == "thinking":
            send(half)
        gone.wait(60)

    with Server(body) as server:
        terminal = Terminal(["chat", "--base-url", server.url, "?"], **NO_KEY)
        terminal.read_until({"waiting": "0.1 s", "thinking": "view"}[when])
        terminal.type("\x03")
        code, shown = terminal.end()
        gone.set()
    assert code == 130
    assert "Traceback" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
    assert re.search(r"(\n|\x1b\[2K)\Z", shown), "the shell's prompt begins a line, or one that was cleared"
    if when == "thinking":
        assert "One afternoon, tea, a view" in plain(shown)
        assert "312 in" in shown
        assert " out" not in shown.rpartition("312 in")[2], "the count in message_start is a placeholder"
        assert "cut short" in shown
        assert shown.rstrip("\r\n").endswith("\x1b[0m")


def without_readline(folder: Path) -> dict[str, str]:
    """An environment in which lines are not edited, as where Python was built without readline."""
    (folder / "readline.py").write_text("raise ImportError")
    return {"PYTHONPATH": os.pathsep.join([str(folder), environment()["PYTHONPATH"]])}


MOMENTS = ["asked", "typing", "waiting", "answering", "asked for a result", "asked again"]


@POSIX
@pytest.mark.parametrize("lines", ["edited", "plain"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_control_c_ends_a_conversation_at_every_moment(moment, lines, tmp_path):
    """130, no traceback, the terminal as it was; with readline, which edits lines, and where there is none."""
    python = without_readline(tmp_path) if lines == "plain" else {}
    gone = threading.Event()
    answer = {"asked for a result": WHOLE, "asked again": says("Hello.")}.get(moment, CUT)

    def body(send: Callable[[bytes], Any]) -> None:
        if moment != "waiting":
            send(answer)
        if answer is CUT:
            gone.wait(60)

    with Server(body) as server:
        terminal = Terminal(["chat", "--base-url", server.url], **NO_KEY, **python)
        terminal.read_until("you> ")
        terminal.type({"asked": "", "typing": "Wh"}.get(moment, "Why?\n"))
        awaited = {"typing": "Wh", "waiting": "0.1 s", "answering": "15:30", "asked for a result": "result of find_tea_house> ", "asked again": "Hello."}  # fmt: skip
        terminal.read_until(awaited.get(moment, ""))
        if moment == "asked again":
            terminal.shown = terminal.shown.rpartition("Hello.")[2]
            terminal.read_until("you> ")
        terminal.type("\x03")
        code, shown = terminal.end()
        gone.set()
    assert code == 130
    assert "Traceback" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
    assert re.search(r"(\n|\x1b\[2K)\Z", shown)


@STOPPABLE
@pytest.mark.parametrize("lines", ["edited", "plain"])
def test_control_c_between_the_prompt_and_the_wait_for_a_line(lines, tmp_path):
    """CPython looks for signals before it writes the prompt, and then only when something interrupts the wait."""
    python = without_readline(tmp_path) if lines == "plain" else {}
    terminal = Terminal(["chat", "--base-url", "http://127.0.0.1:1"], stopped=True, **NO_KEY, **python)
    terminal.wait_for_write()
    terminal.process.send_signal(signal.SIGINT)
    terminal.go_on()
    assert terminal.end()[0] == 130


@POSIX
def test_a_conversation_replays_its_turns():
    with Server(says("Hello."), CUT, says("Good.")) as server:
        terminal = Terminal(["chat", "--base-url", server.url], **NO_KEY)
        for number, (question, answer) in enumerate([("Hi", "Hello."), ("", "you> "), ("Book", "before the message did"), ("Well?", "Good.")]):  # fmt: skip
            terminal.read_until("you> ")
            terminal.type(question + "\n")
            terminal.read_until(answer)
            if number != 1:
                terminal.shown = terminal.shown.rpartition(answer)[2]
        terminal.read_until("you> ")
        terminal.type("\x04")
        code, _ = terminal.end()
    assert code == 0, "the last answer was whole"
    hello = [{"role": "user", "content": "Hi"}, to_param(parse(says("Hello.")))]
    assert [request["messages"] for request in server.requests] == [
        hello[:1],
        [*hello, {"role": "user", "content": "Book"}],
        [*hello, {"role": "user", "content": "Well?"}],
    ], "a turn whose answer broke off is not replayed"


@POSIX
def test_a_call_is_answered_by_the_user():
    with Server(WHOLE, says("Fine.")) as server:
        terminal = Terminal(["chat", "--base-url", server.url], **NO_KEY)
        terminal.read_until("you> ")
        terminal.type("Tea?\n")
        terminal.read_until("result of find_tea_house> ")
        terminal.type("no table\n")
        terminal.read_until("Fine.")
        terminal.shown = terminal.shown.rpartition("Fine.")[2]
        terminal.read_until("you> ")
        terminal.type("\x04")
        assert terminal.end()[0] == 0
    assert server.requests[1]["messages"] == [
        {"role": "user", "content": "Tea?"},
        to_param(parse(WHOLE)),
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_demo_tea", "content": "no table"}]},
    ]


@POSIX
def test_an_answer_that_cannot_be_sent_back_is_said_and_forgotten():
    with Server(stream()) as server:
        terminal = Terminal(["chat", "--base-url", server.url], **NO_KEY)
        terminal.read_until("you> ")
        terminal.type("Hi\n")
        terminal.read_until("no block of the message can be sent back")
        terminal.shown = terminal.shown.rpartition("no block")[2]
        terminal.read_until("you> ")
        terminal.type("\x04")
        assert terminal.end()[0] in (0, 1)


HOSTILE = "a\x1b[2J\x07\r\x7f\x9b\u202eb\tc\nd"


@POSIX
@pytest.mark.parametrize("options", [[], ["--json"], ["--events"]])
def test_control_characters_of_the_model_are_shown_as_escapes(options):
    """But LF and TAB, which prose and code have: in texts, thinking, arguments and names, and in errors."""
    tool = {"type": "tool_use", "id": HOSTILE, "name": HOSTILE, "input": {}}
    arguments = [{"type": "input_json_delta", "partial_json": json.dumps({HOSTILE: HOSTILE, "b": [HOSTILE]})}]
    thinking = {"type": "thinking", "thinking": HOSTILE}
    body = stream((thinking, []), ({"type": "text", "text": HOSTILE}, []), (tool, arguments), ({"type": HOSTILE}, []))
    error = json.dumps({"type": "error", "error": {"type": HOSTILE, "message": HOSTILE}}).encode()
    body = body.replace(b"event: message_delta", b"event: error\ndata: " + error + b"\n\nevent: message_delta", 1)
    with Server(body) as server:
        code, shown = Terminal(["chat", "--base-url", server.url, *options, "?"], **NO_KEY).end()
    assert code == 1
    # What the program itself writes: colours, the waiting line, the cursor.
    own = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[lh]|1A|2K)", "", shown).replace("\r", "")
    assert set(commands_in(own)) <= {"\t"}
    assert "\\u001b[2J" in own
    if not options:
        assert "b\tc\nd" in own


@POSIX
def test_a_conversation_needs_a_terminal_to_be_shown_in(tmp_path):
    """Its prompts would end up in the file."""
    terminal = ["-c", START, "chat"]
    import pty

    ours, theirs = pty.openpty()
    ended = subprocess.run([sys.executable, *terminal], stdin=theirs, capture_output=True, env=environment(**KEY), timeout=60)  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"give a PROMPT" in ended.stderr
