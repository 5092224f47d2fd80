"""What is not tested here, because an extra is missing, is said by a test that skips."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def test_archives_are_tested() -> None:
    if not (find_spec("pyarrow") and find_spec("dask")):
        pytest.skip("no pyarrow or dask: archives are NOT TESTED; `pip install -e '.[test-archive]'` brings them")
