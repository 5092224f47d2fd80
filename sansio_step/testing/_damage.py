"""What networks do to bytes: they cut them anywhere, and with bugs on the way they do worse."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hypothesis import strategies as st

_INJECTED = (
    b"\0",
    b"\xff",
    b"\xf0\x9f",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\n\n",
    b":",
    b"data: ",
    b"\ndata: [DONE]\n\n",
    b"\nevent: error\n",
    b'"',
    b"}",
    b"[[[[",
    b"\\",
    b"\\ud83d",
    b"NaN",
    b"1e999",
    b"-1",
    b"null",
    b'"type":"ping",',
)


# Bytes that are cut nearly everywhere are so in 4 stretches, each from a place to a place, in 256ths of the stretch. The
# shrinker takes whole stretches out, and narrows the rest down to a cut, by eight numbers.
_STRETCHES = 4
_PARTS = 256


def chunked(data: bytes, *, empty: bool = True) -> st.SearchStrategy[list[bytes]]:
    """The same bytes in pieces, as a network might deliver them: whole, cut in a few places (into empty pieces too), or
    cut nearly everywhere, at each byte or each 2, 3, 7, 64 or 1460.

    It shrinks towards the whole: a failing example keeps the cuts without which it doesn't fail. Without `empty` no
    piece is empty, for consumers that take one for the end.
    """
    return _chunked(data, empty)


@st.composite
def _chunked(draw: st.DrawFn, data: bytes, empty: bool) -> list[bytes]:
    size = draw(st.sampled_from((0, 1, 2, 3, 7, 64, 1460)))
    # One byte a piece is no use if that makes a million pieces.
    if size and len(data) <= size * 10_000:
        # As many draws for any data, so that a failing example can get shorter and is still cut.
        stretches = [draw(_windows()) for _ in range(_STRETCHES)]
        places = range(size, len(data), size)
        cuts = [place for number, window in enumerate(stretches) for place in _within(places, number, window)]
    else:
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return pieces if empty else list(filter(None, pieces))


@cache
def _windows() -> st.SearchStrategy[tuple[int, int]]:
    """Where the cuts of a stretch end, and how far back they begin: most are all of it, the simplest is none."""
    part = st.integers(0, 4 * _PARTS)
    return st.tuples(part, part)


def _within(places: range, number: int, window: tuple[int, int]) -> range:
    """The places of a stretch that lie in a window of it."""
    first, last = (len(places) * edge // _STRETCHES for edge in (number, number + 1))
    end = min(window[0], _PARTS)
    start = max(0, end - window[1])
    return places[first + (last - first) * start // _PARTS : first + (last - first) * end // _PARTS]


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with one to three faults in them: an end cut off, a bit flipped, a stretch lost, repeated or swapped with
    its neighbour, something foreign inserted. Now and then a fault changes nothing (a cut at the very end).
    """
    return _damaged(data)


@st.composite
def _damaged(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from(_DAMAGES))(draw, data)
    return data


def _place(draw: st.DrawFn, data: bytes) -> int:
    return draw(st.integers(0, len(data)))


def _stretch(draw: st.DrawFn, data: bytes) -> tuple[int, int]:
    start = _place(draw, data)
    return start, min(len(data), start + draw(st.integers(1, 200)))


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: _place(draw, data)]


def _behead(draw: st.DrawFn, data: bytes) -> bytes:
    return data[_place(draw, data) :]


def _flip(draw: st.DrawFn, data: bytes) -> bytes:
    if not data:
        return data
    place = draw(st.integers(0, len(data) - 1))
    return data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]


def _lose(draw: st.DrawFn, data: bytes) -> bytes:
    start, end = _stretch(draw, data)
    return data[:start] + data[end:]


def _repeat(draw: st.DrawFn, data: bytes) -> bytes:
    start, end = _stretch(draw, data)
    return data[:end] + data[start:end] + data[end:]


def _swap(draw: st.DrawFn, data: bytes) -> bytes:
    start, middle = _stretch(draw, data)
    end = min(len(data), middle + draw(st.integers(1, 200)))
    return data[:start] + data[middle:end] + data[start:middle] + data[end:]


def _inject(draw: st.DrawFn, data: bytes) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw(st.sampled_from(_INJECTED) | st.binary(max_size=8)) + data[place:]


_DAMAGES: tuple[Callable[[st.DrawFn, bytes], bytes], ...] = (_cut, _behead, _flip, _lose, _repeat, _swap, _inject)
