"""What a machine without I/O asks of its driver, as data. See `_transfer` for how the two talk."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Connect:
    """Connect to this address, or take an idle connection if `fresh` is false."""

    host: str
    port: int
    fresh: bool
    until: float | None


@dataclass(frozen=True)
class Send:
    """Write these bytes, or as many as go, and read what comes meanwhile."""

    data: bytes
    until: float | None


@dataclass(frozen=True)
class Receive:
    """Read some bytes."""

    until: float | None


@dataclass(frozen=True)
class Proceed:
    """What was read holds more than one turn's worth: let others have theirs, and go on with it."""


@dataclass(frozen=True)
class Sleep:
    """Wait for the time, or to be woken."""

    until: float | None


@dataclass(frozen=True)
class Give:
    """Hand this to the caller of a gateway."""

    message: MutableMapping[str, Any]
    until: float | None


@dataclass(frozen=True)
class Keep:
    """The connection can carry another exchange."""


@dataclass(frozen=True)
class Close:
    """The connection is of no further use. `farewell` is what TLS says at its end; nobody waits for it to be read."""

    farewell: bytes = b""


Want: TypeAlias = Connect | Send | Receive | Proceed | Sleep | Give | Keep | Close
