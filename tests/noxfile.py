"""The tests on every CPython that is here: `nox -f tests/noxfile.py`, with `-p 3.13` on one. Others are skipped."""

from __future__ import annotations

from pathlib import Path

import nox

ROOT = Path(__file__).parent.parent

nox.options.default_venv_backend = "venv"
nox.options.envdir = ROOT / ".nox"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Install the clone with its extra `test` and run pytest; arguments behind `--` go to pytest."""
    session.chdir(ROOT)
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)
