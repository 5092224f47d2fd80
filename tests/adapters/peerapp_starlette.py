"""The stream of `peerapp` by sse-starlette, with its own line ends (CRLF) and its own pings."""

from __future__ import annotations

from collections.abc import AsyncIterator

from faultserver import DOCUMENT, WHOLE
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sansio_step import SSEDecoder


async def messages(request: Request) -> Response:
    """The stream, or the document."""
    if not (await request.json()).get("stream"):
        return Response(DOCUMENT, media_type="application/json")

    async def events() -> AsyncIterator[dict[str, str]]:
        for frame in SSEDecoder().receive_data(WHOLE):
            yield {"event": frame.event, "data": frame.data}

    return EventSourceResponse(events())


app = Starlette(routes=[Route("/v1/messages", messages, methods=["POST"])])
