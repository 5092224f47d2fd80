"""What a live event costs: `python -m benchmarks --live`.

The decoders' own time is a hundredth of it; the rest is the event loop, HTTP, time limits and the system. A server in
another process writes streams of events. Ten streams at once, one event a write and 4 ms between two, so that each read
brings one event (live); and the same with all events of a stream in one write (back to back). Each client runs in a
process of its own, which stays through all rounds, and they take turns, so that a busy machine slows them all. What
counts is the client's CPU time, user and system, for each event: medians of all rounds but the first.

A gateway's CPU time is that of its own process, and its lag that of a bare client through it, less that of the same
client without it.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import live_subjects as subjects

ROOT = Path(__file__).resolve().parents[1]
STREAMS = 10
INTERVAL = 0.004
LIVE, BURST = "live", "back to back"
# The events of one stream in one round.
EVENTS = {LIVE: 250, BURST: 2000}
ROUNDS = 7

# At most so many times aiohttp with our reader, live.
TARGETS = {subjects.OURS: 0.85, subjects.OURS_SYNC: 0.65, subjects.GATEWAY: 1.6}
MOST_LAG = 0.0001


@dataclass
class Figure:
    """What one subject takes: microseconds of CPU time for an event, and a gateway's added seconds of lag."""

    name: str
    microseconds: dict[str, float]
    ratios: dict[str, float] = field(default_factory=dict)
    lag: float | None = None
    instructions: float | None = None
    target: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether it is within its target; None if it has none."""
        if self.target is None or LIVE not in self.ratios:
            return None
        return self.ratios[LIVE] <= self.target and (self.lag is None or self.lag < MOST_LAG)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


class Process:
    """A subject, or the server, in a process of its own."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.first = self.line()

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, model: str, streams: int = STREAMS) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{model} {streams}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def measure(rounds: int = ROUNDS, each: Mapping[str, int] = EVENTS) -> tuple[list[Figure], dict[str, str]]:
    """A figure for each subject, and the reason for each that can't be measured here."""
    missing: dict[str, str] = {}
    processes: list[Process] = []

    def start(*command: str) -> Process:
        processes.append(Process(*command))
        return processes[-1]

    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    lags: dict[str, list[float]] = defaultdict(list)
    try:
        port = start("benchmarks.live_server").first
        clients = {name: start("benchmarks.live_subjects", name, port) for name in subjects.CLIENTS}
        callers: dict[str, tuple[str, Process]] = {}
        for name in subjects.GATEWAYS:
            own = start("benchmarks.live_subjects", name, port).first
            if own:
                callers[name] = own, start("benchmarks.live_subjects", subjects.BARE, own)
            else:
                missing[name] = "it did not start: is uvicorn installed?"
        for name in [name for name, client in clients.items() if not client.first]:
            missing[name] = "it did not start: is its package installed?"
            del clients[name]
        models = {LIVE: f"live:{each[LIVE]}:{INTERVAL}", BURST: f"burst:{each[BURST]}"}
        for number in range(rounds + 1):
            for kind, model in models.items():
                found: list[tuple[str, float, dict[str, Any]]] = []
                for name, client in clients.items():
                    answer = client.run(model)
                    found.append((name, answer["seconds"], answer))
                for name, (own, client) in callers.items():
                    before = _cpu(own)
                    answer = client.run(model)
                    found.append((name, _cpu(own) - before, answer))
                for name, taken, answer in found:
                    events = each[kind] * STREAMS
                    assert answer["events"] == events, f"{name} had {answer['events']} events of {events}"
                    if number:
                        seconds[name, kind].append(taken / events)
                        if kind == LIVE and answer["lag"] is not None:
                            lags[name].append(answer["lag"])
    finally:
        for process in processes:
            process.kill()
    return _figures([*clients, *callers], seconds, lags), missing


def _cpu(port: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/cpu") as response:
        return float(response.read())


def _figures(
    names: list[str], seconds: dict[tuple[str, str], list[float]], lags: dict[str, list[float]]
) -> list[Figure]:
    figures = []
    for name in names:
        microseconds = {kind: statistics.median(seconds[name, kind]) * 1e6 for kind in (LIVE, BURST)}
        # Ratios within each round, so that a slow round slows both sides of its own.
        ratios = {
            kind: statistics.median(
                own / theirs for own, theirs in zip(seconds[name, kind], seconds[subjects.AIOHTTP, kind], strict=True)
            )
            for kind in (LIVE, BURST)
            if seconds[subjects.AIOHTTP, kind]
        }
        lag = None
        if name == subjects.GATEWAY:
            lag = statistics.median(
                with_it - bare for with_it, bare in zip(lags[name], lags[subjects.BARE], strict=True)
            )
        figures.append(Figure(name, microseconds, ratios, lag, target=TARGETS.get(name)))
    return figures


# Instructions. A machine under valgrind is some fifty times slower, so the events come that much more slowly.

_SLOW_INTERVAL = 0.15
_FEW = 15
_MANY = 65


def count_instructions(figures: list[Figure]) -> None:
    """Have valgrind count the instructions of a live event: the difference of two runs. Gateways are left out."""
    server = Process("benchmarks.live_server")
    try:
        for figure in figures:
            if figure.name in subjects.CLIENTS:
                few, many = (_instructions(figure.name, server.first, events) for events in (_FEW, _MANY))
                figure.instructions = (many - few) / ((_MANY - _FEW) * STREAMS)
    finally:
        server.kill()


def _instructions(name: str, port: str, events: int) -> int:
    valgrind = shutil.which("valgrind")
    assert valgrind is not None, "valgrind is not installed"
    done = subprocess.run(
        [
            *(valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"),
            *(sys.executable, "-m", "benchmarks.live_subjects", name, port),
        ],
        input=f"live:{events}:{_SLOW_INTERVAL} {STREAMS}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    found = re.search(r"I +refs: +([0-9,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))
