"""The program `sansio-step`: `parse` needs msgspec alone, `demo` the extra `cli`.

`_main` starts and ends it, `_arguments` says what it takes, `_parse` and `demo` are its commands.
"""

from __future__ import annotations

from ._main import main

__all__ = ["main"]
