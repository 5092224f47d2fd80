"""Hypothesis draws the same examples on each run of CI, and is in no hurry."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "local", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
# Under coverage an example takes three times as long; the thorough profile is what finds the rare ones.
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, max_examples=40)
# A mutant is a run of all tests that reach it: what kills one has to do so at once.
settings.register_profile(
    "mutation",
    settings.get_profile("local"),
    derandomize=True,
    max_examples=5,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
# For hours of it: `pytest --hypothesis-profile=thorough tests/test_properties.py`.
settings.register_profile("thorough", settings.get_profile("local"), max_examples=10_000)
settings.load_profile("ci" if os.environ.get("CI") else "local")
