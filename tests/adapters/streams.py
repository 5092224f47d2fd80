"""What the tests' own byte streams share."""

from __future__ import annotations

import anyio.abc


class OpenStream(anyio.abc.ByteStream):
    """A stream of which nobody ends one side alone: HTTP/1.1 has no use for that, and no driver may."""

    async def send_eof(self) -> None:
        raise AssertionError("a driver has ended its side of the connection")
