"""Runs of deltas written alike, which make up most of every stream: C code cuts them out and decodes them.

This is the seam for an accelerator: only `cut_runs` and `decode_run` read many frames at once.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ._events import ContentBlockDeltaEvent
from ._json import CANT_DECODE

DELTA_NAME = b"content_block_delta"
DELTA_HEAD = b"event: content_block_delta\ndata: "
_DATA_LINE = b"\ndata: "
_NEXT_DELTA = b"\n\n" + DELTA_HEAD


class _Never(msgspec.Struct, tag="\0"):
    # msgspec requires the `type` tag only in unions; this second member, which can never match, makes it required.
    never: Annotated[int, msgspec.Meta(gt=1, lt=1)]


decode_delta = msgspec.json.Decoder(ContentBlockDeltaEvent | _Never).decode


def cut_runs(ready: bytes) -> list[tuple[list[bytes], bytes]]:
    """Cut `ready` into pairs: the data of deltas in a row, and the frames after them that are written differently.

    The pairs cover all of `ready`, in order. A delta's data is the value of the one data line of a frame named
    content_block_delta, or of several data lines if all deltas are written so. If another shape prevails, with
    comments or ids, no run is cut: runs of two or three would be slower than none.
    """
    pieces = ready.split(_NEXT_DELTA)
    first = pieces[0]
    if first[: len(DELTA_HEAD)] == DELTA_HEAD:
        pieces[0] = first[len(DELTA_HEAD) :]
        runs: list[tuple[list[bytes], bytes]] = []
        start = 0
    elif len(pieces) == 1:
        return [([], ready)]
    else:
        del pieces[0]
        start = len(first) + 2
        runs = [([], ready[:start])]
    pieces[-1] = pieces[-1][:-2]
    # A piece with a line end holds more than the one data line of a delta: other lines, or other frames.
    # Searching all pieces joined takes a third of the time.
    if 10 not in b"".join(pieces):
        return [*runs, (pieces, b"")]
    odd = [number for number, piece in enumerate(pieces) if 10 in piece]
    if len(odd) > 1 and len(odd) * 4 >= len(pieces):
        joined = list(map(_join_lines, pieces))
        if None not in joined:
            return [*runs, (joined, b"")]  # type: ignore[list-item]
        return [*runs, ([], ready[start:])]
    start = 0
    for stop in odd:
        data, _, others = pieces[stop].partition(b"\n\n")
        if 10 in data:
            runs.append((pieces[start:stop], DELTA_HEAD + pieces[stop] + b"\n\n"))
        else:
            runs.append(([*pieces[start:stop], data], others + b"\n\n"))
        start = stop + 1
    if start < len(pieces):
        runs.append((pieces[start:], b""))
    return runs


def _join_lines(lines: bytes) -> bytes | None:
    """Join the data of data lines, given without the first one's name; None if any other line is among them."""
    return lines.replace(_DATA_LINE, b"\n") if lines.count(b"\n") == lines.count(_DATA_LINE) else None


def decode_run(run: list[bytes]) -> list[ContentBlockDeltaEvent] | None:
    """The events of a run, or None if msgspec objects to any of them: each needs a closer look then."""
    try:
        return list(map(decode_delta, run))
    except CANT_DECODE:
        return None


def frames_of(run: list[bytes]) -> bytes:
    """The frames that a run was cut out of."""
    return DELTA_HEAD + _NEXT_DELTA.join(data.replace(b"\n", _DATA_LINE) for data in run) + b"\n\n"
