"""The clients and gateways of the live benchmark. Each runs alone in a process: `python -m benchmarks.live_subjects NAME PORT`.

A client reads lines from its input, each the model of a run and the number of streams, and answers each with a line of
JSON: its CPU time, the events that it had, and the median lag if it looks at the clock. A gateway prints its port, and
answers GET /cpu with the CPU time that it has taken.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from .live_server import AROUND, BEGIN, END, delta, plan_of

Run = Callable[[str, int], "tuple[int, list[float]]"]
_STAMP = re.compile(rb'"text": ?"([0-9.]+) ')


def request(model: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], "stream": True}


def head_and_body(model: str) -> bytes:
    body = json.dumps(request(model)).encode()
    return b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body


# Clients. Each returns a function that makes one call and returns the number of events.

One = Callable[[str], Coroutine[Any, Any, int]]


def on_asyncio(make: Callable[[int], One]) -> Callable[[int], Run]:
    """The runs of a client on asyncio, in one loop."""

    def runs(port: int) -> Run:
        loop = asyncio.new_event_loop()

        async def made() -> One:
            return make(port)

        one = loop.run_until_complete(made())

        async def several(model: str, streams: int) -> int:
            return sum(await asyncio.gather(*(one(model) for _ in range(streams))))

        return lambda model, streams: (loop.run_until_complete(several(model, streams)), [])

    return runs


def our_async_client(port: int) -> One:
    from sansio_step_adapters.anyio import AsyncClient

    client = AsyncClient(base_url=f"http://127.0.0.1:{port}", api_key="k", trust_env=False)

    async def one(model: str) -> int:
        count = 0
        async with client.stream(request(model)) as stream:
            async for _ in stream:
                count += 1
        return count

    return one


def aiohttp_client(port: int) -> One:
    import aiohttp

    from sansio_step import aiter_events

    session = aiohttp.ClientSession()

    async def one(model: str) -> int:
        count = 0
        async with session.post(f"http://127.0.0.1:{port}/v1/messages", json=request(model)) as response:
            async for _ in aiter_events(response.content.iter_any()):
                count += 1
        return count

    return one


def httpx_client(port: int) -> One:
    import httpx

    from sansio_step import aiter_events

    client = httpx.AsyncClient(trust_env=False)

    async def one(model: str) -> int:
        count = 0
        url = f"http://127.0.0.1:{port}/v1/messages"
        async with client.stream("POST", url, json=request(model)) as response:
            async for _ in aiter_events(response.aiter_raw()):
                count += 1
        return count

    return one


def official_sdk(port: int) -> One:
    import anthropic

    client = anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{port}", api_key="k")

    async def one(model: str) -> int:
        count = 0
        async for _ in await client.messages.create(**request(model)):
            count += 1
        return count

    return one


def in_threads(make: Callable[[int], Callable[[str], int]]) -> Callable[[int], Run]:
    """The runs of a client that blocks, each call in a thread of its own."""

    def runs(port: int) -> Run:
        one = make(port)

        def several(model: str, streams: int) -> tuple[int, list[float]]:
            counts: list[int] = []
            threads = [threading.Thread(target=lambda: counts.append(one(model))) for _ in range(streams)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sum(counts), []

        return several

    return runs


def our_client(port: int) -> Callable[[str], int]:
    from sansio_step_adapters.sockets import Client

    client = Client(base_url=f"http://127.0.0.1:{port}", api_key="k", trust_env=False)

    def one(model: str) -> int:
        with client.stream(request(model)) as stream:
            return sum(1 for _ in stream)

    return one


class Ends:
    """Counts the ends of events in a body in chunks, and knows its end. Nobody who reads a stream can do less."""

    def __init__(self) -> None:
        self._tail = b""
        self.count = 0

    def look(self, data: bytes) -> None:
        self.count += (self._tail[-1:] + data).count(b"\n\n")  # one can lie across two reads
        self._tail = (self._tail + data[-7:])[-7:]

    @property
    def over(self) -> bool:
        return self._tail == b"\r\n0\r\n\r\n"


def bare_sockets(port: int) -> Callable[[str], int]:
    """What waking a thread costs, and nothing else."""

    def one(model: str) -> int:
        ends = Ends()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(head_and_body(model))
            while not ends.over:
                ends.look(sock.recv(65536))
        return ends.count

    return one


class Bare(asyncio.Protocol):
    """What the event loop costs, and nothing else: it looks for the ends of events, and at the clock."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.ends = Ends()
        self.lags: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(head_and_body(self._model))

    def data_received(self, data: bytes) -> None:
        self.ends.look(data)
        stamp = _STAMP.search(data)
        if stamp is not None:
            self.lags.append(time.monotonic() - float(stamp[1]))
        if self.ends.over:
            self._transport.close()
            self.done.set_result(None)


def bare_protocol(port: int) -> Run:
    loop = asyncio.new_event_loop()

    async def several(model: str, streams: int) -> tuple[int, list[float]]:
        ends = [(await loop.create_connection(lambda: Bare(model), "127.0.0.1", port))[1] for _ in range(streams)]
        for end in ends:
            await end.done
        return sum(end.ends.count for end in ends), [lag for end in ends for lag in end.lags]

    return lambda model, streams: loop.run_until_complete(several(model, streams))


OURS, OURS_SYNC, AIOHTTP = "AsyncClient", "Client", "aiohttp + aiter_events"
HTTPX, SDK, BARE, BARE_SYNC = "httpx + aiter_events", "official SDK", "bare Protocol", "bare sockets"

CLIENTS: dict[str, Callable[[int], Run]] = {
    OURS: on_asyncio(our_async_client),
    OURS_SYNC: in_threads(our_client),
    AIOHTTP: on_asyncio(aiohttp_client),
    HTTPX: on_asyncio(httpx_client),
    SDK: on_asyncio(official_sdk),
    BARE: bare_protocol,
    BARE_SYNC: in_threads(bare_sockets),
}


def answer_runs(run: Run) -> None:
    """Make the runs that the input asks for."""
    for line in sys.stdin:
        model, streams = line.split()
        began = time.process_time()
        events, lags = run(model, int(streams))
        seconds = time.process_time() - began
        lag = statistics.median(lags) if lags else None
        print(json.dumps({"seconds": seconds, "events": events, "lag": lag}), flush=True)


# Gateways.


def our_gateway(port: int) -> Any:
    from sansio_step_adapters.asgi import PassThrough

    return PassThrough(f"http://127.0.0.1:{port}", trust_env=False)


def uvicorn_alone(_: int) -> Any:
    """An application that makes the events itself: what the server below a gateway takes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        events, interval = plan_of(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        at = time.monotonic()
        for number in range(events):
            if interval:
                at += interval
                await asyncio.sleep(max(at - time.monotonic(), 0))
            last = AROUND - len(BEGIN)
            piece = BEGIN[number] if number < len(BEGIN) else delta()
            if number >= events - last:
                piece = END[number - (events - last)]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


GATEWAY, UVICORN = "PassThrough on uvicorn", "uvicorn alone"
GATEWAYS: dict[str, Callable[[int], Any]] = {GATEWAY: our_gateway, UVICORN: uvicorn_alone}


def with_cpu(app: Any) -> Any:
    """An application that also tells the CPU time of its process."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/cpu":
            await app(scope, receive, send)
            return
        text = b"%.6f" % time.process_time()
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    return outer


def serve(app: Any) -> None:
    import uvicorn

    sock = socket.create_server(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(with_cpu(app), log_level="error", access_log=False, lifespan="off", loop="asyncio")
    asyncio.run(uvicorn.Server(config).serve(sockets=[sock]))


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    if name in GATEWAYS:
        serve(GATEWAYS[name](port))
        return
    run = CLIENTS[name](port)
    print("ready", flush=True)
    answer_runs(run)


if __name__ == "__main__":
    main()
