"""What only the times of an answer show: bursts, silences, an end that doesn't come. No clock: it is told the times."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

__all__ = ["TIME_RULES", "Limits", "Place", "Shown", "Times"]

# What arrives within so many nanoseconds arrives at once: a proxy that lets its buffer go writes it in several pieces.
_AT_ONCE: Final = 10_000_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From when on a time is a finding. All but the sizes are seconds; a ValueError for what is not above 0.

    A burst is content of `burst_deltas` deltas or `burst_characters` characters at once, after `burst_silence` without a
    byte. It is a finding if at least half of all content comes so. `ping` is the longest time without a byte: proxies and
    load balancers cut connections that say nothing, some after 30 seconds. `stall` is the same for events that carry the
    message, and `left_open` for a response that goes on after message_stop.
    """

    burst_silence: float = 1.0
    burst_deltas: int = 20
    burst_characters: int = 400
    ping: float = 15.0
    stall: float = 30.0
    left_open: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: {value!r} is not above 0")


class Place(NamedTuple):
    """A place in an answer: the number of its next event, the byte of the body, nanoseconds from the request on."""

    event_number: int
    byte_offset: int
    ns: int


class Shown(NamedTuple):
    """What a rule finds, where, and how often."""

    detail: str
    place: Place
    often: int = 1


class _Gaps:
    """Times in which nothing came that were too long: how many, and the longest, with the place that ended it."""

    def __init__(self, seconds: float) -> None:
        self._least = seconds * 1e9
        self.count = self.longest = 0
        self.place = Place(0, 0, 0)

    def add(self, ns: int, place: Place) -> None:
        if ns < self._least:
            return
        self.count += 1
        if ns > self.longest:
            self.longest, self.place = ns, place


class _Group:
    """Content that comes at once, after a silence."""

    def __init__(self, silence: int, place: Place) -> None:
        self.silence, self.place = silence, place
        self.deltas = self.characters = 0


class Times:
    """Is told what came when, in order, and keeps what its rules ask for, which is little for however long a body."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.silences = _Gaps(limits.ping)
        self.stalls = _Gaps(limits.stall)
        self.bursts: list[int] = [0, 0]
        """How many, and how many characters in them."""
        self.largest: _Group | None = None
        self.characters = 0
        self.open_for = 0
        """Nanoseconds from the last message_stop to the end, 0 if it was not the last thing."""
        self._last_byte = self._last_content = 0
        self._stopped: Place | None = None
        self._group: _Group | None = None

    def head(self, ns: int) -> None:
        """The response's head came."""
        self._byte(Place(0, 0, ns))

    def read(self, place: Place) -> None:
        """Bytes of the body came."""
        group = self._group
        if group is None or place.ns - group.place.ns > _AT_ONCE:
            self._close_group()
            self._group = _Group(place.ns - self._last_byte, place)
        self._byte(place)

    def content(self, place: Place, characters: int, *, is_stop: bool) -> None:
        """An event that carries the message came, with so many characters of content."""
        self.stalls.add(place.ns - self._last_content, place)
        self._last_content = place.ns
        self._stopped = place if is_stop else None
        if characters and self._group is not None:
            self._group.deltas += 1
            self._group.characters += characters

    def end(self, place: Place) -> None:
        """The body is over, or no more of it is read."""
        if self._stopped is not None:
            self.open_for = place.ns - self._stopped.ns
        else:
            self.stalls.add(place.ns - self._last_content, place)
        self._byte(place)
        self._close_group()

    def _byte(self, place: Place) -> None:
        if self._stopped is None:
            self.silences.add(place.ns - self._last_byte, place)
        self._last_byte = place.ns

    def _close_group(self) -> None:
        group, limits = self._group, self.limits
        self._group = None
        if group is None:
            return
        self.characters += group.characters
        is_large = group.deltas >= limits.burst_deltas or group.characters >= limits.burst_characters
        if is_large and group.silence >= limits.burst_silence * 1e9:
            self.bursts[0] += 1
            self.bursts[1] += group.characters
            if self.largest is None or group.characters > self.largest.characters:
                self.largest = group


def burst(times: Times, _end: Place) -> Shown | None:
    """Half of the content or more came in bursts."""
    count, characters = times.bursts
    group = times.largest
    if group is None or characters * 2 < times.characters:
        return None
    said = f"{_many(group.deltas, 'delta')} with {_many(group.characters, 'character')} at once after {_seconds(group.silence)} of silence"
    return Shown(f"{said}; {characters:,} of all {times.characters:,} characters came so", group.place, count)


def no_ping(times: Times, _end: Place) -> Shown | None:
    """A silence without a byte."""
    gaps = times.silences
    said = f"no byte for {_seconds(gaps.longest)}, neither a ping nor a comment"
    return Shown(said, gaps.place, gaps.count) if gaps.count else None


def stall(times: Times, _end: Place) -> Shown | None:
    """A silence but for pings."""
    gaps = times.stalls
    said = f"nothing of the message for {_seconds(gaps.longest)}"
    return Shown(said, gaps.place, gaps.count) if gaps.count else None


def left_open(times: Times, end: Place) -> Shown | None:
    """The response goes on when all is said."""
    if times.open_for < times.limits.left_open * 1e9:
        return None
    return Shown(f"still open {_seconds(times.open_for)} after message_stop", end)


TIME_RULES: Final[dict[str, Callable[[Times, Place], Shown | None]]] = {
    "burst": burst,
    "no_ping": no_ping,
    "stall": stall,
    "left_open": left_open,
}
"""The rules by their codes: what each finds in the times, given the place of the end."""


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.1f} s"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
