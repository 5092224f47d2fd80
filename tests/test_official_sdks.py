"""What `message_events` writes is read by the official SDKs, in Python and TypeScript, as the message that was written."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_step import (
    FallbackBlock,
    MessageStream,
    Outcome,
    StreamError,
    ToolInputError,
    encode_event,
    message_events,
    to_dict,
    to_json,
)
from sansio_step.testing import messages

from .shared import needs_corpus, streams
from .test_differential import official_reading


def body_of(message, piece):
    return b"".join(map(encode_event, message_events(message, piece=piece)))


def has_cut_arguments(message):
    """Whether a call's arguments are no whole JSON object. The SDKs close them, or die of them."""
    try:
        for block in message.content:
            _ = getattr(block, "input", None)
    except ToolInputError:
        return True
    return False


def is_known(message):
    """What the SDKs can read at all: they take it for granted that a fallback block has a `to`, and pydantic takes no
    NUL in a field's name.
    """
    targets = (block.to for block in message.content if isinstance(block, FallbackBlock))
    return None not in targets and b"\\u0000" not in to_json(message) and not has_cut_arguments(message)


def assert_has(theirs, ours):
    """Each field of a message is there, with its value. The SDKs add fields of their own, and leave null for absent."""
    assert len(theirs["content"]) == len(ours["content"])
    for own, other in zip(ours.pop("content"), theirs.pop("content"), strict=True):
        assert {key: other.get(key) for key in own} == own
    usage, official = ours.pop("usage"), theirs.pop("usage")
    assert {key: official.get(key) for key in usage} == usage
    assert {key: theirs.get(key) for key in ours} == ours


def captured():
    """The last message of each capture that ends well."""
    for path in streams():
        stream = MessageStream()
        try:
            stream.receive_data(path.read_bytes())
            stream.receive_eof()
        except StreamError:
            continue
        if stream.outcome is Outcome.COMPLETE:
            yield stream.result()


# The SDK takes a block that it doesn't know for a text block, and pydantic then says that it isn't one.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@settings(max_examples=60)
@given(messages().filter(is_known), st.none() | st.integers(1, 40))
def test_python(message, piece):
    """Every field, of every block and count."""
    assert_has(official_reading(body_of(message, piece), beta=True), to_dict(message))


@needs_corpus
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_python_on_captures():
    """The messages that real servers sent."""
    for message in captured():
        assert_has(official_reading(body_of(message, 5), beta=True), to_dict(message))


# --- TypeScript ------------------------------------------------------------------------------------------------

PACKAGE = "@anthropic-ai/sdk"


def package():
    """The SDK's main module, installed by npm into a cache of the tests' own on first use."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the TypeScript SDK reads nothing here: node and npm are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sansio-step-tests"
    module = cache / "node_modules" / PACKAGE / "index.mjs"
    if not module.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache), PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            pytest.skip(f"the TypeScript SDK reads nothing here: `npm install {PACKAGE}` failed: {detail[-1:]}")
    return [node, str(Path(__file__).with_name("official_ts.mjs")), str(module)]


def floats(item):
    """A value as JavaScript has it, where every number is a float."""
    return json.loads(json.dumps(item), parse_int=float)


def test_typescript():
    """The same for the other SDK, whose stream helper is another program. It reads numbers as floats."""
    process = subprocess.Popen(package(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def reading(body):
        process.stdin.write(base64.b64encode(body) + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline(), parse_int=float)
        assert "error" not in answer, answer["error"]
        return answer["message"]

    @settings(max_examples=60)
    @given(messages().filter(is_known), st.none() | st.integers(1, 40))
    def reads(message, piece):
        assert_has(reading(body_of(message, piece)), floats(to_dict(message)))

    with process:
        reads()
        for message in captured():
            assert_has(reading(body_of(message, 5)), floats(to_dict(message)))
        process.stdin.close()
