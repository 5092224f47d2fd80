"""How deep Hypothesis goes, and little garbage to walk."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, Phase, settings

# Few examples, and others on each run.
settings.register_profile(
    "local", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
# CI has more time, and draws the same examples on each run.
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, max_examples=100)
# A mutant is a run of all tests that reach it: what kills one has to do so at once.
settings.register_profile(
    "mutation",
    settings.get_profile("local"),
    derandomize=True,
    max_examples=5,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
# For hours of it: `nox -s thorough`.
settings.register_profile("thorough", settings.get_profile("local"), max_examples=10_000)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Thirty collections of garbage would walk all that is imported so far, and none of it is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish():
    leave_out()


@pytest.hookimpl(trylast=True)  # after its fixtures
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or nextitem.path != item.path:
        leave_out()


def leave_out():
    """Leave what is imported and collected out of all later garbage collections.

    The tests of the adapters collect garbage two thousand times, so that a socket left open shows in the test that left
    it. With 330,000 objects of the suite's own to walk, each of these took 80 ms. Some tests import large packages; what
    stays of a file's is left out after its last test.
    """
    gc.collect()
    gc.freeze()
