"""The README's commands are those that CI runs, and other files hold what they say they hold."""

from __future__ import annotations

import re

from sansio_step._states import diagram

from .manual import PAGES, ROOT


def test_the_life_of_a_message_is_drawn_from_its_table():
    """CONTRIBUTING has the table of states as the core prints it."""
    assert f"\n\n{diagram()}\n\n" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_ci_runs_the_readme_test_command():
    """The test command is one line that makes its own environment, and CI takes it from the README."""
    (command,) = re.findall(r"^python3 -m venv .*pytest$", PAGES["README"], re.MULTILINE)
    assert 'pip install -e ".[test]"' in command
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
