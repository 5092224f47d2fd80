"""Typed events to messages: when a message begins, what changes it, and how it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn, SupportsIndex

from ._assembler import BlockAssembler
from ._deviations import ENTRY_SIZE, Deviation, DeviationLog, Note
from ._errors import APIError, IncompleteStream, LimitExceeded, ProtocolViolation, StreamError
from ._events import (
    CUT_ANYWHERE,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    ErrorEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    StreamEvent,
)
from ._growing import SHORT, TextBuffer
from ._halves import appended_text
from ._message import ContentBlock, Message, Usage
from ._message_size import DELTA_SIZE, MAX_MESSAGE_SIZE, MESSAGE_SIZE, deltas_size, event_size
from ._receiver import refuse_copy
from ._response import api_error
from ._runs import DeltaRun
from ._states import EVENTS, RULES, Outcome, Rule, State
from ._updates import has_final_count, is_reset, merge_fields, merge_usages, restate, usages_in, usages_of
from ._whole import build_whole

Keep = Literal["all", "last"]
OnFault = Literal["raise", "keep"]

_NO_SIZES: Mapping[int, int] = {}


class _Run(NamedTuple):
    """Deltas of one index and kind, with the place where their text goes and the block that has it."""

    block_index: int
    kind: type[Delta]
    buffer: TextBuffer
    block: ContentBlock


_Method = Callable[[Any, Any], None]
"""A method of the accumulator that takes an event."""


def _methods_by_state(apply: dict[type, _Method], others: dict[Rule, _Method]) -> dict[State, dict[type, _Method]]:
    """The table of rules with a method in place of each rule, so that an event is looked up only once."""
    return {
        state: {kind: apply[kind] if rule is Rule.APPLY else others[rule] for kind, rule in row.items()}
        for state, row in RULES.items()
    }


class MessageAccumulator:
    """Builds the final message from typed events.

    Call `add` with each event, `receive_eof` when the body has ended, and then `result`. Deviations from the protocol
    are read all the same and listed in `deviations`; with `strict=True` each is a `ProtocolViolation`.
    `max_message_size` bounds the bytes of the events that make up the messages that are kept of one body, with 1 KiB for
    each message and 256 bytes for each entry of `deviations` on top.

    `keep="last"` forgets a message, and what was `unapplied` in it, as soon as the next one begins: a body of a million
    messages then takes the memory of its largest. `on_fault="keep"` is for observers, whose host must never suffer from
    them: a fault is kept in `fault` instead of being raised, and the events after it change nothing.
    """

    __slots__ = (
        "__weakref__",
        "_api_error",
        "_block",
        "_blocks",
        "_earlier",
        "_ended",
        "_entries_size",
        "_fault",
        "_log",
        "_message",
        "_message_number",
        "_methods",
        "_number",
        "_run",
        "_size",
        "_sizes",
        "_state",
        "_unapplied",
        "_usage_is_final",
        "_whole_count",
        "keep",
        "max_message_size",
        "on_fault",
        "strict",
    )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    def __init__(
        self,
        *,
        strict: bool = False,
        max_message_size: int = MAX_MESSAGE_SIZE,
        keep: Keep = "all",
        on_fault: OnFault = "raise",
    ) -> None:
        if max_message_size < 1:
            raise ValueError(f"max_message_size is {max_message_size}, must be at least 1")
        if keep not in ("all", "last"):
            raise ValueError(f'keep is {keep!r}, must be "all" or "last"')
        if on_fault not in ("raise", "keep"):
            raise ValueError(f'on_fault is {on_fault!r}, must be "raise" or "keep"')
        self.strict: bool = strict
        self.max_message_size: int = max_message_size
        self.keep = keep
        self.on_fault = on_fault
        self._unapplied: list[tuple[int, Delta]] | None = None
        self._earlier: list[Message] | None = None  # the messages before the last
        self._message: Message | None = None
        self._blocks: BlockAssembler | None = None  # of a message that grows
        self._whole_count = 0  # how many blocks a message has that came whole
        self._enter(State.EMPTY)
        self._fault: StreamError | None = None
        self._api_error: APIError | None = None
        self._ended = False
        self._number = 0  # of the next event
        self._message_number = 0  # how many have begun
        self._size = 0
        self._entries_size = 0  # the share of the deviations in it
        self._log = DeviationLog()
        self._sizes = _NO_SIZES
        self._block: ContentBlock | None = None
        self._usage_is_final = False
        # Where the text of the next delta goes if it has the same index and kind as the last.
        self._run: _Run | None = None

    def __repr__(self) -> str:
        return f"<MessageAccumulator {self.outcome.value} events={self._number} messages={len(self.messages)}>"

    @property
    def message(self) -> Message | None:
        """The message so far, one live object; None before the first. If there are several, it is the last.

        Reading a text joins the pieces that came since it was read last, and copies it. Read it once a message, not
        once a delta.
        """
        return self._message

    @property
    def messages(self) -> list[Message]:
        """The messages of the body that are kept, including the one on its way."""
        return [] if self._message is None else [*(self._earlier or ()), self._message]

    @property
    def outcome(self) -> Outcome:
        """The state of the last message."""
        if self._state is State.STOPPED:
            return Outcome.COMPLETE
        if self._state is State.FAILED:
            return Outcome.FAILED
        return Outcome.TRUNCATED if self._ended else Outcome.STREAMING

    @property
    def deviations(self) -> list[Deviation]:
        """The deviations that show between events, so far, with one entry for each code and message."""
        return self._log.entries()

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block.

        They are deltas of types that have no class here, and signatures under blocks that can have none. `to_param`
        leaves out thinking and unknown blocks that lack such a delta.
        """
        return list(self._unapplied or ())

    @property
    def fault(self) -> StreamError | None:
        """The error that ended the reading, None until then."""
        return self._fault

    @property
    def api_error(self) -> APIError | None:
        """What the server said about the failure of the last message; None if it reported none."""
        return self._api_error

    @property
    def event_count(self) -> int:
        """How many events were applied, which is also the number of the next."""
        return self._number

    @property
    def block(self) -> ContentBlock | None:
        """The block that the last event was applied to, if that was a content_block_* event; else None.

        After a start it is the block that began, after a stop the block that ended (of several, the last). It is
        correct even after gaps and reused indices, when `message.content[event.index]` is another block.
        """
        return self._block

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it.

        Until then `usage.output_tokens` is a placeholder of message_start, or a running count.
        """
        return self._usage_is_final

    def finished(self, index: int) -> bool:
        """Whether the block at a wire index has ended, by its stop, a stop_reason or message_stop."""
        if self._blocks is None:
            return index in range(self._whole_count)
        return self._blocks.finished(index)

    def add(self, event: StreamEvent) -> None:
        """Apply the next event.

        A fault is raised at once, or kept if `on_fault` is "keep". Then neither this event nor any later one is applied.
        TypeError for anything but an event, ValueError after `receive_eof`.
        """
        self.extend((event,))

    def extend(self, events: Iterable[StreamEvent], *, sizes: Mapping[int, int] = _NO_SIZES) -> None:
        """Apply several events, as `add` would one after the other.

        Deltas in a row are applied together, when the row ends. Raises as `add` does. If the iterable raises, what it
        gave before is applied.

        `sizes` holds the bytes of their JSON by event number, if the caller knows them. An event that is not in it is
        encoded to be counted, unless it is a delta of text.
        """
        self._sizes = sizes
        if self._fault is None:
            if self._ended:
                raise ValueError("an event after receive_eof: one object reads one body")
            try:
                self._extend(events)
            except StreamError:
                if self.on_fault == "raise":
                    raise
        elif self.on_fault == "raise":
            raise self._fault.with_traceback(None)

    def _extend(self, events: Iterable[StreamEvent | DeltaRun]) -> None:
        # A stream is hardly anything but runs of deltas for one block. A delta takes 0.06 microseconds this way, and 1.5
        # by `_add`.
        if events.__class__ is list and self._take_whole(events):
            return
        run = None
        index, kind = -1, None  # of the deltas that continue the run
        texts: list[str] = []
        try:
            for event in events:
                if self._run is not run:
                    run = self._run
                    index, kind = run[:2] if run is not None else (-1, None)
                if event.__class__ is ContentBlockDeltaEvent and event.index == index:
                    delta = event.delta
                    if delta.__class__ is kind:
                        texts.append(delta.piece)
                        continue
                if texts:
                    row, texts = texts, []
                    self._continue(row)
                if event.__class__ is DeltaRun:
                    self._add_run(event)
                else:
                    self._add(event)  # type: ignore[arg-type]  # it is no DeltaRun
        finally:  # also if the caller's iterator raises
            if texts:
                self._continue(texts)

    def _take_whole(self, events: list[StreamEvent | DeltaRun]) -> bool:
        """Add the events of one whole message; False, and nothing is added, if they are anything else."""
        if self._state is not State.EMPTY or len(events) < 3:
            return False
        try:
            whole = build_whole(events, self._number, self._sizes)
        except Exception:  # noqa: BLE001  # an event made by hand can hold anything; the error is raised at that event
            return False
        if whole is None or self._size + whole.size > self.max_message_size:
            return False
        self._size += whole.size
        self._number += whole.event_count
        self._message = whole.message
        self._message_number += 1
        self._whole_count = whole.block_count
        self._usage_is_final = whole.usage_is_final
        self._enter(State.STOPPED)
        return True

    def _add_run(self, run: DeltaRun) -> None:
        texts = run.texts
        if not self._continues(run):
            self._add(ContentBlockDeltaEvent(run.index, run.kind(texts[0])))
            texts = texts[1:]
        if self._continues(run):
            self._continue(texts)
        else:
            for text in texts:
                self._add(ContentBlockDeltaEvent(run.index, run.kind(text)))

    def _continues(self, run: DeltaRun) -> bool:
        """Whether deltas add to the text that grew last."""
        return self._run is not None and self._run.block_index == run.index and self._run.kind is run.kind

    def take(self, event: StreamEvent) -> bool:
        """Add a delta if it continues the run; False, and nothing is added, if it doesn't.

        A delta in a chunk of its own takes 0.3 microseconds this way.
        """
        run = self._run
        if run is None or event.__class__ is not ContentBlockDeltaEvent:
            return False
        index, kind, buffer, block = run
        delta = event.delta
        if event.index != index or delta.__class__ is not kind:
            return False
        # What `_append` does, if the text is short and ASCII: its calls are a tenth of what a delta takes.
        text, last = delta.piece, buffer.last
        size = self._size + DELTA_SIZE + len(text)
        if size > self.max_message_size or len(last) >= SHORT or not text.isascii():
            return self._append(1, text)
        self._size = size
        self._number += 1
        self._block = block
        buffer.last = last + text
        return True

    def take_several(self, events: Sequence[StreamEvent]) -> bool:
        """The same for several deltas: all of them, or none."""
        run = self._run
        if run is None:
            return False
        texts = []
        for event in events:
            if event.__class__ is not ContentBlockDeltaEvent or event.index != run.block_index:
                return False
            delta = event.delta
            if delta.__class__ is not run.kind:
                return False
            texts.append(delta.piece)
        return self._append(len(texts), "".join(texts))

    def _continue(self, texts: list[str]) -> None:
        """Add the texts of deltas that continue the run. If they exceed the limit, those before the one that does it."""
        assert self._run is not None
        index, kind = self._run[:2]
        if not self._append(len(texts), "".join(texts)):
            events: Any = (ContentBlockDeltaEvent(index, kind(text)) for text in texts)  # type: ignore[arg-type]  # it has a `piece`
            deque(map(self._add, events), maxlen=0)  # up to that one, which raises

    def _append(self, count: int, text: str) -> bool:
        """Add the joined text of deltas that continue the run; False, and nothing is added, if one exceeds the limit."""
        run = self._run
        assert run is not None
        size = self._size + deltas_size(count, text)
        if size > self.max_message_size:
            return False
        self._size = size
        self._number += count
        self._block = run.block
        if text:
            run.buffer.append(text)
        return True

    def _add(self, event: StreamEvent) -> None:
        self._block = None
        do = self._methods.get(type(event)) or self._methods[_kind_of(event)]
        try:
            do(self, event)
        except StreamError as fault:
            fault.event_number = self._number
            self.fail(fault)
            raise
        self._number += 1

    def reserve(self, size: int) -> None:
        """Count, for the next event, an entry of deviations that is kept elsewhere. Raises LimitExceeded as `add` does."""
        try:
            self._count(size)
        except LimitExceeded as fault:
            fault.event_number = self._number
            self.fail(fault)
            raise
        self._entries_size += size

    def receive_eof(self) -> None:
        """Decide the outcome, because the body has ended. Raises nothing; a violation is kept in `fault`."""
        if self._ended:
            return
        self._ended = True
        self._run = None
        # A stop_reason says nothing about a block that began after it.
        cut = self._blocks is not None and bool(self._blocks.unstopped())
        if self._fault is None and self._state is State.ENDING and not cut:
            try:
                self.note("no_message_stop", "the body ends after a stop_reason without message_stop")
            except ProtocolViolation as fault:
                fault.event_number = self._number
                self.fail(fault)
            else:
                self._close(State.STOPPED)
        elif self._blocks is not None:
            self._blocks.settle()

    def result(self) -> Message:
        """The finished message.

        Raises the fault if there is one, APIError if the server said that it failed, and IncompleteStream if the
        message is not whole, or not yet. `error.partial` is the message so far, or None.
        """
        message = self.message
        if self._state is State.STOPPED and message is not None:
            return message
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        if self._api_error is not None:
            raise self._api_error.with_traceback(None)
        ended = "the stream ended before the message did"
        error = IncompleteStream(ended if self._ended else "the message is still on its way")
        error.event_number = self._number
        error.partial = message
        raise error

    def fail(self, fault: StreamError) -> None:
        """End the reading with a fault, found here or by the reader of the events. A whole message stays whole."""
        if self._state is not State.STOPPED:
            self._close(State.FAILED)
        self._fault = fault
        fault.partial = self._message

    def _enter(self, state: State) -> None:
        self._state = state
        self._methods = self._METHODS[state]

    def _close(self, state: State) -> None:
        self._enter(state)
        self._run = None
        if self._blocks is not None:
            self._blocks.settle()

    def note(self, code: str, detail: str) -> None:
        """Count a deviation of the next event, or refuse it in strict mode. This is for the assembler."""
        if self.strict:
            raise ProtocolViolation(code, detail)
        note = Note(code, self._number, detail, self._message_number)
        if not self._ended and not self._log.knows((note.message, code)):
            self._count(ENTRY_SIZE)
            self._entries_size += ENTRY_SIZE
        self._log.add(note)

    def leave(self, index: int, delta: Delta) -> None:
        """Keep a delta that fits nowhere. This is for the assembler."""
        self._unapplied = self._unapplied or []
        self._unapplied.append((index, delta))

    def _count_event(self, event: StreamEvent, besides: int = 0) -> None:
        """Count the bytes of an event's JSON: as it came, if the caller of `extend` said so, else as it is written."""
        self._count(besides + event_size(event, self._number, self._sizes))

    def _count(self, size: int) -> None:
        size += self._size
        if size > self.max_message_size:
            raise LimitExceeded("max_message_size", self.max_message_size)
        self._size = size

    def _open(self, why: str) -> None:
        """Open an empty message for content whose message_start is missing."""
        self._count(MESSAGE_SIZE)
        self.note("no_message_start", why)
        self._begin(Message())

    def _begin(self, message: Message) -> None:
        if self._message is not None and self.keep == "last":
            self._unapplied = None
        elif self._message is not None:
            self._earlier = self._earlier or []
            self._earlier.append(self._message)
        self._message = message
        self._message_number += 1
        self._enter(State.OPEN if message.stop_reason is None else State.ENDING)
        self._api_error = None
        self._run = None
        self._blocks = BlockAssembler(message, self)
        self._usage_is_final = False

    # What each rule does.

    def _start(self, event: MessageStartEvent) -> None:
        if self.keep == "last":
            self._size = self._entries_size
        self._count_event(event, MESSAGE_SIZE)
        message: Message = event.message.__copy__()
        message.stop_reason = message.stop_reason or None
        self._begin(message)
        if message.stop_reason is not None and message.usage is not None:
            self._usage_is_final = message.usage.output_tokens is not None

    def _repeat(self, event: MessageStartEvent) -> None:
        if not self._is_again(event):
            reason = f"message_start of {event.message.id!r} inside {self._named()}: nobody can tell whose the rest is"
            raise ProtocolViolation("spliced_message_start", reason)

    def _next(self, event: MessageStartEvent) -> None:
        if not self._is_again(event):
            before = self._named()
            if not self.strict:
                self._close(State.STOPPED)  # this message is whole, even if the next one exceeds the limit
            self.note("no_message_stop", f"message_start of {event.message.id!r} before the message_stop of {before}")
            self._start(event)

    def _is_again(self, event: MessageStartEvent) -> bool:
        """Whether an event announces the message on its way once more."""
        message = self._current()[0]
        again = event.message.id == message.id and (message.id is not None or not message.content)
        if again:
            self.note("duplicate_message_start", f"message_start of {message.id!r} again")
        return again

    def _unstarted(self, event: MessageStopEvent) -> None:
        # There is nothing to finish. An empty message that counts as whole would be an invention.
        self.note("no_message_start", "message_stop before any message_start")

    def _late(self, event: StreamEvent) -> None:
        self.note("event_after_stop", f"{event.type} after message_stop")

    # What each event does to the message on its way.

    def _apply_block_start(self, event: ContentBlockStartEvent) -> None:
        self._count_event(event)
        self._run = None
        blocks = self._current()[1]
        blocks.start(event.index, event.content_block)
        self._block = blocks.last

    def _apply_block_delta(self, event: ContentBlockDeltaEvent) -> None:
        delta = event.delta
        text = appended_text(delta)
        if text is not None and delta.grows is not None:
            self._count(deltas_size(1, text))
        else:
            self._count_event(event)
        self._run = None
        blocks = self._current()[1]
        buffer = blocks.add(event.index, delta, text)
        self._block = blocks.last
        if buffer is not None and delta.__class__ in CUT_ANYWHERE:
            assert blocks.last is not None, "it has the buffer"
            self._run = _Run(event.index, delta.__class__, buffer, blocks.last)

    def _apply_block_stop(self, event: ContentBlockStopEvent) -> None:
        self._run = None
        blocks = self._current()[1]
        blocks.stop(event.index)
        self._block = blocks.last

    def _unopened(self, event: ContentBlockStopEvent) -> None:
        self.note("stop_without_block", f"content_block_stop for block {event.index} before any message_start")

    def _apply_message_delta(self, event: MessageDeltaEvent) -> None:
        self._count_event(event)
        message, blocks = self._current()
        usages = usages_of(event)
        self._note_reset(message, usages)
        if event.delta.stop_reason:
            self._finish_blocks(blocks, "message_delta")
        restate(message, event)
        self._merge_usages(message, usages)
        if message.stop_reason is not None:
            self._enter(State.ENDING)

    def _note_reset(self, message: Message, usages: list[Usage]) -> None:
        for usage in usages:
            if is_reset(message.usage, usage):
                self.note("usage_reset", "every input count that is stated is 0, and one was positive")
                return

    def _merge_usages(self, message: Message, usages: list[Usage]) -> None:
        merge_usages(message, usages)
        self._usage_is_final = self._usage_is_final or has_final_count(message, usages)

    def _apply_message_stop(self, event: MessageStopEvent) -> None:
        self._count_event(event)
        message, blocks = self._current()
        # Deviations are noted before anything is changed, because an event at fault is not applied.
        extra = event.extra
        reason = extra.get("stop_reason")
        if message.stop_reason is None and not (isinstance(reason, str) and reason):
            self.note("no_stop_reason", "message_stop, and no stop_reason was given")
        usages = usages_in(extra)
        self._note_reset(message, usages)
        self._finish_blocks(blocks, "message_stop")
        if extra:
            merge_fields(message, extra)
            self._merge_usages(message, usages)
        self._close(State.STOPPED)

    def _apply_error(self, event: ErrorEvent) -> None:
        self._api_error = api_error(event)
        self._api_error.event_number = self._number
        self._api_error.partial = self._message
        self._close(State.FAILED)

    def _current(self) -> tuple[Message, BlockAssembler]:
        assert self._message is not None, "the table opens one first"
        assert self._blocks is not None
        return self._message, self._blocks

    def _named(self) -> str:
        message = self._current()[0]
        return "a message without an id" if message.id is None else repr(message.id)

    def _finish_blocks(self, blocks: BlockAssembler, by: str) -> None:
        self._run = None
        if blocks.all_finished:
            return
        unstopped = blocks.unstopped()
        if unstopped:
            shown = ", ".join(map(str, unstopped[:5])) + (" and more" if len(unstopped) > 5 else "")
            blocks_are = f"block {shown} is" if len(unstopped) == 1 else f"blocks {shown} are"
            self.note("no_block_stop", f"{by} while {blocks_are} open")
        blocks.finish_all()

    def _ignore(self, event: StreamEvent) -> None:
        """Change nothing."""

    def _open_and_apply(self, event: StreamEvent) -> None:
        self._open("content before any message_start")
        self._APPLY[_kind_of(event)](self, event)

    _APPLY: ClassVar[dict[type, _Method]] = {
        MessageStartEvent: _start,
        ContentBlockStartEvent: _apply_block_start,
        ContentBlockDeltaEvent: _apply_block_delta,
        ContentBlockStopEvent: _apply_block_stop,
        MessageDeltaEvent: _apply_message_delta,
        MessageStopEvent: _apply_message_stop,
        ErrorEvent: _apply_error,
    }
    _METHODS: ClassVar[dict[State, dict[type, _Method]]] = _methods_by_state(
        _APPLY,
        {
            Rule.BEGIN: _start,
            Rule.REPEAT: _repeat,
            Rule.NEXT: _next,
            Rule.OPEN: _open_and_apply,
            Rule.UNSTARTED: _unstarted,
            Rule.UNOPENED: _unopened,
            Rule.LATE: _late,
            Rule.IGNORE: _ignore,
        },
    )


def _kind_of(event: object) -> type:
    for kind in EVENTS:
        if isinstance(event, kind):
            return kind
    raise TypeError(f"expected an event, not {type(event).__name__}")
