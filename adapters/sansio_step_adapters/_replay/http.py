"""HTTP on one connection of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import anyio
import anyio.abc
import h11

from .answers import Answer
from .calls import Call
from .timeline import Step

__all__ = ["CLIENT_LEFT", "Connection"]

CLIENT_LEFT: Final = (OSError, anyio.BrokenResourceError, anyio.EndOfStream)
"""What is raised when a client leaves, however it does."""

_NOTHING: Final[Iterator[Step]] = iter(())
_MOST_REQUEST: Final = 64 * 1024 * 1024


class Connection:
    """A client that leaves is one of CLIENT_LEFT, no HTTP an h11.RemoteProtocolError."""

    def __init__(self, transport: anyio.abc.SocketStream) -> None:
        self._transport = transport
        self._http = h11.Connection(h11.SERVER)
        self._method = b""

    async def read_request(self, call: Call) -> h11.Request:
        """The next request, whose head and body are the call's."""
        self._method = b""
        request = await self._next_event()
        assert isinstance(request, h11.Request)
        self._method = request.method
        call.receive_head(request.method, request.target, list(request.headers))
        # Where the length is given, what is too large need not be sent at all.
        size = sum(int(value) for name, value in request.headers if name == b"content-length")
        body = bytearray()
        while size <= _MOST_REQUEST:
            event = await self._next_event()
            if isinstance(event, h11.EndOfMessage):
                call.body = bytes(body)
                return request
            assert isinstance(event, h11.Data)
            body += event.data
            size = len(body)
        raise h11.RemoteProtocolError(f"the request is larger than {_MOST_REQUEST} bytes", error_status_hint=413)

    async def _next_event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._transport.send(self._http.send(go_on))
            self._http.receive_data(await self._transport.receive())
        assert isinstance(event, h11.Event)
        return event

    async def send(self, answer: Answer, call: Call, began: float) -> bool:
        """Send an answer to a request that was whole at the time `began`; tell whether another can come."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
        headers.append((b"request-id", call.request_id.encode()))
        if self._http.their_state in (h11.SEND_BODY, h11.ERROR):
            # Where a request was not read to its end, no other can begin.
            headers.append((b"connection", b"close"))
        timeline = answer.timeline
        call.status = answer.status
        if timeline.head_at:
            await anyio.sleep_until(began + timeline.head_at)
        out = self._http.send(h11.Response(status_code=answer.status, headers=headers))
        steps = _NOTHING if self._method == b"HEAD" else timeline.steps
        step = next(steps, None)
        while step is not None:
            if step.at > timeline.head_at:
                if out:  # the head does not wait for the body
                    await self._transport.send(out)
                    out = b""
                await anyio.sleep_until(began + step.at)
            if step.data:
                call.bytes_sent += len(step.data)
                out += self._http.send(h11.Data(data=step.data))
            step = next(steps, None)
            if step is not None:  # the last bytes go out with the end
                await self._transport.send(out)
                out = b""
        # Before the last bytes are out: a client that has them may ask at once how its call ended.
        call.ended = "refused" if answer.is_refusal else timeline.ending
        is_broken = timeline.ending == "broken"
        out += b"" if is_broken else self._http.send(h11.EndOfMessage())
        await self._transport.send(out)
        if is_broken:
            return False
        more = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if more:
            self._http.start_next_cycle()
        return more

    async def hang_up(self, seconds: float) -> None:
        """End the connection so that the client can read the last answer: a close with data unread would reset it."""
        await self._transport.send_eof()
        with anyio.move_on_after(seconds):
            while True:
                await self._transport.receive()
