"""How tests run the program: in a process of its own, in a pipe or in a pseudo-terminal.

The process is a fork of a warm one, or a fresh interpreter: if a test says so, runs code of its own, or changes what Python
reads when it starts.
"""

from __future__ import annotations

import codecs
import json
import os
import platform
import select
import struct
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from .forked import ROOT, Forked

Body: TypeAlias = "bytes | Callable[[Callable[[bytes], Any]], None]"
START = "from sansio_step_adapters.cli import main; main()"
STOPPABLE = pytest.mark.skipif(
    not Path("/proc/self/syscall").exists() or platform.machine() not in ("x86_64", "aarch64"),
    reason="only Linux tells what a program waits for, by numbers known for two machines",
)
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals as POSIX has them")

# The number of the system call `write` in Linux's tables.
_WRITE = {"x86_64": "1", "aarch64": "64"}.get(platform.machine(), "")
# What moves a cursor, rings, clears, turns letters around or ends a line: of C0, DEL, C1, bidi marks, separators.
COMMANDS = "\x00\x07\x08\t\r\x1b\x7f\x80\x85\x9b\x9f\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\u2029"


def environment(**changes: str | None) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    kept = {**os.environ, "PYTHONPATH": path, **changes}
    return {name: value for name, value in kept.items() if value is not None}


def run(
    *arguments: str, stdin: bytes = b"", code: str = START, fresh: bool = False, **changes: str
) -> subprocess.CompletedProcess[bytes]:
    """The program in a process of its own, in pipes."""
    with start(*arguments, code=code, fresh=fresh, **changes) as process:
        try:
            out, err = process.communicate(stdin, timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def start(
    *arguments: str, terminal: int | None = None, code: str = START, fresh: bool = False, **changes: str | None
) -> Forked | subprocess.Popen[bytes]:
    """Start the program in pipes, or in a terminal and a session of its own: so ^C reaches it as it does from a keyboard.

    A change of None takes a variable out of the environment.
    """
    kept = environment(**changes)
    is_fresh = fresh or code != START or any(name.startswith(("PYTHON", "LC_")) for name in changes)
    if hasattr(os, "fork") and not is_fresh:
        return Forked(arguments, kept, terminal)
    # As a shell's foreground has it: if these tests run in the background of a shell, SIGINT is ignored.
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    if terminal is not None:
        code = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {code}"
    stream = subprocess.PIPE if terminal is None else terminal
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=stream, stdout=stream, stderr=stream, env=kept, start_new_session=terminal is not None,
    )  # fmt: skip


def commands_in(text: str) -> list[str]:
    """The characters in a text that a terminal could obey, line ends aside."""
    kinds = ("Cc", "Cf", "Zl", "Zp")
    return [mark for mark in text if mark != "\n" and (unicodedata.category(mark) in kinds or mark in COMMANDS)]


def cell_width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def in_terminal(arguments: list[str], columns: int, **changes: str) -> tuple[int, str]:
    """Run the program in a pseudo-terminal of a width; its exit code and what it wrote there."""
    return Terminal(arguments, columns, lines=30, **changes).end()


class Server:
    """Answers each POST on a loopback port with the next of some bodies, the last one again and again.

    A body is bytes, or a function that gets `send` and sends what it likes. `requests` has what came.
    """

    def __init__(self, *bodies: Body, status: int = 200, kind: str = "text/event-stream") -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        left = list(bodies)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802, the name that the library calls
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("connection", "close")
                self.end_headers()
                body = left.pop(0) if len(left) > 1 else left[0]
                if isinstance(body, bytes):
                    self.wfile.write(body)
                else:
                    body(self.wfile.write)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class Terminal:
    """A program in a pseudo-terminal, to type into and to read from. One that is `stopped`, as by ^S, takes no output yet."""

    def __init__(
        self, arguments: list[str], columns: int = 80, *, lines: int = 24, stopped: bool = False, **changes: str
    ) -> None:
        import fcntl
        import pty
        import termios

        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        # What the terminal does with keys and lines: as it should be left.
        self.modes = termios.tcgetattr(theirs)
        if stopped:
            termios.tcflow(theirs, termios.TCOOFF)
        unset = dict.fromkeys(("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"))
        self.process = start(*arguments, terminal=theirs, **{**unset, "TERM": "xterm-256color", **changes})
        self._theirs = theirs if stopped else None
        if not stopped:
            os.close(theirs)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read_until(self, what: str) -> str:
        """All that was shown so far, once this is in it. Fails if it never comes."""
        while what not in self.shown:
            assert self._read(), f"{what!r} never came in {self.shown!r}"
        return self.shown

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for_write(self) -> None:
        """Wait until the program writes to the terminal that is stopped. Linux tells it."""
        deadline = time.monotonic() + 60
        while Path(f"/proc/{self.process.pid}/syscall").read_text().split()[0] != _WRITE:
            assert time.monotonic() < deadline
            assert self.process.poll() is None

    def go_on(self) -> None:
        """The terminal that was stopped takes output again."""
        import termios

        assert self._theirs is not None
        termios.tcflow(self._theirs, termios.TCOON)
        os.close(self._theirs)

    def end(self) -> tuple[int, str]:
        """Its exit code and all that it wrote. The terminal is as it was."""
        import termios

        while self._read():
            pass
        assert termios.tcgetattr(self._ours) == self.modes
        os.close(self._ours)
        return self.process.wait(timeout=60), self.shown

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 60)[0]:
            self.process.kill()
            self.process.wait()
            raise TimeoutError(f"nothing came for a minute after {self.shown!r}")
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux's word for the end
            return False
        self.shown += self._decoder.decode(piece)
        return bool(piece)
