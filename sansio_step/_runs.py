"""Runs of deltas written alike, which make up most of every stream: C code cuts them out and decodes them.

Only `cut_runs`, `decode_run` and `join_run` (for callers who want no events) read many frames at once. An accelerator
would replace these three.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Union

import msgspec

from ._events import TEXT_DELTAS, ContentBlockDeltaEvent, WireIndex
from ._json import CANT_DECODE

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
    last = len(pieces) - 1
    # Mostly it is the last one alone, with the frames after the run.
    odd = (
        [last] if 10 not in b"".join(pieces[:last]) else [number for number in range(last + 1) if 10 in pieces[number]]
    )
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


class DeltaRun(msgspec.Struct, frozen=True, gc=False):
    """Deltas in a row with the same index and kind, and nothing else in them. No event was made for them."""

    index: int
    kind: Any
    texts: list[str]

    def events(self) -> list[ContentBlockDeltaEvent]:
        """The events that `decode_run` would have made."""
        return [ContentBlockDeltaEvent(self.index, self.kind(text)) for text in self.texts]


def _lean(cls: Any) -> Any:
    """A class like that of a delta, but with its text in `piece` and without room for unknown fields."""
    fields = [("piece", str, msgspec.field(name=cls.grows.by))]
    return msgspec.defstruct(cls.__name__, fields, tag=cls.type, gc=False, forbid_unknown_fields=True)


_KINDS = {_lean(cls): cls for cls in TEXT_DELTAS}

if TYPE_CHECKING:
    _LeanDelta = Any
else:
    _LeanDelta = Union[tuple(_KINDS)]  # noqa: UP007  # of a tuple


class _LeanEvent(msgspec.Struct, tag=ContentBlockDeltaEvent.type, gc=False, forbid_unknown_fields=True):
    index: WireIndex
    delta: _LeanDelta


_decode_lean = msgspec.json.Decoder(_LeanEvent | _Never).decode


def join_run(run: list[bytes]) -> list[DeltaRun] | None:
    """What `decode_run` would give, for those who want the texts and no events. It takes four fifths of the time."""
    try:
        deltas: list[Any] = list(map(_decode_lean, run))
    except CANT_DECODE:
        return None
    index, lean = deltas[0].index, deltas[0].delta.__class__
    texts = [delta.delta.piece for delta in deltas if delta.index == index and delta.delta.__class__ is lean]
    if len(texts) == len(run):
        return [DeltaRun(index, _KINDS[lean], texts)]
    return [
        DeltaRun(index, _KINDS[lean], [delta.delta.piece for delta in row])
        for (index, lean), row in groupby(deltas, lambda delta: (delta.index, delta.delta.__class__))
    ]


def frames_of(run: list[bytes]) -> bytes:
    """The frames that a run was cut out of."""
    return DELTA_HEAD + _NEXT_DELTA.join(data.replace(b"\n", _DATA_LINE) for data in run) + b"\n\n"
