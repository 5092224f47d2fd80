"""Runs of the program as forks of a warm process (tests/warm.py), which cost a tenth of what a fresh interpreter costs."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parent.parent
TIMEOUT = 60  # seconds


class Forked:
    """What tests use of `subprocess.Popen`. Each stream is a pipe, or all three are a terminal, which the run is the first in."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], terminal: int | None = None) -> None:
        if terminal is None:
            (stdin, in_), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
            self.stdin, self.stdout, self.stderr = os.fdopen(in_, "wb"), os.fdopen(out, "rb"), os.fdopen(err, "rb")
            theirs = [stdin, stdout, stderr]
        else:
            theirs = [os.dup(terminal) for _ in range(3)]
        self._keeper, keeper = socket.socketpair()
        socket.send_fds(_warm(), [b"\n"], [keeper.fileno(), *theirs])
        keeper.close()
        for each in theirs:
            os.close(each)
        request = {
            "arguments": arguments,
            "environment": environment,
            "directory": os.getcwd(),  # noqa: PTH109
            "in_terminal": terminal is not None,
        }
        self._keeper.sendall(json.dumps(request).encode() + b"\n")
        self._said = self._keeper.makefile()
        self.pid = int(self._said.readline())
        self.returncode: int | None = None

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def wait(self, timeout: float = TIMEOUT) -> int:
        if self.returncode is None:
            if not select.select([self._keeper], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("sansio-step", timeout)
            self.returncode = int(self._said.readline())
            self._said.close()
            self._keeper.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, stdin: bytes = b"", timeout: float = TIMEOUT) -> tuple[bytes, bytes]:
        """Write and end its standard input, wait for its end, give the rest of its output."""
        with ThreadPoolExecutor(3) as at_once:
            at_once.submit(_write, self.stdin, stdin)
            rest = [at_once.submit(_read, stream) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            finally:
                self.kill()
        return rest[0].result(), rest[1].result()


def _write(stream: BinaryIO, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), stream:
        stream.write(data)


def _read(stream: BinaryIO) -> bytes:
    if stream.closed:
        return b""
    with stream:
        return stream.read()


@cache
def _warm() -> socket.socket:
    """Where the warm process takes requests. It ends when this process does."""
    ours, theirs = socket.socketpair()
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
        stdin=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, pass_fds=[theirs.fileno()],
    )  # fmt: skip
    theirs.close()

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours
