"""Realistic Messages streams, good and bad, to test readers with: Hypothesis strategies, and one check for any parser.

Use them to test a client, a proxy or a parser of the Messages stream. `messages` draws a message that a stream can
build, `event_streams` the events that build it, `wire_bytes` the bytes of those events, `chunked` a way to cut the
bytes. Each has dials for what a consumer can't read, and `essence` is what two readers must agree on. Bad input is half of
the input: `deviating_streams` draws what real servers do differently, with the expected reading, and `damaged` does to
bytes what networks and bugs do. `assert_chunk_invariant`, for parsers, and `assert_stream`, for servers, need no
Hypothesis test around them.
"""

try:
    import hypothesis  # noqa: F401  # imported here so that one clear error says that it is missing
except ImportError as _error:
    raise ImportError('sansio_step.testing needs hypothesis: pip install "sansio-step[testing]"') from _error

from ._assertion import assert_stream
from ._damage import chunked, damaged
from ._deviating import DEVIATION_CODES, DeviatingStream, deviating_streams
from ._essence import Essence, essence
from ._events import event_streams
from ._invariance import assert_chunk_invariant
from ._messages import messages
from ._wire import wire_bytes

__all__ = [
    "DEVIATION_CODES",
    "DeviatingStream",
    "Essence",
    "assert_chunk_invariant",
    "assert_stream",
    "chunked",
    "damaged",
    "deviating_streams",
    "essence",
    "event_streams",
    "messages",
    "wire_bytes",
]
