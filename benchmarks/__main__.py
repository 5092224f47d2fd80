"""`python -m benchmarks`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import (
    archive,
    chart,
    comparison,
    detours,
    growth,
    guard,
    live,
    memory,
    peers,
    report,
    startup,
    timing,
    workloads,
)
from . import arguments as tool_arguments
from .subjects import core, json_loads
from .targets import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
PARTS = ("comparison", "arguments", "growth", "memory", "detours", "startup")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of streams (*.sse), as one more workload")
    parser.add_argument("--guard", action="store_true", help="the short form: exit status 1 after a slow-down")
    parser.add_argument("--live", action="store_true", help="what a live event costs the clients and the gateway")
    parser.add_argument("--rounds", type=int, help="how many rounds --live makes")
    parser.add_argument("--instructions", action="store_true", help="with --live: count them, if valgrind is there")
    parser.add_argument(
        "--archive",
        nargs="?",
        type=int,
        const=archive.CAPTURES,
        metavar="CAPTURES",
        help="instead of all else, an archive of so many captures to a table (default %(const)s)",
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="one part (can be repeated)")
    parser.add_argument("--chunking", action="append", help="one chunking of the comparison (can be repeated)")
    parser.add_argument("--no-peers", action="store_true", help="the library and the floor alone")
    parser.add_argument("--budget", type=float, help="seconds for each subject in each group of rounds")
    parser.add_argument("--json", type=Path, default=HERE / "results.json", help="where the figures go")
    parser.add_argument("--chart", type=Path, default=HERE / "chart.svg", help="where the chart goes")
    options = parser.parse_args(arguments)
    if options.live:
        return _live(options)
    if options.archive:
        return _archive(options)
    return _guard() if options.guard else _measure(options)


def _live(options: argparse.Namespace) -> int:
    out = report.console()
    figures, missing = live.measure(options.rounds or live.ROUNDS)
    for name, reason in missing.items():
        out.print(f"[bold red]not measured[/]: {name}: {reason}")
    if options.instructions:
        live.count_instructions(figures)
    report.live(out, figures)
    return 0


def _archive(options: argparse.Namespace) -> int:
    out = report.console()
    out.print(", ".join(f"{name} {value}" for name, value in report.machine().items()))
    found = archive.report(options.archive, options.folder, lambda line: out.print(line, highlight=False))
    return 0 if all(check["met"] for check in found["checks"]) else 1


def _guard() -> int:
    checks = guard.run()
    report.guard(report.console(), checks)
    failed = [check for check in checks if not check.passed]
    for check in failed:
        print(f"slower than allowed: {check.name} {check.value:.2f}, at most {check.allowed:.2f}", file=sys.stderr)
    return 1 if failed else 0


def _measure(options: argparse.Namespace) -> int:
    out = report.console()
    parts = options.only or PARTS
    budget = options.budget or timing.BUDGET
    machine = report.machine()
    results: dict[str, Any] = {"machine": machine}
    out.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if "comparison" in parts:
        _compare(options, out, results, budget)
    if "arguments" in parts:
        _arguments(options, out, results, budget)
    if "growth" in parts:
        points = [point for curve in growth.curves() for point in growth.measure(curve, budget)]
        report.growth(out, points)
        results["growth"] = [point.as_dict() for point in points]
    if "memory" in parts:
        peaks = memory.measure()
        report.memory(out, peaks)
        results["memory"] = [peak.as_dict() for peak in peaks]
    if "detours" in parts:
        found = [shape for group in detours.groups() for shape in detours.measure(*group, budget)]
        report.detours(out, found)
        results["detours"] = [detour.as_dict() for detour in found]
    if "startup" in parts:
        start = startup.measure()
        report.startup(out, start)
        results["startup"] = start.as_dict()
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    out.print(f"figures in {options.json}")
    return 0


def _arguments(options: argparse.Namespace, out: Any, results: dict[str, Any], budget: float) -> None:
    others, missing = ({}, {}) if options.no_peers else tool_arguments.available()
    for name, reason in missing.items():
        out.print(f"[bold red]not measured[/]: {name}: {reason}")
    figures = tool_arguments.compare(others, budget=budget)
    points = tool_arguments.flatness(budget=budget)
    report.arguments(out, figures, points)
    results["arguments"] = [measured.as_dict() for measured in (*figures, *points)]


def _compare(options: argparse.Namespace, out: Any, results: dict[str, Any], budget: float) -> None:
    others, missing = ([], {}) if options.no_peers else peers.available()
    for name, reason in missing.items():
        out.print(f"[bold red]not measured[/]: {name}: {reason}")
        print(f"not measured: {name}: {reason}", file=sys.stderr)
    subjects = [*core, json_loads, *others]
    chunkings = options.chunking or list(workloads.CHUNKINGS)
    figures: list[comparison.Figure] = []

    def show(workload: workloads.Workload, **how: Any) -> None:
        found = comparison.compare(workload, chunkings, subjects, budget=budget, **how)
        report.comparison(out, workload, found)
        figures.extend(found)

    def on_wrong(problem: str) -> None:
        out.print(f"[bold red]not measured[/]: {problem}")

    try:
        for workload in workloads.standard():
            show(workload)
        if options.folder:
            workload, left_out = workloads.folder(options.folder)
            for reason in left_out:
                out.print(f"left out: {reason}")
            show(workload, on_wrong=on_wrong)
    finally:
        for subject in others:
            subject.close()

    found = comparison.verdicts([figure for figure in figures if figure.workload in WORKLOADS])
    report.verdicts(out, found)
    results |= {
        "not_measured": missing,
        "figures": [figure.as_dict() for figure in figures],
        "targets": [verdict.as_dict() for verdict in found],
    }
    if others and chart.CHUNKING in chunkings:
        machine = results["machine"]
        caption = (
            f"workload “{chart.WORKLOAD}” (8,000 short deltas) in {chart.CHUNKING} chunks, "
            f"{machine['python']}, {machine['system']}; medians of interleaved rounds"
        )
        chart.draw(figures, options.chart, caption)
        out.print(f"chart in {options.chart}")


if __name__ == "__main__":
    sys.exit(main())
