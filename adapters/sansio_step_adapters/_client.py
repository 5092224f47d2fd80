"""What both clients are made of, but for the waiting: their options, and the surface of a stream."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

from sansio_step import (
    ContentBlockDeltaEvent,
    Delta,
    Deviation,
    Message,
    Outcome,
    StreamEvent,
    TextDelta,
    TransportError,
)

from ._call import Call
from ._config import Config, Request, encode_count, encode_request, make_config
from ._options import Options, Unpack
from ._pool import Pool
from ._reader import Wanted, request_id

Transport = TypeVar("Transport")


class BaseClient(Generic[Transport]):
    """A client's configuration and idle connections."""

    def __init__(self, pool: Pool[Transport], **options: Unpack[Options]) -> None:
        self._config: Config = make_config(**options)
        self._pool = pool

    def __repr__(self) -> str:
        origin = self._config.origin
        scheme = "https" if origin.tls else "http"
        return f"<{type(self).__name__} {scheme}://{origin.authority}{self._config.path} idle={len(self._pool)}>"

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        # An idle connection that nobody closes warns of a socket, which says nothing about where it came from.
        pool = getattr(self, "_pool", None)  # a refused argument leaves none
        if pool is not None and not pool.closed and len(pool):
            warn(f"unclosed client {self!r}: {self._way_to_close}", ResourceWarning, source=self)
            self._close_dropped()

    _way_to_close = "use it in a `with` block, or call close()"

    def _close_dropped(self) -> None:
        """Close what a client that nobody closed still holds, as far as that goes without waiting."""

    def _call(self, request: Request, wanted: Wanted, *, now: float) -> Call:
        if self._pool.closed:
            raise ValueError("the client is closed")
        if wanted is Wanted.COUNT:
            body = encode_count(request)
        else:
            body = encode_request(request, streaming=wanted is Wanted.STREAM)
        return Call(
            self._config,
            body,
            wanted=wanted,
            now=now,
            wall_time=time.time,
            jitter=random.random,
        )


class BaseStream:
    """The surface of a stream that its iteration fills. `MessageStream` has the same names with the same meaning."""

    def __init__(self) -> None:
        self._made: Call | None = None
        self._read = False  # to the end

    @property
    def message(self) -> Message | None:
        """The message so far, one live object; None before the first."""
        return self._call.exchange.message

    @property
    def messages(self) -> list[Message]:
        """All messages of the response, the one on its way among them."""
        return self._call.exchange.messages

    @property
    def outcome(self) -> Outcome:
        """The state of the message: STREAMING, COMPLETE, TRUNCATED or FAILED."""
        return self._call.outcome

    @property
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far."""
        return self._call.exchange.deviations

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block."""
        return self._call.exchange.unapplied

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it: before, it is a placeholder."""
        return self._call.exchange.usage_is_final

    @property
    def status(self) -> int | None:
        """The status of the response."""
        return self._call.exchange.status

    @property
    def response_headers(self) -> dict[str, str]:
        """The headers of the response, with names in lower case."""
        return self._call.exchange.headers

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, by `request-id`, `x-request-id` or `x-trace-id`."""
        return request_id(self.response_headers)

    @property
    def transport_error(self) -> TransportError | None:
        """What broke under the stream, even if the message was whole by then and nothing is raised."""
        return self._call.exchange.transport_error

    def result(self) -> Message:
        """The finished message. If there is none, what is wrong is raised, with what there is as `error.partial`."""
        return self._call.result()

    def __repr__(self) -> str:
        if self._made is None:
            return f"<{type(self).__name__} not begun>"
        request_id = self._call.mask.text(self.request_id) if self.request_id is not None else None
        return f"<{type(self).__name__} {self.outcome.value} status={self.status} request_id={request_id!r}>"

    @property
    def _call(self) -> Call:
        if self._made is None:
            raise ValueError("the stream has not begun: enter it first, with `with` or `async with`")
        return self._made

    def _begin_iteration(self) -> None:
        if self._read:
            raise ValueError("the stream was read to its end; its message is `result()`, and its events came once")

    def _end(self) -> None:
        """After the last event: raise what is wrong, if something is."""
        self._read = True
        if self._call.error is not None:
            raise self._call.error


def text_of(event: StreamEvent) -> str:
    """The text that an event adds to the message, often none."""
    if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, TextDelta):
        return event.delta.text
    return ""
