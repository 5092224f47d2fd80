"""Recordings of response bodies: every byte as it came, and when.

    for chunk in record(response.iter_raw(), "answer"):  # `arecord` for async iterables
        ...

leaves `answer.sse`, the body byte for byte, and `answer.times.jsonl` beside it, one JSON value a line:

    {"recording":1,"library":"sansio-step 0.1","status":200,"headers":{...},"head_ns":81000000}
    [0,412000000]            a read: its offset in the body, and nanoseconds from the request on
    [1460,433000000]
    {"end":"eof","ns":9120000000}

A client records by itself: `Client(tap=Recordings("answer"))`. Headers that tell secrets are left out, and the request
is there only for those who ask. No file that exists is written over. `sansio-step inspect` shows a recording.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Final, Protocol, TypeAlias

import msgspec

from sansio_step import __version__

__all__ = ["Recorder", "Recording", "Recordings", "Tap", "arecord", "read_recording", "record"]

Name: TypeAlias = "str | os.PathLike[str]"

# Of a response: a session's cookie is as good as a key. The counts of a rate limit (`...-tokens-remaining`) tell none.
_SECRET: Final = re.compile(
    r"cookie|authori[sz]ation|authentica|api-?key|secret|credential|signature|token$", re.IGNORECASE
)
_BODY: Final = ".sse"
_TIMES: Final = ".times.jsonl"
# A line of the times is a head at most, and that is bounded by what a client reads of a head.
_LONGEST_LINE: Final = 64 * 1024 * 1024


class Tap(Protocol):
    """What a client can tell of one response, before it is read as anything: `Client(tap=...)` makes one for each."""

    def receive_head(self, status: int, headers: Mapping[str, str]) -> object:
        """The response begins. The names of the headers are in lower case; the client's own secrets are masked."""

    def receive_data(self, data: bytes) -> object:
        """Bytes of the body, still in their content coding."""

    def receive_eof(self, error: BaseException | None = None) -> object:
        """No more is read: the body is over, or `error` says what ended it."""


class Recorder:
    """Records one response, from `receive_head` to `receive_eof`: files come into being with the head.

    `path` is the recording's name, with or without `.sse`. `request` is kept in the head line if it is given. `clock`
    gives nanoseconds, and times count from when the recorder was made. Raises OSError for what can't be written, be it
    that a file is there already.
    """

    def __init__(
        self, path: Name, *, request: Mapping[str, Any] | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.body_path, self.times_path = _paths(path)
        self._request = request
        self._clock = clock
        self._began = clock()
        self._offset = 0
        self._files: tuple[BinaryIO, BinaryIO] | None = None

    def receive_head(self, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        """The response begins; what is not known of it is left out."""
        now = self._clock()
        if self._files is not None:
            raise ValueError("a recorder records one response")
        head: dict[str, Any] = {"recording": 1, "library": f"sansio-step {__version__}", "status": status}
        head["headers"] = {name.lower(): value for name, value in (headers or {}).items() if not _SECRET.search(name)}
        head["head_ns"] = now - self._began
        if self._request is not None:
            head["request"] = dict(self._request)
        line = msgspec.json.encode(head)
        body = self.body_path.open("xb")
        try:
            times = self.times_path.open("xb")
        except OSError:
            body.close()
            self.body_path.unlink()
            raise
        self._files = body, times
        _put(times, line + b"\n")

    def receive_data(self, data: bytes) -> None:
        """Bytes of the body came. They are in the file when this returns, whatever becomes of the program."""
        now = self._clock()
        if self._files is None:
            raise ValueError("the recording has no head, or is over")
        if not data:
            return
        body, times = self._files
        _put(body, data)
        _put(times, b"[%d,%d]\n" % (self._offset, now - self._began))
        self._offset += len(data)

    def receive_eof(self, error: BaseException | None = None) -> None:
        """The body is over; a second call does nothing, nor one before the head."""
        self._end("eof" if error is None else "broken")

    def close(self) -> None:
        """As `receive_eof`, but of a body that nobody read to its end."""
        self._end("closed")

    def _end(self, how: str) -> None:
        now = self._clock()
        if self._files is None:
            return
        body, times = self._files
        self._files = None
        with contextlib.closing(body), contextlib.closing(times):
            _put(times, msgspec.json.encode({"end": how, "ns": now - self._began}) + b"\n")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Of a call that a client gave up for a retry nobody says the end.
        if getattr(self, "_files", None) is not None:
            with contextlib.suppress(OSError):
                self.close()


class Recordings:
    """Records every response of a client: `Client(tap=Recordings("answer"))`.

    The first is `answer`, further ones, be they those of a retry, `answer-2` and so on; a name that is taken is passed
    over. `request` can be set to what the next calls send, which is then kept. Raises FileExistsError if the first name
    is taken, NotADirectoryError if there is no such directory: before a call, not in the middle of it.
    """

    def __init__(self, path: Name, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.request: Mapping[str, Any] | None = None
        # The bodies, in the order of their heads.
        self.paths: list[Path] = []
        self._clock = clock
        self._number = 0
        body, times = _paths(path)
        self._path = body.with_name(body.name.removesuffix(_BODY))
        if not body.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "No such directory", str(body.parent))
        for one in (body, times):
            if one.exists():
                raise FileExistsError(errno.EEXIST, "There is a recording of this name already", str(one))

    def __call__(self) -> Tap:
        """A recorder for a call that begins now."""
        return _Numbered(self, Recorder(self._path, request=self.request, clock=self._clock))

    def take_name(self) -> Path:
        """The next name that is free."""
        while True:
            self._number += 1
            path = self._path if self._number == 1 else self._path.with_name(f"{self._path.name}-{self._number}")
            if not any(one.exists() for one in _paths(path)):
                self.paths.append(_paths(path)[0])
                return path


class _Numbered:
    """A recorder that has its name only when a response comes: calls that get none leave no gap."""

    def __init__(self, recordings: Recordings, recorder: Recorder) -> None:
        self._recordings, self._recorder = recordings, recorder

    def receive_head(self, status: int, headers: Mapping[str, str]) -> None:
        recorder = self._recorder
        recorder.body_path, recorder.times_path = _paths(self._recordings.take_name())
        recorder.receive_head(status, headers)

    def receive_data(self, data: bytes) -> None:
        self._recorder.receive_data(data)

    def receive_eof(self, error: BaseException | None = None) -> None:
        self._recorder.receive_eof(error)


def record(
    chunks: Iterable[bytes], path: Name, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """The same chunks, each recorded when it comes. Closes the iterable if it can be closed.

    Give it the bytes as they come from the network (`iter_raw` of httpx, `stream(decode_content=False)` of urllib3).
    Raises OSError if the recording can't be written, TypeError for bytes instead of chunks.
    """
    if isinstance(chunks, (bytes, bytearray, memoryview, str)):
        raise TypeError("record: an iterable of bytes is expected, one item for each read")
    return _record(chunks, Recorder(path), status, headers)


def _record(
    chunks: Iterable[bytes], recorder: Recorder, status: int | None, headers: Mapping[str, str] | None
) -> Iterator[bytes]:
    source = iter(chunks)
    try:
        with recorder:
            recorder.receive_head(status, headers)
            try:
                for chunk in source:
                    recorder.receive_data(chunk)
                    yield chunk
            except Exception as error:
                recorder.receive_eof(error)
                raise
            recorder.receive_eof()
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def arecord(
    chunks: AsyncIterable[bytes], path: Name, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[bytes]:
    """`record` for an async iterable."""
    return _arecord(chunks, Recorder(path), status, headers)


async def _arecord(
    chunks: AsyncIterable[bytes], recorder: Recorder, status: int | None, headers: Mapping[str, str] | None
) -> AsyncIterator[bytes]:
    source = aiter(chunks)
    try:
        with recorder:
            recorder.receive_head(status, headers)
            try:
                async for chunk in source:
                    recorder.receive_data(chunk)
                    yield chunk
            except Exception as error:
                recorder.receive_eof(error)
                raise
            recorder.receive_eof()
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


class Recording(msgspec.Struct, frozen=True):
    """What the times of a recording say. Times are nanoseconds from the request on."""

    body_path: Path
    status: int | None
    headers: dict[str, str]
    head_ns: int
    reads: list[tuple[int, int]]
    """Offset in the body and time of each read."""
    end: str | None
    """"eof", "broken" or "closed"; None if the program that recorded ended first."""
    end_ns: int | None
    request: dict[str, Any] | None


def read_recording(path: Name) -> Recording:
    """The times of a recording, by its name, with or without `.sse`.

    Raises OSError if there are none, ValueError for times that are none, with their line. A last line that was cut is
    left out: so ends what a program wrote that was killed.
    """
    body, times = _paths(path)
    reads: list[tuple[int, int]] = []
    end = _End(None, None)
    with times.open("rb") as file:
        head = _decode(file.readline(_LONGEST_LINE), _HEAD, 1)
        for number, line in enumerate(file, 2):
            if not line.endswith(b"\n"):
                break
            if line.startswith(b"{"):
                end = _decode(line, _END, number)
                break
            read = _decode(line, _READ, number)
            if reads and (read[0] <= reads[-1][0] or read[1] < reads[-1][1]):
                raise ValueError(f"line {number} of the times goes back")
            reads.append(read)
    return Recording(body, head.status, head.headers, head.head_ns, reads, end.end, end.ns, head.request)


# An offset, or nanoseconds. A file can say any number, and three centuries are as many nanoseconds as 64 bits hold.
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Head(msgspec.Struct):
    recording: int
    head_ns: _Count
    status: int | None = None
    headers: dict[str, str] = {}
    request: dict[str, Any] | None = None


class _End(msgspec.Struct):
    end: str | None
    ns: _Count | None


_HEAD: Final = msgspec.json.Decoder(_Head)
_READ: Final = msgspec.json.Decoder(tuple[_Count, _Count])
_END: Final = msgspec.json.Decoder(_End)


def _decode(line: bytes, decoder: msgspec.json.Decoder[Any], number: int) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"line {number} of the times is none") from None


def _paths(path: Name) -> tuple[Path, Path]:
    """The two files of a recording."""
    whole = Path(path)
    name = whole.name.removesuffix(_BODY)
    return whole.with_name(name + _BODY), whole.with_name(name + _TIMES)


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
