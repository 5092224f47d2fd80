"""Findings as text: in a terminal by source and in colours, in a pipe one a line, or as JSON."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

import msgspec

from ..check import Finding, Severity, failing
from ._terminal import escaped

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Shown", "show", "to_json"]

_COLOURS: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_LEAST_WIDTH: Final = 20


class Shown(NamedTuple):
    """What was found, what of it is allowed, and whether the check came to its end."""

    target: str
    findings: list[Finding]
    allow: frozenset[str]
    interrupted: bool

    @property
    def is_good(self) -> bool:
        """Whether nothing that is not allowed was found."""
        return not failing(self.findings, self.allow)

    @property
    def summary(self) -> str:
        """All of it in one line."""
        counts = {severity: sum(each.severity is severity for each in self.findings) for severity in Severity}
        parts = [f"{count} {one.value}{'' if count == 1 else 's'}" for one, count in counts.items() if count]
        allowed = sum(each.code in self.allow for each in self.findings)
        if allowed:
            parts.append(f"{allowed} of them allowed")
        verdict = "interrupted" if self.interrupted else "good" if self.is_good else "not good"
        return f"{self.target}: {verdict}: {', '.join(parts) or 'nothing found'}"


def to_json(shown: Shown, *, indent: bool) -> str:
    """One object: `target`, `good`, `interrupted`, `findings`; a finding has its fields, `allowed` and `more`."""
    findings = [
        {**msgspec.to_builtins(each), "allowed": each.code in shown.allow, "more": each.more} for each in shown.findings
    ]
    document = {
        "target": shown.target,
        "good": shown.is_good,
        "interrupted": shown.interrupted,
        "findings": findings,
    }
    encoded = msgspec.json.encode(document)
    return escaped((msgspec.json.format(encoded, indent=2) if indent else encoded).decode())


def show(shown: Shown, out: TextIO) -> None:
    """Write it: as wide as the terminal and in its colours, a finding a line in a pipe."""
    console = _console(out) if out.isatty() else None
    if console is None:
        lines = [_line(each, shown) for each in shown.findings]
        out.write("".join(f"{line}\n" for line in [*lines, escaped(shown.summary).replace("\n", "\\n")]))
        return
    # At once, and by our own hand: rich ends the program by itself if nobody reads any more.
    with console.capture() as text:
        _tables(shown, console)
    out.write(text.get())


def _line(finding: Finding, shown: Shown) -> str:
    """As compilers have it, for `grep`."""
    allowed = " [allowed]" if finding.code in shown.allow else ""
    source = finding.source or shown.target
    return escaped(f"{source}: {finding}{allowed} [{finding.more}]").replace("\n", "\\n")


def _console(out: TextIO) -> Console | None:
    try:
        from rich.console import Console  # noqa: PLC0415, a pipe needs no rich
    except ModuleNotFoundError:
        return None
    width = max(os.get_terminal_size(out.fileno()).columns or 80, _LEAST_WIDTH)
    # Of a dumb terminal rich takes for granted that it has 80 cells, unless it is told width and height.
    return Console(file=out, highlight=False, width=width, height=25)


def _tables(shown: Shown, console: Console) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for findings in _alike(shown.findings):
        first = findings[0]
        is_allowed = first.code in shown.allow
        head = Text(first.code, "bold").append(" (allowed)" if is_allowed else "", "not bold dim")
        table.add_row(Text(first.severity.value, "dim" if is_allowed else _COLOURS[first.severity]), head)
        table.add_row("", Text(escaped(first.detail)))
        for each in findings:
            table.add_row("", Text(escaped(": ".join(filter(None, (each.source, each.place)))), "dim"))
        table.add_row("", Text(first.more, "dim"))
    console.print(table)
    console.print(Text(escaped(shown.summary), "bold green" if shown.is_good else "bold red"), overflow="fold")


def _alike(findings: list[Finding]) -> list[list[Finding]]:
    """The findings that say the same of several answers, together; the worst first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in findings:
        groups.setdefault((each.code, each.detail), []).append(each)
    order = list(Severity)
    return sorted(groups.values(), key=lambda group: order.index(group[0].severity))
