"""The program `sansio-step`: `parse` needs msgspec alone, `demo`, `chat` and `inspect` the extra `cli`.

`_main` starts and ends it, `_arguments` says what it takes, `_parse`, `demo`, `chat` and `inspect` are its commands.
`_body` reads captures in whatever form they were saved.
"""

from __future__ import annotations

from ._main import main

__all__ = ["main"]
