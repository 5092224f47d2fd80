"""What the ASGI servers in `test_peers` serve: a stream in plain ASGI, and the proxy."""

from __future__ import annotations

import json
import os
from typing import Any

from faultserver import DOCUMENT, WHOLE

from sansio_step_adapters.asgi import PassThrough


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """POST /v1/messages: the stream, an event a piece, or the document."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    streaming = json.loads(body or b"{}").get("stream", False)
    kind = b"text/event-stream" if streaming else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for piece in [part + b"\n\n" for part in WHOLE.split(b"\n\n") if part] if streaming else [DOCUMENT]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def proxy() -> PassThrough:
    """The pass-through proxy in front of UPSTREAM."""
    return PassThrough(os.environ["UPSTREAM"])
