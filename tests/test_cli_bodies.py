"""Captured bodies in every form in which they are saved, as the program reads them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sansio_step import AWSFrame, encode_aws_frame, iter_events, parse, to_dict, to_json
from sansio_step_adapters.cli import _captures
from sansio_step_adapters.record import Recorder

from .program import START, environment, run

WHOLE = _captures.first_party()
CUT = _captures.cut_short()
MESSAGE = to_dict(parse(WHOLE))


def aws(body: bytes) -> bytes:
    """The same events in Bedrock's frames."""
    headers = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
    return b"".join(
        encode_aws_frame(AWSFrame(headers, json.dumps({"bytes": base64.b64encode(to_json(event)).decode()}).encode()))
        for event in iter_events([body])
    )


def saved(body: bytes, *lines: str, status: int = 200) -> bytes:
    """What `curl -i` writes."""
    return "\r\n".join([f"HTTP/2 {status}", *lines, "", ""]).encode() + body


def zstd(body: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").compress(body))


def brotli(body: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(body))


FORMS = {
    "plain": lambda: WHOLE,
    "gzip": lambda: gzip.compress(WHOLE),
    "gzip in members": lambda: gzip.compress(WHOLE[:1000]) + gzip.compress(WHOLE[1000:]),
    "zstd": lambda: zstd(WHOLE),
    "curl -i": lambda: saved(WHOLE, "content-type: text/event-stream"),
    "curl -i, LF": lambda: saved(WHOLE, "content-type: text/event-stream").replace(b"\r\n", b"\n", 3),
    "curl -i after 100 and a tunnel": lambda: saved(b"", status=100) + saved(b"", status=200) + saved(WHOLE, "a: b"),
    "curl -i of gzip": lambda: saved(gzip.compress(WHOLE), "Content-Encoding: gzip"),
    "curl -i of brotli": lambda: saved(brotli(WHOLE), "Content-Encoding: br"),
    "curl -i --compressed, which keeps the header": lambda: saved(WHOLE, "Content-Encoding: br"),
    "curl -i --compressed of gzip": lambda: saved(WHOLE, "content-encoding: gzip"),
    "AWS frames": lambda: aws(WHOLE),
    "AWS frames, gzip, curl -i": lambda: saved(gzip.compress(aws(WHOLE)), "content-encoding: gzip"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_parse_reads_every_form(form, way, tmp_path):
    """Told by the bytes alone: the name says nothing."""
    body = FORMS[form]()
    path = tmp_path / "capture"
    path.write_bytes(body)
    ended = run("parse", str(path)) if way == "file" else run("parse", "-", stdin=body)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout) == MESSAGE


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
@pytest.mark.parametrize("form", ["gzip", "curl -i of gzip", "AWS frames", "curl -i after 100 and a tunnel"])
def test_a_pipe_may_cut_a_body_anywhere(form):
    """The first bytes tell the form also if they come one by one."""
    body = FORMS[form]()
    command = [sys.executable, "-c", START, "parse", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), bufsize=0) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for start in range(64):
            process.stdin.write(body[start : start + 1])
        process.stdin.write(body[64:])
        process.stdin.close()
        assert json.loads(process.stdout.read()) == MESSAGE


def test_a_recording_is_read_by_each_of_its_names(tmp_path):
    with Recorder(tmp_path / "answer") as recorder:
        recorder.receive_head(200, {"content-encoding": "gzip"})
        coded = gzip.compress(WHOLE)
        for start in range(0, len(coded), 100):
            recorder.receive_data(coded[start : start + 100])
    for name in ("answer", "answer.sse", "answer.times.jsonl"):
        ended = run("parse", str(tmp_path / name))
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert json.loads(ended.stdout) == MESSAGE


@pytest.mark.parametrize("reads", [[], [(0, 5)], [(0, 5), (70, 6)], [(900, 5), (10**9, 6)]])
def test_times_that_tell_less_or_more_than_the_body_has_lose_nothing_of_it(reads, tmp_path):
    """A program that was killed between the two writes, or a body that somebody cut."""
    head = b'{"recording":1,"status":200,"headers":{},"head_ns":5}\n'
    (tmp_path / "a.times.jsonl").write_bytes(head + b"".join(b"[%d,%d]\n" % read for read in reads))
    (tmp_path / "a.sse").write_bytes(WHOLE)
    ended = run("parse", str(tmp_path / "a"))
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout) == MESSAGE


def test_times_that_are_none_are_said_in_one_line(tmp_path):
    (tmp_path / "a.times.jsonl").write_bytes(b"nothing\n")
    (tmp_path / "a.sse").write_bytes(WHOLE)
    ended = run("parse", str(tmp_path / "a"))
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.endswith(b"error: line 1 of the times is none\n")


@pytest.mark.parametrize("command", ["parse", "inspect", "check"])
@pytest.mark.parametrize("number", [-1, 2**63, 10**40])
@pytest.mark.parametrize("line", [1, 2, 3])
def test_times_that_no_clock_has(tmp_path, line, number, command):
    """Before the request, or centuries after it."""
    lines = [b'{"recording":1,"head_ns":%d}', b"[0,%d]", b'{"end":"eof","ns":%d}']
    times = [each % (number if at == line else at) for at, each in enumerate(lines, 1)]
    (tmp_path / "a.sse").write_bytes(WHOLE)
    (tmp_path / "a.times.jsonl").write_bytes(b"\n".join([*times, b""]))
    ended = run(command, str(tmp_path / "a.sse"))
    assert ended.returncode == 1
    assert b"line %d of the times is none" % line in ended.stdout + ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_cut_coding_gives_what_came_and_says_so():
    coded = gzip.compress(WHOLE)[:-30]
    ended = run("parse", "-", stdin=coded)
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert (told["outcome"], told["message"]["id"]) == ("truncated", "msg_demo_hangzhou")
    assert told["error"] == "the body ends inside its content coding, gzip"
    assert ended.stderr.decode().splitlines()[-1] == "<stdin>: error: the body ends inside its content coding, gzip"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x1f\x8b\x08\x00" + bytes(20), "is not in its content coding"),
        (saved(b"\xff\xfe\xfd", "content-encoding: compress"), "'compress' is not supported"),
        (b"HTTP/1.1 200 OK\r\nno: end", "there is no event"),
        (b"HTTP/1.1 2xx\r\n\r\n", "there is no event"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "there is no event"),
        (b"\x00\x01", "there is no event"),
        (b"\x1f", "there is no event"),
        (b"HT", "there is no event"),
    ],
)
def test_what_is_in_no_form_is_an_error_in_one_line(body, said):
    ended = run("parse", "-q", "-", stdin=body)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert said in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1


def test_a_package_that_is_missing_is_named():
    code = f"import sys; sys.modules['zstandard'] = None; {START}"
    ended = run("parse", "-", stdin=b"\x28\xb5\x2f\xfd" + bytes(20), code=code)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b'pip install "sansio-step[codings]"' in ended.stderr


def test_a_document_has_a_limit():
    """An endless one ends in an error as soon as it is over the limit of a message, whatever it holds."""
    command = [sys.executable, "-c", START, "parse", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        sent = 0
        with pytest.raises(BrokenPipeError):
            while sent < 200:
                process.stdin.write(b'{"a":"' + b"x" * (1 << 20))
                sent += 1
        said = process.stderr.read()
        assert said.startswith(b"<stdin>: error: ")
        assert b"67108864 bytes" in said
        assert said.count(b"\n") == 1
    assert process.returncode == 1


def test_a_note_before_the_events_is_no_document():
    """A gateway's error written bare, and then the stream, which is read."""
    note = b'{"note": "retrying"}\n'
    ended = run("parse", "-", stdin=note + WHOLE)
    assert json.loads(ended.stdout) == to_dict(parse(note + WHOLE))
    assert b"warning: bare_document" in ended.stderr
    assert ended.returncode == 0


def test_several_files_name_themselves(tmp_path):
    """So that a cut message can be told from a whole one; two messages of one body each say how they ended."""
    (tmp_path / "one.sse").write_bytes(CUT + b'event: error\ndata: {"type":"error","error":{"type":"t"}}\n\n' + WHOLE)
    (tmp_path / "two.sse").write_bytes(CUT)
    document = b'{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"hi"}]}'
    (tmp_path / "three").write_bytes(document)
    names = [str(tmp_path / name) for name in ("one.sse", "two.sse", "three")]
    ended = run("parse", *names)
    documents = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(Path(d["file"]).name, d["outcome"], d["message"]["id"]) for d in documents] == [
        ("one.sse", "failed", "msg_demo_cut"),
        ("one.sse", "complete", "msg_demo_hangzhou"),
        ("two.sse", "truncated", "msg_demo_cut"),
        ("three", "complete", "m"),
    ]
    assert ended.returncode == 1
    ended = run("parse", "--events", *names[1:], names[1])
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event.pop("event") for event in events[:25]] == [to_dict(event) for event in parse_events(CUT)]
    assert {Path(event["file"]).name for event in events[:26]} == {"two.sse"}
    ends = [(Path(told["file"]).name, told["outcome"]) for told in events if "outcome" in told]
    assert ends == [("two.sse", "truncated"), ("three", "unreadable"), ("two.sse", "truncated")]


def parse_events(body: bytes) -> list[object]:
    events: list[object] = []
    try:
        for event in iter_events([body]):
            events.append(event)
    except Exception:
        pass
    return events


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes")
def test_a_name_of_any_bytes_is_json_too(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(name)).write_bytes(WHOLE)
    command = [sys.executable, "-c", START, "parse", name, name]
    ended = subprocess.run(command, capture_output=True, env=environment(), timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert [json.loads(line)["file"][-5:] for line in ended.stdout.splitlines()] == ["/\\xff", "/\\xff"]


def test_any_bytes_end_without_a_traceback(tmp_path):
    """What begins like one of the forms, and goes on as it likes."""
    dice = random.Random(5)
    starts = [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"HTTP/1.1 200 OK\r\n", b"\x00\x00\x00\x60", b"{", b"data: ", b""]
    paths = []
    for number in range(70):
        path = tmp_path / str(number)
        path.write_bytes(starts[number % 7] + dice.randbytes(dice.randrange(60)))
        paths.append(str(path))
    ended = run("parse", *paths)
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    for line in ended.stderr.splitlines():
        assert line.startswith(os.fsencode(tmp_path))
