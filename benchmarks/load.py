"""Many streams at once: 1,000 of 200 events each, through one `AsyncClient` process, from a server in another.

    python -m benchmarks.load [--streams 1000] [--events 200] [--backend asyncio] [--json]

It runs twice: as fast as both sides can, which gives events per second; and at a modest pace, each stream in its own
time, which gives the lag of each event from the server's write to the caller's loop. Memory is the client's peak over
its size before the first stream, divided by the number of streams. The messages are small, so nearly all of it is the
cost of a stream in flight. Each stream is checked: its own name is in every event, none is missing, none comes twice.
At the end, 10,000 waiting decoders are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from sansio_step import ContentBlockDeltaEvent, EventDecoder, MessageStream, TextDelta, Timeouts
from sansio_step_adapters.anyio import AsyncClient

IDLE = 10_000
# Events per second of all streams together when lag is measured: well below what one core reads one by one.
PACE = 5_000
LIMITS = {"KiB a stream": 64.0, "KiB an idle decoder": 2.0}

# The number of events of a stream that are not deltas.
AROUND = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--role", choices=("server", "client"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--interval", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is None:
        sys.exit(coordinate(options))
    raise_file_limit(options.streams)
    if options.role == "server":
        asyncio.run(serve(options.streams, options.events, options.interval))
    else:
        anyio.run(consume, options.port, options.streams, options.events, backend=options.backend)


def coordinate(options: argparse.Namespace) -> int:
    """Run both rounds and the idle decoders; 1 if a bound is broken."""
    fast = one_round(options, 0.0)
    paced = one_round(options, options.streams / PACE)
    results: dict[str, Any] = {
        "machine": f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}",
        "streams": options.streams,
        "events a stream": options.events,
        "backend": options.backend,
        "events per second": round(fast["events per second"]),
        "KiB a stream": round(max(fast["KiB a stream"], paced["KiB a stream"]), 1),
        f"ms of lag at {PACE} events/s": {
            "median event": round(paced["median lag"] * 1000, 1),
            "slowest stream's median": round(paced["slowest median lag"] * 1000, 1),
            "slowest event": round(paced["slowest lag"] * 1000, 1),
        },
        "KiB an idle decoder": {name: round(size / 1024, 2) for name, size in idle_decoders().items()},
    }
    idle = results["KiB an idle decoder"]
    within = results["KiB a stream"] <= LIMITS["KiB a stream"] and all(
        # A begun message has no bound: the caller asked for it, and it comes on top of the decoder.
        idle[name] <= LIMITS["KiB an idle decoder"]
        for name in ("EventDecoder", "MessageStream")
    )
    results["within the bounds"] = within
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for name, value in results.items():
            print(f"{name:32}{value}")
    return 0 if within else 1


def one_round(options: argparse.Namespace, interval: float) -> dict[str, float]:
    """A server and a client, each in a process of its own."""
    common = [f"--streams={options.streams}", f"--events={options.events}", f"--backend={options.backend}"]
    command = [sys.executable, "-m", "benchmarks.load", *common]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        [*command, "--role=server", f"--interval={interval}"], stdout=subprocess.PIPE, cwd=root
    ) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            client = subprocess.run(
                [*command, "--role=client", f"--port={port}"], stdout=subprocess.PIPE, cwd=root, check=True
            )
        finally:
            server.kill()
    figures: dict[str, float] = json.loads(client.stdout)
    return figures


def raise_file_limit(streams: int) -> None:
    """Each stream is a socket, and most systems allow 1,024 until they are asked for more."""
    needed = streams + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


# The server. It uses no library, so that it takes as little of the machine as possible.


def event(name: str, data: dict[str, Any]) -> bytes:
    body = b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps({"type": name, **data}).encode())
    return b"%x\r\n%s\r\n" % (len(body), body)


async def serve(streams: int, events: int, interval: float) -> None:
    all_here = asyncio.Event()
    waiting: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        name = json.loads(await reader.readexactly(length))["messages"][0]["content"]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        message = {"id": name, "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
        message.update(stop_reason=None, stop_sequence=None)
        writer.write(event("message_start", {"message": message}))
        writer.write(event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}))
        # A warm-up call comes alone; the streams that count begin when all are there.
        place = 0.0
        if name != "warm-up":
            place = len(waiting) / streams
            waiting.append(1)
            if len(waiting) >= streams:
                all_here.set()
            await all_here.wait()
        # Real streams don't keep step: each begins at a time of its own within the first interval.
        begin = time.monotonic() + interval * place
        for number in range(events - AROUND):
            if interval and name != "warm-up":
                await asyncio.sleep(max(begin + (number + 1) * interval - time.monotonic(), 0))
            text = f"{name}:{number}:{time.monotonic():.6f} "
            writer.write(event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(event("content_block_stop", {"index": 0}))
        writer.write(event("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}))
        writer.write(event("message_stop", {}) + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


# The client.


async def consume(port: int, streams: int, events: int) -> None:
    limits = Timeouts(first_event=None, idle=None, stall=None)
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeouts=limits) as client:
        await one_stream(client, "warm-up", events)
        gc.collect()
        before = resident()
        lags: list[list[float]] = []
        began = time.monotonic()

        async def one(name: str) -> None:
            lags.append(await one_stream(client, name, events))

        async with anyio.create_task_group() as tasks:
            for number in range(streams):
                tasks.start_soon(one, f"stream-{number}")
        # Connecting doesn't count: the server waits for all streams, and its first delta says when they began.
        seconds = time.monotonic() - max(began, FIRST[0])
    assert len(lags) == streams
    every = sorted(lag for stream in lags for lag in stream)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    figures = {
        "events per second": streams * events / seconds,
        "KiB a stream": (peak - before) / streams / 1024,
        "median lag": every[len(every) // 2],
        "slowest median lag": max(sorted(stream)[len(stream) // 2] for stream in lags),
        "slowest lag": every[-1],
    }
    print(json.dumps(figures))


FIRST: list[float] = []


async def one_stream(client: AsyncClient, name: str, events: int) -> list[float]:
    """One call, checked event by event; returns the lag of each delta."""
    request = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": name}]}
    count = 0
    lags: list[float] = []
    async with client.stream(request) as stream:
        async for received in stream:
            count += 1
            if isinstance(received, ContentBlockDeltaEvent) and isinstance(received.delta, TextDelta):
                now = time.monotonic()
                whose, number, sent = received.delta.text.split(":")
                assert (whose, int(number)) == (name, len(lags)), "streams are mixed up"
                lags.append(now - float(sent))
                if number == "0" and name != "warm-up" and not FIRST:
                    FIRST.append(float(sent))
    assert count == events, f"{events - count} events lost"
    assert stream.result().id == name
    return lags


def resident() -> int:
    """The memory of this process now, or its peak so far if the system doesn't say."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmRSS:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Decoders that wait.


def idle_decoders() -> dict[str, float]:
    """The bytes that each of 10,000 decoders takes, newly made and in the middle of a message."""
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
    start += b'"role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1}}}\n\n'

    def in_the_middle() -> MessageStream:
        stream = MessageStream()
        stream.receive_data(start)
        return stream

    return {
        "EventDecoder": size_of(EventDecoder),
        "MessageStream": size_of(MessageStream),
        "MessageStream with a begun message": size_of(in_the_middle),
    }


def size_of(make: Callable[[], object]) -> float:
    make()
    gc.collect()
    tracemalloc.start()
    try:
        kept = [make() for _ in range(IDLE)]
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
