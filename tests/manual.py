"""The manual's pages and their code, and the servers that this code runs against."""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sansio_step import (
    AWSFrame,
    Message,
    TextBlock,
    ToolUseBlock,
    Usage,
    encode_aws_frame,
    encode_event,
    message_events,
)

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}

ANSWER = Message(
    id="msg_1",
    role="assistant",
    model="m",
    content=[TextBlock("Hello")],
    stop_reason="end_turn",
    usage=Usage(input_tokens=3, output_tokens=2),
)
BODY = b"".join(map(encode_event, message_events(ANSWER, piece=2)))
CUT_BODY = BODY[: BODY.index(b"event: message_delta")]
ARGUMENTS = '{"path": "a.py", "content": "print(\\"h\\u00e9\\")\\n", "mode": 420}'
CALL = Message(
    id="msg_2",
    role="assistant",
    model="m",
    content=[ToolUseBlock("toolu_1", "write_file", input_json=ARGUMENTS)],
    stop_reason="tool_use",
    usage=Usage(input_tokens=3, output_tokens=2),
)
CALL_BODY = b"".join(map(encode_event, message_events(CALL, piece=9)))
REQUEST = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
# What servers refuse: there is no max_tokens, and the key is none.
REFUSED = {name: value for name, value in REQUEST.items() if name != "max_tokens"}
KEY, WRONG_KEY = {"authorization": "Bearer test"}, {"authorization": "Bearer wrong"}


class Block(NamedTuple):
    """A block of Python on a page."""

    page: str
    number: int
    code: str

    @property
    def packages(self) -> set[str]:
        """The packages that it imports."""
        tree = ast.parse(self.code)
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        return {name.split(".")[0] for name in names}

    def skip_without_packages(self) -> None:
        """Skip the test, and say what is not tested."""
        for name in sorted(self.packages):
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"no {name}: block {self.number} of {self.page}.md is NOT TESTED")


def blocks() -> Iterator[Block]:
    """All Python of README and manual, but for the questions to a table, which test_archive_recipes.py asks."""
    for page, text in PAGES.items():
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
            if "table/*.parquet" not in code and "mapInArrow" not in code:
                yield Block(page, number, code)


def rows(page: str, first: str) -> list[list[str]]:
    """The rows of the table of a page whose first heading this is, without their backticks."""
    table = PAGES[page].partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip(" |").replace("`", "") for cell in line.split(" | ")] for line in table.split("\n| ")[1:]]


def on_bedrock(body: bytes) -> bytes:
    """An event stream in the frames of AWS."""
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    documents = [event.split(b"data: ")[1] for event in body.split(b"\n\n") if event]
    payloads = [json.dumps({"bytes": base64.b64encode(document).decode()}).encode() for document in documents]
    return b"".join(encode_aws_frame(AWSFrame(headers, payload)) for payload in payloads)


class _Cloud(BaseHTTPRequestHandler):
    """Bedrock and Vertex, as far as their answers go."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "max_tokens" not in asked:
            self._answer(400, "application/json", b'{"message":"max_tokens: it is missing"}')
        elif self.path.endswith("/invoke-with-response-stream"):
            self._answer(200, "application/vnd.amazon.eventstream", on_bedrock(BODY))
        else:
            self._answer(200, "text/event-stream", BODY)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def cloud() -> Iterator[str]:
    """The base URL of a server of Bedrock's and Vertex's paths."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Cloud) as server, serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def websocket() -> Iterator[str]:
    """The URL of a gateway that sends an event a frame, to whom has the key."""
    server = pytest.importorskip("websockets.sync.server", reason="no websockets: NOT TESTED")

    def refuse(connection: Any, request: Any) -> Any:
        if request.headers.get("authorization") != KEY["authorization"]:
            return connection.respond(401, '{"error":{"type":"invalid_api_key","message":"unknown key"}}')
        return None

    def answer(connection: Any) -> None:
        connection.recv()
        for event in BODY.split(b"\n\n")[:-1]:
            connection.send(event.split(b"data: ")[1].decode())

    with server.serve(answer, "127.0.0.1", 0, process_request=refuse) as gateway, serving(gateway):
        yield f"ws://127.0.0.1:{gateway.socket.getsockname()[1]}"


@contextmanager
def serving(server: Any) -> Iterator[None]:
    """A server of the standard library's kind, in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
