"""What other readers make of the demo's cut stream.

Those that are installed read it while the demo runs, from a server like the demo's, in a process of their own: to import
some of them takes seconds. Of the others there is what they did when this was written.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final, NamedTuple

from ._captures import CUT_SHORT_ARGUMENTS, CUT_SHORT_QUESTION

__all__ = ["KNOWN", "OtherReaders", "Verdict", "main"]


class Verdict(NamedTuple):
    """What a version of a package made of the stream; `is_live` tells whether it has just done so."""

    package: str
    version: str
    said: str
    is_live: bool = False


# tests/test_cli_demo.py compares them with what the packages do that are installed there.
KNOWN: Final = (
    Verdict("anthropic", "2.14.0", "no error, and seats is 1"),
    Verdict("httpx-sse", "0.4.3", "no error, then JSONDecodeError"),
    Verdict("jiter", "0.19.0", "seats is 1"),
    Verdict("partial-json-parser", "0.2.1.1.post7", "seats is 1"),
)

_REQUEST: Final[dict[str, Any]] = {
    "model": "step-3.7-flash",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": CUT_SHORT_QUESTION}],
}


class OtherReaders:
    """The readers that are installed here, at work beside the demo. Leaving the context ends them."""

    def __init__(self, base_url: str) -> None:
        command = [sys.executable, "-m", __name__, base_url]
        self._process: subprocess.Popen[bytes] | None = None
        if any(find_spec(reader.module) for reader in _READERS.values()):
            # A proxy of the environment has no business between two ends of this machine. A session of its own: Ctrl-C
            # is the demo's to take.
            with contextlib.suppress(OSError):
                self._process = subprocess.Popen(  # noqa: S603, this program's own words
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "NO_PROXY": "*", "no_proxy": "*"},
                    start_new_session=True,
                )

    def verdicts(self, wait: float = 0) -> list[Verdict]:
        """What each says, in a fixed order: those that have not answered within `wait` seconds as they did before."""
        found: dict[str, tuple[str, str]] = {}
        if self._process is not None and self._process.stdout is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                # A pipe holds the few answers, so that the process can end before they are read.
                self._process.wait(wait)
                found = json.loads(self._process.stdout.read())
        return [
            Verdict(known.package, *found[known.package], True) if known.package in found else known for known in KNOWN
        ]

    def __enter__(self) -> OtherReaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            with self._process:
                self._process.kill()


class _Reader(NamedTuple):
    module: str
    read: Callable[[Any, str], str]
    """What the package, imported, says of the stream at a base URL."""


def _read_by_sdk(anthropic: Any, base_url: str) -> str:
    client = anthropic.Anthropic(api_key="demo", base_url=base_url, max_retries=0)
    with client.messages.stream(**_REQUEST) as stream:
        message = stream.get_final_message()
    return f"no error, and seats is {message.content[-1].input['seats']}"


def _read_by_loop(httpx_sse: Any, base_url: str) -> str:
    httpx = import_module("httpx")
    arguments = ""
    with httpx.stream("POST", f"{base_url}/v1/messages", json={**_REQUEST, "stream": True}) as response:
        for event in httpx_sse.EventSource(response).iter_sse():
            arguments += json.loads(event.data).get("delta", {}).get("partial_json", "")
    try:
        return f"no error, and seats is {json.loads(arguments)['seats']}"
    except ValueError as error:
        return f"no error, then {type(error).__name__}"


def _read_by_jiter(jiter: Any, base_url: str) -> str:
    found = jiter.from_json(CUT_SHORT_ARGUMENTS.encode(), partial_mode=True)
    return f"seats is {found['seats']}"


def _read_by_parser(partial_json_parser: Any, base_url: str) -> str:
    return f"seats is {partial_json_parser.loads(CUT_SHORT_ARGUMENTS)['seats']}"


_READERS: Final = {
    "anthropic": _Reader("anthropic", _read_by_sdk),
    "httpx-sse": _Reader("httpx_sse", _read_by_loop),
    "jiter": _Reader("jiter", _read_by_jiter),
    "partial-json-parser": _Reader("partial_json_parser", _read_by_parser),
}


def answers(base_url: str) -> dict[str, tuple[str, str]]:
    """The version of each package that is installed, and what it says of the stream at a base URL."""
    found = {}
    for package, reader in _READERS.items():
        if find_spec(reader.module) is not None:
            try:
                said = reader.read(import_module(reader.module), base_url)
            except Exception as error:  # noqa: BLE001, whatever another package raises is what is to be said
                said = type(error).__name__
            found[package] = version(package), said
    return found


def main() -> None:
    """Write the answers to standard output as JSON."""
    json.dump(answers(sys.argv[1]), sys.stdout)


if __name__ == "__main__":
    main()
