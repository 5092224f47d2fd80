"""What a body is that holds nothing of the Messages API, told by its first bytes, and what to do with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from sansio_step import JSONReader, StreamError

from ._terminal import escaped

__all__ = ["START_SIZE", "Foreign", "recognized"]

START_SIZE: Final = 64 * 1024
"""Bytes of a body that are enough to tell."""

_BOM: Final = b"\xef\xbb\xbf"
_MOST_SHOWN: Final = 60
_DATA: Final = re.compile(rb"(?:^|[\r\n])data: ?(\{[^\r\n]*)")
_FIELD_LINE: Final = re.compile(rb"(?:data|event|id|retry)?(?::|[\r\n]|$)")


class Foreign(NamedTuple):
    """A format by its name, and what to do; no remedy if nobody knows what it is."""

    name: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"this is {self.name}, no Messages stream" + (f"; {self.remedy}" if self.remedy else "")

    def said_of(self, problem: object | None) -> object:
        """What is said of a body that is this, in which a reader has found `problem`: one that has a remedy tells more."""
        return self if self.remedy or problem is None else f"{problem}; this is {self.name}"


_OTHER_API: Final = "capture the answer of a Messages endpoint (/v1/messages) instead"
_ARCHIVE: Final = "`sansio-step archive FILE --body PATH --out DIR` reads captures out of JSON lines"


class _Kind(NamedTuple):
    """A format whose JSON objects tell it."""

    name: str
    remedy: str
    is_it: Callable[[dict[str, Any]], bool]


def _type_of(item: dict[str, Any]) -> str:
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


# The first that fits one of the first objects is it. What is said of OpenAI, Google and Ollama is in their API references,
# what is said of agents is in the logs that they write.
_KINDS: Final = (
    _Kind("a stream of OpenAI's chat completion chunks", _OTHER_API, lambda item: item.get("object") == "chat.completion.chunk"),
    _Kind("an OpenAI chat completion", _OTHER_API, lambda item: item.get("object") == "chat.completion"),
    _Kind("an OpenAI text completion", _OTHER_API, lambda item: item.get("object") == "text_completion"),
    _Kind("a response of OpenAI's Responses API", _OTHER_API, lambda item: item.get("object") == "response"),
    _Kind("a stream of OpenAI's Responses API", _OTHER_API, lambda item: _type_of(item).startswith("response.")),
    _Kind("an answer of the Gemini API", _OTHER_API, lambda item: isinstance(item.get("candidates"), list)),
    _Kind(
        "a log of Claude Code",
        "`sansio-step archive FILE --body message --out DIR` makes a table of the messages in its lines",
        lambda item: "sessionId" in item and ("uuid" in item or "message" in item),
    ),
    _Kind(
        "an agent's log as Claude Code prints it",
        "`sansio-step archive FILE --body message --out DIR` makes a table of the messages in its lines",
        lambda item: "session_id" in item and _type_of(item) in ("system", "assistant", "user", "result", "stream_event"),
    ),
    _Kind("a log of Codex", _OTHER_API, lambda item: "payload" in item and "timestamp" in item and bool(_type_of(item))),
    _Kind("a log of Codex", _OTHER_API, lambda item: _type_of(item).startswith(("thread.", "turn.", "item."))),
    _Kind(
        "results of a message batch",
        "`sansio-step archive FILE --body result.message --id custom_id --out DIR` makes a table of them",
        lambda item: "custom_id" in item and "result" in item,
    ),
    _Kind("a stream of Ollama's own API", _OTHER_API, lambda item: "done" in item and ("message" in item or "response" in item)),
    _Kind(
        "a HAR archive of a browser or a proxy",
        "save the body of the response by itself",
        lambda item: isinstance(item.get("log"), dict) and "entries" in item["log"],
    ),
    _Kind("a request", "give the body of its answer", lambda item: isinstance(item.get("messages"), list)),
    _Kind("an answer of count_tokens", "there is no message in it", lambda item: list(item) == ["input_tokens"]),
)  # fmt: skip

_ANSWER_KEYS: Final = frozenset(("content", "error", "stop_reason"))

_MAGIC: Final = {
    b"PAR1": Foreign("a Parquet file", "`sansio-step archive FILE --body COLUMN --out DIR` reads captures out of it"),
    b"PK\x03\x04": Foreign("a zip archive", "unpack it first"),
    b"BZh": Foreign("a file in bzip2", "unpack it first"),
    b"\xfd7zXZ": Foreign("a file in xz", "unpack it first"),
    b"\x89PNG": Foreign("a picture", "give the body of an answer"),
    b"%PDF": Foreign("a PDF file", "give the body of an answer"),
}


def recognized(start: bytes) -> Foreign | None:
    """What a body with these first bytes is (`START_SIZE` of them are enough), if nothing of Messages was in it.

    None if it may be an event stream or a document of a Messages endpoint, broken or cut.
    """
    for magic, foreign in _MAGIC.items():
        if start.startswith(magic):
            return foreign
    text = start.removeprefix(_BOM).lstrip()
    if not text:
        return None
    if text.startswith(b"<"):
        is_page = text[:14].lower().startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
        name = "an HTML page" if is_page else "XML or HTML"
        return Foreign(name, "a gateway or a proxy has answered instead of the server: its text may say why")
    if text.startswith(b"{"):
        return _of_json(text)
    if text.startswith(b"["):
        return Foreign("a JSON array", "`sansio-step archive FILE --format files --out DIR` reads arrays of events")
    if _FIELD_LINE.match(text) is None:
        return Foreign(f"text that starts with {_shown(text)}")
    return _named([_read(data[1]) for data in _DATA.finditer(text)])


def _of_json(text: bytes) -> Foreign | None:
    """A document, or JSON lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    are_lines = len(lines) > 1 and all(line.lstrip().startswith(b"{") for line in lines) and _is_whole(lines[0])
    items = [_read(line) for line in lines[:5]] if are_lines else [_read(text)]
    foreign = _named(items)
    if foreign is not None:
        return foreign
    kind = _type_of(items[0])
    if are_lines:
        if kind in ("message_start", "ping"):
            remedy = r"make one of them: sed 's/.*/data: &\n/' FILE | sansio-step parse -"
            return Foreign("events as JSON lines without the form of an event stream", remedy)
        return Foreign("JSON lines", _ARCHIVE)
    if kind in ("message", "error") or not items[0] or not _ANSWER_KEYS.isdisjoint(items[0]):
        return None
    keys = ", ".join(list(items[0])[:5])
    return Foreign(f"a JSON document with the keys {_shown(keys.encode())}")


def _named(items: list[dict[str, Any]]) -> Foreign | None:
    for item in items:
        for kind in _KINDS:
            if kind.is_it(item):
                return Foreign(kind.name, kind.remedy)
    return None


def _read(text: bytes) -> dict[str, Any]:
    """An object as far as it has come."""
    reader = JSONReader()
    # Text after it, or no JSON: what stands before that tells enough.
    with suppress(StreamError):
        reader.receive_text(text.decode("utf-8", "replace"))
    value = reader.partial()
    return value if isinstance(value, dict) else {}


def _is_whole(text: bytes) -> bool:
    reader = JSONReader()
    try:
        reader.receive_text(text.decode("utf-8", "replace"))
        reader.receive_eof()
    except StreamError:
        return False
    return True


def _shown(text: bytes) -> str:
    if b"\0" in text[:_MOST_SHOWN]:
        return repr(text[:16])
    start = text[:_MOST_SHOWN].decode("utf-8", "replace").splitlines()[0]
    return f'"{escaped(start)}"'
