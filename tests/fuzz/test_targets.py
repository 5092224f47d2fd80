"""The targets of the fuzzer hold on what it starts from and on what it once found, without the fuzzer too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .regressions import REGRESSIONS
from .seeds import seeds
from .targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target):
    """Each seed passes its target, cut in several ways."""
    if target == "http":
        pytest.importorskip("h11", reason="the HTTP exchange needs the extra `anyio`")
    for seed in seeds(target):
        if len(seed) < 3_000:
            TARGETS[target](seed)


@pytest.mark.parametrize(("target", "data", "what"), REGRESSIONS, ids=[what for _, _, what in REGRESSIONS])
def test_regressions(target, data, what):
    """What once broke a target doesn't any more, however it is cut."""
    for first in range(8):
        TARGETS[target](bytes([first]) + data[1:])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing(target):
    """No bytes, or one, are input too."""
    TARGETS[target](b"")
    TARGETS[target](b"\1")


def run(*arguments):
    root = Path(__file__).parent.parent.parent
    return subprocess.run([sys.executable, "-m", "tests.fuzz", *arguments], cwd=root, capture_output=True, text=True)


def test_replay(tmp_path):
    """One input can be run again alone; a broken one shows where."""
    path = tmp_path / "input"
    path.write_bytes(b"\1data: 1\n\n")
    done = run("--target", "frames", "--replay", str(path))
    assert done.returncode == 0, done.stderr
    assert "frames holds" in done.stdout


def test_without_atheris(tmp_path):
    """Where atheris isn't installed it says so, loudly, and that nothing was fuzzed."""
    (tmp_path / "atheris.py").write_text("raise ImportError")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[1:] = ['--seconds', '1']\n"
    code += "import runpy; runpy.run_module('tests.fuzz', run_name='__main__')"
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SKIPPED" in done.stdout
