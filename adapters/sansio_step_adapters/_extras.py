"""What an import says if the extra that it needs is not installed."""

from __future__ import annotations


def missing_extra(extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The same error, with what to do about it."""
    return ModuleNotFoundError(f'no module {error.name!r}; run: pip install "sansio-step[{extra}]"', name=error.name)
