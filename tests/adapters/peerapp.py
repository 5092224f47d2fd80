"""What the ASGI servers in `test_peers` serve: a stream in plain ASGI, and the proxy."""

from __future__ import annotations

import json
import os
from typing import Any

from faultserver import DOCUMENT, WHOLE

from sansio_step_adapters.asgi import PassThrough

TOO_LARGE = b'{"type":"error","error":{"type":"request_too_large","message":"too large"}}'


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """POST /v1/messages: the stream, an event a piece, or the document."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if int(dict(scope["headers"]).get(b"content-length", b"0")) > 10_000_000:
        # Before a byte of the body is read, as servers refuse what is too large for them.
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(TOO_LARGE)).encode())]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": TOO_LARGE, "more_body": False})
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
