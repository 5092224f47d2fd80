"""What CI has no time for: every CPython that is here, the oldest versions that pyproject claims, many more examples,
and the release.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests"]

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
PROJECT = nox.project.load_toml("pyproject.toml")
DIST = Path("dist")
REHEARSE = "rehearse"


def group(*names: str) -> list[str]:
    """What is in these dependency groups."""
    return list(nox.project.dependency_groups(PROJECT, *names))


@nox.session(python=PYTHONS)
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
    laws = ("tests/test_properties.py", "tests/test_stateful.py", "tests/test_testing.py")
    session.run("pytest", "--hypothesis-profile=thorough", *laws, *session.posargs)


@nox.session(python="3.11")
def engines(session: nox.Session) -> None:
    """Run the tests of archives with the engines that CI has no room for: Ray, and PySpark, which needs Java."""
    session.install("-e", ".[test-archive]", "ray[client]", "pyspark[sql]")
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


@nox.session
def stacks(session: nox.Session) -> None:
    """Run the manual's code, each recipe in its own stack."""
    session.install("-e", ".[test]", *group("stacks"))
    session.run("pytest", "tests/test_manual.py", "tests/adapters/test_embedding.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the manual into `site/`. A dead link or reference fails."""
    session.install("-e", ".[anyio,testing]", *group("docs"))
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "docs", "site", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build wheel and sdist once into `dist/`, check them, and test them away from the checkout on each Python.

    `-- rehearse` does so without the project's address and a date in the changelog; what follows goes to pytest.
    """
    if REHEARSE not in session.posargs and "home.invalid" in Path("pyproject.toml").read_text(encoding="utf-8"):
        session.error("pyproject.toml: the project's address is not set; replace https://home.invalid/sansio-step")
    version = re.search(
        r'^__version__ = "(.+)"', Path("sansio_step/__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    changelog = Path("CHANGELOG.md").read_text(encoding="utf-8")
    if REHEARSE not in session.posargs and not re.search(
        rf"^## \[{version and version[1]}\] - \d", changelog, re.MULTILINE
    ):
        session.error("CHANGELOG.md: it has no entry for the version, with its date")
    session.install(*group("release"))
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST))  # the wheel is built from the sdist
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    for python in PYTHONS:
        session.notify(f"installed-{python}")


@nox.session(python=PYTHONS)
def installed(session: nox.Session) -> None:
    """What `release` built: all tests against the wheel, then the public ones against what the sdist installs."""
    (wheel,), (sdist,) = DIST.resolve().glob("*.whl"), DIST.resolve().glob("*.tar.gz")
    away = Path(session.create_tmp()).resolve()
    shutil.rmtree(away)
    with tarfile.open(sdist) as archive:
        archive.extractall(away, filter="data")
    root = away / sdist.name.removesuffix(".tar.gz")
    for package in ("sansio_step", "adapters"):  # so that nothing but what is installed can be imported
        shutil.rmtree(root / package)
    session.chdir(root)
    session.install(f"{wheel}[test]")
    session.run("pytest", *(word for word in session.posargs if word != REHEARSE))
    session.install("--force-reinstall", "--no-deps", "--no-cache-dir", str(sdist))
    session.run("pytest", "tests/test_public_api.py", "tests/test_manual.py", "tests/test_examples.py")
