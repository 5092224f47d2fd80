"""The kit finds these faults by itself, and none once its dials leave out what the package can't read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sansio_step import ServerSentEvent, SSEDecoder
from sansio_step.testing import chunked, essence, event_streams, messages, wire_bytes

from .readers import SSE_READERS, official_sdk, requests_lines

# What each reader of event streams can't read.
DIALS: dict[str, dict[str, Any]] = {
    "httpx-sse": {"bom": False, "comments": False},
    "sseclient-py": {"bom": False, "line_ends": ["\n"]},
    "launchdarkly-eventsource": {"bom": False},
}

# Streams that a reader has to agree on, and streams of which one at the latest shows a fault.
WITHIN, BEYOND = 300, 5000

# One fault of a reader is enough, however many it has.
SEARCH = settings(
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def standard(pieces: list[bytes]) -> list[tuple[str, str]]:
    """The events by the standard's rules."""
    decoder = SSEDecoder()
    frames: list[ServerSentEvent] = [frame for piece in pieces for frame in decoder.receive_data(piece)]
    return [(frame.event, frame.data) for frame in frames]


def agrees(
    read: Callable[[list[bytes]], object], right: Callable[[list[bytes]], object], examples: int, **dials: Any
) -> bool:
    """Whether two readings of any stream, however it is written and cut, are the same."""

    @settings(SEARCH, max_examples=examples)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        body = data.draw(wire_bytes(data.draw(event_streams(messages(max_text=200))), **dials))
        pieces = data.draw(chunked(body, empty=False))
        assert read(pieces) == right(pieces)

    return _passes(check)


def sdk_agrees(examples: int, *, broken_input: bool = False, message_deltas: int = 1, bom: bool = False) -> bool:
    """Whether the official SDK reads from any stream what is essential of its message."""

    @settings(SEARCH, max_examples=examples)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        message = data.draw(messages(unknown=False, broken_input=broken_input, nul=False, max_text=200))
        ways = event_streams(message, unknown=False, message_deltas=message_deltas, usage_anywhere=False)
        body = data.draw(wire_bytes(data.draw(ways), bom=bom))
        assert essence(official_sdk(data.draw(chunked(body, empty=False)))) == essence(message)

    return _passes(check)


def _passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception as error:  # noqa: BLE001, a reader that dies reads otherwise, too
        notes = getattr(error, "__notes__", ())
        print(*(line for note in notes for line in note.splitlines()), sep="\n    ")
        return False
    return True


def whole_lines(pieces: list[bytes]) -> list[bytes]:
    """What `iter_lines` gives of the same bytes in one piece."""
    return requests_lines([b"".join(pieces)])


def must_differ(what: str, agreed: bool, *, beyond: bool) -> None:
    """Print what was seen. AssertionError if a fault was not found, or one was although the dials leave it out."""
    print(f"{what}: {'no fault' if agreed else 'a fault'} within its dials, a fault beyond them")
    assert agreed and not beyond, f"{what} reads otherwise now: change docs/fuzzing.md and this script"


if __name__ == "__main__":
    for name, dials in DIALS.items():
        read = SSE_READERS[name]
        within, beyond = agrees(read, standard, WITHIN, **dials), agrees(read, standard, BEYOND)
        must_differ(name, within, beyond=beyond)
    within = agrees(requests_lines, whole_lines, WITHIN, line_ends=["\n"])
    must_differ("requests", within, beyond=agrees(requests_lines, whole_lines, BEYOND))
    within = sdk_agrees(WITHIN)
    for wider in ({"broken_input": True}, {"message_deltas": 2}, {"bom": True}):
        must_differ(f"anthropic, {wider}", within, beyond=sdk_agrees(BEYOND, **wider))
