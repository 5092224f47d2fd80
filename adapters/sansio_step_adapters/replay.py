"""A server that plays back captures as the answers to POST /v1/messages: for demos, tests and benchmarks.

    async with serve(capture, chunk_size=7, pace=0.01) as server:
        async with AsyncClient(base_url=server.base_url) as client:
            ...

    with serve("sky.sse", pace="recorded") as server:  # in a thread of its own, for tests without a loop
        client = Anthropic(base_url=server.base_url, api_key="none")

A capture is the body of a streaming response, such as `curl -N` saves; a file that has one in any form that
`sansio-step parse` reads, a recording with its times among them; a Message; or a function that makes one of these of
the request, as `echo` does. How it goes out is for the dials to say (pace, chunks, latency, pings, ends that come
early, errors), and which request gets which for `Rule`s or a script of them. `sansio-step serve` is the program.

A request that `MessageRequest` refuses is a 400 with its words, and so is one that is no JSON or no HTTP. A body of
more than 64 MiB is a 413, a method other than POST a 405, another path a 404; HEAD gets the same without a body. POST
/v1/messages/count_tokens counts one token for each four bytes of the request's JSON text, at least one. Each answer has
a header `request-id`. No key is asked for.

Nothing that a client sends ends the server or another client's connection. A fault of the server's own is a 500, and
goes to the log of this module's name.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Literal

from ._extras import missing_extra

try:
    import anyio
    import anyio.abc
    import h11
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error

from anyio.from_thread import start_blocking_portal
from anyio.streams.stapled import MultiListener

from sansio_step import Message

from ._replay.answers import Answer, capture_answer, count_answer, problem
from ._replay.calls import Call, CallLog
from ._replay.captures import Capture, Playable, echo, load_capture, message_capture, resolved
from ._replay.http import CLIENT_LEFT, Connection
from ._replay.requests import Refused, read_request, request_from_wire, token_count
from ._replay.rules import NoAnswer, Rule, Selection, read_script
from ._replay.timeline import Dials, Failure, pieces

__all__ = [
    "Call",
    "Capture",
    "Dials",
    "Failure",
    "Playable",
    "ReplayServer",
    "Rule",
    "echo",
    "load_capture",
    "message_capture",
    "pieces",
    "read_script",
    "request_from_wire",
    "serve",
]

_MESSAGES: Final = "/v1/messages"
_COUNT_TOKENS: Final = "/v1/messages/count_tokens"
_HANG_UP_SECONDS: Final = 1.0
_ACCEPT_AGAIN_SECONDS: Final = 0.1

_logger: Final = logging.getLogger(__name__)


def serve(
    captures: Playable | Sequence[Playable] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    chunk_size: int | None = None,
    pace: float | Literal["recorded"] = 0.0,
    latency: float | None = None,
    ping: float | None = None,
    fail_after: int | str | None = None,
    cut: int | str | None = None,
    error: Failure | str | None = None,
    by: Literal["model", "order"] | None = None,
    rules: Sequence[Rule] = (),
    on_end: Callable[[Call], object] | None = None,
) -> ReplayServer:
    """A server for `async with` or `with`, at its `base_url` while inside. Port 0 is any free one.

    Several captures are served in turn, again and again; but a request whose `model` is the name of a file gets that
    (`by="order"`: never; `by="model"`: nothing else, and a 404 for other models). `rules` come first. A request without
    `stream` gets the capture's message as one document, or a 500 if it holds no whole one.

    Each goes out in pieces of `chunk_size` bytes, or one event a piece, with `pace` seconds between them. The dials are
    those of `Dials`, for all requests; the dials of a rule are for its own. `on_end` is told of each request when its
    answer has ended.

    A ValueError tells that there is no capture, that a file can't be read, or that a dial can't be so.
    """
    single = isinstance(captures, (bytes, bytearray, memoryview, str, os.PathLike, Message, Capture)) or callable(
        captures
    )
    if isinstance(captures, (bytearray, memoryview)):
        captures = bytes(captures)
    whole: list[Playable] = [captures] if single else list(captures)  # type: ignore[list-item, arg-type]
    if not whole and not rules:
        raise ValueError("captures: there is none")
    dials = Dials(
        chunk_size=chunk_size, pace=pace, latency=latency, ping=ping, fail_after=fail_after, cut=cut, error=error
    )
    return ReplayServer(Selection(whole, rules, by, dials), host=host, port=port, on_end=on_end)


class ReplayServer:
    """A running server; made by `serve`. `calls` counts the requests that it answered with a capture, or with an error
    that it was told to answer with.
    """

    def __init__(
        self, selection: Selection, *, host: str, port: int, on_end: Callable[[Call], object] | None = None
    ) -> None:
        self._selection = selection
        self._host, self._port = host, port
        self._on_end = on_end
        self._listener: MultiListener[anyio.abc.SocketStream] | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._thread = ExitStack()
        self._log = CallLog()
        self._ids = itertools.count(1)
        self.calls = 0

    @property
    def base_url(self) -> str:
        """What a client's `base_url` has to be."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens at."""
        if self._listener is None:
            raise ValueError("the server does not run")
        return self._listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610, anyio's extra

    @property
    def models(self) -> list[str]:
        """The models that have an answer of their own: the names of its files."""
        return self._selection.names

    @property
    def requests(self) -> list[Call]:
        """What came, the oldest first, what was refused among it: the last thousand, or 64 MiB of them."""
        return self._log.as_list()

    def __enter__(self) -> ReplayServer:
        """Run in a thread of its own until the block ends."""
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(portal.wrap_async_context_manager(self))
            self._thread = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.close()

    async def __aenter__(self) -> ReplayServer:
        self._listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._port)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for listener in self._listener.listeners:
            self._tasks.start_soon(self._accept, listener, self._tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks, listener = self._tasks, self._listener
        assert tasks is not None
        assert listener is not None
        tasks.cancel_scope.cancel()
        if not isinstance(error, anyio.get_cancelled_exc_class()):
            # A task group would wrap what the block raised in a group, and it is none of the server's.
            kind = error = traceback = None
        try:
            await tasks.__aexit__(kind, error, traceback)
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()

    async def _accept(self, listener: anyio.abc.Listener[anyio.abc.SocketStream], tasks: anyio.abc.TaskGroup) -> None:
        while True:
            try:
                await listener.serve(self._serve_connection, tasks)
            except (OSError, anyio.BrokenResourceError) as error:  # noqa: PERF203, it waits for a client each time
                # The client is gone already, or there are too many open files. Neither is a reason to take no other.
                _logger.warning("a connection could not be taken: %s", error)
                await anyio.sleep(_ACCEPT_AGAIN_SECONDS)

    async def _serve_connection(self, transport: anyio.abc.SocketStream) -> None:
        try:
            await self._converse(Connection(transport))
        except CLIENT_LEFT:
            pass
        except Exception:
            # An exception that got out would reach the task group, which ends the server with all connections.
            _logger.exception("a connection ended by a fault of the replay server")
        finally:
            with anyio.CancelScope(shield=True):
                await transport.aclose()

    async def _converse(self, connection: Connection) -> None:
        while await self._answer_one(connection):
            pass
        await connection.hang_up(_HANG_UP_SECONDS)

    async def _answer_one(self, connection: Connection) -> bool:
        """Answer the next request; tell whether another can come."""
        call = Call()
        refusal = None
        try:
            await connection.read_request(call)
        except h11.RemoteProtocolError as error:
            refusal = problem(error.error_status_hint, str(error))
        call.request_id = f"req_{next(self._ids):024}"
        self._log.add(call)
        began = anyio.current_time()
        try:
            return await connection.send(refusal or self._answer(call), call, began)
        except CLIENT_LEFT:
            call.ended = "left"
            raise
        finally:
            call.ended = call.ended or "stopped"
            if self._on_end is not None:
                self._on_end(call)

    def _answer(self, call: Call) -> Answer:
        try:
            return self._find_answer(call)
        except Exception:
            # The client is told that it is no fault of its own; whose it is, the log tells.
            _logger.exception("a request met a fault of the replay server")
            return problem(500, "the replay server failed; its log says how")

    def _find_answer(self, call: Call) -> Answer:
        if not call.path.endswith((_MESSAGES, _COUNT_TOKENS)):
            return problem(404, "only POST /v1/messages and POST /v1/messages/count_tokens are here")
        if call.method != "POST":
            return problem(405, "only POST is answered here", ("allow", "POST"))
        counting = call.path.endswith(_COUNT_TOKENS)
        try:
            request = read_request(call.body, counting=counting)
            if counting:
                return count_answer(token_count(call.body))
            chosen, dials = self._selection.choose(request)
        except Refused as error:
            return problem(error.status, str(error))
        except NoAnswer as error:
            return problem(404, str(error))
        self.calls += 1
        return capture_answer(resolved(chosen, request), dials, stream=bool(request.stream), request_id=call.request_id)
