"""The live benchmark: every client reads every event, and a target is judged as it is written."""

from __future__ import annotations

import io
import sys

import pytest

pytest.importorskip("rich", reason="the benchmarks need the extra `bench`")

from rich.console import Console  # noqa: E402

from benchmarks import live, report  # noqa: E402
from benchmarks.live_subjects import CLIENTS, GATEWAY, GATEWAYS, OURS  # noqa: E402


@pytest.mark.skipif(sys.platform == "win32", reason="the processes are killed as POSIX has it")
def test_each_client_and_gateway_reads_all_events_or_is_named_as_missing() -> None:
    figures, missing = live.measure(1, {live.LIVE: 8, live.BURST: 20})
    assert {figure.name for figure in figures} | set(missing) == {*CLIENTS, *GATEWAYS}
    assert all(figure.microseconds[kind] > 0 for figure in figures for kind in (live.LIVE, live.BURST))
    text = io.StringIO()
    report.live(Console(file=text, width=200), figures)
    assert OURS in text.getvalue()


@pytest.mark.parametrize(
    ("ratio", "lag", "passed"), [(1.6, 0.00009, True), (1.61, 0.00009, False), (1.0, 0.0001, False), (1.0, None, True)]
)
def test_a_target_is_met_by_the_ratio_and_the_lag(ratio: float, lag: float | None, passed: bool) -> None:
    figure = live.Figure(GATEWAY, {live.LIVE: 1.0}, {live.LIVE: ratio}, lag, target=1.6)
    assert figure.passed is passed
    assert figure.as_dict()["passed"] is passed


def test_a_subject_without_a_target_or_without_aiohttp_beside_it_is_not_judged() -> None:
    assert live.Figure("x", {}, {live.LIVE: 0.1}).passed is None
    assert live.Figure("x", {}, {}, target=1.0).passed is None
