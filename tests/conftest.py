"""How deep Hypothesis goes, and what keeps the whole suite quick: a process for each core, and little garbage to walk."""

from __future__ import annotations

import gc
import os
from pathlib import Path

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


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """As if `-n auto --dist worksteal` were given, unless one file runs alone: starting workers takes two seconds.

    It is no line of `addopts`, as `pytest -p no:xdist` would not know these options.
    """
    option = config.option
    alone = len(config.args) == 1 and Path(config.args[0].partition("::")[0]).is_file()
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    if getattr(option, "numprocesses", 0) is None and not alone and not in_worker:
        option.numprocesses = "auto"
        if option.dist == "no":
            option.dist = "worksteal"


def pytest_collection_finish():
    """Leave what is imported and collected out of all later garbage collections.

    The tests of the adapters collect garbage a thousand times, so that a socket left open shows in the test that left
    it. With 330,000 objects of the suite's own to walk, each of these took 80 ms.
    """
    gc.collect()
    gc.freeze()
