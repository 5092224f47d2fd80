"""Objects are independent: threads, interleaved streams, copies and pickles."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sansio_step import (
    EventDecoder,
    MessageAccumulator,
    MessageStream,
    SSEDecoder,
    StreamError,
    ToolInputError,
    to_dict,
)
from sansio_step.testing import deviating_streams, event_streams, wire_bytes

from .helpers import describe, pieces, read, text_block, tool_block, whole

BODIES = event_streams().flatmap(wire_bytes) | deviating_streams().map(lambda case: case.data)


@pytest.fixture
def _quick_switches():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_quick_switches")
def test_threads_read_their_own_streams():
    """Eight threads that read streams at the same time each get what one alone gets."""
    bodies = [
        whole(text_block(f"{number}é" * 50, "🦜" * number), tool_block('{"a":', f"{number}}}")) for number in range(8)
    ]
    expected = [read([body]) for body in bodies]
    ready = threading.Barrier(8)

    def work(number):
        ready.wait()
        return [read(pieces(bodies[number], size)) for size in (1, 3, 64, 10_000) for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        for number, readings in enumerate(pool.map(work, range(8))):
            assert readings == [expected[number]] * 12


@settings(max_examples=50)
@given(
    st.lists(BODIES.filter(lambda body: len(body) < 3000), min_size=2, max_size=3),
    st.sampled_from([SSEDecoder, EventDecoder, MessageStream]),
)
def test_interleaved_streams(bodies, factory):
    """Streams that are fed byte by byte in turns don't know of each other."""

    def feed(stream, data, got):
        if stream.fault is None:
            try:
                got += stream.receive_data(data)
            except StreamError:
                pass

    alone = []
    for body in bodies:
        stream, got = factory(), []
        feed(stream, body, got)
        alone.append((got, describe(stream.fault)))
    streams = [(factory(), []) for _ in bodies]
    for place in range(max(map(len, bodies))):
        for body, (stream, got) in zip(bodies, streams, strict=True):
            feed(stream, body[place : place + 1], got)
    assert [(got, describe(stream.fault)) for stream, got in streams] == alone


@given(st.lists(event_streams(), min_size=2, max_size=3), st.randoms(use_true_random=False))
def test_interleaved_accumulators(streams, random):
    """The same for accumulators, also if they are given the very same event objects."""
    accumulators = [(MessageAccumulator(), MessageAccumulator(), iter(events)) for events in streams]
    running = list(accumulators)
    while running:
        turn = random.choice(running)
        event = next(turn[2], None)
        if event is None:
            running.remove(turn)
        else:
            turn[0].add(event)
            turn[1].add(event)
    for (first, second, _), events in zip(accumulators, streams, strict=True):
        alone = MessageAccumulator()
        alone.extend(events)
        assert to_dict(first.result()) == to_dict(second.result()) == to_dict(alone.result())
        assert first.result() is not second.result()


@given(BODIES)
def test_events_are_copied_and_pickled(body):
    """Copies and pickles of events equal them, in every protocol of pickle that Python writes by default or newer."""
    for event in read([body])["events"]:
        assert copy.copy(event) == copy.deepcopy(event) == event
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(event, protocol)) == event


@settings(max_examples=50)
@given(BODIES, st.data())
def test_live_messages_are_copied_and_pickled(body, data):
    """A copy of a message that is still growing is what it was at that moment, and no longer grows."""
    stream = MessageStream()
    # Drawn from the end, as most small numbers from the front are no message yet.
    cut = len(body) - data.draw(st.integers(0, len(body)))
    try:
        stream.receive_data(body[:cut])
    except StreamError:
        pass
    assume(stream.message is not None)
    before = copy.deepcopy(to_dict(stream.message))  # it shares the lists of the message, which grow
    copies = [copy.deepcopy(stream.message), pickle.loads(pickle.dumps(stream.message))]
    for other in copies:
        assert to_dict(other) == before
    try:
        stream.receive_data(body[cut:])
    except StreamError:
        pass
    for other in copies:
        assert to_dict(other) == before
        for block in other.tool_uses:
            # A copy of an unfinished block is unfinished: its arguments are no more whole than they were.
            if "input_json" in to_dict(block):
                with pytest.raises(ToolInputError):
                    _ = block.input


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("factory", [SSEDecoder, EventDecoder, MessageStream, MessageAccumulator])
def test_readers_are_not_copied(factory, copied):
    """A copy of what reads a body would share its buffers, and each would spoil the other's: it is a TypeError."""
    with pytest.raises(TypeError, match=f"{factory.__name__} can't be copied or pickled"):
        copied(factory())
