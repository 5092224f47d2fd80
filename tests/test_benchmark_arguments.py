"""The benchmark of tool arguments measures readers that read, and holds them to the targets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import arguments, report
from benchmarks.peers import Missing
from benchmarks.targets import JSONRIVER

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = 2 * 1024


@pytest.mark.parametrize("text", arguments.TEXTS)
def test_texts_are_what_they_say(text: str) -> None:
    """Each is JSON of about the size that was asked for, the same each time, in pieces that are all of it."""
    made = arguments.TEXTS[text](SMALL)
    assert SMALL <= len(made) < SMALL * 1.5
    assert isinstance(json.loads(made), dict)
    assert made == arguments.TEXTS[text](SMALL)
    pieces = arguments.pieces_of(made)
    assert "".join(pieces) == made
    assert {len(piece) for piece in pieces[:-1]} == {arguments.PIECE}


@pytest.mark.parametrize("text", arguments.TEXTS)
@pytest.mark.parametrize("read", [arguments.own, arguments.deltas_alone, arguments.floor])
def test_own_readers_read_the_texts(read: Callable[[list[str]], Any], text: str) -> None:
    """What is timed is right before it is timed."""
    made = arguments.TEXTS[text](SMALL)
    assert read(arguments.pieces_of(made)) == json.loads(made)


@pytest.mark.parametrize("peer", arguments.PEERS)
@pytest.mark.parametrize("text", arguments.TEXTS)
def test_peers_read_the_texts(peer: str, text: str) -> None:
    """A peer is compared only on what it reads rightly."""
    try:
        read = arguments.PEERS[peer]()
    except Missing as reason:
        pytest.skip(f"{peer}: {reason}")
    made = arguments.TEXTS[text](SMALL)
    assert read(arguments.pieces_of(made)) == json.loads(made)


def test_a_wrong_reader_is_not_timed() -> None:
    """Reading nothing must not look like being fast."""
    with pytest.raises(AssertionError, match="nothing misreads the text 'long string'"):
        arguments.compare({"nothing": lambda pieces: None}, SMALL)


def test_figures_say_how_many_times_as_long() -> None:
    """Each reader has a figure for each text, relative to our own; a stand-in for jsonriver that is no slower fails."""
    figures = arguments.compare({JSONRIVER: arguments.floor}, SMALL, budget=0.001)
    assert [(figure.text, figure.subject) for figure in figures] == [
        (text, subject)
        for text in arguments.TEXTS
        for subject in (arguments.OWN, arguments.DELTAS, arguments.FLOOR, JSONRIVER)
    ]
    for figure in figures:
        assert figure.microseconds_a_piece > 0
        assert figure.met == (figure.subject != JSONRIVER)
        assert figure.subject != arguments.OWN or figure.times_own == 1


def test_sizes_are_held_against_the_smallest() -> None:
    """Each text has a point for each size and way; the smallest is where growth is counted from."""
    points = arguments.flatness((SMALL, 2 * SMALL), budget=0.001)
    assert len(points) == len(arguments.TEXTS) * 2 * 2
    assert all(point.growth == 1 for point in points if point.size == SMALL)
    assert all(point.growth > 0 and point.of_msgspec > 0 for point in points)


@pytest.mark.parametrize(
    ("text", "subject", "growth", "of_msgspec", "met"),
    [
        ("long string", arguments.DELTAS, 1.3, 25, True),
        ("long string", arguments.DELTAS, 1.31, 25, False),
        ("long string", arguments.DELTAS, 1.0, 25.1, False),
        ("long string", arguments.OWN, 1.0, 40, True),
        ("code", arguments.DELTAS, 1.0, 40, True),
        ("objects", arguments.OWN, 1.4, 1, False),
    ],
)
def test_a_point_meets_its_targets(text: str, subject: str, growth: float, of_msgspec: float, met: bool) -> None:
    """Flat for all, and for the deltas of one long string at most 25 times joining and decoding."""
    assert arguments.Point(text, subject, 1, 1.0, growth, of_msgspec).met is met


def test_the_tables_are_printed() -> None:
    """Every figure and point has its row."""
    out = report.console()
    with out.capture() as shown:
        report.arguments(
            out,
            [arguments.Figure("code", JSONRIVER, 1.5, 8.25, 2.0)],
            [arguments.Point("objects", arguments.OWN, 16 * 1024, 2.5, 1.0, 44.44)],
        )
    for word in ("code", JSONRIVER, "8.25", "objects", arguments.OWN, "16", "44.4", "ok"):
        assert word in shown.get()
