"""A web page that shows an answer as it comes: the page, and the Starlette application under it.

The browser reads an event stream of the application's own: `text` with a piece, then `end` or `failed`. So the page
knows a broken answer from a whole one, and the key stays on the server. Here it is `told` and `application`, 28 lines.

See it: `uvicorn --factory examples.web_page:web`, with the key in STEP_API_KEY.
Run it without a key, a browser and a network: `python examples/web_page.py` (with the packages `starlette` and `httpx2`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from sansio_step import (
    Message,
    ServerSentEvent,
    StreamError,
    TextBlock,
    Usage,
    encode_event,
    encode_sse,
    message_events,
)
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.replay import serve

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Ask</title>
<style>body { font: 16px/1.5 sans-serif; max-width: 40em; margin: 3em auto; } #answer { white-space: pre-wrap; }</style>
<form><input name="question" size="50" value="Why is the sky blue?" required> <button>Ask</button></form>
<p id="answer"></p>
<p id="note"></p>
<script>
const answer = document.getElementById("answer"), note = document.getElementById("note");
document.querySelector("form").onsubmit = (submitted) => {
  submitted.preventDefault();
  answer.textContent = note.textContent = "";
  const source = new EventSource("/ask?" + new URLSearchParams(new FormData(submitted.target)));
  const finish = (words) => { source.close(); note.textContent = words; };  // or the browser would ask again
  source.addEventListener("text", (event) => answer.append(JSON.parse(event.data)));  // text, whatever is in it
  source.addEventListener("end", (event) => finish(JSON.parse(event.data).output_tokens + " tokens"));
  source.addEventListener("failed", (event) => finish("It broke off: " + JSON.parse(event.data)));
  source.onerror = () => finish("The connection broke.");
};
</script>
"""


async def told(client: AsyncClient, question: str) -> AsyncIterator[bytes]:
    """An answer as the page's event stream, and how it ended. A browser that leaves ends the call."""
    request = {"model": "step-3.7-flash", "max_tokens": 1024, "messages": [{"role": "user", "content": question}]}
    try:
        async with client.stream(request) as stream:
            async for piece in stream.text:
                yield said("text", piece)
            message = stream.result()
        usage = message.usage or Usage()
        yield said("end", {"stop_reason": message.stop_reason, "output_tokens": usage.output_tokens})
    except StreamError as error:  # an error status, a stream that was cut, a time limit
        yield said("failed", str(error))


def said(name: str, value: Any) -> bytes:
    """An event whose data is JSON: no line end in it, whatever the model wrote."""
    return encode_sse(ServerSentEvent(json.dumps(value), name))


def application(client: AsyncClient) -> Starlette:
    """The page at `/`, and what it asks at `/ask`."""

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def ask(request: Request) -> Response:
        chunks = told(client, request.query_params["question"])
        return StreamingResponse(chunks, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(routes=[Route("/", page), Route("/ask", ask)], lifespan=lifespan)


def web() -> Starlette:
    """The application, which asks StepFun."""
    return application(AsyncClient())


async def main() -> None:
    """One question, asked without a browser and without a network."""
    from httpx2 import ASGITransport  # noqa: PLC0415  # the application itself needs none of it
    from httpx2 import AsyncClient as Browser  # noqa: PLC0415

    message = Message(
        id="msg_1",
        role="assistant",
        model="m",
        content=[TextBlock("Air scatters blue\nmore than red.")],
        stop_reason="end_turn",
        usage=Usage(input_tokens=12, output_tokens=9),
    )
    body = b"".join(map(encode_event, message_events(message, piece=8)))
    async with serve(body) as server, AsyncClient(base_url=server.base_url, api_key="none") as client:
        app = application(client)
        async with Browser(transport=ASGITransport(app=app), base_url="http://web") as browser:
            print((await browser.get("/ask", params={"question": "Why?"})).text)


if __name__ == "__main__":
    asyncio.run(main())
