"""The main part: all subjects on all workloads at all chunkings, compared with the floor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import timing
from .subjects import Subject, floor_subject
from .targets import CORE, Target, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .workloads import Stream, Workload

UNCHUNKED = "cut out"


@dataclass(frozen=True)
class Figure:
    """The time of one subject for one workload at one chunking; `floor` is the floor's time in the same rounds."""

    workload: str
    chunking: str
    stage: str
    subject: str
    seconds: float
    floor: float
    events: int
    size: int

    @property
    def microseconds_an_event(self) -> float:
        return self.seconds / self.events * 1e6

    @property
    def megabytes_a_second(self) -> float:
        return self.size / self.seconds / 1e6

    @property
    def ratio(self) -> float:
        return self.seconds / self.floor

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "microseconds_an_event": round(self.microseconds_an_event, 4),
            "megabytes_a_second": round(self.megabytes_a_second, 2),
            "times_the_floor": round(self.ratio, 3),
        }


class WrongOutput(Exception):
    """A subject doesn't read a workload as it should, so its time would mean nothing."""


def compare(
    workload: Workload,
    chunkings: Iterable[str],
    subjects: Sequence[Subject],
    *,
    budget: float = timing.BUDGET,
    on_wrong: Callable[[str], None] | None = None,
) -> list[Figure]:
    """The figures for a workload. Each chunking is one group of rounds, and the floor is in all of them.

    If a subject misreads something, this raises WrongOutput, or it tells `on_wrong` and leaves the subject out.
    The generated workloads are plain, but readers may differ on captured streams.
    """
    figures: list[Figure] = []
    once = [subject for subject in subjects if not subject.chunked]
    for chunking in [UNCHUNKED, *chunkings]:
        group = once if chunking == UNCHUNKED else [subject for subject in subjects if subject.chunked]
        right = []
        for subject in [floor_subject, *group]:
            if problem := _problem(subject, workload, chunking):
                if on_wrong is None:
                    raise WrongOutput(problem)
                on_wrong(problem)
            else:
                right.append(subject)
        seconds = timing.medians([subject.passes(workload, chunking) for subject in right], budget)
        floor, *_ = seconds
        for subject, needed in zip(right, seconds, strict=True):
            if subject is not floor_subject or chunking == UNCHUNKED:
                figures.append(
                    Figure(
                        workload.name,
                        chunking,
                        subject.stage,
                        subject.name,
                        needed,
                        floor,
                        workload.event_count,
                        workload.size,
                    )
                )
    return figures


def _problem(subject: Subject, workload: Workload, chunking: str) -> str | None:
    found = [problem for stream in workload.streams if (problem := _misreading(subject, stream, chunking))]
    if not found:
        return None
    share = "" if len(workload.streams) == 1 else f" ({len(found)} of {len(workload.streams)} streams)"
    return f"{subject.name} on {workload.name!r}, {chunking}: {found[0]}{share}"


def _misreading(subject: Subject, stream: Stream, chunking: str) -> str | None:
    try:
        return None if subject.read(stream, chunking) == subject.expected(stream) else "wrong output"
    except Exception as error:  # noqa: BLE001 (a peer may raise anything on input that it can't read)
        return f"{type(error).__name__}: {str(error)[:120]}"


@dataclass(frozen=True)
class Verdict:
    """One figure of the library's own against one target.

    `value` is the figure as a multiple of the floor, or a peer's figure as a multiple of this one.
    """

    figure: Figure
    against: str
    value: float
    target: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.at_most else self.value >= self.target

    def as_dict(self) -> dict[str, Any]:
        return {
            "workload": self.figure.workload,
            "chunking": self.figure.chunking,
            "stage": self.figure.stage,
            "against": self.against,
            "value": round(self.value, 3),
            "target": self.target,
            "met": self.met,
        }


def verdicts(figures: Sequence[Figure]) -> list[Verdict]:
    """Every figure that the table of targets covers, against the floor and against the peers that were measured."""
    result: list[Verdict] = []
    for figure in figures:
        if figure.subject != CORE.get(figure.stage):
            continue
        target = target_for(figure.stage, figure.chunking)
        if target is None:
            continue
        result.append(Verdict(figure, "floor", figure.ratio, target.floor_for(figure.workload), at_most=True))
        result += _peer_verdicts(figure, target, figures)
    return result


def _peer_verdicts(figure: Figure, target: Target, figures: Sequence[Figure]) -> list[Verdict]:
    peers = target.peers_for(figure.workload)
    return [
        Verdict(figure, other.subject, other.seconds / figure.seconds, peers[other.subject], at_most=False)
        for other in figures
        if (other.workload, other.chunking) == (figure.workload, figure.chunking) and other.subject in peers
    ]
