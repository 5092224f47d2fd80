"""What the demo counts while a stream arrives, and what it says when the stream is over."""

from __future__ import annotations

from time import perf_counter
from typing import Final, NamedTuple

import msgspec
from rich.text import Text

from sansio_step import (
    ContentBlock,
    ContentBlockDeltaEvent,
    Deviation,
    InputJSONDelta,
    Message,
    Outcome,
    PingEvent,
    StreamError,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolInputError,
    ToolUseBlock,
    Usage,
)

__all__ = ["Report", "Tally", "count_of", "facts_of"]

_COLOURS: Final = {Outcome.COMPLETE: "bold green", Outcome.TRUNCATED: "bold red", Outcome.FAILED: "bold red"}


class Tally:
    """Counts what arrives, and how long it took."""

    def __init__(self) -> None:
        self.events = 0
        self.pings = 0
        self.characters = 0
        self.last = ""
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
    pace: float
    unpaced: float
    """Seconds that the same bytes take from memory, in one piece, without network and pace."""


def facts_of(report: Report) -> list[tuple[str, Text]]:
    """What is known once a stream is over: names and values, of one or more lines."""
    message = report.message
    facts = [("outcome", Text(report.outcome.name, _COLOURS.get(report.outcome, "bold")))]
    if report.error is not None:
        facts.append(("error", Text(f"{type(report.error).__name__}: {report.error}")))
    facts.append(("blocks", _blocks(message)))
    if message.stop_reason is not None:
        facts.append(("stop_reason", Text(message.stop_reason)))
    facts.append(("usage", _usage(message.usage)))
    facts.append(("deviations", _deviations(report)))
    facts.append(("arrived", _arrived(report)))
    facts.append(("rate", _rate(report)))
    return facts


def _blocks(message: Message) -> Text:
    lines = [Text(f"{index}  ").append(_block_line(block)) for index, block in enumerate(message.content)]
    return Text("\n").join(lines)


def _block_line(block: ContentBlock) -> Text:
    match block:
        case ThinkingBlock():
            return Text(f"thinking, {len(block.thinking)} characters{', signed' if block.signature else ''}")
        case TextBlock():
            return Text(f"text, {len(block.text)} characters")
        case ToolUseBlock():
            return Text(f"tool_use {block.name}").append(_input_line(block))
    return Text(block.type)


def _input_line(block: ToolUseBlock) -> Text:
    try:
        return Text(f"({', '.join(block.input)})")
    except ToolInputError as error:
        came = msgspec.json.encode(block.partial_input()).decode()
        return Text.assemble(
            (f"\n   input raises {type(error).__name__}", "red"),
            f"\n   partial_input() is {came}",
            ("\n   the number at the end is left out: it could go on", "dim"),
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


def _rate(report: Report) -> Text:
    tally, pace = report.tally, report.pace
    why = f"the pace is {pace:g} s an event" if pace else "no pace: server, client and this display together"
    lines = Text()
    if tally.seconds > 0:
        lines.append(_per_second(tally, tally.seconds)).append(f" ({why})", "dim").append("\n")
    return lines.append(_per_second(tally, report.unpaced)).append(" (the library alone)", "dim")


def _per_second(tally: Tally, seconds: float) -> str:
    return f"{_rounded(tally.events / seconds)} events/s, {_rounded(tally.characters / seconds)} characters/s"


def count_of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rounded(number: float) -> str:
    """To two digits that count: one run says no more."""
    return f"{int(float(f'{number:.1e}')):,}"
