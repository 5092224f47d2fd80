"""The clock: every subject in turn, round after round, so that a disturbance of the machine disturbs them all."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .subjects import Pass

# The seconds that one subject gets in one group of rounds, and the fewest and most rounds that it makes of them.
BUDGET = 0.5
ROUNDS = (3, 41)
# If a pass takes more seconds than this, the first one has to do: no disturbance shorter than that can spoil it.
VERY_SLOW = 0.8


def interleaved(passes: Sequence[Pass], budget: float = BUDGET) -> list[list[float]]:
    """The seconds of every run of each of `passes`. Slow ones sit out some rounds, evenly spread."""
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
    """The fastest run of each pass: for curves, which one disturbed point would bend."""
    return [min(times) for times in interleaved(passes, budget)]


def _rounds(seconds: float, budget: float) -> int:
    if seconds > VERY_SLOW:
        return 0
    fewest, most = ROUNDS
    return max(fewest, min(most, int(budget / seconds)))


@contextmanager
def _calm() -> Iterator[None]:
    """The collector stays on, as in a program, but leaves alone what was there before (peers' modules!)."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
