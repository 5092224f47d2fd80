"""The program `sansio-step`: `parse` needs msgspec alone, `archive` the extra of its name, the other commands the extra `cli`.

`_main` starts and ends it. Each command has a module in `arguments`, which says what it takes, and one here, whose `run` is
told so. `_terminal` says what may be shown.
"""

from __future__ import annotations

from ._main import main

__all__ = ["main"]
