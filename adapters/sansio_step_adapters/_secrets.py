"""Keys and passwords: they show in no repr, and in no error, though a server says them back. No I/O."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from sansio_step import Deviation, StreamError

Error = TypeVar("Error", bound=BaseException)

_HIDDEN: Final = "***"
# A shorter key is a placeholder (`ollama`, `test`, `k`) that ordinary words contain: only as a whole word is it masked.
_LONG: Final = 8
# What stands for a key where none is needed. Messages have the word in a sense of its own: "none of request-id, ...".
_NO_KEY: Final = "none"
# Of a key that a text was cut inside, no less than this is taken for one.
_LEAST_PART: Final = 4
_CUT: Final = re.compile(r"""['"]?\.\.\.""")
# What an error's own words are, or what it decoded.
_OWN: Final = frozenset({"name", "code", "input_json"})
# How JSON and Python's repr spell a character otherwise: \u002f, \x2f, \/, \", \', \\.
_ESCAPE: Final = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([/"'\\]))""")


class Secret:
    """A text that shows in no repr."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret is not pickled")

    def reveal(self) -> str:
        """The text, for the wire."""
        return self._value


def secrets_in(header: str) -> Iterator[str]:
    """What of a key header's value is secret: all of it, all after the scheme, its last word, a Basic password."""
    scheme, _, rest = header.strip().partition(" ")
    yield from (header.strip(), rest.strip(), header.rpartition(" ")[2])
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            yield base64.b64decode(rest).decode().partition(":")[2]


class Mask:
    """Hides some secrets in the texts of errors and deviations. What was decoded is never given to it.

    A caller of a gateway chooses such a secret, so that its cost is linear in the secret's length and the text's.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if secret not in ("", _NO_KEY)}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with *** for each secret, however it is spelt, and for the part of one that "..." has left."""
        for secret in self._secrets:
            plain, places = _unescaped(text)
            shown, end = [], 0
            for start, stop in _found(plain, secret):
                if places[start] >= end:
                    shown += [text[end : places[start]], _HIDDEN]
                    end = places[stop]
            text = "".join((*shown, text[end:]))
        return text

    def data(self, data: bytes) -> bytes:
        """The same for bytes that are shown."""
        if not self._secrets:
            return data
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def error(self, error: Error) -> Error:
        """The same error, its own texts and those of its causes without secrets. What it has of a message stays."""
        known: set[int] = set()
        one: BaseException | None = error
        # Not its context: that can be an exception of the caller's own.
        while one is not None and id(one) not in known and self._secrets:
            known.add(id(one))
            one.args = tuple(self._masked(value) for value in one.args)
            if isinstance(one, StreamError):
                for name in vars(one).keys() - _OWN:
                    setattr(one, name, self._masked(getattr(one, name)))
            one = one.__cause__
        return error

    def deviations(self, deviations: list[Deviation]) -> list[Deviation]:
        """The same for what deviations say."""
        return [msgspec.structs.replace(deviation, detail=self.text(deviation.detail)) for deviation in deviations]

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        return self.data(value) if isinstance(value, bytes) else value


def _unescaped(text: str) -> tuple[str, Any]:
    """The text with its escapes undone, and where each of its characters begins in the text as it is."""
    if "\\" not in text:
        return text, range(len(text) + 1)
    plain: list[str] = []
    places: list[int] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        plain.append(text[end : escape.start()])
        places += range(end, escape.start() + 1)
        code = escape[1] or escape[2]
        plain.append(chr(int(code, 16)) if code else escape[3])
        end = escape.end()
    plain.append(text[end:])
    places += range(end, len(text) + 1)
    return "".join(plain), places


def _found(text: str, secret: str) -> list[tuple[int, int]]:
    """Where a secret stands in a text, in order."""
    if len(secret) < _LONG:
        return [match.span() for match in re.finditer(rf"(?<!\w){re.escape(secret)}(?!\w)", text)]
    found = []
    start = text.find(secret)
    while start >= 0:
        found.append((start, start + len(secret)))
        start = text.find(secret, start + len(secret))
    # Texts of a server's are shown up to a limit, which can fall inside the secret: "... sk-inv..." shows half of it.
    for cut in _CUT.finditer(text):
        before = max(cut.start() - len(secret), 0)
        start = text.find(secret[:_LEAST_PART], before, cut.start())
        while start >= 0 and not secret.startswith(text[start : cut.start()]):
            start = text.find(secret[:_LEAST_PART], start + 1, cut.start())
        if start >= 0:
            found.append((start, cut.start()))
        stop = text.find(secret[-_LEAST_PART:], cut.end(), cut.end() + len(secret))
        while stop >= 0 and not secret.endswith(text[cut.end() : stop + _LEAST_PART]):
            stop = text.find(secret[-_LEAST_PART:], stop + 1, cut.end() + len(secret))
        if stop >= 0:
            found.append((cut.end(), stop + _LEAST_PART))
    return sorted(found)
