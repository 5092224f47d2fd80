"""Keys and passwords: they show in no repr, and in no error, though a server says them back. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from sansio_step import Deviation, StreamError

Error = TypeVar("Error", bound=BaseException)

_HIDDEN: Final = "***"
# A shorter key is a placeholder (`ollama`, `test`, `k`) that ordinary words contain: only as a whole word is it masked.
_LONG: Final = 8
# What of an error's is a word of ours, or decoded.
_OWN: Final = frozenset({"name", "code", "input_json"})
# Of a key that a text was cut inside, no less than this is taken for one.
_LEAST_PART: Final = 4


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


class Mask:
    """Hides some secrets in the texts of errors and deviations. What was decoded is never given to it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._pattern: re.Pattern[str] | None = None

    @property
    def longest(self) -> int:
        """The length of the longest secret, 0 where there is none."""
        return len(self._secrets[0]) if self._secrets else 0

    def text(self, text: str) -> str:
        """The text with *** for each secret, and for the part of one that a mark of omission has left."""
        if not self._secrets:
            return text
        if self._pattern is None:
            self._pattern = re.compile("|".join(pattern for secret in self._secrets for pattern in _patterns(secret)))
        return self._pattern.sub(_HIDDEN, text)

    def data(self, data: bytes) -> bytes:
        """The same for bytes that are shown."""
        return self.text(data.decode("latin-1")).encode("latin-1")

    def error(self, error: Error) -> Error:
        """The same error, its own texts and those of its causes without secrets. What it has of a message stays."""
        known: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in known:
                continue
            known.add(id(one))
            waiting += [one.__cause__, one.__context__]
            if self._secrets:
                one.args = tuple(self._masked(value) for value in one.args)
                if isinstance(one, StreamError):
                    for name in vars(one).keys() - _OWN:
                        setattr(one, name, self._masked(getattr(one, name)))
        return error

    def deviations(self, deviations: list[Deviation]) -> list[Deviation]:
        """The same for what deviations say."""
        if not self._secrets:
            return deviations
        return [msgspec.structs.replace(deviation, detail=self.text(deviation.detail)) for deviation in deviations]

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        return self.data(value) if isinstance(value, bytes) else value


def _patterns(secret: str) -> Iterator[str]:
    """What a secret looks like: as it is, as PHP's JSON has it, as Python's repr has it."""
    for spelt in dict.fromkeys((secret, secret.replace("/", "\\/"), repr(secret)[1:-1])):
        if len(secret) < _LONG:
            yield rf"(?<!\w){re.escape(spelt)}(?!\w)"
            continue
        yield re.escape(spelt)
        # Texts of a server's are shown up to a limit, which can fall inside the secret: "... sk-inv..." shows half of it.
        parts = range(len(spelt) - 1, _LEAST_PART - 1, -1)
        starts, ends = (
            "|".join(map(re.escape, part)) for part in zip(*((spelt[:n], spelt[-n:]) for n in parts), strict=True)
        )
        yield rf"""(?:{starts})(?=['"]?\.\.\.)"""
        yield rf"(?<=\.\.\.)(?:{ends})"
