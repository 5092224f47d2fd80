"""eventsource-parser with JSON.parse on Node, in a process that stays alive and is asked for one pass at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .subjects import Digest, Pass, Subject, events_digest

if TYPE_CHECKING:
    from .workloads import Stream, Workload

PACKAGE = "eventsource-parser"


class Unavailable(Exception):
    """Node or the package is not available; the text says why."""


def _package() -> Path:
    """The package's folder, installed by npm into a cache of the benchmark's own on first use."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sansio-step-benchmarks"
    package = cache / "node_modules" / PACKAGE
    if not (package / "package.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache), PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise Unavailable(f"`npm install {PACKAGE}` failed: {detail[-1] if detail else error}") from error
    return package


@dataclass(frozen=True)
class NodeSubject(Subject):
    process: subprocess.Popen[str] = field(kw_only=True)
    version: str = field(kw_only=True)

    @classmethod
    def start(cls, name: str) -> NodeSubject:
        node = shutil.which("node")
        if node is None:
            raise Unavailable("node is not installed")
        package = _package()
        process = subprocess.Popen(
            [node, str(Path(__file__).with_name("node_peer.mjs")), str(package / "dist" / "index.js")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

        def close() -> None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

        versions = json.loads((package / "package.json").read_text())["version"]
        return cls(name, "events", lambda _: (), events_digest, close=close, process=process, version=versions)

    def passes(self, workload: Workload, chunking: str) -> Pass:
        self._load(workload.streams, chunking)
        for _ in range(20):  # V8's compiler needs some passes to warm up; Python's subjects don't
            if self._ask({"do": "pass"})["seconds"] > 0.5:
                break

        def one_pass() -> float:
            return float(self._ask({"do": "pass"})["seconds"])

        return one_pass

    def read(self, stream: Stream, chunking: str) -> Digest:
        self._load((stream,), chunking)
        (events,) = self._ask({"do": "read"})["events"]
        return events_digest(events)

    def _load(self, streams: tuple[Stream, ...], chunking: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            specs = []
            for number, stream in enumerate(streams):
                path = Path(folder, f"{number}.sse")
                path.write_bytes(stream.body)
                specs.append({"path": str(path), "sizes": [len(chunk) for chunk in stream.chunks(chunking)]})
            self._ask({"do": "load", "streams": specs})

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"node ended with status {self.process.wait()}")
        return json.loads(line)
