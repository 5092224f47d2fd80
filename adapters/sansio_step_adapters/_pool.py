"""The idle connections of one client or gateway. No I/O: whoever asks closes what is given up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ._connection import Connection

Transport = TypeVar("Transport")

# How many are kept, and for how long: servers close them after 5 (uvicorn) to 75 seconds (nginx).
_MOST_IDLE: Final = 100
_LONGEST_IDLE: Final = 30.0


@dataclass(frozen=True, eq=False)
class Idle(Generic[Transport]):
    """A connection that waits for its next exchange.

    `home` is where it can be used: the event loop and the process that made it. In the child of a fork it belongs to
    the parent, and in a second `asyncio.run` its event loop is gone.
    """

    since: float
    home: object
    connection: Connection
    transport: Transport


class Pool(Generic[Transport]):
    """Idle connections, all to the same place."""

    def __init__(self) -> None:
        # The one used last is at the right end and taken first: it is the least likely to be stale.
        self._idle: deque[Idle[Transport]] = deque()
        self.closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self) -> Idle[Transport] | None:
        """The one used last, if there is one. Ask `given_up` first."""
        try:
            return self._idle.pop()
        except IndexError:  # asked for in this way, so that threads can share a pool
            return None

    def put(self, idle: Idle[Transport]) -> bool:
        """Keep a connection, or say that it has to be closed."""
        if self.closed or len(self._idle) >= _MOST_IDLE:
            return False
        self._idle.append(idle)
        return True

    def given_up(self, home: object, now: float) -> Idle[Transport] | None:
        """One that has been idle for too long, or whose home is another: close it and ask again."""
        for idle in tuple(self._idle):
            if idle.home != home or now >= idle.since + _LONGEST_IDLE:
                try:
                    self._idle.remove(idle)
                except ValueError:
                    continue  # another thread was quicker
                return idle
        return None

    def next_end(self) -> float | None:
        """When the next one will have been idle for too long."""
        oldest = min((idle.since for idle in tuple(self._idle)), default=None)
        return None if oldest is None else oldest + _LONGEST_IDLE

    def drain(self) -> Idle[Transport] | None:
        """Keep nothing from now on. Returns one that has to be closed: close it and ask again."""
        self.closed = True
        return self.take()
