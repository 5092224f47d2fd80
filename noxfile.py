"""What CI has no time for: every CPython that is here, the oldest versions that pyproject claims, many more examples."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Install the clone with its extra `test` and run pytest; arguments after `--` go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """Run the tests of core and adapters with the lowest versions that pyproject claims, so that each claim is true."""
    session.install("uv")
    session.run("uv", "pip", "install", "--resolution", "lowest-direct", "-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def thorough(session: nox.Session) -> None:
    """Run the laws with 10,000 examples where the plain `pytest` has 40 and CI 100; it takes hours."""
    session.install("-e", ".[test]")
    laws = ("tests/test_properties.py", "tests/test_stateful.py")
    session.run("pytest", "--hypothesis-profile=thorough", *laws, *session.posargs)


@nox.session(python="3.11")
def engines(session: nox.Session) -> None:
    """Run the tests of archives with the engines that CI has no room for: Ray, and PySpark, which needs Java."""
    session.install("-e", ".[test]", "ray[client]", "pyspark[sql]")
    session.run(
        "pytest", "tests/adapters/test_archive_run.py", "tests/adapters/test_archive_recipes.py", *session.posargs
    )


@nox.session
def clients(session: nox.Session) -> None:
    """Let pydantic-ai read what `serve` sends: it is large, and the tests skip without it."""
    session.install("-e", ".[test]", "pydantic-ai-slim[anthropic]")
    session.run("pytest", "tests/test_served.py", *session.posargs)


@nox.session(python="3.11")
def peers(session: nox.Session) -> None:
    """Reproduce what docs/fuzzing.md says of other packages, in the versions that it names."""
    session.install("-e", ".[testing]", "-r", "tests/peers/requirements.txt")
    for script in sorted(Path("tests/peers").glob("*.py")):
        if script.stem not in ("__init__", "readers"):
            session.run("python", "-m", f"tests.peers.{script.stem}")
