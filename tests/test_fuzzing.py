"""docs/fuzzing.md: its first code fits the lines that it promises, and speaks of the versions that are pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sansio_step import encode_event, message_events, parse
from sansio_step import testing as kit

from .manual import BODY

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "fuzzing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PEERS = ROOT / "tests" / "peers"


def test_fifteen_lines():
    """As many as it takes to fuzz a consumer, imports included."""
    code = BLOCKS[0].partition("def my_consumer")[0] + BLOCKS[0].partition("@settings")[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_the_failure_that_is_shown():
    """The page shows what `assert_stream` says of these bytes, but for their number."""
    bare = b'data: {"type":"ping"}\n\n' + b"".join(map(encode_event, message_events(parse(BODY))))
    with pytest.raises(AssertionError) as caught:
        kit.assert_stream(bare)
    _, *rest = str(caught.value).splitlines()
    for line in rest:
        assert f"    {line}\n" in PAGE


def test_each_dial_is_one():
    """The table has each keyword of the strategies, and no other."""
    from inspect import signature

    named = set(re.findall(r"^\| `(\w+)\(.*?(\w+)=", PAGE, re.MULTILINE))
    strategies = (kit.messages, kit.event_streams, kit.wire_bytes, kit.chunked)
    assert named == {
        (strategy.__name__, name)
        for strategy in strategies
        for name, parameter in signature(strategy).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def test_the_versions_are_those_that_are_reproduced():
    """Each finding has the version that requirements.txt pins, and a script; each script has a finding."""
    pins = dict(line.split("==") for line in (PEERS / "requirements.txt").read_text().split() if "==" in line)
    table = PAGE.partition("## Found so far")[2]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    said = {found for row in rows for found in re.findall(r"([a-z-]+) (\d+\.\d+\.\d+)", row[0])}
    assert len(said) == 5
    assert {(name, pins[name]) for name, _ in said} == said
    scripts = {path.name for path in PEERS.glob("*.py")} - {"__init__.py", "readers.py"}
    assert set(re.findall(r"`(\w+\.py)`", table)) == scripts
