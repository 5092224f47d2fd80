"""Plain sockets, for both drivers: the order of a name's addresses, and whether something is there to be read."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

# An address's family, kind, protocol, canonical name and place, as `getaddrinfo` has them.
Address: TypeAlias = tuple[Any, Any, int, str, Any]

# RFC 8305 5: how long one address is waited for before the next is tried beside it.
ATTEMPT_DELAY: Final = 0.25


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """The resolver's order, but the two families in turn (RFC 8305 4): one that leads nowhere costs one delay."""
    found = list(dict.fromkeys(addresses))
    first = [address for address in found if address[0] == found[0][0]]
    others = [address for address in found if address[0] != found[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


def readable(sock: socket.socket) -> bool:
    """Whether something waits on an idle connection's socket: its end, or bytes that nobody asked for. Never blocks."""
    return sock.fileno() < 0 or wait_ready(sock, 0, write=False)


def wait_ready(sock: socket.socket, seconds: float | None, *, write: bool = True) -> bool:
    """Block until something can be read (or, with `write`, written), for so many seconds at most; tell whether it can."""
    if not hasattr(select, "poll"):
        sides = select.select([sock], [sock] if write else [], [], seconds)
        return any(sides)
    poll = select.poll()  # unlike select it knows no highest number of a file
    poll.register(sock, select.POLLIN | (select.POLLOUT if write else 0))
    return bool(poll.poll(None if seconds is None else seconds * 1000))
