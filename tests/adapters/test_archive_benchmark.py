"""The benchmark of archives measures the right thing: the yardstick and the library make the same table."""

from __future__ import annotations

from pathlib import Path

import pytest
from archivefiles import table_in

from benchmarks import archive
from sansio_step_adapters.archive import decode_archive


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    captured = tmp_path_factory.mktemp("captured")
    (captured / "one.sse").write_bytes(b"event: ping\ndata: {}\n\n")
    archive.build(folder, 600, 3, real=captured)
    return folder


def test_the_archive_is_as_it_says(source: Path, tmp_path: Path) -> None:
    """So many captures, 1 in 100 damaged, 1 in 40 captured; and the same for the same seed."""
    again = tmp_path / "again"
    again.mkdir()
    archive.build(again, 600, 3)
    archive.build(tmp_path, 600, 3)
    assert [path.read_bytes() for path in sorted(again.iterdir())] == [
        path.read_bytes() for path in sorted(tmp_path.glob("*.gz"))
    ]
    report = decode_archive([str(source)], str(tmp_path / "out"), engine="serial")
    assert report.summary.captures == 600
    table = table_in(tmp_path / "out")
    assert sum(count <= 1 for count in table["event_count"].to_pylist()) >= 600 // 40
    assert 200 < report.summary.events / 600 < 400


def test_by_hand_it_is_the_same_table(source: Path, tmp_path: Path) -> None:
    """In all columns that speak of messages, for bodies that are streams."""
    (tmp_path / "hand").mkdir()
    assert archive.run("by hand", source, tmp_path / "hand") > 0
    assert archive.run("serial", source, tmp_path / "serial") > 0
    hand, serial = table_in(tmp_path / "hand"), table_in(tmp_path / "serial" / "table")
    same = ["id", "message_id", "model", "stop_reason", "tool_uses", "block_types", "input_tokens", "output_tokens",
            "usage_is_final", "message", "message_count", "body_bytes"]  # fmt: skip
    streams = [at for at, form in enumerate(serial["form"].to_pylist()) if form == "stream"]
    assert len(streams) > 580
    for name in same:
        assert hand[name].take(streams).to_pylist() == serial[name].take(streams).to_pylist(), name


def test_what_is_judged() -> None:
    """Medians against those by hand, the cluster's start aside; a speed-up is to be at least so much."""
    runs = [archive.Run("by hand", cpu, 1) for cpu in (2, 2, 99)]
    runs += [
        archive.Run("serial", 2.2, 2),
        archive.Run("dask, 1 worker", 3, 4),
        archive.Run("dask, 2 workers", 2.8, 2.5),
    ]
    runs += [archive.Run("dask, nothing to do", 0.5, 1)]
    assert [(round(check.value, 2), check.met) for check in archive.checks(runs)] == [
        (1.1, True),
        (1.15, True),
        (1.6, False),
    ]
