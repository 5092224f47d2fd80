"""Real servers at the other end: ASGI servers, sse-starlette, nginx, and the proxy run by an ASGI server."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import Driver
from faultserver import (
    CHUNKED,
    DOCUMENT,
    EVENTS,
    HALF,
    LAST_CHUNK,
    REQUEST,
    WHOLE,
    FaultServer,
    Peer,
    chunked,
    head,
    says,
)

from sansio_step import APIError, IncompleteStream, Outcome, iter_events
from sansio_step_adapters.sockets import Client

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SERVERS = ["uvicorn", "hypercorn", "granian"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    """Ask again and again, and see meanwhile whether it ended: granian says that it listens before it does."""
    for _ in range(400):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            assert process.stdout is not None
            pytest.fail(f"{process.args} ended: {process.stdout.read()[-2000:].decode()}")
    pytest.fail(f"{process.args} doesn't answer")


@contextlib.contextmanager
def running(command: list[str], port: int, log: Any = subprocess.PIPE, **environ: str) -> Iterator[str]:
    """A server in a process of its own, from when it answers until the end of the block; gives its base URL."""
    paths = [str(HERE), str(ROOT), str(ROOT / "adapters"), os.environ.get("PYTHONPATH", "")]
    # The server's warnings are its own.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore", **environ}
    process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_it_answers(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def command(server: str, app: str, port: int) -> list[str]:
    python, factory = sys.executable, app == "proxy"
    target = "peerapp_starlette:app" if app == "starlette" else f"peerapp:{app}"
    flags = ["--factory"] if factory else []
    if server == "uvicorn":
        return [python, "-m", "uvicorn", target, "--port", str(port), "--log-level", "warning", *flags]
    if server == "hypercorn":
        return [python, "-m", "hypercorn", target + ("()" if factory else ""), "-b", f"127.0.0.1:{port}"]
    options = ["--interface", "asgi", "--port", str(port), "--no-access-log", "--log-level", "warning", "--no-ws"]
    return [python, "-m", "granian", target, *options, *flags]


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[..., str]]:
    """The base URL of an app under a server, which starts when it is first asked for and runs until the last test here."""
    with contextlib.ExitStack() as stack:

        @cache
        def base_url(server: str, app: str, **environ: str) -> str:
            for module in (server, "sse_starlette") if app == "starlette" else (server,):
                if importlib.util.find_spec(module) is None:
                    pytest.skip(f"{module} is not installed")
            port = free_port()
            return stack.enter_context(running(command(server, app, port), port, **environ))

        yield base_url


@pytest.mark.parametrize("app", ["plain", "starlette"])
@pytest.mark.parametrize("server", SERVERS)
def test_an_asgi_server(driver: Driver, serving: Callable[..., str], server: str, app: str) -> None:
    """Streams and documents of a real server, one after the other on one connection."""
    url = serving(server, app)

    async def main() -> None:
        async with driver.client(base_url=url) as client:
            for _ in range(3):
                async with client.stream(REQUEST) as stream:
                    assert [event async for event in stream] == list(iter_events([WHOLE]))
                assert stream.outcome is Outcome.COMPLETE
                assert stream.deviations == []
                assert (await client.create(REQUEST)).text == "Hello"
            assert "idle=1" in repr(client)
            async with client.stream(REQUEST) as stream:
                async for _ in stream:
                    break
            assert (await client.create(REQUEST)).text == "Hello"

    driver.run(main)


# nginx.

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@contextlib.contextmanager
def nginx(tmp_path: Path, upstream: str, *, buffering: bool, gzip: bool) -> Iterator[str]:
    port = free_port()
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""
        daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off; {temporary}
            proxy_buffering {"on" if buffering else "off"};
            gzip {"on" if gzip else "off"}; gzip_proxied any; gzip_min_length 0;
            gzip_types text/event-stream application/json;
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
            }}
        }}
    """
    (tmp_path / "nginx.conf").write_text(config)
    assert NGINX is not None
    started = [NGINX, "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")]
    with running(started, port) as url:
        yield url


@needs_nginx
@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("buffering", [False, True], ids=["unbuffered", "buffered"])
def test_nginx(driver: Driver, tmp_path: Path, buffering: bool, gzip: bool) -> None:
    """Through nginx, whatever it does to the body, all arrives; unbuffered, each event at once."""
    seen_half = threading.Event()

    def script(peer: Peer) -> None:
        while True:
            _, body = peer.read_request()
            if b'"stream":true' not in body:
                peer.send(head(200, f"content-length: {len(DOCUMENT)}", content_type="application/json") + DOCUMENT)
                continue
            peer.send(head(200, CHUNKED) + chunked(HALF))
            if not buffering:
                assert seen_half.wait(20), "held back"
            peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)

    async def main() -> None:
        headers = {"accept-encoding": "gzip"}
        with FaultServer(script) as server, nginx(tmp_path, server.base_url, buffering=buffering, gzip=gzip) as url:
            async with driver.client(base_url=url, headers=headers) as client:
                for _ in range(2):
                    seen_half.clear()
                    events = []
                    async with client.stream(REQUEST) as stream:
                        assert stream.response_headers.get("content-encoding") == ("gzip" if gzip else None)
                        async for event in stream:
                            events.append(event)
                            if len(events) == 5:
                                seen_half.set()
                    assert len(events) == EVENTS
                    assert stream.result().text == "Hello"
                    assert (await client.create(REQUEST)).text == "Hello"

    driver.run(main)


@needs_nginx
def test_nginx_with_a_broken_upstream(driver: Driver, tmp_path: Path) -> None:
    """An upstream of nginx that breaks off is a stream cut short; if there is none, it is a 502 in HTML."""

    async def main() -> None:
        with FaultServer(says(head(200, CHUNKED) + chunked(HALF))) as server:
            with nginx(tmp_path, server.base_url, buffering=False, gzip=False) as url:
                async with driver.client(base_url=url, max_retries=0) as client:
                    async with client.stream(REQUEST) as stream:
                        with pytest.raises(IncompleteStream):
                            [event async for event in stream]
                    assert stream.message.text == "Hello"
                    assert stream.transport_error is not None
        with nginx(tmp_path, "http://127.0.0.1:1", buffering=False, gzip=False) as url:
            async with driver.client(base_url=url, max_retries=0) as client:
                with pytest.raises(APIError, match="502") as caught:
                    await client.stream(REQUEST).__aenter__()
                assert "nginx" in str(caught.value)

    driver.run(main)


LARGE = {**REQUEST, "messages": [{"role": "user", "content": "x" * 20_000_000}]}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("through", ["directly", "through the gateway"])
def test_an_upload_that_a_real_server_refuses(
    driver: Driver, serving: Callable[..., str], server: str, through: str
) -> None:
    """The 413 of a server that does not read what is too large arrives, and so it does through a gateway on that server."""
    url = serving(server, "plain")
    if through != "directly":
        url = serving(server, "proxy", UPSTREAM=url)

    async def main() -> None:
        async with driver.client(base_url=url, max_retries=0) as client:
            for _ in range(3):
                with pytest.raises(APIError) as caught:
                    await client.create(LARGE)
                assert (caught.value.status, caught.value.type) == (413, "request_too_large")
            assert (await client.create(REQUEST)).text == "Hello"

    driver.run(main)


def test_a_broken_upstream_in_uvicorns_log(tmp_path: Path) -> None:
    """Neither the gateway nor the server under it writes a traceback."""
    pytest.importorskip("uvicorn")
    log = tmp_path / "log"
    port = free_port()
    with FaultServer(says(head(200, CHUNKED) + chunked(HALF))) as upstream, log.open("wb") as written:
        with running(command("uvicorn", "proxy", port), port, log=written, UPSTREAM=upstream.base_url) as url:
            with Client(base_url=url, max_retries=0, trust_env=False) as client, client.stream(REQUEST) as stream:
                with pytest.raises(IncompleteStream):
                    list(stream)
    lines = [line for line in log.read_text().splitlines() if line]
    assert lines[0] == "POST '/v1/messages': the connection ended inside the response's body"
    assert len(lines) == 3  # uvicorn has a line for the error, too, and another that says so
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("server", SERVERS)
def test_the_proxy_in_a_real_server(driver: Driver, server: str) -> None:
    """The proxy under a real server: whole streams are whole, broken ones broken, and clients may leave."""
    if importlib.util.find_spec(server) is None:
        pytest.skip(f"{server} is not installed")

    def waits(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    whole = says(head(200, CHUNKED, "connection: close") + chunked(WHOLE) + LAST_CHUNK)
    broken = says(head(200, CHUNKED) + chunked(HALF))

    async def main() -> None:
        with FaultServer(whole, broken, waits) as upstream:
            port = free_port()
            with running(command(server, "proxy", port), port, UPSTREAM=upstream.base_url) as url:
                async with driver.client(base_url=url, max_retries=0) as client:
                    async with client.stream(REQUEST) as stream:
                        assert len([event async for event in stream]) == EVENTS
                    async with client.stream(REQUEST) as stream:
                        with pytest.raises(IncompleteStream):
                            [event async for event in stream]
                    async with client.stream(REQUEST) as stream:
                        async for _ in stream:
                            break
                    assert upstream.all_gone(), "the upstream's connection is still open"

    driver.run(main)
