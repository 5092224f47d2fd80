"""What a server may send tomorrow goes into as few places as the maintainers' map says: a copy of the core proves it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sansio_step

CORE = Path(sansio_step.__file__).parent

DELTA = """class FooDelta(BlockDelta, frozen=True, tag="foo_delta"):
    type: ClassVar[Literal["foo_delta"]] = "foo_delta"
    grows: ClassVar[Grows] = Grows(TextBlock, "foo", TextBlock, "foo")
    text_field: ClassVar[str] = "foo"
    foo: str


"""
EVENT = """class FooEvent(Event, frozen=True, tag="foo_event"):
    type: ClassVar[Literal["foo_event"]] = "foo_event"


"""

READS_BOTH = r"""
import json
from sansio_step import Deadlines, EventDecoder, MessageStream, Timeouts, decode_event, encode_event, message_events, parse

def frame(**event):
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event, separators=(",", ":")).encode())

def delta(**fields):
    return frame(type="content_block_delta", index=0, delta=fields)

usage = {"input_tokens": 1, "output_tokens": 1, "foo_tokens": 7}
message = {"type": "message", "id": "m", "role": "assistant", "model": "x", "content": [], "usage": usage}
texts = [delta(type="text_delta", text=text) for text in ("he", "y")]
foos = [delta(type="foo_delta", foo=foo) for foo in "abcdefghij"]
body = [
    frame(type="message_start", message=message),
    frame(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *texts,
    *foos,
    frame(type="content_block_stop", index=0),
    frame(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
    frame(type="message_stop"),
]
for chunks in (body, [b"".join(body)], [bytes([byte]) for byte in b"".join(body)]):
    live, quiet = MessageStream(strict=True), MessageStream(strict=True)
    for chunk in chunks:
        live.receive_data(chunk)
        quiet.consume(chunk)
    for stream in (live, quiet):
        stream.receive_eof()
        (block,) = stream.result().content
        assert (block.text, block.foo, stream.result().usage.foo_tokens) == ("hey", "abcdefghij", 7)

again = parse(b"".join(map(encode_event, message_events(live.result(), piece=1))), strict=True)
assert again == live.result()

# A field that servers may leave out is missed by nobody, in a frame that msgspec's strict classes refuse.
stream = MessageStream(strict=True)
stream.receive_data(body[0] + frame(type="content_block_start", index=0, content_block={"type": "text", "text": "", "bar": 1}))
assert stream.message.content[0].foo is None

stream = MessageStream()
stream.receive_data(body[0] + body[1] + delta(foo="a") + delta(foo="b"))
assert stream.message.content[0].foo == "ab"
assert [deviation.code for deviation in stream.deviations] == ["bare_delta"]

# The event is decoded alone and in a row, and it is no silence.
foo = frame(type="foo_event")
(event,) = EventDecoder(strict=True).receive_data(foo)
assert type(event).__name__ == "FooEvent" and encode_event(event) == foo
assert EventDecoder(strict=True).receive_data(foo * 20) == [event] * 20
deadlines = Deadlines(Timeouts(stall=10, idle=None, total=None), 0)
deadlines.connected(0)
deadlines.events_received([event], 1)
deadlines.events_received([event], 5)
assert deadlines.next_deadline() == (15, "stall")
"""


def insert(core: Path, name: str, *changes: tuple[str, str]) -> None:
    """Put a text before another, which stands in the file once."""
    path = core / name
    text = path.read_text(encoding="utf-8")
    for before, new in changes:
        assert text.count(before) == 1, (name, before)
        text = text.replace(before, new + before)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """A copy of the core with a delta, a field of a block and of usage, and an event that nobody knows yet."""
    copy = tmp_path / "sansio_step"
    shutil.copytree(CORE, copy, ignore=shutil.ignore_patterns("__pycache__", "testing"))
    insert(
        copy,
        "_events.py",
        ("class UnknownDelta(", DELTA),
        (" | UnknownDelta\n)", " | FooDelta"),
        ("class UnknownEvent(", EVENT),
        ("    | UnknownEvent\n)", "    | FooEvent\n"),
    )
    insert(
        copy,
        "_message.py",
        ("\n\nclass ThinkingBlock(", "    foo: str | None = None\n"),
        ("\n\nclass _Unseen:", "    foo_tokens: int | None = None\n"),
    )
    reader = '    "foo_event": lambda wire, note: _build(_events.FooEvent, wire, "foo_event", note),\n'
    for name in ("_decode.py", "_clean.py"):
        insert(copy, name, ("import msgspec\n\n", "from . import _events\n"))
    insert(copy, "_decode.py", ('    "error": read_error,\n', reader))
    insert(copy, "_clean.py", ("    | PingEvent\n).decode", "    | _events.FooEvent\n"))
    return tmp_path


def test_the_text_of_a_delta_is_its_first_field(core: Path) -> None:
    """A class whose text is not its first field is refused: runs of its deltas would land in the other field."""
    insert(core / "sansio_step", "_events.py", ("    foo: str\n", "    first: str\n"))
    done = subprocess.run([sys.executable, "-c", READS_BOTH], cwd=core, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("AssertionError: FooDelta(text) would set another field\n")


def test_what_is_new_needs_the_places_of_the_map(core: Path) -> None:
    """A delta is its class and its union, a field its line. An event is decoded by its class, its union and its reader."""
    done = subprocess.run([sys.executable, "-c", READS_BOTH], cwd=core, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
