"""A gateway and a client under bad weather for as long as you like, by hand: nothing that they hold may grow.

    python -m benchmarks.soak [--minutes 10] [--streams 1000] [--backend asyncio] [--json]

An upstream in another process answers with whole streams, refuses, answers uploads before they are through, dies in the
middle, falls silent, speaks 1xx for ever, or leaves its response open. `--streams` calls are on their way at once, half of
them by `AsyncClient`, half through `PassThrough`, whose callers may leave, stop in their request or stop reading. Each
that ends is replaced. Every few seconds the open sockets, the tasks and the memory of the process are taken, garbage
collected before. The exit code is 1 if the last third of them is above the third before it: by a tenth for memory, by as
many as there are calls at most for tasks and sockets; or if anything is left when all calls are over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import random
import resource
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from sansio_step import RetryPolicy, StreamError, Timeouts
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.asgi import PassThrough

SAMPLE_SECONDS = 5.0
LIMITS = Timeouts(connect=10, first_event=4, idle=2, stall=4, after_stop=0.5, caller=1.5, total=15)
WHAT = ("whole", "whole", "whole", "whole", "slow", "refuse", "early", "die", "die", "silent", "1xx", "open")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=1000, help="calls at once")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--json", action="store_true", help="print every sample too, as JSON")
    parser.add_argument("--role", choices=("upstream",), help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.role:
        asyncio.run(upstream())
        return
    logging.getLogger("sansio_step_adapters.asgi").setLevel(logging.CRITICAL)
    command = [sys.executable, "-m", "benchmarks.soak", "--role", "upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            soak = Soak(f"http://127.0.0.1:{port}", options.streams)
            anyio.run(soak.run, options.minutes * 60, backend=options.backend)
        finally:
            process.kill()
    if options.json:
        print(json.dumps(soak.samples))
    sys.exit(soak.judge())


class Soak:
    """The calls, and what is measured meanwhile."""

    def __init__(self, url: str, streams: int) -> None:
        self.url, self.streams = url, streams
        self.ended: Counter[str] = Counter()
        self.samples: list[dict[str, float]] = []
        self.left: dict[str, float] = {}

    async def run(self, seconds: float) -> None:
        options: dict[str, Any] = {"timeouts": LIMITS, "trust_env": False}
        retries = RetryPolicy(max_retries=1, first_delay=0.05)
        before = await measured()
        async with (
            AsyncClient(base_url=self.url, retries=retries, **options) as client,
            PassThrough(self.url, error_event=True, keep_alive=0.5, **options) as app,
            anyio.create_task_group() as tasks,
        ):
            for number in range(self.streams):
                tasks.start_soon(self.go_on, self.by_client if number % 2 else self.by_gateway, client, app)
                await anyio.sleep(0)
            with anyio.move_on_after(seconds):
                await self.watch()
            tasks.cancel_scope.cancel()
        after = await measured()
        self.left = {name: after[name] - before[name] for name in ("sockets", "tasks")}

    async def go_on(self, call: Any, client: AsyncClient, app: PassThrough) -> None:
        while True:
            what = random.choice(WHAT)
            how = await call(what, client, app)
            self.ended[f"{call.__name__}: {what}: {how}"] += 1

    async def by_client(self, what: str, client: AsyncClient, app: PassThrough) -> str:
        size = 2_000_000 if what == "early" and random.random() < 0.2 else 10
        request = {"model": what, "max_tokens": 9, "messages": [{"role": "user", "content": "x" * size}]}
        leaves = random.random() < 0.2
        try:
            if random.random() < 0.2:
                with anyio.move_on_after(1.0 if leaves else 60):
                    await client.create(request)
                return "created"
            async with client.stream(request) as stream:
                async for _ in stream:
                    if leaves:
                        return "left"
        except StreamError as error:
            return type(error).__name__
        return "ended"

    async def by_gateway(self, what: str, client: AsyncClient, app: PassThrough) -> str:
        caller = Caller(what, random.choice(("stays", "stays", "stays", "leaves", "asking", "reading", "cancelled")))
        try:
            with anyio.move_on_after(1.0 if caller.how == "cancelled" else 60):
                await app(caller.scope, caller.receive, caller.send)
        except StreamError as error:
            return type(error).__name__.lstrip("_")
        return f"{caller.how} {caller.status}"

    async def watch(self) -> None:
        while True:
            await anyio.sleep(SAMPLE_SECONDS)
            self.samples.append(await measured())

    def judge(self) -> int:
        for how, count in sorted(self.ended.items()):
            print(f"{count:8} {how}")
        third = len(self.samples) // 3
        bad = []
        for name in ("sockets", "tasks", "MiB"):
            values = [sample[name] for sample in self.samples]
            earlier, last = median(values[third : 2 * third]), median(values[2 * third :])
            room = earlier * 0.1 if name == "MiB" else self.streams * 0.1
            grows = last > earlier + room
            bad += [name] if grows else []
            print(
                f"{name:8} median {earlier:.1f} in the second third, {last:.1f} in the last: {'GROWS' if grows else 'flat'}"
            )
        print(f"left when all calls are over: {self.left}")
        bad += [name for name, count in self.left.items() if count > 0]
        print(f"{sum(self.ended.values())} calls, {'; '.join(bad) or 'nothing'} grows or is left")
        return 1 if bad else 0


class Caller:
    """One call to the gateway, which `how` says."""

    def __init__(self, what: str, how: str) -> None:
        self.how = how
        self.status: int | None = None
        size = 2_000_000 if what == "early" and random.random() < 0.2 else 10
        body = json.dumps({"model": what, "stream": True, "content": "x" * size}).encode()
        length = len(body) + (10 if how == "asking" else 0)
        headers = [(b"content-length", str(length).encode())]
        self.scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers}
        self._pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]
        self._gone = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or self.how == "asking"}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self.how == "leaves":
            self._gone.set()
        elif self.how == "reading":
            await anyio.sleep_forever()


async def measured() -> dict[str, float]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sockets = sum(1 for place in Path("/proc/self/fd").iterdir() if _is_socket(place))
    return {"sockets": sockets, "tasks": len(anyio.get_running_tasks()), "MiB": pages * resource.getpagesize() / 2**20}


def _is_socket(place: Path) -> bool:
    with contextlib.suppress(OSError):
        return str(place.readlink()).startswith("socket:")
    return False


# The upstream.

PIECE = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"some words "}}\n\n'
)
BEGIN = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"x","content":[],"usage":{"input_tokens":3,"output_tokens":0}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
)
END = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
REFUSAL = b'{"type":"error","error":{"type":"rate_limit_error","message":"no"}}'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def upstream() -> None:
    """Answer each request as its model says, until this process is killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[15:])
            start = await reader.read(100)
            what = next((what for what in WHAT if what.encode() in start[:40]), None)
            if what is None:
                return  # the caller left before it said what it wants
            if what == "early":
                writer.write(
                    b"HTTP/1.1 413 No\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(REFUSAL) + REFUSAL
                )
                break
            rest = length - len(start)
            while rest > 0:
                data = await reader.read(min(65536, rest))
                if not data:
                    return
                rest -= len(data)
            if not await answer(what, reader, writer):
                break
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def answer(what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection goes on."""
    if what == "refuse":
        writer.write(b"HTTP/1.1 429 No\r\ncontent-length: %d\r\n\r\n" % len(REFUSAL) + REFUSAL)
        return True
    if what == "silent":
        await reader.read(1)
        return False
    if what == "1xx":
        while not reader.at_eof():
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.2)
        return False
    writer.write(HEAD + chunk(BEGIN))
    for _ in range(20):
        writer.write(chunk(PIECE))
        await writer.drain()
        await asyncio.sleep(0.2 if what == "slow" else 0.03)
        if what == "die" and random.random() < 0.1:
            return False
    writer.write(chunk(END))
    if what == "open":
        await reader.read(1)
        return False
    writer.write(b"0\r\n\r\n")
    return True


if __name__ == "__main__":
    main()
