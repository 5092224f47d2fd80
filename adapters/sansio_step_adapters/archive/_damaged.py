"""What can be saved of a JSON line that is no JSON: one bad byte shall not cost its body, nor its id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ._fields import Path

__all__ = ["recover"]

_STRICT: Final = json.JSONDecoder(strict=False)  # raw control characters in strings are read
_ESCAPE: Final = re.compile(rb'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4})|(.?))', re.DOTALL)
_ESCAPED: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_WORD: Final = re.compile(rb"[^\s{}\[\],:\"]+")
_SPACE: Final = re.compile(rb"[\s,:]*")


def recover(line: bytes, paths: Sequence[Path]) -> list[bytes | None]:
    """The value at each path as far as it can be found: a string's bytes, or the JSON of anything else.

    First as JSON whose strings can hold any bytes. If it is no JSON in this sense either, token by token up to the
    damage; and a string by its key alone, if that key stands in the line once. (A key within a body has its quotes
    escaped, so that it doesn't look like one.)
    """
    try:
        document = _STRICT.decode(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        found = dict(_tokens(line, {*paths}))
        return [found[path] if path in found else _by_key(line, path, at) for at, path in enumerate(paths)]
    return [_value(document, path) for path in paths]


def _value(found: Any, path: Path) -> bytes | None:
    for key in path:
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    if found is None:
        return None
    return _encoded(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))


def _encoded(text: str) -> bytes:
    """The bytes that a text was decoded from. A half of a character, which came as an escape, is no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _tokens(line: bytes, wanted: set[Path]) -> Iterator[tuple[Path, bytes | None]]:
    """The values at the wanted paths that begin before the damage, each as far as it goes."""
    place: list[str | int] = []  # the key or the number of an item, of each object and array that is open
    starts: list[tuple[Path, int]] = []  # of wanted values that are open
    depths = {len(path) for path in wanted}
    is_key = False
    at = 0

    def here() -> Path | None:
        # Only as deep as a wanted value can be: brackets by the megabyte would else cost the square of their number.
        return tuple(map(str, place)) if len(place) in depths else None

    def step() -> None:
        nonlocal is_key
        if place and isinstance(place[-1], int):
            place[-1] += 1
        is_key = bool(place) and isinstance(place[-1], str)

    while True:
        at = _SPACE.match(line, at).end()  # type: ignore[union-attr]  # it matches anything
        mark = line[at : at + 1]
        if not mark:
            break
        if mark in b"{[":
            if is_key:
                break
            path = here()
            if path in wanted:
                starts.append((path, at))
            place.append("" if mark == b"{" else 0)
            is_key = mark == b"{"
            at += 1
        elif mark in b"}]":
            if not place or isinstance(place[-1], str) != (mark == b"}"):
                break
            place.pop()
            at += 1
            if starts and starts[-1][0] == here():
                found, start = starts.pop()
                yield found, line[start:at]
            step()
        elif mark == b'"':
            end = _end_of_string(line, at)
            text = _unescaped(line[at + 1 : end])
            at = end + 1
            if is_key:
                place[-1] = text.decode("utf-8", "replace")
                is_key = False
                continue
            path = here()
            if path in wanted:
                yield path, text
            step()
        else:
            word = _WORD.match(line, at)
            if is_key or word is None:
                break
            at = word.end()
            path = here()
            if path in wanted:
                yield path, None if word[0] == b"null" else word[0]
            step()
    for found, start in starts:
        yield found, line[start:]


def _end_of_string(line: bytes, at: int) -> int:
    """Where the quote is that ends a string, or the line if none does."""
    end = at
    while True:
        end = line.find(b'"', end + 1)
        if end < 0:
            return len(line)
        first = end
        while line[first - 1 : first] == b"\\":
            first -= 1
        if (end - first) % 2 == 0:
            return end


def _unescaped(text: bytes) -> bytes:
    try:
        return _encoded(_STRICT.decode(b'"%b"'.decode() % text.decode("utf-8", "surrogateescape")))
    except ValueError:
        # An escape that there is none of: it stays as it is.
        return _ESCAPE.sub(_escape, text)


def _escape(found: re.Match[bytes]) -> bytes:
    letter, code, other = found.groups()
    if letter:
        return _ESCAPED.get(letter, letter)
    return _encoded(chr(int(code, 16))) if code else b"\\" + (other or b"")


def _by_key(line: bytes, path: Path, at: int) -> bytes | None:
    """A string or number by the last key of its path, if only one place in the line has that key. Never the body."""
    if not path or at == 0:
        return None
    key = re.escape(json.dumps(path[-1], ensure_ascii=False).encode())
    found = re.findall(rb'(?<!\\)%b\s*:\s*(?:"((?:[^"\\]|\\.){0,1024})"|([\w.+-]{1,64}))' % key, line)
    if len(found) != 1:
        return None
    text, word = found[0]
    return _unescaped(text) if text or not word else word
