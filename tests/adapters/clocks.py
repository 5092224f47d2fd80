"""Event loops whose time jumps when a test says so, for limits that nobody should wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

Jump = Callable[[float], None]
"""Lets so many seconds pass at once."""


def run_with_jumps(main: Callable[[Jump], Awaitable[None]], backend: str) -> None:
    """Run `main(jump)` in an event loop of this backend. Between jumps, time goes on as ever."""
    if backend == "trio":
        clock = pytest.importorskip("trio.testing").MockClock(rate=1.0)
        anyio.run(main, clock.jump, backend=backend, backend_options={"clock": clock})
    else:
        anyio.run(_on_asyncio, main, backend=backend)


async def _on_asyncio(main: Callable[[Jump], Awaitable[None]]) -> None:
    await main(jumps_of(asyncio.get_running_loop()))


def jumps_of(loop: asyncio.AbstractEventLoop) -> Jump:
    """Let the time of an asyncio loop jump from now on."""
    ahead, real = 0.0, loop.time

    def jump(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    loop.time = lambda: real() + ahead  # type: ignore[method-assign]
    return jump
