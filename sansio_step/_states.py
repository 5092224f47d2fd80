"""The life of a message as one table: what an event means in each state.

A row is a state, a column is an event, and the rule in their cell says what becomes of the event. `_accumulator`
carries the rules out. The table is complete: a state without a rule for an event is a KeyError, and a test looks up
each pair.
"""

from __future__ import annotations

from enum import Enum

from ._events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    UnknownEvent,
)


class Outcome(Enum):
    """How far a message has come, or how it ended."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    TRUNCATED = "truncated"
    FAILED = "failed"


class State(Enum):
    """How far the last message of a body has come."""

    __hash__ = object.__hash__  # Enum's own is a Python function, which takes 0.2 microseconds at each lookup

    EMPTY = "no message yet"
    OPEN = "on its way"
    ENDING = "its stop_reason has come"
    STOPPED = "it is whole"
    FAILED = "the server, or the stream, failed"


class Rule(Enum):
    """What becomes of an event."""

    BEGIN = "begins a message"
    REPEAT = "duplicate_message_start, or spliced_message_start"
    NEXT = "duplicate_message_start, or no_message_stop and begins the next"
    APPLY = "is applied"
    OPEN = "no_message_start: opens an empty message, is applied"
    UNSTARTED = "no_message_start: changes nothing"
    UNOPENED = "stop_without_block: changes nothing"
    LATE = "event_after_stop: changes nothing"
    IGNORE = "changes nothing"


EVENTS: tuple[type, ...] = (
    MessageStartEvent,
    ContentBlockStartEvent,
    ContentBlockDeltaEvent,
    ContentBlockStopEvent,
    MessageDeltaEvent,
    MessageStopEvent,
    ErrorEvent,
    UnknownEvent,
    PingEvent,
)

_BEGIN, _REPEAT, _NEXT, _APPLY, _OPEN, _UNSTARTED, _UNOPENED, _LATE, _IGNORE = Rule
_ROWS = {
    #                message_start block_start block_delta block_stop message_delta message_stop error    unknown  ping
    State.EMPTY:    (_BEGIN,       _OPEN,      _OPEN,      _UNOPENED, _OPEN,        _UNSTARTED,  _APPLY,  _IGNORE, _IGNORE),
    State.OPEN:     (_REPEAT,      _APPLY,     _APPLY,     _APPLY,    _APPLY,       _APPLY,      _APPLY,  _IGNORE, _IGNORE),
    State.ENDING:   (_NEXT,        _APPLY,     _APPLY,     _APPLY,    _APPLY,       _APPLY,      _APPLY,  _IGNORE, _IGNORE),
    State.STOPPED:  (_BEGIN,       _LATE,      _LATE,      _LATE,     _LATE,        _LATE,       _LATE,   _LATE,   _IGNORE),
    State.FAILED:   (_BEGIN,       _IGNORE,    _IGNORE,    _IGNORE,   _IGNORE,      _IGNORE,     _IGNORE, _IGNORE, _IGNORE),
}  # fmt: skip

RULES: dict[State, dict[type, Rule]] = {state: dict(zip(EVENTS, row, strict=True)) for state, row in _ROWS.items()}


def diagram() -> str:
    """The table in Markdown, as CONTRIBUTING.md has it.

    Print it by `python -c "import sansio_step._states as s; print(s.diagram())"`.
    """
    lines = ["| event | " + " | ".join(f"{state.name}: {state.value}" for state in State) + " |"]
    lines.append("|---" * (len(State) + 1) + "|")
    for event in EVENTS:
        name = getattr(event, "type", None)
        shown = f"`{name}`" if isinstance(name, str) else "any other"
        lines.append(f"| {shown} | " + " | ".join(RULES[state][event].value for state in State) + " |")
    return "\n".join(lines)
