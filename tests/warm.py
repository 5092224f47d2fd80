"""The program, imported once and forked for each run.

`python -m tests.warm FD` reads requests from a Unix socket. It spends the third of a second that a fresh interpreter
spends on imports once, not for each of four hundred runs. A fork is a process of its own: signals, exit codes and terminals
are as they are for any other. What Python reads when it starts (PYTHON*, the locale) is as it was here.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
from importlib import import_module

from sansio_step_adapters.cli import main

# The commands, and what anyio imports when it runs. Not `chat`: it imports readline, which asks for the terminal then.
COMMANDS = [f"sansio_step_adapters.cli.{name}" for name in ("check", "demo", "inspect", "parse", "serve")]
IMPORTED = [*COMMANDS, "anyio._backends._asyncio"]


def keep(asker: socket.socket, streams: list[int]) -> None:
    """Fork once more for the run; say its process id, wait for it, say its exit code. Returns in the run alone."""
    request = json.loads(asker.makefile().readline())
    program = os.fork()
    if not program:
        asker.close()
        become(request, streams)
        return
    for stream in streams:
        os.close(stream)
    asker.sendall(b"%d\n" % program)
    asker.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
    os._exit(0)


def become(request: dict, streams: list[int]) -> None:
    """Make this process what the program finds when it starts."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["in_terminal"]:
        import fcntl
        import termios

        # Its own session, with this terminal: so ^C reaches it as it does from a keyboard.
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    # As Python opens them, which asks what they are: a terminal's output is flushed at each line.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        mode = "w" if number else "r"
        stream = open(number, mode, encoding=stream.encoding, errors=stream.errors, newline="\n", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stderr.reconfigure(line_buffering=True)


def serve(requests: socket.socket) -> bool:
    """Whether this is a run. Otherwise nobody is left to ask for one."""
    while fds := socket.recv_fds(requests, 1, 4)[1]:
        asker, *streams = fds
        if not os.fork():
            requests.close()
            keep(socket.socket(fileno=asker), streams)
            return True
        for fd in fds:
            os.close(fd)
        bury()
    return False


def bury() -> None:
    """Take leave of the keepers that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def run() -> None:
    """Run the program. If nothing is left that Python waits for at its end, it is not taken down: that would take 20 ms."""
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        if threading.active_count() == 1:
            os._exit(end.code)
        raise


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        run()
