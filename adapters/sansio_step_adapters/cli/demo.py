"""`sansio-step demo`: four streams over a loopback connection, shown as they arrive.

    demo.py             the scenes, and who sends, reads and keeps their streams
    _captures.py        the streams
    _demo_view.py       how it looks
    _demo_report.py     what is said about each stream when it is over
    _other_readers.py   what other readers make of the one that breaks off

A replay server sends the streams, `AsyncClient` reads them: what is seen is what a program gets.
"""

from __future__ import annotations

import errno
import os
import statistics
import sys
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import anyio
from anyio import to_thread

from sansio_step import (
    Message,
    MessageRequest,
    MessageStream,
    StreamError,
)

from ..anyio import AsyncClient, AsyncStream
from ..record import Recorder
from ..replay import serve
from . import _captures
from ._demo_report import Report, Tally
from ._demo_view import View, make_view
from ._other_readers import OtherReaders
from .arguments.demo import DemoArguments

__all__ = ["Scene", "run", "scenes"]

# Seconds that other readers have to answer, once the stream is over; they began with the demo.
_PATIENCE: Final = 3.0


class Scene(NamedTuple):
    """One stream of the demo."""

    title: str
    note: str
    question: str
    capture: bytes
    file: str
    model: str = "step-3.7-flash"
    compared: bool = False
    """Whether it is told what other readers make of it."""

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
            "A file, while a tool call writes it",
            "its path is known first, its content is shown while it comes",
            _captures.WRITTEN_FILE_QUESTION,
            _captures.written_file(),
            "file.sse",
        ),
        Scene(
            "A stream that breaks off",
            "it ends inside a number, and HTTP sees nothing wrong",
            _captures.CUT_SHORT_QUESTION,
            _captures.cut_short(),
            "cut.sse",
            compared=True,
        ),
    ]


def run(arguments: DemoArguments) -> bool:
    """Show all scenes on standard output, and record them if that is asked for; tell whether it worked.

    OSError if they can't be recorded.
    """
    saved = _Saved(Path(arguments.save)) if arguments.save is not None else None
    try:
        anyio.run(_show, make_view(sys.stdout), arguments.pace, saved)
    except CancelledError:  # what Ctrl-C becomes in Python 3.10
        raise KeyboardInterrupt from None
    except StreamError as failure:
        sys.stderr.write(f"sansio-step: {failure}\n")
        return False
    return True


class _Saved:
    """The recordings of the scenes in a directory. What an earlier demo left there is replaced, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scene: Scene | None = None  # the one that is asked for
        directory.mkdir(parents=True, exist_ok=True)
        recorders = [self._recorder(scene) for scene in scenes()]
        for recorder, scene in zip(recorders, scenes(), strict=True):
            # An earlier demo can have been interrupted.
            if recorder.body_path.exists() and not scene.capture.startswith(recorder.body_path.read_bytes()):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(recorder.body_path))
        for recorder in recorders:
            recorder.body_path.unlink(missing_ok=True)
            recorder.times_path.unlink(missing_ok=True)

    def __call__(self) -> Recorder:
        assert self.scene is not None, "set before the request"
        return self._recorder(self.scene)

    def _recorder(self, scene: Scene) -> Recorder:
        return Recorder(self.directory / scene.file)


async def _show(view: View, pace: float, saved: _Saved | None) -> None:
    script = scenes()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve([scene.capture for scene in script], pace=pace))
        client = AsyncClient(base_url=server.base_url, api_key="demo", trust_env=False, tap=saved)
        await stack.enter_async_context(client)
        view.open(server.base_url, len(script))
        beside = await stack.enter_async_context(serve(_captures.cut_short()))
        others = stack.enter_context(OtherReaders(beside.base_url))
        for number, scene in enumerate(script, 1):
            if saved is not None:
                saved.scene = scene
            view.begin(number, scene.title, scene.note, scene.question)
            report = await _play(client, scene, view)
            if scene.compared:
                wait = _PATIENCE if pace else 0.0
                report = report._replace(others=await to_thread.run_sync(others.verdicts, wait, abandon_on_cancel=True))
            view.finish(report)
        view.close(str(saved.directory) if saved is not None else None)


async def _play(client: AsyncClient, scene: Scene, view: View) -> Report:
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
    return Report(_message_of(stream), stream.outcome, stream.deviations, error, tally, unpaced)


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
