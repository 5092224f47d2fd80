"""`sansio-step demo`: three streams over a loopback connection, shown as they arrive.

A replay server sends them, `AsyncClient` reads them: what is seen is what a program gets. The streams are in
`_captures`, how it looks is in `_demo_view`, what is said about each in `_demo_report`.
"""

from __future__ import annotations

import statistics
import sys
from asyncio import CancelledError
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import anyio

from sansio_step import (
    Message,
    MessageRequest,
    MessageStream,
    StreamError,
)

from ..anyio import AsyncClient, AsyncStream
from ..replay import serve
from . import _captures
from ._demo_report import Report, Tally
from ._demo_view import View, make_view

__all__ = ["Scene", "run", "scenes"]


class Scene(NamedTuple):
    """One stream of the demo."""

    title: str
    note: str
    question: str
    capture: bytes
    file: str
    model: str = "step-3.7-flash"

    def request(self) -> MessageRequest:
        """What is sent; the replay server answers all requests alike."""
        messages = [{"role": "user", "content": self.question}]
        return MessageRequest(model=self.model, max_tokens=1024, messages=messages, effort="low")


def scenes() -> list[Scene]:
    """What is shown, in this order."""
    return [
        Scene(
            "A whole answer: thinking, text and a tool call",
            "one event a piece, pings between, JSON cut inside an escape",
            _captures.FIRST_PARTY_QUESTION,
            _captures.first_party(),
            "whole.sse",
        ),
        Scene(
            "Another shape: what StepFun's page shows",
            "no usage at the start, no block stops, stop_reason at the top level",
            _captures.STEPFUN_QUESTION,
            _captures.stepfun(),
            "stepfun.sse",
            "step-3.5-flash",
        ),
        Scene(
            "A stream that breaks off",
            "the connection ends inside the arguments of a tool",
            _captures.CUT_SHORT_QUESTION,
            _captures.cut_short(),
            "cut.sse",
        ),
    ]


def run(pace: float, save: str | None = None) -> bool:
    """Show all scenes on standard output, with `pace` seconds between two events; tell whether it worked.

    `save` is a directory for the captures, made if it is not there. OSError if they can't be written.
    """
    if save is not None:
        _save(Path(save))
    try:
        anyio.run(_show, make_view(sys.stdout), pace)
    except CancelledError:  # what Ctrl-C becomes in Python 3.10
        raise KeyboardInterrupt from None
    except StreamError as failure:
        sys.stderr.write(f"sansio-step: {failure}\n")
        return False
    return True


def _save(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for scene in scenes():
        (directory / scene.file).write_bytes(scene.capture)


async def _show(view: View, pace: float) -> None:
    script = scenes()
    async with (
        serve([scene.capture for scene in script], pace=pace) as server,
        AsyncClient(base_url=server.base_url, api_key="demo", trust_env=False) as client,
    ):
        view.open(server.base_url)
        for number, scene in enumerate(script, 1):
            view.begin(number, scene.title, scene.note, scene.question)
            view.finish(await _play(client, scene, view, pace))
        view.close()


async def _play(client: AsyncClient, scene: Scene, view: View, pace: float) -> Report:
    tally = Tally()
    error = None
    with view:
        async with client.stream(scene.request()) as stream:
            try:
                async for event in stream:
                    tally.add(event)
                    view.update(event, _message_of(stream), tally)
            except StreamError as caught:
                error = caught
    unpaced = _median_seconds(lambda: _read(scene.capture))
    return Report(_message_of(stream), stream.outcome, stream.deviations, error, tally, pace, unpaced)


def _message_of(stream: AsyncStream) -> Message:
    message = stream.message
    assert message is not None, "every capture begins with message_start"
    return message


def _read(capture: bytes) -> None:
    stream = MessageStream()
    stream.receive_data(capture)
    stream.receive_eof()


def _median_seconds(call: Callable[[], None], times: int = 25) -> float:
    taken = []
    for _ in range(times):
        start = perf_counter()
        call()
        taken.append(perf_counter() - start)
    return statistics.median(taken)
