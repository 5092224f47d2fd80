"""Chunk invariance, for any parser that is fed bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from .._errors import StreamError


class Receiver(Protocol):
    """A parser that takes a body in pieces. If it has a `receive_eof` too, that is called once at the end."""

    def receive_data(self, data: bytes, /) -> Iterable[Any] | None:
        """Take bytes and return what they complete."""


_SIZES = (2, 3, 5, 7, 16, 64, 1460)
_MOST_CUTS = 500


def assert_chunk_invariant(
    factory: Callable[[], Receiver],
    data: bytes,
    *,
    chunkings: Iterable[Sequence[bytes]] | None = None,
    state: Callable[[Any], object] | None = None,
) -> None:
    """Assert that a parser returns the same from `data` however it is cut, and then raises the same error or none.

    `factory` makes a fresh parser. The items that its `receive_data` returns (any iterable; None means none) are
    joined, and those of its `receive_eof`, if it has one, are added. `state` reads what else must not depend on the
    cutting, such as `lambda parser: parser.last_event_id`. The cuttings are byte by byte, pieces of several sizes, and
    two pieces cut at every place (up to 500 places, evenly spread), none with an empty piece; `chunkings` replaces
    them.

    The AssertionError says which cutting gave what. Nothing else is raised, whatever the parser raises.
    """
    whole = _outcome(factory, [data], state)
    for chunks in _cuttings(data) if chunkings is None else chunkings:
        got = _outcome(factory, chunks, state)
        if got != whole:
            raise AssertionError(_difference(chunks, whole, got))


_Outcome = tuple[list[Any], str | None, object]


def _outcome(
    factory: Callable[[], Receiver], chunks: Iterable[bytes], state: Callable[[Any], object] | None
) -> _Outcome:
    parser = factory()
    items: list[Any] = []
    error = None
    try:
        for chunk in chunks:
            items += parser.receive_data(chunk) or ()
        receive_eof = getattr(parser, "receive_eof", None)
        if receive_eof is not None:
            items += receive_eof() or ()
    except Exception as raised:  # noqa: BLE001  # the error is part of what is compared
        error = _described(raised)
    return items, error, state(parser) if state is not None else None


def _described(error: Exception) -> str:
    place = f" at byte {error.byte_offset}" if isinstance(error, StreamError) else ""
    return f"{type(error).__name__}: {error}{place}"


def _cuttings(data: bytes) -> Iterator[list[bytes]]:
    for size in (1, *_SIZES):
        if size < len(data) <= size * 1_000_000:
            yield [data[start : start + size] for start in range(0, len(data), size)]
    step = max(1, len(data) // _MOST_CUTS)
    for cut in range(1, len(data), step):
        yield [data[:cut], data[cut:]]


def _difference(chunks: Sequence[bytes], whole: _Outcome, got: _Outcome) -> str:
    shown = [bytes(chunk) for chunk in chunks[:10]]
    lines = [f"cut into {len(chunks)} pieces, the first of them {shown!r}:"]
    for number in range(max(len(whole[0]), len(got[0]))):
        pair = [repr(items[number]) if number < len(items) else "nothing" for items in (whole[0], got[0])]
        if number >= min(len(whole[0]), len(got[0])) or whole[0][number] != got[0][number]:
            lines.append(f"item {number} of the whole is {pair[0]}, in pieces {pair[1]}")
            break
    if whole[1] != got[1]:
        lines.append(f"error of the whole: {whole[1]}, in pieces: {got[1]}")
    if whole[2] != got[2]:
        lines.append(f"state after the whole: {whole[2]!r}, in pieces: {got[2]!r}")
    return "\n".join(lines)
