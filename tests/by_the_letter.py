"""Frames by the letter of the standard, for tests: nothing left out or cut short."""

from __future__ import annotations

from .helpers import by_the_letter


def frames_of(body: bytes) -> list[tuple[str, bytes]]:
    """The name ("" if there is none) and the data of each frame of a body with any line ends."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    fields = map(by_the_letter, text.split(b"\n\n")[:-1])
    return [((name or b"").decode("utf-8", "replace"), data) for name, data, *_ in fields if data is not None]
