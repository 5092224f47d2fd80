"""What the demo counts while a stream arrives, and what it says when the stream is over."""

from __future__ import annotations

from collections import Counter
from time import perf_counter
from typing import Final, NamedTuple

import msgspec
from rich.text import Text

from sansio_step import (
    ContentBlock,
    ContentBlockDeltaEvent,
    Deviation,
    InputJSONDelta,
    JSONClosed,
    JSONReader,
    JSONScalar,
    JSONString,
    Message,
    Outcome,
    PingEvent,
    StreamError,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
)

from ._other_readers import Verdict

__all__ = ["Report", "Tally", "count_of", "facts_of"]

_COLOURS: Final = {Outcome.COMPLETE: "bold green", Outcome.TRUNCATED: "bold red", Outcome.FAILED: "bold red"}


class Tally:
    """Counts what arrives, and how long it took."""

    def __init__(self) -> None:
        self.events = 0
        self.pings = 0
        self.characters = 0
        self.last = ""
        # Of each call by its index: the first argument that was finished, and the characters that had come by then.
        self.known: dict[int, tuple[str, int]] = {}
        self._calls: dict[int, JSONReader] = {}
        self._came: Counter[int] = Counter()
        self._start = self._end = 0.0

    @property
    def seconds(self) -> float:
        """From the first event to the last."""
        return self._end - self._start

    def add(self, event: StreamEvent) -> None:
        """Count an event that has just arrived."""
        self._end = perf_counter()
        if not self.events:
            self._start = self._end
        self.events += 1
        self.pings += isinstance(event, PingEvent)
        self.last = event.type
        if isinstance(event, ContentBlockDeltaEvent):
            self.last = event.delta.type
            self.characters += _characters(event)
            if isinstance(event.delta, InputJSONDelta):
                self._read(event.index, event.delta.partial_json)

    def _read(self, index: int, piece: str) -> None:
        self._came[index] += len(piece)
        for delta in self._calls.setdefault(index, JSONReader()).receive_text(piece):
            if isinstance(delta, (JSONString, JSONScalar, JSONClosed)) and len(delta.path) == 1:
                self.known.setdefault(index, (str(delta.path[0]), self._came[index]))


def _characters(event: ContentBlockDeltaEvent) -> int:
    match event.delta:
        case TextDelta(text=text) | ThinkingDelta(thinking=text) | InputJSONDelta(partial_json=text):
            return len(text)
    return 0


class Report(NamedTuple):
    """What one stream came to."""

    message: Message
    outcome: Outcome
    deviations: list[Deviation]
    error: StreamError | None
    tally: Tally
    unpaced: float
    """Seconds that the same bytes take from memory, in one piece, without network and pace."""
    others: list[Verdict] | None = None
    """What other readers made of the same bytes, if that is told."""


def facts_of(report: Report) -> list[tuple[str, Text]]:
    """What is known once a stream is over: names and values, of one or more lines."""
    message = report.message
    facts = [("outcome", _outcome(report))]
    if report.outcome is Outcome.COMPLETE:
        facts.append(("blocks", _blocks(report)))
        if message.stop_reason is not None:
            facts.append(("stop_reason", Text(message.stop_reason)))
        facts.append(("usage", _usage(message.usage)))
        facts.append(("deviations", _deviations(report)))
    else:
        facts += [("call", _cut_input(block)) for block in message.tool_uses if not block.is_finished]
    facts.append(("arrived", _arrived(report)))
    facts.append(("speed", _speed(report)))
    if report.others is not None:
        facts.append(("others", _others(report.others)))
    return facts


def _outcome(report: Report) -> Text:
    said = Text(report.outcome.name, _COLOURS.get(report.outcome, "bold"))
    if report.error is not None:
        said.append(f" (result() raises {type(report.error).__name__})", "not bold default")
    return said


def _blocks(report: Report) -> Text:
    known = report.tally.known
    lines = [
        Text(f"{index}  ").append(_block_line(block, known.get(index)))
        for index, block in enumerate(report.message.content)
    ]
    return Text("\n").join(lines)


def _block_line(block: ContentBlock, known: tuple[str, int] | None) -> Text:
    match block:
        case ThinkingBlock():
            return Text(f"thinking, {len(block.thinking)} characters{', signed' if block.signature else ''}")
        case TextBlock():
            return Text(f"text, {len(block.text)} characters")
        case ToolUseBlock():
            line = Text(f"tool_use {block.name}({', '.join(block.input)})")
            if known is not None:
                line.append(f"\n   {known[0]} known after {known[1]} of {len(block.input_json)} characters", "dim")
            return line
    return Text(block.type)


def _cut_input(block: ToolUseBlock) -> Text:
    """What is made of arguments that are cut, with what can't be relied on left out."""
    came = msgspec.json.encode(block.partial_input()).decode()
    return Text.assemble(
        ("input raises ToolInputError", "red"),
        f"\npartial_input() is {came}",
        ("\na number at the end is left out: it could grow", "dim"),
    )


def _usage(usage: Usage | None) -> Text:
    if usage is None:
        return Text("not given")
    counts = {
        "input": usage.input_tokens,
        "from the cache": usage.cache_read_input_tokens,
        "output": usage.output_tokens,
        "of it thinking": (usage.output_tokens_details or {}).get("thinking_tokens"),
    }
    return Text(", ".join(f"{count} {what}" for what, count in counts.items() if count is not None))


def _deviations(report: Report) -> Text:
    lines = [Text(str(deviation)) for deviation in report.deviations]
    for line, deviation in zip(lines, report.deviations, strict=True):
        line.stylize("yellow", 0, len(deviation.code))
    return Text("\n").join(lines) if lines else Text("none")


def _arrived(report: Report) -> Text:
    tally = report.tally
    events, pings = count_of(tally.events, "event"), count_of(tally.pings, "ping")
    return Text(f"{events} ({pings}), {count_of(tally.characters, 'character')}, in {tally.seconds:.2f} s")


def _speed(report: Report) -> Text:
    """The library's own: how fast they arrived is the server's doing."""
    return Text(f"{_rounded(report.tally.events / report.unpaced)} events/s, read from memory")


def _others(others: list[Verdict]) -> Text:
    mixed = len({verdict.is_live for verdict in others}) > 1
    lines = Text()
    for verdict in others:
        mark = "*" if mixed and not verdict.is_live else ""
        lines.append(f"{verdict.package} {verdict.version}{mark}: ").append(f"{verdict.said}\n", "red")
    if all(verdict.is_live for verdict in others):
        return lines.append("on these bytes, run just now", "dim")
    return lines.append(f"{'* ' if mixed else ''}on these bytes, run when this was written", "dim")


def count_of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rounded(number: float) -> str:
    """To two digits that count: one run says no more."""
    return f"{int(float(f'{number:.1e}')):,}"
