"""What the ASGI servers in `test_peers` serve: a stream by sse-starlette, the same in plain ASGI, and the proxy."""

from __future__ import annotations

import json
import os
from typing import Any

from faultserver import DOCUMENT, WHOLE
from sansio_step_adapters.asgi import PassThrough

from sansio_step import SSEDecoder

FRAMES = SSEDecoder().receive_data(WHOLE)


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


def starlette() -> Any:
    """The same by sse-starlette, with its own line ends (CRLF) and its own pings."""
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def messages(request: Request) -> Response:
        if not (await request.json()).get("stream"):
            return Response(DOCUMENT, media_type="application/json")

        async def events() -> Any:
            for frame in FRAMES:
                yield {"event": frame.event, "data": frame.data}

        return EventSourceResponse(events())

    return Starlette(routes=[Route("/v1/messages", messages, methods=["POST"])])


def proxy() -> PassThrough:
    """The pass-through proxy in front of UPSTREAM."""
    return PassThrough(os.environ["UPSTREAM"])
