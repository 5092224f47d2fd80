"""The short form for continuous integration: fails where the library became much slower than its targets.

Only ratios within this run are judged, against the floor and against the common shape, and only at
`GUARD_TOLERANCE` times their target. What is over that is measured again, as a busy machine is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import comparison, detours, workloads
from .subjects import core
from .targets import CORE, GUARD_TOLERANCE, TARGETS

BUDGET = 0.12
ATTEMPTS = 3


@dataclass(frozen=True)
class Check:
    """One ratio, what it may be, and its target."""

    name: str
    value: float
    target: float

    @property
    def allowed(self) -> float:
        return GUARD_TOLERANCE * self.target

    @property
    def passed(self) -> bool:
        return self.value <= self.allowed


def run() -> list[Check]:
    """The checks, each with the best of its attempts."""
    results: dict[str, Check] = {}
    for _ in range(ATTEMPTS):
        for check in _measure({name for name, check in results.items() if not check.passed} if results else None):
            known = results.get(check.name)
            if known is None or check.value < known.value:
                results[check.name] = check
        if all(check.passed for check in results.values()):
            break
    return list(results.values())


def _measure(only: set[str] | None) -> Iterator[Check]:
    """All checks at first, later only those for what failed."""

    def wanted(name: str) -> bool:
        return only is None or any(check.startswith(name) for check in only)

    chunkings = list(dict.fromkeys(chunking for target in TARGETS for chunking in target.chunkings))
    for workload in workloads.standard():
        for chunking in chunkings:
            if not wanted(f"{workload.name}, {chunking}"):
                continue
            subjects = [
                subject
                for subject in core
                if any(target.stage == subject.stage and chunking in target.chunkings for target in TARGETS)
            ]
            for verdict in comparison.verdicts(comparison.compare(workload, [chunking], subjects, budget=BUDGET)):
                name = f"{workload.name}, {chunking}: {CORE[verdict.figure.stage]}, times the floor"
                yield Check(name, verdict.value, verdict.target)
    if wanted("shape"):
        for detour in detours.measure(BUDGET):
            name = f"shape {detour.shape!r}, {detour.chunking}: {CORE[detour.stage]}, times the common shape"
            yield Check(name, detour.ratio, detours.DETOUR)
