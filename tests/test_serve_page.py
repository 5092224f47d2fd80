"""The code of docs/serve.md runs, its script is one, its tables name every option and key."""

from __future__ import annotations

import asyncio
import re

import pytest

from sansio_step import MessageRequest, encode_event, message_events
from sansio_step_adapters._replay.timeline import Dials
from sansio_step_adapters.pytest_plugin import messages_server
from sansio_step_adapters.replay import echo, read_script

from .program import ROOT, run

PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
PLAIN, LOOP, PYTEST = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
REQUEST = MessageRequest(model="sky", max_tokens=9, messages=[{"role": "user", "content": "Hello"}])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the page's files are."""
    (tmp_path / "sky.sse").write_bytes(b"".join(map(encode_event, message_events(echo(REQUEST)))))
    (tmp_path / "tool.json").write_text('{"type":"message","role":"assistant","content":[]}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_code(code, **names):
    exec(compile(code, "<docs/serve.md>", "exec"), names)
    return names


def test_without_a_loop(capsys):
    run_code(PLAIN)
    text, calls, error = capsys.readouterr().out.splitlines()
    assert (text, calls) == ("Hello, 世界", "[('m', 200, 'whole')]")
    assert "ended before the message did" in error


def test_on_a_loop(folder, capsys):
    asyncio.run(run_code(LOOP, model_request=REQUEST)["main"]())
    assert capsys.readouterr().out == "Hello [529, 529, 200]\n"


fixture = messages_server


def test_in_pytest(folder, request):
    """With the fixture under a name of this module's, since the package may not be installed here."""
    pytest.importorskip("anthropic", reason="the official SDK is not installed")
    names = run_code(LOOP + PYTEST, model_request=REQUEST)
    names["test_retries"](request.getfixturevalue("fixture"))


def test_the_script(folder):
    (script,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (folder / "script.json").write_text(script)
    assert len(read_script(folder / "script.json")) == 5


def test_every_option_and_key_is_named():
    options = set(re.findall(r"--[a-z-]+", run("serve", "--help").stdout.decode())) - {"--help"}
    assert [option for option in options if f"`{option}" not in PAGE and option not in ("--echo", "--host")] == []
    keys = {"chunk" if name == "chunk_size" else name for name in Dials.__struct_fields__}
    keys |= {"model", "says", "stream", "times", "file", "text", "message", "echo"}
    section = PAGE.partition("### Scripts")[2]
    assert [key for key in keys if f"`{key}`" not in section] == []
