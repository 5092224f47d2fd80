"""Without the packages of an extra, an import says which extra to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULES = {
    "anyio": ("anyio", "h11"),
    "asgi": ("anyio", "h11"),
    "http1": ("h11",),
    "replay": ("anyio", "h11"),
    "sockets": ("h11",),
}

IMPORT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
import sansio_step_adapters.{module}
"""


def run(module: str, *missing: str) -> subprocess.CompletedProcess[str]:
    """Import a module in a process of its own, where some packages are not installed."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    command = [sys.executable, "-c", IMPORT.format(missing=missing, module=module)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60, check=False
    )


@pytest.mark.parametrize(("module", "missing"), [(module, name) for module in MODULES for name in MODULES[module]])
def test_a_missing_extra_is_named(module: str, missing: str) -> None:
    """The error is a ModuleNotFoundError whose one line names the package and the command that installs it."""
    ended = run(module, missing)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last == f"""ModuleNotFoundError: no module {missing!r}; run: pip install "sansio-step[anyio]\""""


@pytest.mark.parametrize("module", MODULES)
def test_without_any_of_them(module: str) -> None:
    """Where all of the extra is missing, the first that is met says the same."""
    ended = run(module, "anyio", "h11")
    assert ended.returncode == 1
    assert 'run: pip install "sansio-step[anyio]"' in ended.stderr.splitlines()[-1]


def test_what_a_module_does_without() -> None:
    """The client on sockets and the exchange need no anyio, no import needs trio, and a check of captures needs none."""
    for module in ("sockets", "http1"):
        assert run(module, "anyio", "trio").returncode == 0
    assert run("anyio", "trio").returncode == 0
    assert run("check", "anyio", "h11").returncode == 0


def test_the_name_of_what_is_missing() -> None:
    """Programs tell it by `name`, as of any ModuleNotFoundError."""
    code = IMPORT.format(missing=("h11",), module="http1").replace("import sansio", "try:\n    import sansio")
    code += "except ModuleNotFoundError as error:\n    print(error.name, isinstance(error.__cause__, ImportError))\n"
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=True,
    )
    assert ended.stdout == "h11 True\n"


@pytest.mark.parametrize("missing", ["pyarrow", "fsspec"])
def test_the_extra_of_archives(missing: str) -> None:
    """It is another one, and its error names it; the engines' packages are not needed to import it."""
    pytest.importorskip("pyarrow", reason="no pyarrow: archives are NOT TESTED")
    ended = run("archive", missing)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last == f"""ModuleNotFoundError: no module {missing!r}; run: pip install "sansio-step[archive]\""""
    assert run("archive", "distributed", "dask", "ray", "anyio", "h11").returncode == 0
