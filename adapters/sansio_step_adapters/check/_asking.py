"""How a check asks: by the client on sockets, with a tap that lets the observation see the head, the bytes and the times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sansio_step import MessageRequest, StreamError

from .._coding import CodingError, Decoder, content_decoder
from .._options import Options
from .._reader import AWS_STREAM, Wanted
from .._secrets import Mask
from ..replay import request_from_wire
from ..sockets import Client
from ._observation import Observation

__all__ = ["Asking", "request_of"]


class Asking(Client):
    """A client whose answers are observed. Nothing is retried: what comes is what is checked."""

    def __init__(self, clock: Callable[[], int], options: Options) -> None:
        given: Options = {**options, "max_retries": 0, "tap": self._tap}
        super().__init__(**given)
        self._clock = clock
        self._began = 0
        self._seen: Observation | None = None
        # When the answer ended, and what broke it.
        self._end: tuple[int, StreamError | None] | None = None

    @property
    def mask(self) -> Mask:
        """Hides the key."""
        return self._config.mask

    def ask(self, request: MessageRequest, wanted: Wanted, seen: Observation) -> None:
        """Ask, and let it see the whole answer, or that there is none.

        An exception of the caller's own, such as Ctrl-C, leaves what it has seen without an end.
        """
        self._seen, self._end = seen, None
        self._began = self._clock()
        failure: StreamError | None = None
        try:
            if wanted is Wanted.STREAM:
                with self.stream(request) as stream:
                    for _ in stream:
                        pass
            else:
                self.create(request)
        except StreamError as error:
            failure = error
        end, self._seen, self._end = self._end, None, None
        if end is not None:
            seen.receive_eof(*end)
        else:
            assert failure is not None, "a call without an answer has failed"
            seen.receive_nothing(failure)

    def _tap(self) -> _Tap:
        assert self._seen is not None, "only `ask` makes calls"
        return _Tap(self._seen, lambda: self._clock() - self._began, self._ended)

    def _ended(self, ns: int, error: StreamError | None) -> None:
        self._end = ns, error


def request_of(fields: Mapping[str, Any]) -> MessageRequest:
    """The request that these fields of the wire stand for; a ValueError or TypeError says why they stand for none."""
    return request_from_wire(fields)


class _Tap:
    """Undoes the content coding and tells an observation what comes, with the time."""

    def __init__(
        self, seen: Observation, now: Callable[[], int], end: Callable[[int, StreamError | None], None]
    ) -> None:
        self._seen, self._now, self._end = seen, now, end
        self._decoder: Decoder | None = None
        self._is_readable = True

    def receive_head(self, status: int, headers: Mapping[str, str]) -> None:
        is_aws = headers.get("content-type", "").startswith(AWS_STREAM)
        self._seen.receive_head(status, headers, self._now(), is_aws=is_aws)
        try:
            self._decoder = content_decoder(headers.get("content-encoding", ""))
        except CodingError as error:
            self._is_readable = False
            self._seen.tally.add("unreadable", str(error))

    def receive_data(self, data: bytes) -> None:
        ns = self._now()
        if self._decoder is None:
            self._receive(data, ns)
            return
        try:
            for piece in self._decoder.decode(data):
                self._receive(piece, ns)
        except CodingError as error:
            self._is_readable = False
            self._seen.tally.add("unreadable", str(error))

    def receive_eof(self, error: BaseException | None = None) -> None:
        is_cut = self._decoder is not None and not self._decoder.whole
        if is_cut and error is None and self._is_readable and self._seen.error is None:
            self._seen.tally.add("unreadable", "the body ends inside its content coding")
        self._end(self._now(), error if isinstance(error, StreamError) else None)

    def _receive(self, data: bytes, ns: int) -> None:
        if data and self._is_readable:
            self._seen.receive_data(data, ns)
