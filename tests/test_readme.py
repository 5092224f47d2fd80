"""The README's code runs, its tables are whole, its commands are those that CI runs."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import anyio.from_thread
import pytest

import sansio_step
from sansio_step._deviations import READINGS
from sansio_step._states import diagram
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.asgi import PassThrough
from sansio_step_adapters.replay import serve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)

BODY = b"".join(
    sansio_step.encode_event(event)
    for event in (
        sansio_step.MessageStartEvent(
            sansio_step.Message(id="msg_1", role="assistant", model="m", usage=sansio_step.Usage(input_tokens=3))
        ),
        sansio_step.ContentBlockStartEvent(0, sansio_step.TextBlock("")),
        sansio_step.ContentBlockDeltaEvent(0, sansio_step.TextDelta("Hello")),
        sansio_step.ContentBlockStopEvent(0),
        sansio_step.MessageDeltaEvent(
            sansio_step.MessageDelta(stop_reason="end_turn"), usage=sansio_step.Usage(output_tokens=2)
        ),
        sansio_step.MessageStopEvent(),
    )
)

TOOL_BODY = b"".join(
    sansio_step.encode_event(event)
    for event in (
        sansio_step.MessageStartEvent(
            sansio_step.Message(id="msg_2", role="assistant", model="m", usage=sansio_step.Usage(input_tokens=3))
        ),
        sansio_step.ContentBlockStartEvent(0, sansio_step.ToolUseBlock(id="toolu_1", name="write_file")),
        *(
            sansio_step.ContentBlockDeltaEvent(0, sansio_step.InputJSONDelta(piece))
            for piece in ('{"path": "a.p', 'y", "content": "print(\\"', "h\\u00e", '9\\")\\', 'n", "mode": 420', "}")
        ),
        sansio_step.ContentBlockStopEvent(0),
        sansio_step.MessageDeltaEvent(
            sansio_step.MessageDelta(stop_reason="tool_use"), usage=sansio_step.Usage(output_tokens=2)
        ),
        sansio_step.MessageStopEvent(),
    )
)


@pytest.fixture(scope="module")
def base_url():
    """A server that answers every request with the capture, in the background of the test."""
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(BODY)) as server:
        yield server.base_url


@pytest.mark.parametrize("code", BLOCKS, ids=[f"block{number}" for number in range(len(BLOCKS))])
def test_readme_code_runs(code, base_url, capsys):
    """Every Python block of the README runs as it stands."""
    if "pyarrow" in code:
        pytest.importorskip("pyarrow", reason="no pyarrow: the README's block on archives is NOT TESTED")
    names = {
        "base_url": base_url,
        "host": urlsplit(base_url).hostname,
        "port": urlsplit(base_url).port,
        "url": f"{base_url}/v1/messages",
        "headers": {"authorization": "Bearer test"},
        "request": {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
        "chunks": [BODY[:100], BODY[100:]],
        "message": sansio_step.parse(BODY),
        "events": list(sansio_step.iter_events([BODY])),
        "cut_body": BODY[: BODY.index(b"event: message_delta")],
    }
    exec(compile(code, "<README>", "exec"), names)
    main = names.get("main")
    if inspect.iscoroutinefunction(main):
        asyncio.run(main())
    shown = names.get("message")
    assert shown is None or shown.text == "Hello"
    if "app" in names:
        asyncio.run(call(names["app"]))
        assert "/v1/messages 200 Outcome.COMPLETE Usage(input_tokens=3, output_tokens=2" in capsys.readouterr().out


async def call(app: PassThrough) -> None:
    """One call through an ASGI application, as a server makes it."""
    left, sent = asyncio.Event(), []
    request = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    incoming = [{"type": "http.request", "body": json.dumps(request).encode()}]

    async def receive():
        if not incoming:
            await left.wait()
        return incoming.pop()

    async def send(message):
        sent.append(message.get("body", b""))

    async with app:
        await app({"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}, receive, send)
    assert b"".join(sent) == BODY


def test_an_argument_is_streamed_in_eight_lines(capsys):
    """The README's lines print one argument of a tool call, decoded, and nothing else of it."""
    (code,) = (block for block in BLOCKS if "JSONReader()" in block)
    assert len(code.splitlines()) == 8
    exec(
        compile(code, "<README>", "exec"),
        {"chunks": [TOOL_BODY[start : start + 50] for start in range(0, len(TOOL_BODY), 50)]},
    )
    assert capsys.readouterr().out == 'print("hé")\n'


def test_every_kind_of_delta_has_a_row():
    """The table has each class of JSONDelta under its kind."""
    listed = [(kind, name) for kind, name, _ in rows("`kind`")]
    assert sorted(listed) == sorted((each.kind, each.__name__) for each in get_args(sansio_step.JSONDelta))


@pytest.mark.parametrize(
    "library", ["httpx", "httpx2", "aiohttp", "requests", "niquests", "urllib3", "asyncio.Protocol"]
)
def test_every_stack_is_shown(library):
    """Each stack that the tests embed in has a block that runs."""
    assert any(f"import {library}\n" in code or f"({library})" in code for code in BLOCKS)


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose first heading this is, without their backticks."""
    table = README.partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip().replace("`", "") for cell in line.split(" | ")] for line in table.split("\n| ")[1:]]


def test_the_clients_arguments_have_rows():
    """The table has each argument of a client, in order, with the default that it has."""
    parameters = list(inspect.signature(AsyncClient).parameters.values())
    table = rows("argument")
    assert [name for name, *_ in table] == [parameter.name for parameter in parameters]
    sizes = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    for parameter, (_, default, _) in zip(parameters, table, strict=True):
        if isinstance(parameter.default, (bool, str)):
            assert default.strip('"') == str(parameter.default)
        elif isinstance(parameter.default, int):
            number, unit = default.split()
            assert int(number) * sizes[unit] == parameter.default
        else:
            assert parameter.default is None
    assert {name: default for name, default, _ in table}["max_retries"] == str(sansio_step.RetryPolicy().max_retries)


def test_the_timeouts_have_rows():
    """The table has each limit with its default."""
    limits = sansio_step.Timeouts()
    assert [(name, float(default)) for name, default, _ in rows("name")] == [
        (name, getattr(limits, name)) for name in limits.__struct_fields__
    ]


def test_every_deviation_has_a_row():
    """The README's table is the core's own, word for word."""
    section = README.partition("## Deviations")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([a-z_]+)` \| (.*?) \| (.*?) \|$", section, re.MULTILINE)
    assert listed == [(code, *reading) for code, reading in READINGS.items()]


def test_the_life_of_a_message_is_drawn_from_its_table():
    """CONTRIBUTING has the table of states as the core prints it."""
    assert diagram() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_error_has_a_row():
    """The README names each error class that can be raised."""
    for name in sansio_step.__all__:
        thing = getattr(sansio_step, name)
        if isinstance(thing, type) and issubclass(thing, sansio_step.StreamError) and name != "StreamError":
            assert f"`{name}`" in README, name


def test_ci_runs_the_readme_test_command():
    """The test command is one line that makes its own environment, and CI takes it from the README."""
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    assert 'pip install -e ".[test]"' in command
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
