"""Tool arguments while they arrive: a JSON text in pieces of 64 characters, and after each the value so far.

The peers that people use for it, each through its fastest interface. `jsonriver` keeps a state, too; jiter's partial mode
and partial-json-parser read the whole text again after each piece; ijson shows nothing of a string until it is finished.
The yardstick is what nobody can go below: joining the pieces and decoding the text once with msgspec.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from sansio_step import JSONReader

from . import peers, timing
from .growth import KIB, MIB
from .targets import ARGUMENTS_FLAT, ARGUMENTS_OF_JSONRIVER, ARGUMENTS_OF_MSGSPEC, JSONRIVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from .subjects import Pass

Read = Callable[[list[str]], Any]
"""Reads the pieces of a text, looks at the value after each, and returns the last."""

PIECE = 64
OWN = "JSONReader, partial()"
DELTAS = "JSONReader, deltas alone"
FLOOR = "join, msgspec.json.decode"


# -- texts -------------------------------------------------------------------------------------------------


def long_string(size: int) -> str:
    """One argument that is a long line of words: nothing in it needs an escape."""
    words = "step by step the file grows and is shown "
    return json.dumps({"path": "notes.txt", "content": (words * (size // len(words) + 1))[:size]})


def code(size: int) -> str:
    """One argument that is a file of code: a line end, quotes or indentation in most pieces."""
    line = '    print(f"{name}: {value!r}")  # Größe\n'
    return json.dumps({"path": "a.py", "content": (line * (size // len(line) + 1))[:size]})


def objects(size: int) -> str:
    """A list of small objects: short strings, numbers, literals."""
    draw = random.Random(17)
    items: list[Any] = []
    length = 0
    while length < size:
        items.append({
            "id": len(items), "name": f"item {draw.randrange(1000)}", "price": draw.random() * 100,
            "tags": ["a", "b"], "ok": draw.random() < 0.5,
        })  # fmt: skip
        length += len(json.dumps(items[-1]))
    return json.dumps({"edits": items})


TEXTS: dict[str, Callable[[int], str]] = {"long string": long_string, "code": code, "objects": objects}


def pieces_of(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


# -- readers -----------------------------------------------------------------------------------------------


def own(pieces: list[str]) -> Any:
    reader = JSONReader()
    receive, look = reader.receive_text, reader.partial
    for piece in pieces:
        receive(piece)
        look()
    reader.receive_eof()
    return reader.value


def deltas_alone(pieces: list[str]) -> Any:
    reader = JSONReader()
    receive = reader.receive_text
    for piece in pieces:
        receive(piece)
    reader.receive_eof()
    return reader.value


def floor(pieces: list[str]) -> Any:
    return msgspec.json.decode("".join(pieces))


def jsonriver() -> Read:
    parse = peers._import("jsonriver", "jsonriver").parse

    async def given(pieces: list[str]) -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    async def last(pieces: list[str]) -> Any:
        value = None
        async for value in parse(given(pieces)):  # noqa: B007
            pass
        return value

    # It never waits for anything, so it needs no event loop.
    return lambda pieces: _run(last(pieces))


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine waits")


def jiter() -> Read:
    from_json = peers._import("jiter", "jiter").from_json

    def read(pieces: list[str]) -> Any:
        text, value = b"", None
        for piece in pieces:
            text += piece.encode()
            value = from_json(text, partial_mode="trailing-strings")
        return value

    return read


def partial_json_parser() -> Read:
    loads = peers._import("partial_json_parser", "partial-json-parser").loads

    def read(pieces: list[str]) -> Any:
        text, value = "", None
        for piece in pieces:
            text += piece
            value = loads(text)
        return value

    return read


def ijson() -> Read:
    module = peers._import("ijson", "ijson")

    def read(pieces: list[str]) -> Any:
        found = module.sendable_list()
        events = module.items_coro(found, "", use_float=True)
        for piece in pieces:
            events.send(piece.encode())
        events.close()
        return found[0]

    return read


PEERS: dict[str, Callable[[], Read]] = {
    JSONRIVER: jsonriver,
    "jiter, partial mode": jiter,
    "partial-json-parser": partial_json_parser,
    "ijson": ijson,
}


def available() -> tuple[dict[str, Read], dict[str, str]]:
    """The peers that can be measured here, and for the others the reason."""
    found: dict[str, Read] = {}
    missing: dict[str, str] = {}
    for name, make in PEERS.items():
        try:
            found[name] = make()
        except peers.Missing as reason:  # noqa: PERF203 (a handful of them)
            missing[name] = str(reason)
    return found, missing


# -- measuring ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One reader on one text. `times_own` is its time as a multiple of that of `own` in the same rounds."""

    text: str
    subject: str
    microseconds_a_piece: float
    times_own: float
    target: float | None = None

    @property
    def met(self) -> bool:
        return self.target is None or self.times_own >= self.target

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


def compare(others: dict[str, Read], size: int = 64 * KIB, budget: float = timing.BUDGET) -> list[Figure]:
    """All readers on all texts. A peer that reads a text to another value is an AssertionError."""
    figures: list[Figure] = []
    readers = {OWN: own, DELTAS: deltas_alone, FLOOR: floor, **others}
    for name, make in TEXTS.items():
        text = make(size)
        pieces = pieces_of(text)
        for subject, read in readers.items():
            if read(pieces) != json.loads(text):
                raise AssertionError(f"{subject} misreads the text {name!r}")
        seconds = timing.medians([_pass(read, pieces) for read in readers.values()], budget)
        figures += [
            Figure(
                name,
                subject,
                needed / len(pieces) * 1e6,
                needed / seconds[0],
                ARGUMENTS_OF_JSONRIVER if subject == JSONRIVER else None,
            )
            for subject, needed in zip(readers, seconds, strict=True)
        ]
    return figures


@dataclass(frozen=True)
class Point:
    """One size of one text. `growth` is the time a piece relative to the smallest size; `of_msgspec` the time as a
    multiple of joining the pieces and decoding the text once.
    """

    text: str
    subject: str
    size: int
    microseconds_a_piece: float
    growth: float
    of_msgspec: float

    @property
    def met(self) -> bool:
        held = self.text == "long string" and self.subject == DELTAS
        return self.growth <= ARGUMENTS_FLAT and (not held or self.of_msgspec <= ARGUMENTS_OF_MSGSPEC)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


SIZES = (16 * KIB, 256 * KIB, MIB, 4 * MIB)


def flatness(sizes: tuple[int, ...] = SIZES, budget: float = timing.BUDGET) -> list[Point]:
    """Whether a piece costs the same however much came before."""
    points: list[Point] = []
    for name, make in TEXTS.items():
        texts = [pieces_of(make(size)) for size in sizes]
        readers = {FLOOR: floor, DELTAS: deltas_alone, OWN: own}
        # Small texts are read several times over, because otherwise the cost of the clock and of the rounds would show.
        passes = [
            _pass(read, pieces, times=max(1, sizes[-1] // size // 4))
            for size, pieces in zip(sizes, texts, strict=True)
            for read in readers.values()
        ]
        times = iter(timing.best(passes, budget))
        first: dict[str, float] = {}
        for size, pieces in zip(sizes, texts, strict=True):
            seconds = {subject: next(times) / len(pieces) for subject in readers}
            for subject in (DELTAS, OWN):
                needed = seconds[subject]
                smallest = first.setdefault(subject, needed)
                points.append(Point(name, subject, size, needed * 1e6, needed / smallest, needed / seconds[FLOOR]))
    return points


def _pass(read: Read, pieces: list[str], times: int = 1) -> Pass:
    """A pass that reads the pieces some times over, and returns the seconds of one reading."""

    def one_pass() -> float:
        start = perf_counter()
        for _ in range(times):
            read(pieces)
        return (perf_counter() - start) / times

    return one_pass
