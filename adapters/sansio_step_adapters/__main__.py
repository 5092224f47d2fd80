"""`python -m sansio_step_adapters` is the program `sansio-step`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
