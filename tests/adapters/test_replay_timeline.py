"""When which bytes of an answer go out, and how it ends: all of it numbers, without a clock."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_step import EventDecoder, MessageStopEvent, PingEvent, encode_event
from sansio_step_adapters._replay.timeline import document_timeline, pieces, stream_timeline
from sansio_step_adapters.replay import Dials, Failure

# Three events of 9, 8 and 7 bytes: after them are the places 9, 17 and 24.
BODY = b"data: 1\n\ndata:2\n\ndat:3\n\n"
SECOND = 1_000_000_000
PING = encode_event(PingEvent())


def played(
    body: bytes = BODY, dials: Dials | None = None, **known: Any
) -> tuple[float, list[tuple[float, bytes]], str]:
    head_at, steps, ending = stream_timeline(body, dials or Dials(), **known)
    return head_at, [tuple(step) for step in steps], ending  # type: ignore[misc]


def test_at_once_without_a_dial() -> None:
    """An event a piece, all at the time of the request."""
    assert played() == (0, [(0, b"data: 1\n\n"), (0, b"data:2\n\n"), (0, b"dat:3\n\n")], "whole")


def test_pace_and_latency() -> None:
    """The first piece goes out with the head, each later one so many seconds after the one before it."""
    head, steps, _ = played(dials=Dials(pace=2, latency=5))
    assert (head, [at for at, _ in steps]) == (5, [5, 7, 9])


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_chunks(size: int) -> None:
    """Pieces of that many bytes, the last one of what is left; nothing is lost."""
    _, steps, _ = played(dials=Dials(chunk_size=size, pace=1))
    assert b"".join(data for _, data in steps) == BODY
    assert all(len(data) == size for _, data in steps[:-1])
    assert [at for at, _ in steps] == list(range(len(steps)))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_ends_with_a_blank_line(end: bytes) -> None:
    """Whichever line end there is: CR LF is one, so that a line of its own is no event."""
    events = [b"event: a" + end + b"data: 1" + end + end, b"data: 2" + end + end]
    assert list(pieces(b"".join(events), None)) == events
    assert played(b"".join(events), Dials(cut=1))[1] == [(0, events[0])]


# --- as recorded ---------------------------------------------------------------------------------------------------

READS = [(0, 2 * SECOND), (4, 3 * SECOND), (17, 9 * SECOND)]


def test_a_recording_comes_as_it_came() -> None:
    """The head, each read and the end at their times."""
    head, steps, ending = played(dials=Dials(pace="recorded"), reads=READS, head_ns=SECOND, end_ns=10 * SECOND)
    assert head == 1
    assert steps == [(2, BODY[:4]), (3, BODY[4:17]), (9, BODY[17:]), (10, b"")]
    assert ending == "whole"


def test_the_times_of_a_recording_count_only_where_they_are_asked_for() -> None:
    """And a capture without times has nothing that could be kept."""
    assert [at for at, _ in played(reads=READS, head_ns=SECOND, end_ns=10 * SECOND)[1]] == [0, 0, 0]
    assert [at for at, _ in played(dials=Dials(pace="recorded"))[1]] == [0, 0, 0]


def test_a_latency_of_its_own() -> None:
    """It takes the place of the recorded one, and what follows keeps its distances."""
    head, steps, _ = played(dials=Dials(pace="recorded", latency=0.5), reads=READS, head_ns=SECOND, end_ns=10 * SECOND)
    assert (head, [at for at, _ in steps]) == (0.5, [1.5, 2.5, 8.5, 9.5])


def test_a_recording_in_chunks() -> None:
    """The parts of a read come at its time."""
    _, steps, _ = played(dials=Dials(pace="recorded", chunk_size=10), reads=READS, head_ns=0)
    assert steps == [(2, BODY[:4]), (3, BODY[4:14]), (3, BODY[14:17]), (9, BODY[17:])]


def test_a_recording_cut_short() -> None:
    """What lies after the cut does not come, nor its time."""
    _, steps, ending = played(dials=Dials(pace="recorded", cut="10B"), reads=READS, head_ns=0, end_ns=99 * SECOND)
    assert (steps, ending) == ([(2, BODY[:4]), (3, BODY[4:10])], "cut")


def test_a_recording_that_broke_off_breaks_off_again() -> None:
    assert played(is_broken=True)[2] == "broken"
    assert played(is_broken=True, dials=Dials(cut=1))[2] == "cut"


# --- pings ---------------------------------------------------------------------------------------------------------


def test_pings_in_silences() -> None:
    """One after each silence of so long, none where a piece comes just then."""
    _, steps, _ = played(dials=Dials(pace=5, ping=2))
    assert [(at, data == PING) for at, data in steps] == [
        (0, False), (2, True), (4, True), (5, False), (7, True), (9, True), (10, False)
    ]  # fmt: skip
    assert all(data != PING for _, data in played(dials=Dials(pace=2, ping=2))[1])


def test_no_ping_inside_an_event() -> None:
    """So that the stream has the same events, pings aside, however it is chunked."""
    _, steps, _ = played(dials=Dials(chunk_size=7, pace=10, ping=3))
    # Pieces end after 7, 14, 21 and 24 bytes, none but the last where an event does.
    assert [at for at, data in steps if data == PING] == []
    _, steps, _ = played(dials=Dials(chunk_size=9, pace=10, ping=3))
    assert [at for at, data in steps if data == PING] == [3, 6, 9]


@pytest.mark.parametrize("size", range(1, 30))
def test_pings_change_no_event(size: int) -> None:
    """The events between the pings are those of the capture."""
    body = b"event: message_stop\r\ndata: {}\r\n\r\n" * 3
    _, steps, _ = played(body, Dials(chunk_size=size, pace=3, ping=1))
    decoder = EventDecoder()
    events = [event for _, data in steps for event in decoder.receive_data(data)]
    assert [event for event in events if not isinstance(event, PingEvent)] == [MessageStopEvent()] * 3


# --- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dial", "ending"), [("cut", "cut"), ("fail_after", "broken")])
@pytest.mark.parametrize(
    ("place", "size"), [(0, 0), (1, 9), (2, 17), (3, 24), ("2", 17), ("0B", 0), ("10B", 10), ("24B", 24)]
)
def test_places(dial: str, ending: str, place: int | str, size: int) -> None:
    """After so many events, or bytes."""
    _, steps, ended = played(dials=Dials(**{dial: place}))
    assert (b"".join(data for _, data in steps), ended) == (BODY[:size], ending)


@pytest.mark.parametrize("place", [4, "25B"])
def test_a_place_after_the_end_changes_nothing(place: int | str) -> None:
    assert played(dials=Dials(cut=place, fail_after=place, error=f"api_error@{place}")) == played()


def test_the_earliest_end_counts() -> None:
    assert played(dials=Dials(cut=1, fail_after=2))[2] == "cut"
    assert played(dials=Dials(cut=2, fail_after=1))[2] == "broken"
    assert played(dials=Dials(cut=3, fail_after=2, error="api_error@1"))[2] == "failed"


def test_an_error_in_the_stream() -> None:
    """An event of its own, with the last piece, in the words that were given, even where it comes inside an event."""
    for place, size in ((2, 17), ("15B", 15)):
        failure = Failure("overloaded_error", "too many", after=place)
        _, steps, ending = played(dials=Dials(error=failure, pace=3))
        assert ending == "failed"
        assert b"".join(data for _, data in steps[:-1]) == BODY[:size]
        at, data = steps[-1]
        assert at == steps[-2][0]
        (event,) = events_of(data)
        assert events_of(b"".join(data for _, data in steps))[-1] == event
        assert (event.type, event.error.type, event.error.message) == ("error", "overloaded_error", "too many")


def events_of(data: bytes) -> list[Any]:
    decoder = EventDecoder()
    return [*decoder.receive_data(data), *decoder.receive_eof()]


def test_the_words_of_an_error() -> None:
    assert Failure("overloaded_error").text == "overloaded error"
    assert Failure("overloaded_error", "").text == ""


# --- documents -----------------------------------------------------------------------------------------------------


def test_a_document_comes_whole() -> None:
    """With the length that its head promises, when the last of its stream came."""
    timeline, length = document_timeline(b"{}", Dials(pace=3, chunk_size=1))
    assert (timeline.head_at, list(timeline.steps), timeline.ending, length) == (0, [(0, b"{}")], "whole", 2)
    assert document_timeline(b"{}", Dials(pace="recorded"), reads=READS)[0].head_at == 9
    assert document_timeline(b"{}", Dials(pace="recorded", latency=1), reads=READS)[0].head_at == 1
    assert document_timeline(b"{}", Dials(pace="recorded"))[0].head_at == 0


@pytest.mark.parametrize(
    ("dials", "body", "ending", "length"),
    [
        (Dials(cut="3B"), b"{..", "cut", 3),
        (Dials(fail_after="3B"), b"{..", "broken", 5),
        (Dials(fail_after="3B", cut="2B"), b"{.", "cut", 2),
        (Dials(fail_after="3B", cut="4B"), b"{..", "broken", 5),
        # It counts as one event.
        (Dials(cut=1), b"{...}", "whole", 5),
        (Dials(fail_after=0), b"", "broken", 5),
        (Dials(cut="9B"), b"{...}", "whole", 5),
    ],
)
def test_a_document_that_ends_early(dials: Dials, body: bytes, ending: str, length: int) -> None:
    """A cut is in its length, too; a broken connection breaks the promise."""
    timeline, promised = document_timeline(b"{...}", dials)
    assert (b"".join(data for _, data in timeline.steps), timeline.ending, promised) == (body, ending, length)


# --- wrong ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dial",
    [
        {"chunk_size": 0},
        {"pace": -1},
        {"pace": "slow"},
        {"pace": float("nan")},
        {"latency": float("inf")},
        {"latency": -0.1},
        {"ping": 0},
        {"ping": "recorded"},
        {"fail_after": -1},
        {"fail_after": True},
        {"fail_after": "9b"},
        {"cut": ""},
        {"cut": 1.5},
        {"error": ""},
        {"error": "@3"},
        {"error": "api_error@x"},
    ],
)
def test_what_no_dial_can_be(dial: dict[str, Any]) -> None:
    """A ValueError, which begins with the dial's name and has one line."""
    (name,) = dial
    with pytest.raises(ValueError, match=f"^{name}: [^\n]+$"):
        Dials(**dial)


@pytest.mark.parametrize(
    "fields",
    [{"type": ""}, {"type": "x", "status": 200}, {"type": "x", "retry_after": -1}, {"type": "x", "after": "?"}],
)
def test_what_no_failure_can_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="^error: "):
        Failure(**fields)


def test_dials_over_others() -> None:
    """What is turned stays, a 0 too; the rest is the others'."""
    assert Dials(pace=0, cut=1).over(Dials(pace=3, ping=2)) == Dials(pace=0, cut=1, ping=2)


def test_the_whole_wire_is_kept() -> None:
    """However it is paced and chunked, the bytes are those of the capture."""
    for dials in (Dials(pace=1), Dials(chunk_size=4), Dials(pace="recorded", chunk_size=3)):
        assert b"".join(data for _, data in played(dials=dials, reads=READS, head_ns=0)[1]) == BODY
