"""What `serve` sends is read by others' clients as we read it: the official SDKs, and pydantic-ai on one of them.

Each reads all captures of the corpus, from one server, by the names of their files. What they can't read is stated as
rules, which hold for every stream of the kind:

- data that is no JSON object (`[DONE]`) ends the SDKs with an error of their JSON parser;
- a last event without its blank line is lost by the TypeScript SDK, which then misses the message_stop;
- what message_stop carries is lost by both;
- content that comes with message_start is lost by pydantic-ai, which reads the events of blocks;
- a stream that we refuse has no reading to compare (they mix two messages into one).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sansio_step import EventDecoder, MessageStream, parse, to_dict
from sansio_step_adapters.replay import serve
from sansio_step_adapters.sockets import Client

from .shared import needs_corpus, streams
from .test_official_sdks import assert_has, floats, package

QUESTION = [{"role": "user", "content": "Hi"}]


def reading(body: bytes) -> MessageStream:
    stream = MessageStream(on_fault="keep")
    stream.consume(body)
    stream.receive_eof()
    return stream


def is_readable(stream: MessageStream, *fatal: str) -> bool:
    """Whether an SDK reads it to its end, to which some deviations are fatal."""
    return stream.fault is None and not {deviation.code for deviation in stream.deviations} & {"foreign_data", *fatal}


def starts_with_content(body: bytes) -> bool:
    """Whether message_start brings blocks, as in programmatic calls."""
    return any(event.message.content for event in EventDecoder().receive_data(body) if event.type == "message_start")


def as_sdks_read(body: bytes) -> dict[str, Any]:
    """Our message, without what message_stop alone carries."""
    stream = MessageStream()
    stops = [event for event in stream.receive_data(body) + stream.receive_eof() if event.type == "message_stop"]
    shown = to_dict(stream.result())
    return {name: value for name, value in shown.items() if not any(name in stop.extra for stop in stops)}


@pytest.fixture(scope="module")
def corpus():
    """A server of all captures, with their bodies by name."""
    bodies = {path.stem: path.read_bytes() for path in streams()}
    with serve([str(path) for path in streams()], by="model") as server:
        yield server, bodies


@needs_corpus
def test_our_own_client(corpus):
    """The bytes and the message are those of the file, streamed and not."""
    server, bodies = corpus
    with Client(base_url=server.base_url, max_retries=0) as client:
        for name, body in bodies.items():
            if reading(body).fault is not None:
                continue
            with client.stream({"model": name, "max_tokens": 9, "messages": QUESTION}) as stream:
                assert [event.type for event in stream]
            assert to_dict(stream.result()) == to_dict(parse(body))
            plain = client.create({"model": name, "max_tokens": 9, "messages": QUESTION})
            assert to_dict(plain) == to_dict(parse(body))


@needs_corpus
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_the_python_sdk(corpus):
    """Every field of what it can read, of every block and count."""
    anthropic = pytest.importorskip("anthropic", reason="the official SDK is not installed")
    server, bodies = corpus
    read = 0
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as client:
        for name, body in bodies.items():
            if is_readable(reading(body)):
                with client.beta.messages.stream(model=name, max_tokens=9, messages=QUESTION) as opened:
                    assert_has(opened.get_final_message().to_dict(mode="json"), as_sdks_read(body))
                read += 1
    assert read > 0.9 * len(bodies)


@needs_corpus
def test_the_typescript_sdk(corpus):
    """The same for the other SDK, in a process of its own. It reads numbers as floats."""
    server, bodies = corpus
    node, _, module = package()
    script = str(Path(__file__).with_name("served_ts.mjs"))
    names = [name for name, body in bodies.items() if reading(body).fault is None]
    ended = subprocess.run(
        [node, script, module, server.base_url], input="\n".join(names), capture_output=True, text=True, timeout=100
    )
    answers = [json.loads(line, parse_int=float) for line in ended.stdout.splitlines()]
    assert len(answers) == len(names), ended.stderr
    for name, answer in zip(names, answers, strict=True):
        if is_readable(reading(bodies[name]), "unterminated_event"):
            assert "error" not in answer, (name, answer["error"])
            assert_has(answer["message"], floats(as_sdks_read(bodies[name])))
        else:
            assert "JSON" in answer["error"] or "stream ended without" in answer["error"]


@needs_corpus
def test_pydantic_ai(corpus):
    """Its texts, thoughts and calls are ours; the session `clients` of nox has it."""
    pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed; `nox -s clients` has it")
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import ModelRequest, TextPart, ThinkingPart, ToolCallPart, UserPromptPart
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    server, bodies = corpus
    asked = [ModelRequest(parts=[UserPromptPart("Hi")])]

    async def read(names):
        provider = AnthropicProvider(api_key="none", base_url=server.base_url)
        found = {}
        for name in names:
            async with model_request_stream(AnthropicModel(name, provider=provider), asked) as stream:
                async for _ in stream:
                    pass
            found[name] = stream.get().parts
        await provider.client.close()
        return found

    names = [name for name, body in bodies.items() if is_readable(reading(body)) and not starts_with_content(body)]
    answers = asyncio.run(read(names))
    assert len(answers) > 0.9 * len(bodies)
    for name, parts in answers.items():
        message = parse(bodies[name])
        assert "".join(part.content for part in parts if isinstance(part, TextPart)) == message.text, name
        thoughts = [part.content for part in parts if isinstance(part, ThinkingPart) and part.content]
        assert thoughts == [block.thinking for block in message.content if block.type == "thinking" and block.thinking]
        calls = [(part.tool_call_id, part.tool_name) for part in parts if isinstance(part, ToolCallPart)]
        assert calls == [(block.id, block.name) for block in message.content if block.type == "tool_use"], name


def test_messages_as_json(tmp_path):
    """A message that was no stream is one to the SDK, and the same one."""
    anthropic = pytest.importorskip("anthropic", reason="the official SDK is not installed")
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "杭州", "days": [1, 2]}}
    said = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "stop_sequence": None, "content": [{"type": "text", "text": "Looking it up."}, call],
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }  # fmt: skip
    path = tmp_path / "said.json"
    path.write_text(json.dumps(said))
    with ExitStack() as stack:
        server = stack.enter_context(serve(path))
        client = stack.enter_context(anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0))
        with client.messages.stream(model="m", max_tokens=9, messages=QUESTION) as stream:
            assert_has(stream.get_final_message().to_dict(mode="json"), json.loads(path.read_text()))
        answer = client.messages.create(model="m", max_tokens=9, messages=QUESTION)
        assert_has(answer.to_dict(mode="json"), json.loads(path.read_text()))
