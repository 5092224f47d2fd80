"""What comes live to a machine, and how a driver waits for it."""

from __future__ import annotations

from faultserver import BLOCK, PING, START, STOP, delta
from hypothesis import strategies as st

from sansio_step import Deadlines
from sansio_step_adapters._transfer import Transfer
from sansio_step_adapters._wants import Receive

# What a read can bring. A lone delta, of which most come live, is told of in a way of its own.
READS = {
    "delta": [delta("a")],
    "two deltas": [delta("a") + delta("b")],
    "two chunks": [delta("a"), delta("b")],
    "ping": [PING],
    "comment": [b": c\n\n"],
    "message_stop": [STOP],
    "delta and message_stop": [delta("a") + STOP],
    "another message": [STOP + START + BLOCK],
}
NAMES = st.sampled_from([*["delta"] * 6, *READS])


def wait_live(machine: Transfer, now: float, until: float, letter: Deadlines) -> bool:
    """Wait as a driver does, until nothing has come by then or a limit ends it; says which. `letter` says when one does."""
    assert now < letter.ends
    while now < min(until, letter.ends):
        want = machine.want(now)
        assert isinstance(want, Receive)
        assert want.until is not None
        assert now < want.until <= letter.ends, "a wait may be shorter than the limits allow, and never longer"
        now = min(want.until, until)
        if now < until or now == letter.ends:
            machine.waited(now)
    return now < letter.ends
