"""`sansio-step chat`: one question, or a conversation, with a real endpoint; the answer is shown as it comes."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Message,
    MessageRequest,
    StreamError,
    to_param,
)

from ..record import Recordings
from ..sockets import Client
from ._chat_view import ChatView, EventsView, MessageView, TerminalView, TextView
from ._prompt import ask
from ._terminal import escaped
from .arguments.chat import ChatArguments

__all__ = ["run"]

_KEYS: Final = ("STEP_API_KEY", "STEPFUN_API_KEY")
_IMAGES: Final = {
    "image/png": (b"\x89PNG\r\n\x1a\n", b""),
    "image/jpeg": (b"\xff\xd8\xff", b""),
    "image/gif": (b"GIF8", b""),
    "image/webp": (b"RIFF", b"WEBP"),
}
# Fields of a request that have an argument of their own there; all others are extra.
_LISTED: Final = {
    name for name, parameter in signature(MessageRequest).parameters.items() if parameter.kind is Parameter.KEYWORD_ONLY
} - {"effort", "extra", "stream", "messages"}
# What the library calls by another name than the command line does.
_OPTIONS: Final = frozenset(("base_url", "effort", "max_tokens", "model", "system"))

Turn = dict[str, Any]


class _Wrong(Exception):
    """Arguments that can't be used, with what is wrong about them."""


def run(arguments: ChatArguments) -> bool:
    """Ask, show the answer, and without a prompt on a terminal go on; tell whether the last answer was whole.

    Arguments that can't be used end in SystemExit with 2.
    """
    try:
        chat = _Chat(arguments)
    except _Wrong as wrong:
        _say(f"chat: {wrong}")
        raise SystemExit(2) from None
    if arguments.base_url is None and not any(os.environ.get(name) for name in _KEYS):
        _say(
            f"chat: no key: set {_KEYS[0]} to yours, or --base-url to a server that needs none; `sansio-step demo` needs neither"
        )
        return False
    with chat.client:
        return chat.run()


class _Chat:
    """A conversation: its turns so far, and what each request has beside them."""

    def __init__(self, arguments: ChatArguments) -> None:
        self._arguments = arguments
        self._turns: list[Turn] = []
        self._images = [_image(name) for name in arguments.images]
        extra = _json_object("--extra", arguments.extra.encode()) if arguments.extra is not None else {}
        extra_names = frozenset(extra)
        tools = [tool for name in arguments.tool_schemas for tool in _tools(name)]
        given: dict[str, Any] = {
            "model": arguments.model,
            "max_tokens": arguments.max_tokens,
            "effort": arguments.effort,
            "system": arguments.system,
            "tools": tools or None,
        }
        given.update((name, extra.pop(name)) for name in _LISTED & extra.keys())
        self._given = given | ({"extra": extra} if extra else {})
        try:
            self._request([{"role": "user", "content": "?"}])
            self.recordings = Recordings(arguments.record) if arguments.record is not None else None
            options: dict[str, Any] = {} if arguments.base_url is None else {"base_url": arguments.base_url}
            self.client = Client(auth=arguments.auth, tap=self.recordings, **options)
        except OSError as error:
            raise _Wrong(f"--record: {error.strerror}: {error.filename}") from None
        except (ValueError, TypeError) as error:
            raise _Wrong(_by_option(str(error), but=extra_names)) from None
        self._view = _view_for(arguments)

    def run(self) -> bool:
        """One question, or many."""
        ask = self._questions()
        whole = True
        for question in ask:
            turn = {"role": "user", "content": [*self._images, {"type": "text", "text": question}]}
            if not self._images:
                turn["content"] = question
            message = self._answer(turn)
            whole = message is not None
            while message is not None and self._goes_on and (results := self._results()):
                message = self._answer({"role": "user", "content": results})
                whole = message is not None
        return whole

    @property
    def _goes_on(self) -> bool:
        return self._arguments.prompt is None and sys.stdin.isatty()

    def _questions(self) -> Iterator[str]:
        prompt = self._arguments.prompt
        if prompt is not None and prompt != "-":
            yield prompt
        elif prompt is None and sys.stdin.isatty():
            while (line := ask("you> ")) is not None:
                if line.strip():
                    yield line
        else:
            text = sys.stdin.buffer.read().decode("utf-8", "replace")
            if text.strip():
                yield text
            else:
                _say("chat: there is no question: give it as PROMPT, or on standard input")
                raise SystemExit(2)

    def _results(self) -> list[Turn]:
        """What the user answers for each call of the last message: there is nobody else to run them."""
        results: list[Turn] = []
        for block in self._turns[-1]["content"]:
            if block["type"] == "tool_use":
                result = ask(f"result of {escaped(str(block['name']))}> ")
                if result is None:
                    return []
                results.append({"type": "tool_result", "tool_use_id": block["id"], "content": result})
        return results

    def _answer(self, turn: Turn) -> Message | None:
        """Ask, show the answer, remember both; None for an answer that is not whole, which is then forgotten."""
        turns = [*self._turns, turn]
        try:
            request = self._request(turns)
            message = self._stream(request)
            self._turns = [*turns, to_param(message)]
        except StreamError as error:
            _say(f"chat: {_advised(error)}")
        except ValueError as error:
            _say(f"chat: {error}")
        else:
            self._images = []
            return message
        return None

    def _stream(self, request: MessageRequest) -> Message:
        if self.recordings is not None and self._arguments.with_request:
            self.recordings.request = request.to_dict()
        view, message, whole = self._view, None, False
        before = len(self.recordings.paths) if self.recordings is not None else 0
        view.begin()
        stream = self.client.stream(request)
        try:
            with stream:
                try:
                    for event in stream:
                        view.update(event)
                finally:
                    message = stream.message
            message, whole = stream.result(), True
        finally:
            view.finish(message, whole=whole, counted=stream.usage_is_final)
            if self.recordings is not None:
                _say_places(self.recordings.paths[before:])
        return message

    def _request(self, turns: list[Turn]) -> MessageRequest:
        return MessageRequest(messages=turns, **self._given)


def _view_for(arguments: ChatArguments) -> ChatView:
    if arguments.output == "events":
        return EventsView()
    if arguments.output == "json":
        return MessageView()
    if sys.stdout.isatty():
        return TerminalView(Console(file=sys.stdout, highlight=False))
    return TextView(sys.stdout)


def _image(name: str) -> Turn:
    data = _bytes_of("--image", name)
    for kind, (start, later) in _IMAGES.items():
        if data.startswith(start) and data[8:].startswith(later):
            source = {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}
            return {"type": "image", "source": source}
    raise _Wrong(f"--image: {name} is no PNG, JPEG, GIF or WebP")


def _tools(name: str) -> list[Mapping[str, Any]]:
    """The tools in a file: one, a list of them, or an object with such a list as `tools`."""
    found = _json(f"--tool-schema: {name}", _bytes_of("--tool-schema", name))
    if isinstance(found, dict) and "tools" in found:
        found = found["tools"]
    tools = found if isinstance(found, list) else [found]
    if not all(isinstance(tool, dict) for tool in tools):
        raise _Wrong(f"--tool-schema: {name} holds no tool: an object with name and input_schema is expected")
    return tools


def _bytes_of(option: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise _Wrong(f"{option}: {getattr(error, 'strerror', None) or error}: {name}") from None


def _json(what: str, text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Wrong(f"{what}: no JSON: {error}") from None


def _json_object(what: str, text: bytes) -> dict[str, Any]:
    found = _json(what, text)
    if not isinstance(found, dict):
        raise _Wrong(f"{what}: a JSON object is expected")
    return found


def _by_option(said: str, but: frozenset[str]) -> str:
    """What is wrong with an argument, by the name of its option or variable, unless it is one of the fields in --extra."""
    name, colon, rest = said.partition(": ")
    if name == "api_key":
        name = next((variable for variable in _KEYS if os.environ.get(variable)), name)
        return f"{name}{colon}{rest}"
    return f"--{name.replace('_', '-')}{colon}{rest}" if name in _OPTIONS and name not in but else said


def _advised(error: StreamError) -> str:
    """What went wrong, and what to do about it if that is not the server's business."""
    said = f"{error}"
    if isinstance(error, APIError) and error.status in (401, 403):
        return f"{said}; check {_KEYS[0]} and --auth"
    unconnected = isinstance(error, DeadlineExceeded) and error.name == "connect"
    if unconnected or isinstance(error, ConnectError) or (isinstance(error, ConnectionLost) and error.partial is None):
        return f"{said}; check the network and --base-url (`sansio-step demo` needs neither)"
    return said


def _say_places(paths: list[Path]) -> None:
    """Which recording has the answer, if a question was asked again: it is not the one that has the name as given."""
    if len(paths) > 1:
        *earlier, last = (path.name for path in paths)
        _say(f"chat: asked {len(paths)} times: {last} has the last answer, {', '.join(earlier)} what came before it")


def _say(what: str) -> None:
    line = escaped(f"sansio-step {what}").replace("\n", "\\n") + "\n"
    sys.stderr.write(line)
    sys.stderr.flush()
