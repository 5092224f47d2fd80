"""`sansio-step archive`: captures in, a folder of Parquet files out; how far it is on stderr, a summary on stdout.

What it needs is imported when it runs, so that the other commands need nothing of the extra `archive`.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, TextIO

from ._terminal import escaped
from .arguments.archive import ArchiveArguments

if TYPE_CHECKING:
    from ..archive import Progress, Report, Summary

__all__ = ["run"]

_EACH_TTY: Final = 0.2
_EACH_LINE: Final = 10.0
# Seconds between two words on how far it is, in a terminal and in a log.

_MOST_SHOWN: Final = 20


def run(arguments: ArchiveArguments) -> bool:
    """Decode an archive as told; tell whether every capture has its row."""
    try:
        from ..archive import Options, OtherJob, decode_archive  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return _complain(error)
    view = None if arguments.quiet else _View(sys.stderr)
    try:
        report = decode_archive(
            arguments.paths,
            arguments.out,
            Options(**arguments.options),
            engine=arguments.engine,
            workers=arguments.workers,
            replace=arguments.replace,
            listener=None if view is None else view.update,
        )
    except OtherJob as error:
        return _complain(f"{error}; --replace removes what there is of them, another --out leaves it")
    except (ModuleNotFoundError, ValueError) as error:
        return _complain(error)
    finally:
        if view is not None:
            view.close()
    for line in _lines_of(report):
        sys.stdout.write(escaped(line) + "\n")
    return not report.failures


def _complain(problem: object) -> bool:
    sys.stderr.write(escaped(f"sansio-step: {problem}") + "\n")
    return False


class _View:
    """How far a job is: one line that changes in a terminal, a line from time to time in a log."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_terminal = file.isatty()
        self._begin = monotonic()
        self._due = self._begin
        self._shown = False
        self._kept = 0  # captures of an earlier run, which don't count for the rate

    def update(self, progress: Progress) -> None:
        """Show a job's progress, if it is time to, or at its end."""
        now = monotonic()
        if progress.splits_done == progress.splits_kept:
            self._begin, self._kept = now, progress.summary.captures
        if now < self._due and progress.splits_done < progress.splits:
            return
        self._due = now + (_EACH_TTY if self._is_terminal else _EACH_LINE)
        line = escaped(_progress_line(progress, now - self._begin, self._kept))
        self._file.write(f"\r\x1b[K{line}" if self._is_terminal else f"{line}\n")
        self._file.flush()
        self._shown = True

    def close(self) -> None:
        """End the line."""
        if self._is_terminal and self._shown:
            self._file.write("\n")


def _progress_line(progress: Progress, seconds: float, kept: int) -> str:
    parts = [f"{progress.splits_done:,} of {progress.splits:,} parts", f"{progress.summary.captures:,} captures"]
    done = progress.bytes_done - progress.bytes_kept
    if done and seconds > 0:
        rate = done / seconds
        parts.append(f"{(progress.summary.captures - kept) / seconds:,.0f} a second")
        parts.append(f"{rate / 1e6:,.1f} MB/s of input")
        parts.append(f"{_clock((progress.bytes - progress.bytes_done) / rate)} left")
    elif progress.splits_kept:
        parts.append(f"{progress.splits_kept:,} of them from an earlier run")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _lines_of(report: Report) -> list[str]:
    """The summary of a job, a fact a line."""
    summary = report.summary
    lines = [f"{'captures':<12}{summary.captures:,}"]
    for outcome, count in _by_count(summary.outcomes):
        by_logger = f", {summary.truncated_by_logger:,} of them by the logger" * (outcome == "truncated")
        lines.append(f"  {outcome:<10}{count:,}{by_logger if summary.truncated_by_logger else ''}")
    lines.append(f"{'tokens':<12}{_tokens(summary)}")
    for name, counts in (("deviations", summary.deviations), ("errors", summary.errors)):
        for at, (key, count) in enumerate(_by_count(counts)):
            lines.append(f"{'' if at else name:<12}{key} {count:,}")
    for at, failure in enumerate(report.failures[:_MOST_SHOWN]):
        error = failure.error
        lines.append(f"{'' if at else 'not read':<12}{failure.split.origin}: {type(error).__name__}: {error}")
    if len(report.failures) > _MOST_SHOWN:
        lines.append(f"{'':<12}and {len(report.failures) - _MOST_SHOWN:,} more")
    return lines


def _tokens(summary: Summary) -> str:
    return (
        f"input {summary.input_tokens:,}, output {summary.output_tokens:,}, cache read"
        f" {summary.cache_read_input_tokens:,}, cache creation {summary.cache_creation_input_tokens:,}"
    )


def _by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
