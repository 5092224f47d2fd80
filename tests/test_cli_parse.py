"""`sansio-step parse` on folders, globs and many files, how far it is in a terminal, and what others' formats are called."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from sansio_step import iter_events, parse, to_dict
from sansio_step_adapters.cli import _captures
from sansio_step_adapters.record import Recorder

from .program import POSIX, in_terminal, run

WHOLE = _captures.first_party()
CUT = _captures.cut_short()
MESSAGE = to_dict(parse(WHOLE))


@pytest.fixture
def folder(tmp_path):
    """Captures of several kinds, in folders, and what else lies about."""
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    with Recorder(tmp_path / "answer") as recorder:
        recorder.receive_head(200, {})
        recorder.receive_data(WHOLE)
    for name, data in {
        "b/cut.body": CUT,
        "b/deep/packed.sse.gz": gzip.compress(WHOLE),
        "document.json": json.dumps(MESSAGE).encode(),
        "README.md": b"# Captures\n\nof Tuesday: all of them\n",
        "page.html": b"<!doctype html><title>sky</title>",
        "settings.json": b'{"a": 1}',
        "a[1].sse": WHOLE,
        ".hidden.sse": WHOLE,
        ".git/config": b"[core]",
    }.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def told(ended):
    return [json.loads(line) for line in ended.stdout.splitlines()]


FOUND = [
    ("a[1].sse", "complete"),
    ("answer.sse", "complete"),
    ("document.json", "complete"),
    ("cut.body", "truncated"),
    ("packed.sse.gz", "complete"),
]


def test_a_folder_is_read_with_those_in_it(folder):
    """One object a line for each capture; a recording is one; what is no capture is named on stderr and fails nothing."""
    ended = run("parse", str(folder))
    assert [(Path(each["file"]).name, each["outcome"]) for each in told(ended)] == FOUND
    assert [each["message"] for each in told(ended) if each["outcome"] == "complete"] == [MESSAGE] * 4
    assert ["error" in each for each in told(ended)] == [False, False, False, True, False]
    passed = [line.partition(": note: passed over: ") for line in ended.stderr.decode().splitlines()]
    assert [Path(name).name for name, note, _ in passed if note] == ["README.md", "page.html", "settings.json"]
    assert ended.returncode == 1
    (folder / "b" / "cut.body").unlink()
    ended = run("parse", "-q", str(folder))
    assert (ended.returncode, ended.stderr, len(told(ended))) == (0, b"", 4)


def test_a_file_that_is_called_a_capture_is_not_passed_over(folder):
    (folder / "gone.sse").write_bytes(b"<html>502 Bad Gateway</html>")
    ended = run("parse", str(folder))
    (page,) = [each for each in told(ended) if each["file"].endswith("gone.sse")]
    assert (page["outcome"], page["message"]) == ("unreadable", None)
    assert page["error"].startswith("this is an HTML page")


def test_what_is_named_is_not_passed_over(folder):
    ended = run("parse", str(folder / "README.md"))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b'there is no event in these 36 bytes; this is text that starts with "# Captures"' in ended.stderr


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.sse", ["a[1].sse", "answer.sse"]),
        ("**/*.gz", ["packed.sse.gz"]),
        ("answer*", ["answer.sse"]),
        ("a[1].sse", ["a[1].sse"]),
        ("b*", ["cut.body", "packed.sse.gz"]),
    ],
)
def test_a_glob_that_no_shell_expanded(folder, pattern, names):
    """By name, a folder that fits with all in it; a name that is there is no pattern; times are read with their body."""
    ended = run("parse", "-", str(folder / pattern), stdin=WHOLE)
    assert [Path(each["file"]).name for each in told(ended)] == ["<stdin>", *names]


def test_a_recording_that_a_shell_named_twice_is_read_once(folder):
    names = [str(folder / name) for name in ("answer.sse", "answer.times.jsonl", "document.json")]
    assert len(told(run("parse", *names))) == 2


def test_a_glob_or_a_folder_with_nothing_is_an_error(tmp_path):
    for name, why in (("*.sse", "no file matches"), ("", "no file is in this folder")):
        ended = run("parse", str(tmp_path / name))
        assert (ended.returncode, ended.stdout) == (1, b"")
        assert ended.stderr.decode().endswith(f": error: {why}\n")


@POSIX
def test_a_pipe_and_a_link_that_leads_back_are_not_read(tmp_path):
    """To open a pipe would be to wait for ever."""
    os.mkfifo(tmp_path / "pipe.sse")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "one.sse").write_bytes(WHOLE)
    assert len(told(run("parse", str(tmp_path)))) == 1


@pytest.mark.parametrize("name", ["a" * 300, "[a]" * 100])
def test_a_name_that_nobody_can_ask_about_ends_no_other_file(folder, name):
    ended = run("parse", name, str(folder / "a[1].sse"))
    assert ended.returncode == 1
    assert [json.loads(line)["outcome"] for line in ended.stdout.splitlines()] == ["unreadable", "complete"]


@POSIX
def test_a_file_that_nobody_can_ask_about_ends_no_other_file(folder):
    """Its folder can be listed, and its path is longer than the system takes."""
    longest = os.pathconf(folder, "PC_PATH_MAX")
    path, place = str(folder / "b"), os.open(folder / "b", os.O_RDONLY)
    while (left := longest - len(path) - 10) > 1:
        part = "d" * min(200, left - 1)
        os.mkdir(part, dir_fd=place)
        inner = os.open(part, os.O_RDONLY, dir_fd=place)
        os.close(place)
        path, place = f"{path}/{part}", inner
    os.close(os.open("cut of a long name.sse", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)
    ended = run("parse", str(folder / "b"))
    assert ended.returncode == 1
    outcomes = {json.loads(line)["file"][-10:]: json.loads(line)["outcome"] for line in ended.stdout.splitlines()}
    assert outcomes == {"b/cut.body": "truncated", "ked.sse.gz": "complete", "g name.sse": "unreadable"}
    assert b"cut of a long name.sse: error: File name too long\n" in ended.stderr


def test_events_of_several_files_end_with_their_outcome(folder):
    ended = run("parse", "--events", str(folder / "b"))
    ends = [(Path(each["file"]).name, each["outcome"]) for each in told(ended) if "event" not in each]
    assert ends == [("cut.body", "truncated"), ("packed.sse.gz", "complete")]
    events = [each["event"] for each in told(ended) if each["file"].endswith(".gz") and "event" in each]
    assert events == [to_dict(event) for event in iter_events([WHOLE])]


@pytest.mark.parametrize("count", [1, 2])
def test_pretty_indents_events_and_messages(folder, count):
    """Whatever is written: events, messages, objects of several files."""
    names = [str(folder / "answer.sse")] * count
    for options in (["--pretty"], ["--events", "--pretty"]):
        ended = run("parse", *options, *names)
        compact = run("parse", *options[:-1], *names)
        decoder, text, found = json.JSONDecoder(), ended.stdout.decode().strip(), []
        while text:
            item, end = decoder.raw_decode(text)
            assert text[:end] == json.dumps(item, indent=2, ensure_ascii=False)
            found.append(item)
            text = text[end:].lstrip()
        assert found == told(compact)


# --- in a terminal -------------------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("columns", [30, 100])
def test_how_far_it_is(folder, columns):
    """One line that changes and goes away, no wider than the terminal; each object stays a line of its own."""
    code, shown = in_terminal(["parse", str(folder)], columns)
    assert code == 1
    lines = [piece.partition("\n")[0] for piece in shown.split("\r\x1b[K")[1:]]
    steps = [line for line in lines if " of 8: " in line[:12]]
    assert steps[0].startswith("1 of 8: ")
    assert max(map(len, steps)) < columns
    assert shown.count("\x1b[K") == 2 * len(steps)
    rows = [line.rpartition("\x1b[K")[2] for line in shown.split("\r\n")]
    objects = [json.loads(row) for row in rows if row.startswith("{")]
    assert [(Path(each["file"]).name, each["outcome"]) for each in objects] == FOUND


@POSIX
def test_one_file_and_a_dumb_terminal_have_no_progress(folder):
    for arguments, changes in (([str(folder / "answer.sse")], {}), ([str(folder)], {"TERM": "dumb"})):
        _, shown = in_terminal(["parse", *arguments], 80, **changes)
        assert "\x1b" not in shown


@POSIX
def test_events_in_a_terminal_are_one_a_line_unless_they_are_to_be_pretty(folder):
    path = str(folder / "answer.sse")
    _, shown = in_terminal(["parse", "--events", path], 80)
    assert [json.loads(line)["type"] for line in shown.split("\r\n") if line] == [e.type for e in iter_events([WHOLE])]
    _, shown = in_terminal(["parse", "--events", "--pretty", path], 80)
    assert shown.startswith('{\r\n  "type": "message_start",\r\n')


# --- other formats -------------------------------------------------------------------------------------------------


def lines(*items):
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def sse(*items, name=None):
    return b"".join(
        (f"event: {name}\n".encode() if name else b"") + b"data: %b\n\n" % json.dumps(i).encode() for i in items
    )


ASSISTANT = {"id": "m", "type": "message", "role": "assistant", "content": []}
CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
FOREIGN = {
    "chat chunks": (sse(CHUNK, CHUNK) + b"data: [DONE]\n\n", "OpenAI's chat completion chunks", "/v1/messages"),
    "chat chunks after comments": (b": OPENROUTER PROCESSING\n\n" + sse(CHUNK), "chat completion chunks", "/v1/messages"),
    "chat document": (lines({"id": "c", "object": "chat.completion", "choices": []}), "an OpenAI chat completion", "/v1/messages"),
    "pretty chat document": (json.dumps({"object": "chat.completion", "choices": []}, indent=2).encode(), "an OpenAI chat", "/v1/"),
    "cut chat document": (b'{"object":"chat.completion","choices":[{"mess', "an OpenAI chat completion", "/v1/messages"),
    "responses stream": (sse({"type": "response.created", "response": {}}, name="response.created"), "OpenAI's Responses API", "/v1/"),
    "responses document": (lines({"id": "resp_1", "object": "response", "output": []}), "Responses API", "/v1/messages"),
    "text completion": (lines({"object": "text_completion", "choices": []}), "an OpenAI text completion", "/v1/"),
    "Gemini": (sse({"candidates": [{"content": {}}]}), "the Gemini API", "/v1/messages"),
    "Ollama": (lines({"model": "m", "message": {"content": "a"}, "done": False}, {"model": "m", "done": True}), "Ollama", "/v1/"),
    "Claude Code": (
        lines({"type": "summary", "summary": "s"}, {"uuid": "u", "sessionId": "s", "type": "assistant", "message": ASSISTANT}),
        "a log of Claude Code", "--body message",
    ),
    "Claude Code, printed": (
        lines({"type": "system", "subtype": "init", "session_id": "s"}, {"type": "assistant", "session_id": "s", "message": ASSISTANT}),
        "an agent's log", "--body message",
    ),
    "Codex": (lines({"timestamp": "t", "type": "session_meta", "payload": {}}, {"timestamp": "t", "type": "event_msg", "payload": {}}), "a log of Codex", "/v1/"),
    "Codex, printed": (lines({"type": "thread.started", "thread_id": "t"}, {"type": "turn.started"}), "a log of Codex", "/v1/"),
    "batch results": (lines({"custom_id": "a", "result": {"type": "succeeded", "message": ASSISTANT}}), "a message batch", "--id custom_id"),
    "HAR": (lines({"log": {"version": "1.2", "entries": []}}), "a HAR archive", "by itself"),
    "request": (lines({"model": "m", "max_tokens": 9, "messages": []}), "a request", "its answer"),
    "count": (lines({"input_tokens": 3}), "count_tokens", "no message"),
    "events as lines": (lines({"type": "message_start", "message": ASSISTANT}, {"type": "message_stop"}), "events as JSON lines", "sed"),
    "any lines": (lines({"a": 1}, {"b": 2}), "JSON lines", "sansio-step archive"),
    "array": (b"[{}]", "a JSON array", "sansio-step archive"),
    "HTML": (b"<!DOCTYPE html>\n<html>502</html>", "an HTML page", "gateway"),
    "XML": (b"<?xml version='1.0'?><Error/>", "XML or HTML", "gateway"),
    "Parquet": (b"PAR1" + bytes(20), "a Parquet file", "--body COLUMN"),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("options", [[], ["--events"]])
def test_other_formats_are_named(what, options):
    """In one line, with what to do, and without a word on deviations of what was never a Messages stream."""
    body, name, remedy = FOREIGN[what]
    ended = run("parse", *options, "-", stdin=body)
    said = ended.stderr.decode()
    assert said.startswith("<stdin>: error: this is ")
    assert name in said
    assert remedy in said
    assert said.count("\n") == ended.returncode == 1
    if not options:
        assert ended.stdout == b""


def test_what_to_do_works(tmp_path):
    """The commands that the errors name, on what they were named for."""
    body = lines(*(to_dict(event) for event in iter_events([WHOLE])))
    fixed = b"".join(b"data: %b\n\n" % line for line in body.splitlines())  # what the sed command makes
    assert to_dict(parse(fixed)) == MESSAGE
    pytest.importorskip("pyarrow", reason="no pyarrow: the archive's remedies are NOT TESTED")
    paths = {name: tmp_path / f"{name}.jsonl" for name in ("Claude Code", "batch results")}
    for name, path in paths.items():
        path.write_bytes(FOREIGN[name][0])
    for name, options in (
        ("Claude Code", ["--body", "message"]),
        ("batch results", ["--body", "result.message", "--id", "custom_id"]),
    ):
        ended = run("archive", str(paths[name]), *options, "--out", str(tmp_path / name), "--engine", "serial", "-q")
        assert b"complete  1" in ended.stdout, ended


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"message":"no such model","type":"invalid_request_error"}}\n\n',
        b'{"type":"error","error":{"type":"api_error","message":"busy"}}',
        b"event: ping\ndata: {}\n\n",
        b'event: message_start\ndata: {"type":"message_start","message":[]}\n\n',
    ],
)
def test_what_a_messages_server_sent_is_not_called_foreign(body):
    ended = run("parse", "-q", "-", stdin=body)
    assert ended.returncode == 1
    assert b"this is" not in ended.stderr


def test_a_note_in_openais_form_before_a_message_is_read():
    """A relay that tries one API and then the other: there is a message, so nothing is foreign."""
    ended = run("parse", "-q", "-", stdin=sse(CHUNK) + WHOLE)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout)["id"] == MESSAGE["id"]
