"""A line that somebody types at a prompt, with Ctrl-C heard at any moment."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Final

with contextlib.suppress(ImportError):  # a system without it has the terminal's own editing
    import readline  # noqa: F401, `input` edits the line with it, and remembers the lines before

__all__ = ["ask"]

_TICK: Final = 0.1  # seconds


def ask(prompt: str) -> str | None:
    """The line that is typed, without its end; None at the end of the input. Raises KeyboardInterrupt on Ctrl-C."""
    try:
        with _ticking():
            return input(prompt).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except (EOFError, KeyboardInterrupt, SystemError) as end:
        print()  # noqa: T201, what comes next gets a line of its own
        if isinstance(end, EOFError):
            return None
        # CPython 3.10 makes a SystemError of Ctrl-C if a tick comes with it.
        if isinstance(end, SystemError) and isinstance(end.__cause__, KeyboardInterrupt):
            raise end.__cause__ from None
        raise


@contextlib.contextmanager
def _ticking() -> Iterator[None]:
    """Wake up whatever waits for a key, ten times a second.

    CPython looks for a signal before it waits for a line, and again when a signal has interrupted the wait. One that comes
    in between is seen only after the next key or line. Each tick interrupts the wait, so it is seen then.
    """
    if not hasattr(signal, "setitimer"):  # Windows, which waits for keys in another way
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
