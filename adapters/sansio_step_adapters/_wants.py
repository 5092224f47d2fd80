"""What a machine without I/O asks of its driver, as data. See `_transfer` for how the two talk."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, TypeAlias

import msgspec


class Connect(msgspec.Struct, frozen=True):
    """Connect to this address, or take an idle connection if `fresh` is false."""

    host: str
    port: int
    fresh: bool
    until: float | None


class Send(msgspec.Struct, frozen=True):
    """Write these bytes, or as many as go, and read what comes meanwhile."""

    data: bytes
    until: float | None


class Receive(msgspec.Struct, frozen=True):
    """Read some bytes."""

    until: float | None


class Proceed(msgspec.Struct, frozen=True):
    """What was read holds more than one turn's worth: let others have theirs, and go on with it."""


class Sleep(msgspec.Struct, frozen=True):
    """Wait for the time, or to be woken."""

    until: float | None


class Give(msgspec.Struct, frozen=True):
    """Hand this to the caller of a gateway. If it does not take it at once, `stuck` says until when it may."""

    message: MutableMapping[str, Any]


class Keep(msgspec.Struct, frozen=True):
    """The connection can carry another exchange."""


class Close(msgspec.Struct, frozen=True):
    """The connection is of no further use. `farewell` is what TLS says at its end; nobody waits for it to be read."""

    farewell: bytes = b""


Want: TypeAlias = Connect | Send | Receive | Proceed | Sleep | Give | Keep | Close
