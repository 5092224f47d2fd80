"""The short form for continuous integration: it fails if the library became much slower than its targets.

It judges only ratios within this run, against the floor and against the common shape, and only above
`GUARD_TOLERANCE` times their target. A ratio over that is measured again, since a busy machine is not a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import comparison, detours, workloads
from .subjects import core
from .targets import CORE, DETOUR, GUARD_TOLERANCE, TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGET = 0.12
ATTEMPTS = 3


@dataclass(frozen=True)
class Check:
    """One ratio, how high it may be, and its target."""

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
    """All checks at first, later only those that failed."""

    def wanted(group: str) -> bool:
        return only is None or any(name.startswith(group) for name in only)

    chunkings = list(dict.fromkeys(chunking for target in TARGETS for chunking in target.chunkings))
    for workload in workloads.standard():
        for chunking in chunkings:
            group = f"{workload.name}, {chunking}: "
            if not wanted(group):
                continue
            subjects = [
                subject
                for subject in core
                if any(target.stage == subject.stage and chunking in target.chunkings for target in TARGETS)
            ]
            for verdict in comparison.verdicts(comparison.compare(workload, [chunking], subjects, budget=BUDGET)):
                name = f"{group}{CORE[verdict.figure.stage]}, times the floor"
                yield Check(name, verdict.value, verdict.target)
    for subject, chunking in detours.groups():
        group = f"{subject.name}, {chunking}: "
        if not wanted(group):
            continue
        for detour in detours.measure(subject, chunking, BUDGET):
            if detour.shape not in detours.UNGUARDED:
                yield Check(f"{group}{detour.shape}, times the common shape", detour.ratio, DETOUR)
