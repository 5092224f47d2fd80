"""Makes docs/pictures/demo.svg: `sansio-step demo` as it runs in a terminal of 80 by 24, as a picture that moves.

    pip install -e ".[cli]" --group pictures && python docs/pictures/make_demo.py [FILE]

The program runs in a pseudo-terminal (so this needs Linux or macOS), pyte keeps its screen, and ten times a second the
screen is a frame. A line that is in several frames is in the picture once. Browsers show it wherever they show pictures:
it has no script, and loads nothing. Readers who want no motion see the end.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyte
from rich.cells import cell_len

COLUMNS, LINES = 80, 24
WIDTH, HEIGHT = 8.4, 18  # pixels of a cell
MARGIN = 12
FRAME = 0.1  # seconds
LAST = 6.0  # seconds that the end stays
COLOURS = {
    "default": "#d4d4d4", "red": "#f47067", "green": "#8ddb8c", "brown": "#e0b070", "yellow": "#e0b070", "blue": "#6cb6ff",
    "magenta": "#dcbdfb", "cyan": "#76e3ea", "white": "#ffffff", "brightblack": "#8b949e", "brightred": "#ff938a",
    "brightgreen": "#b4f1b4",
}  # fmt: skip
# pyte knows no dim: it gets bright black, which a colour in the same sequence replaces.
DIM = re.compile(rb"\x1b\[2(?=[;m])")

Row = tuple[tuple[int, str, str], ...]
"""Runs of one look: the column, the look as attributes, the text."""


def screens() -> Iterator[tuple[float, list[Row]]]:
    """Frames of the demo: the time of each, in seconds from the first one that shows anything, and its rows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "sansio_step_adapters", "demo"]
    hidden = ("NO_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in hidden} | {"TERM": "xterm-256color"}
    screen = pyte.Screen(COLUMNS, LINES)
    feed = pyte.ByteStream(screen).feed
    began = shown = 0.0
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=kept)
    os.close(theirs)
    try:
        while data := read(ours):
            feed(DIM.sub(b"\x1b[90", data))
            now = time.monotonic()
            # Between two redraws there are moments at which lines are cleared: none of them is a frame.
            if now - shown >= FRAME and data.endswith((b"\x1b[0m", b"\n")) and any(rows := rows_of(screen)):
                began, shown = began or now, now
                yield now - began, rows
    finally:
        os.close(ours)  # hangs up, which ends it, too, if something went wrong here
        process.wait()
    if process.returncode:
        raise SystemExit(f"the demo ended with {process.returncode}")
    yield time.monotonic() - began, rows_of(screen)


def read(terminal: int) -> bytes:
    """What comes next; nothing at the end."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's word for the end
        return b""


def rows_of(screen: pyte.Screen) -> list[Row]:
    """The rows of a screen."""
    rows = []
    for number in range(LINES):
        line = screen.buffer[number]
        cells = [
            (column, line[column]) for column in range(COLUMNS) if line[column].data
        ]  # the right half of a wide one is ""
        runs = []
        # Wide characters apart from the others: fonts differ in how wide they are.
        for (look, _), some in groupby(cells, key=lambda cell: (look_of(cell[1]), cell_len(cell[1].data))):
            run = list(some)
            text = "".join(cell.data for _, cell in run)
            if text.strip():
                runs.append((run[0][0], look, text))
        rows.append(tuple(runs))
    return rows


def look_of(cell: Any) -> str:
    """A cell's look, as attributes of a text in SVG."""
    colour = COLOURS.get(cell.fg) or (f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else COLOURS["default"])
    look = f' fill="{colour}"' if colour != COLOURS["default"] else ""
    look += ' font-weight="bold"' if cell.bold else ""
    return look + (' font-style="italic"' if cell.italics else "")


def picture(frames: list[tuple[float, list[Row]]]) -> str:
    """The frames side by side, as a film, of which one at a time is seen."""
    width, height = COLUMNS * WIDTH + 2 * MARGIN, LINES * HEIGHT + 2 * MARGIN
    names: dict[Row, str] = {}
    film = []
    for number, (_, rows) in enumerate(frames):
        uses = "".join(
            f'<use href="#{names.setdefault(row, f"r{len(names)}")}" y="{place * HEIGHT}"/>'
            for place, row in enumerate(rows)
            if row
        )
        film.append(f'<g transform="translate({number * width:g})">{uses}</g>')
    lines = "".join(f'<g id="{name}">{"".join(map(run_of, row))}</g>' for row, name in names.items())
    whole = frames[-1][0] + LAST
    steps = "".join(
        f"{100 * when / whole:.2f}%{{transform:translateX({-number * width:g}px)}}"
        for number, (when, _) in enumerate([(0.0, []), *frames[1:]])
    )
    end = f"translateX({-(len(frames) - 1) * width:g}px)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'role="img" aria-label="sansio-step demo in a terminal">'
        "<style>text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f"#film{{transform:{end};animation:film {whole:.2f}s step-end infinite}}"
        f"@keyframes film{{{steps}100%{{transform:{end}}}}}"
        "@media (prefers-reduced-motion){#film{animation:none}}</style>"
        f'<defs>{lines}</defs><rect width="100%" height="100%" rx="8" fill="#16181d"/>'
        f'<svg x="{MARGIN}" y="{MARGIN}" width="{width - 2 * MARGIN:g}" height="{height - 2 * MARGIN:g}">'
        f'<g id="film" fill="{COLOURS["default"]}">{"".join(film)}</g></svg></svg>\n'
    )


def run_of(run: tuple[int, str, str]) -> str:
    """A run, as wide as its cells whatever the font is."""
    column, look, text = run
    left = len(text) - len(text.lstrip(" "))
    text = text.strip(" ")
    width = cell_len(text) * WIDTH
    return (
        f'<text x="{(column + left) * WIDTH:.4g}" y="14"{look} textLength="{width:.4g}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(text)}</text>"
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("demo.svg")
    target.write_text(picture(list(screens())), encoding="utf-8")
