"""What is kept of each request, and of how its answer ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from .timeline import Ending

__all__ = ["Call", "CallLog"]

_MOST_CALLS: Final = 1000
_MOST_BYTES: Final = 64 * 1024 * 1024
_KEYS: Final = ("authorization", "cookie", "proxy-authorization", "x-api-key")


@dataclass
class Call:
    """A request, and what became of its answer. It grows while the answer is on its way."""

    request_id: str = ""
    """That of the answer's header `request-id`."""
    method: str = ""
    """"" for what was no HTTP."""
    path: str = ""
    """Without the query, which can hold keys."""
    headers: dict[str, str] = field(default_factory=dict)
    """By names in lower case, with "***" for each key."""
    body: bytes = field(default=b"", repr=False)
    status: int | None = None
    bytes_sent: int = 0
    """Of the answer's body."""
    ended: Ending | Literal["refused", "left", "stopped"] | None = None
    """How the answer ended: as told (whole, cut, broken, failed), with a refusal of the request, by the client that
    left, or by the server's own end. None before it did."""

    @property
    def json(self) -> Any:
        """The request's body. Raises ValueError if it is no JSON."""
        return json.loads(self.body)

    @property
    def model(self) -> str | None:
        """What the request says as its model."""
        try:
            model = self.json["model"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        return model if isinstance(model, str) else None

    def receive_head(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """The request's head came."""
        self.method = method.decode("latin-1")
        path = target.decode("latin-1").partition("?")[0]
        if not path.startswith("/"):
            try:
                path = urlsplit(path).path  # what is before it can hold a password
            except ValueError:
                path = ""
        self.path = path
        for name, value in headers:
            key = name.decode("latin-1").lower()
            self.headers[key] = "***" if key in _KEYS else value.decode("latin-1")


class CallLog:
    """The last calls: a thousand at most, and as many as have 64 MiB of bodies."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._size = 0

    def add(self, call: Call) -> None:
        """Keep a call, whose body has come, and forget the oldest if they are too many."""
        self._calls.append(call)
        self._size += len(call.body)
        while len(self._calls) > _MOST_CALLS or (self._size > _MOST_BYTES and len(self._calls) > 1):
            self._size -= len(self._calls.pop(0).body)

    def as_list(self) -> list[Call]:
        """The calls that are kept, the oldest first. Any thread may ask."""
        return self._calls.copy()
