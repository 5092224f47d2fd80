"""The benchmarks measure the right thing: every subject reads every workload as it should, and the targets stand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import (
    chart,
    comparison,
    detours,
    floor,
    growth,
    guard,
    startup,
    subjects,
    targets,
    timing,
    workloads,
)
from benchmarks.peers import PEERS, Missing
from benchmarks.subjects import Subject
from benchmarks.workloads import CHUNKINGS, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The shape of the full workloads at a size that a test can afford byte by byte.
SMALL = (workloads.text(200), workloads.tools(4 * 1024), workloads.mixed(0.02))
OWN = (subjects.floor_subject, subjects.json_loads, *subjects.core)


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Subject]:
    try:
        subject = PEERS[request.param]()
    except Missing as reason:
        pytest.skip(f"{request.param}: {reason}")
    yield subject
    subject.close()


@pytest.mark.parametrize("workload", workloads.standard(), ids=lambda workload: workload.name)
@pytest.mark.parametrize("subject", OWN, ids=lambda subject: subject.name)
def test_own_subjects_read_the_workloads(subject: Subject, workload: Workload) -> None:
    """What is timed is right before it is timed. (A run checks the same once more, byte by byte too.)"""
    for chunking in ("whole", "64 KiB", "1460 B", "one event") if subject.chunked else ("whole",):
        assert subject.is_right(workload, chunking), chunking


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.name)
@pytest.mark.parametrize("subject", subjects.core, ids=lambda subject: subject.name)
def test_own_subjects_read_every_chunking(subject: Subject, workload: Workload) -> None:
    """Byte by byte as well, on less of the same."""
    for chunking in CHUNKINGS:
        assert subject.is_right(workload, chunking), chunking


@pytest.mark.parametrize("workload", workloads.standard(), ids=lambda workload: workload.name)
def test_peers_read_the_workloads(peer: Subject, workload: Workload) -> None:
    """A peer is compared only on what it reads rightly; one chunking each keeps the quadratic ones bearable."""
    assert peer.is_right(workload, "64 KiB")


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.name)
def test_peers_read_every_chunking(peer: Subject, workload: Workload) -> None:
    """The other chunkings, on less of the same."""
    for chunking in CHUNKINGS:
        assert peer.is_right(workload, chunking), chunking


def test_a_wrong_reader_is_not_timed() -> None:
    """Reading only half of the events must not look like being twice as fast."""
    half = Subject("half", "events", lambda chunks: iter(()), lambda events: [])
    with pytest.raises(comparison.WrongOutput, match="half on 'text', whole: wrong output"):
        comparison.compare(SMALL[0], ["whole"], [half])


def test_a_wrong_reader_of_captures_is_left_out() -> None:
    """On captured streams readers may differ: those that do are named and not timed."""
    named: list[str] = []

    def fails(chunks: list[bytes]) -> Iterator[object]:
        raise ValueError("can't read that")

    broken = Subject("broken", "events", fails, lambda events: [])
    figures = comparison.compare(SMALL[0], ["whole"], [broken], budget=0.001, on_wrong=named.append)
    assert named == ["broken on 'text', whole: ValueError: can't read that"]
    assert [figure.subject for figure in figures] == [targets.FLOOR]


# -- workloads ---------------------------------------------------------------------------------------------


def test_workloads_are_the_same_each_time() -> None:
    """Generators are seeded: figures of two runs are about the same bytes."""
    assert [workload.streams[0].body for workload in workloads.standard()] == [
        workload.streams[0].body for workload in workloads.standard()
    ]


def test_text_is_8000_deltas() -> None:
    (stream,) = workloads.text().streams
    assert sum(event["type"] == "content_block_delta" for event in stream.events) == 8_000


def test_tools_is_256_kib_of_arguments_in_20_byte_pieces() -> None:
    (stream,) = workloads.tools().streams
    deltas = [event["delta"]["partial_json"] for event in stream.events if "delta" in event and "index" in event]
    assert {len(piece.encode()) for piece in deltas[1:-1]} == {20}
    assert 256 * 1024 * 0.99 < sum(map(len, deltas)) < 256 * 1024 * 1.01


def test_mixed_has_every_kind() -> None:
    (stream,) = workloads.mixed().streams
    deltas = {event["delta"]["type"] for event in stream.events if event["type"] == "content_block_delta"}
    assert deltas == {"thinking_delta", "signature_delta", "text_delta", "input_json_delta"}
    blocks = [block["type"] for block in stream.expected_message["content"]]
    assert blocks == ["thinking", "text", "tool_use", "tool_use", "tool_use"]
    assert any(event["type"] == "ping" for event in stream.events)
    assert not stream.body.isascii()


@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_chunks_add_up(chunking: str) -> None:
    for workload in SMALL:
        for stream in workload.streams:
            assert b"".join(stream.chunks(chunking)) == stream.body


def test_folder_takes_plain_streams_and_names_the_others(tmp_path: Path) -> None:
    """What readers treat differently can't be compared by time."""
    (stream,) = SMALL[0].streams
    (tmp_path / "good.sse").write_bytes(stream.body)
    (tmp_path / "cut.sse").write_bytes(stream.body[:-1])
    (tmp_path / "half.sse").write_bytes(b"".join(stream.chunks("one event")[:-1]))
    (tmp_path / "crlf.sse").write_bytes(stream.body.replace(b"\n", b"\r\n"))
    (tmp_path / "comment.sse").write_bytes(b": hello\n\n" + stream.body)
    workload, left_out = workloads.folder(tmp_path)
    assert [captured.body for captured in workload.streams] == [stream.body]
    assert left_out == [
        "comment.sse: lines besides one event line and one data line",
        "crlf.sse: line ends other than LF",
        "cut.sse: ends inside an event",
        "half.sse: not one whole message",
    ]


def test_folder_without_streams_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no plain stream"):
        workloads.folder(tmp_path)


def test_floor_takes_unknown_events_as_dicts() -> None:
    """Captured streams carry what the minimal union has no type for; order is kept."""
    payloads = [b'{"type":"ping"}', b'{"type":"news","x":1}', b'{"type":"message_stop"}']
    assert list(floor.decode(floor.runs(payloads))) == [floor.Ping(), {"type": "news", "x": 1}, floor.MessageStop()]


# -- targets -----------------------------------------------------------------------------------------------


def test_targets_are_of_what_is_measured() -> None:
    """A row that no figure ever meets would be a promise that nobody checks."""
    for row in targets.TARGETS:
        assert row.stage in targets.CORE
        assert set(row.chunkings) <= set(CHUNKINGS)
        assert set(row.peers) <= set(PEERS)


def test_one_target_for_a_stage_at_a_chunking() -> None:
    """Of two the guard would hold a figure against the first alone. Each stage has one for a busy and a live stream."""
    spoken_of = [(row.stage, chunking) for row in targets.TARGETS for chunking in row.chunkings]
    assert len(spoken_of) == len(set(spoken_of))
    assert set(spoken_of) >= {(stage, chunking) for stage in targets.CORE for chunking in ("64 KiB", "one event")}


def test_targets_can_be_met_and_can_be_missed() -> None:
    """Nothing is faster than the floor, no peer as fast as the library, and noise alone misses no target of the guard."""
    for row in targets.TARGETS:
        assert len(row.floor) in (1, len(targets.WORKLOADS))
        assert all(1 < limit < math.inf for limit in row.floor)
        assert all(1 < factor < math.inf for factor in row.peers.values())
    assert targets.GUARD_TOLERANCE > 1


def test_who_does_more_may_take_longer() -> None:
    """Smaller pieces, and the message on top of its events, never have a closer target than what is less work."""
    for workload in targets.WORKLOADS:
        for stage in targets.CORE:
            rows = [row for chunking in CHUNKINGS if (row := targets.target_for(stage, chunking))]
            floors = [row.floor_for(workload) for row in rows]
            assert floors == sorted(floors), stage
        for chunking in CHUNKINGS:
            events, message = (targets.target_for(stage, chunking) for stage in ("events", "message"))
            assert events is None or message is None or events.floor_for(workload) <= message.floor_for(workload)


def test_targets_are_of_the_standard_workloads() -> None:
    assert targets.WORKLOADS == tuple(workload.name for workload in workloads.standard())


def test_verdicts_hold_figures_against_floor_and_peers() -> None:
    """A ratio to the floor is at most, a ratio to a peer at least, both from the same rounds."""

    def figure(subject: str, stage: str, seconds: float) -> comparison.Figure:
        return comparison.Figure("text", "one event", stage, subject, seconds, 1.0, events=10, size=1_000)

    found = comparison.verdicts(
        [
            figure(targets.CORE["message"], "message", 3.8),
            figure(targets.SDK_MESSAGE, "message", 100.0),
            figure(targets.PYDANTIC_AI, "message", 100.0),
        ]
    )
    assert [(verdict.against, round(verdict.value, 2), verdict.met) for verdict in found] == [
        ("floor", 3.8, True),
        (targets.SDK_MESSAGE, 26.32, False),
    ]


def test_rounds_are_interleaved_and_slow_subjects_sit_some_out() -> None:
    """The slow get fewer rounds, spread over all of them; nobody gets none."""
    order: list[str] = []

    def subject(name: str, seconds: float) -> Callable[[], float]:
        def one_pass() -> float:
            order.append(name)
            return seconds

        return one_pass

    times = timing.interleaved([subject("a", 0.01), subject("b", 0.1), subject("c", 9.0)], budget=1.0)
    assert [len(kept) for kept in times] == [41, 10, 1]
    assert order[:3] == ["a", "b", "c"]
    assert order[3:].index("b") < 6


# -- the other parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", detours.SHAPES)
@pytest.mark.parametrize("subject", subjects.core, ids=lambda subject: subject.name)
def test_detours_are_the_same_stream(subject: Subject, shape: str) -> None:
    """Other shapes of the same events, read as the same events."""
    common = SMALL[0]
    other = detours.reshaped(common, shape)
    assert other.streams[0].body != common.streams[0].body
    for chunking in CHUNKINGS:
        assert detours.is_right(subject, common, other, chunking), chunking


@pytest.mark.parametrize(
    ("body", "reference", "growth_", "met"),
    [
        (growth.MIB, 1.0, 1.3, True),
        (growth.MIB, 1.0, 1.31, False),
        (growth.MIB, 1.2, 1.4, False),
        (growth.MIB, 1.4, 2.0, True),
        (64 * growth.MIB, 1.2, 1.79, True),
        (64 * growth.MIB, 1.2, 1.81, False),
        (64 * growth.MIB, 3.0, 4.5, True),
    ],
)
def test_growth_is_held_against_msgspec(body: int, reference: float, growth_: float, met: bool) -> None:
    """1.5 times the growth of msgspec, and flat up to 8 MiB if msgspec is flat."""
    assert growth.Point("", "", "", body, 1.0, growth_, reference).met is met


def test_growth_is_measured() -> None:
    """A small curve, end to end."""
    curve = next(iter(growth.curves(largest_line=growth.MIB)))
    points = growth.measure(curve, budget=0.01)
    assert [(point.subject, point.size) for point in points] == [
        ("SSEDecoder", "64 KiB"),
        ("SSEDecoder", "1 MiB"),
        ("EventDecoder", "64 KiB"),
        ("EventDecoder", "1 MiB"),
    ]
    assert all(point.growth == 1 for point in points if point.size == "64 KiB")


def test_guard_measures_again_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise gets three attempts, a slow-down fails all of them."""
    attempts: list[set[str] | None] = []

    def measure(only: set[str] | None) -> Iterator[guard.Check]:
        attempts.append(only)
        yield guard.Check("noisy", 9.0 if len(attempts) == 1 else 1.0, 2.0)
        yield guard.Check("slow", 4.1, 2.0)
        yield guard.Check("just so", 4.0, 2.0)

    monkeypatch.setattr(guard, "_measure", measure)
    assert {check.name: check.passed for check in guard.run()} == {"noisy": True, "slow": False, "just so": True}
    assert attempts == [None, {"noisy", "slow"}, {"slow"}]


@pytest.mark.parametrize(("value", "status"), [(1.0, 0), (9.0, 1)])
def test_guard_command(
    value: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 after a slow-down, with the ratio on stderr."""
    pytest.importorskip("rich")
    from benchmarks.__main__ import main  # noqa: PLC0415 (it needs rich)

    monkeypatch.setattr(guard, "run", lambda: [guard.Check("text: frames", value, 2.0)])
    assert main(["--guard"]) == status
    assert ("slower than allowed: text: frames 9.00, at most 4.00" in capsys.readouterr().err) is bool(status)


def test_import_brings_no_io() -> None:
    """Embedding the core costs no asyncio, ssl or http. (Its milliseconds are printed, not tested.)"""
    assert startup.measure(times=1).unwanted == []


def test_chart_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    """A redrawn chart differs only if figures do."""
    pytest.importorskip("matplotlib")

    def figure(subject: str, stage: str, chunking: str, seconds: float) -> comparison.Figure:
        return comparison.Figure("text", chunking, stage, subject, seconds, 0.002, events=8_000, size=1_000_000)

    figures = [
        figure(targets.FLOOR, "events", comparison.UNCHUNKED, 0.002),
        *(figure(name, stage, chart.CHUNKING, 0.004) for stage, name in targets.CORE.items()),
        figure(targets.SDK_MESSAGE, "message", chart.CHUNKING, 0.4),
    ]
    drawn = []
    for name in ("one.svg", "two.svg"):
        chart.draw(figures, tmp_path / name, "caption")
        drawn.append((tmp_path / name).read_text())
    assert drawn[0] == drawn[1]
    assert drawn[0].count("<svg") == 1


def test_command_line(tmp_path: Path) -> None:
    """The command as typed, on its shortest part."""
    pytest.importorskip("rich")
    command = [sys.executable, "-m", "benchmarks", "--only", "startup", "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    assert "import sansio_step adds" in done.stdout
    assert "startup" in (tmp_path / "figures.json").read_text()


def test_load() -> None:
    """A small load gives all its figures and loses and mixes up no stream; a decoder that waits takes 2 KiB at most."""
    for module in ("h11", "anyio"):
        pytest.importorskip(module)
    from benchmarks import load  # noqa: PLC0415

    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "benchmarks.load", "--streams=20", "--events=20", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stderr == ""
    figures = json.loads(done.stdout)
    assert figures["events per second"] > 0
    # With so few streams the memory of each is not told from the process's own, which may shrink meanwhile: only the
    # full run is held to it.
    assert isinstance(figures["KiB a stream"], float)
    assert len(figures["ms of lag at 5000 events/s"]) == 3
    for decoder in ("EventDecoder", "MessageStream"):
        assert figures["KiB an idle decoder"][decoder] <= load.LIMITS["KiB an idle decoder"]
