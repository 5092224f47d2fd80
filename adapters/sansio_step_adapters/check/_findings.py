"""What a check finds, and the tally that counts it: an entry for each code, so that no server can fill the memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from ._codes import CODES, Severity, check_codes

__all__ = ["Finding", "Tally", "failing"]

_PAGE: Final = "docs/deviations.md"
_LONGEST: Final = 400
_ORDER: Final = list(Severity)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which an answer departs from a good one.

    `source` is the file or the question. `event_number` (from 0), `byte_offset` (in the decoded body, of the event's
    first byte) and `time` (seconds from the request on) say where it shows first, for silences where the longest is; each
    is None if it is not known. `count` says how often it shows. `detail` is one line of text in which control characters
    are escapes.
    """

    code: str
    severity: Severity
    detail: str
    source: str = ""
    event_number: int | None = None
    byte_offset: int | None = None
    time: float | None = None
    count: int = 1

    @property
    def more(self) -> str:
        """Where the documentation says more: what it means, who sends it, how it is read."""
        return f"{_PAGE}#{self.code}"

    @property
    def place(self) -> str:
        """Where it shows and how often, in words; often empty."""
        parts = []
        if self.event_number is not None:
            parts.append(f"event {self.event_number}")
        if self.byte_offset is not None:
            parts.append(f"byte {self.byte_offset}")
        if self.time is not None:
            parts.append(f"{self.time:.3f} s")
        if self.count > 1:
            parts.append(f"{self.count} times")
        return ", ".join(parts)

    def __str__(self) -> str:
        place = f" ({self.place})" if self.place else ""
        return f"{self.severity.value}: {self.code}{place}: {self.detail}"


class Tally:
    """Counts findings: the first of each code stays, with how many there are."""

    def __init__(self, source: str, found: Mapping[str, Finding] | None = None) -> None:
        self.source = source
        self._found = dict(found or {})

    def __contains__(self, code: str) -> bool:
        return code in self._found

    def add(
        self,
        code: str,
        detail: str,
        *,
        event_number: int | None = None,
        byte_offset: int | None = None,
        ns: int | None = None,
        count: int = 1,
    ) -> None:
        """Count a finding; `ns` is when it shows, in nanoseconds from the request on."""
        known = self._found.get(code)
        if known is not None:
            self._found[code] = msgspec.structs.replace(known, count=known.count + count)
            return
        self._found[code] = Finding(
            code=code,
            severity=CODES[code],
            detail=_one_line(detail),
            source=self.source,
            event_number=event_number,
            byte_offset=byte_offset,
            time=None if ns is None else ns / 1e9,
            count=count,
        )

    def copy(self) -> Tally:
        """One that counts on by itself."""
        return Tally(self.source, self._found)

    def findings(self) -> list[Finding]:
        """All of them, the worst first, and those of a severity in the order of their events."""
        last = max((each.event_number or 0 for each in self._found.values()), default=0) + 1

        def rank(finding: Finding) -> tuple[int, int]:
            number = finding.event_number
            return _ORDER.index(finding.severity), last if number is None else number

        return sorted(self._found.values(), key=rank)


def _one_line(text: str) -> str:
    """A text of which parts may be a server's words: its start if it is long, control characters as escapes."""
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def failing(findings: Iterable[Finding], allow: Iterable[str] = ()) -> list[Finding]:
    """The findings that make a check fail: errors and warnings, but for the codes that are allowed.

    A ValueError for a code that there is not.
    """
    allowed = check_codes(allow)
    return [each for each in findings if each.severity is not Severity.NOTE and each.code not in allowed]
