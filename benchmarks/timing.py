"""The clock: every subject in turn, round after round, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .subjects import Pass

# Seconds that one subject gets in one group of rounds, and the rounds it makes of them.
BUDGET = 0.5
ROUNDS = (3, 41)
# So slow that the pass which measures its speed has to do: a disturbance shorter than it can't spoil it.
VERY_SLOW = 0.8


def interleaved(passes: Sequence[Pass], budget: float = BUDGET) -> list[list[float]]:
    """Seconds of each pass, for each of `passes`. The slow ones sit out rounds, evenly spread."""
    with _calm():
        first = [one_pass() for one_pass in passes]
        shares = [_rounds(seconds, budget) for seconds in first]
        most = max(shares)
        times: list[list[float]] = [
            [seconds] if share == 0 else [] for seconds, share in zip(first, shares, strict=True)
        ]
        for number in range(most):
            for one_pass, share, kept in zip(passes, shares, times, strict=True):
                # True in `share` of the `most` rounds.
                if (number + 1) * share // most > number * share // most:
                    kept.append(one_pass())
            # Between rounds, so that no subject pays for the garbage of another.
            gc.collect()
    return times


def medians(passes: Sequence[Pass], budget: float = BUDGET) -> list[float]:
    return [median(times) for times in interleaved(passes, budget)]


def best(passes: Sequence[Pass], budget: float = BUDGET) -> list[float]:
    """The fastest of the passes: for curves, where one disturbed point would bend the whole."""
    return [min(times) for times in interleaved(passes, budget)]


def _rounds(seconds: float, budget: float) -> int:
    if seconds > VERY_SLOW:
        return 0
    fewest, most = ROUNDS
    return max(fewest, min(most, int(budget / seconds)))


@contextmanager
def _calm() -> Iterator[None]:
    """The collector stays on, as in a program, but what was there before (peers' modules!) is not its business."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
