"""One call to an ASGI application, from the server's side."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.lowlevel


class Caller:
    """Sends `pieces` and takes what comes. `stops` says where it stops doing anything: "asking" or "reading"."""

    def __init__(
        self,
        *pieces: bytes,
        stops: str = "",
        length: int | None = None,
        headers: Any = (),
        path: str = "/v1/messages",
        **scope: Any,
    ) -> None:
        self._pieces = list(pieces)
        self._stops = stops
        sized = [] if length is None else [(b"content-length", str(length).encode())]
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [*sized, *headers],
            **scope,
        }
        self.left = anyio.Event()
        self.reached = anyio.Event()  # where it stops
        self.arrived = anyio.Event()  # the next piece of the answer
        self.sent: list[Any] = []

    async def call(self, app: Any) -> None:
        await app(self._scope, self.receive, self.send)

    async def receive(self) -> Any:
        if self._pieces:
            piece = self._pieces.pop(0)
            more = bool(self._pieces) or self._stops == "asking"
            return {"type": "http.request", "body": piece, "more_body": more}
        if self._stops == "asking":
            self.reached.set()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        if message["type"] == "http.response.body" and self._stops == "reading":
            self.reached.set()
            await anyio.sleep_forever()
        self.sent.append(message)
        self.arrived.set()
        self.arrived = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many pieces of the request nobody has asked for."""
        return len(self._pieces)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]

    @property
    def whole(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1]["more_body"]
