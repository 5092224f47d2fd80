"""Recordings: the bytes as they came, when they came, and nothing that is secret."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Driver
from faultserver import HALF, WHOLE, FaultServer, answer, head, says

from sansio_step import RetryPolicy, StreamError, __version__

anyio = pytest.importorskip("anyio")

from sansio_step_adapters.record import Recorder, Recordings, arecord, read_recording, record  # noqa: E402

REQUEST = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a secret question"}]}


def ticking(*times: int) -> Callable[[], int]:
    """A clock that shows these nanoseconds, one after the other."""
    return iter(times).__next__


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class Source:
    """Chunks, an exception after them if there is one, and whether they were closed."""

    def __init__(self, *chunks: bytes, error: BaseException | None = None) -> None:
        self.chunks, self.error, self.closed = list(chunks), error, False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.chunks:
            return self.chunks.pop(0)
        if self.error is not None:
            raise self.error
        raise StopIteration

    def close(self) -> None:
        self.closed = True


class AsyncSource(Source):
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return self.__next__()
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.close()


async def through(way: str, source: AsyncSource, path: Path, upto: int = 1000, **more: Any) -> list[bytes]:
    """What a loop over a recorded source gets, if it leaves after `upto` chunks."""
    got: list[bytes] = []
    if way == "record":
        for chunk in record(source, path, **more):
            got.append(chunk)
            if len(got) == upto:
                break
    else:
        chunks = arecord(source, path, **more)
        async for chunk in chunks:
            got.append(chunk)
            if len(got) == upto:
                break
        await chunks.aclose()  # type: ignore[attr-defined]
    gc.collect()
    return got


WAYS = pytest.mark.parametrize("way", ["record", "arecord"])


@WAYS
def test_the_chunks_pass_unchanged_and_the_body_is_theirs_byte_for_byte(way, tmp_path):
    chunks = [b"event: ping\r\n", b"", b"data: \xff\x00{}", b"\n\n"]
    source = AsyncSource(*chunks)
    got = anyio.run(lambda: through(way, source, tmp_path / "answer", status=200, headers={"Request-Id": "r"}))
    assert got == chunks
    assert source.closed
    assert (tmp_path / "answer.sse").read_bytes() == b"".join(chunks)
    first, *reads, end = lines(tmp_path / "answer.times.jsonl")
    assert (first["recording"], first["library"], first["status"]) == (1, f"sansio-step {__version__}", 200)
    assert first["headers"] == {"request-id": "r"}
    assert [offset for offset, _ in reads] == [0, 13, 23], "nothing is said of an empty chunk"
    assert end["end"] == "eof"


@WAYS
@pytest.mark.parametrize(("error", "how"), [(OSError("gone"), "broken"), (KeyboardInterrupt(), "closed")])
def test_what_ends_a_source_passes_through_and_is_told(way, error, how, tmp_path):
    source = AsyncSource(b"data", error=error)
    with pytest.raises(type(error)):
        anyio.run(lambda: through(way, source, tmp_path / "answer"))
    assert source.closed
    assert lines(tmp_path / "answer.times.jsonl")[-1]["end"] == how
    assert (tmp_path / "answer.sse").read_bytes() == b"data"


@WAYS
def test_a_loop_that_leaves_closes_the_source(way, tmp_path):
    source = AsyncSource(b"one", b"two")
    assert anyio.run(lambda: through(way, source, tmp_path / "answer", 1)) == [b"one"]
    assert source.closed
    assert (tmp_path / "answer.sse").read_bytes() == b"one"
    assert read_recording(tmp_path / "answer").end == "closed"


@WAYS
def test_a_source_without_close_is_fine(way, tmp_path):
    class Bare(AsyncSource):
        close = aclose = property()  # type: ignore[assignment]

    assert anyio.run(lambda: through(way, Bare(b"x"), tmp_path / "answer")) == [b"x"]


@pytest.mark.parametrize("wrong", [b"data", bytearray(), memoryview(b""), "text"])
def test_bytes_instead_of_chunks_are_a_type_error(wrong, tmp_path):
    with pytest.raises(TypeError, match="an iterable of bytes"):
        record(wrong, tmp_path / "answer")


def test_times_are_nanoseconds_from_when_the_recorder_was_made(tmp_path):
    recorder = Recorder(tmp_path / "answer.sse", clock=ticking(100, 150, 170, 900, 1000))
    recorder.receive_head(200, {})
    recorder.receive_data(b"abc")
    recorder.receive_data(b"de")
    recorder.receive_eof()
    recording = read_recording(tmp_path / "answer")
    assert (recording.head_ns, recording.reads) == (50, [(0, 70), (3, 800)])
    assert (recording.end, recording.end_ns) == ("eof", 900)
    assert recording.body_path.read_bytes() == b"abcde"


def test_a_recorder_that_nobody_ends_ends_with_its_last_reference(tmp_path):
    """So ends one of a call that is given up for a retry."""
    recorder = Recorder(tmp_path / "answer")
    recorder.receive_head()
    del recorder
    gc.collect()
    assert read_recording(tmp_path / "answer").end == "closed"


def test_each_read_is_in_the_files_when_it_was_told(tmp_path):
    """A program that is killed leaves what came."""
    recorder = Recorder(tmp_path / "answer")
    recorder.receive_head()
    recorder.receive_data(b"abc")
    assert (tmp_path / "answer.sse").read_bytes() == b"abc"
    assert [offset for offset, _ in read_recording(tmp_path / "answer.sse").reads] == [0]
    assert read_recording(tmp_path / "answer").end is None
    recorder.close()


def test_a_recorder_has_one_response(tmp_path):
    with Recorder(tmp_path / "answer") as recorder:
        recorder.receive_eof()  # of a call that got no response
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ValueError, match="no head"):
            recorder.receive_data(b"x")
        recorder.receive_head()
        with pytest.raises(ValueError, match="one response"):
            recorder.receive_head()
        recorder.receive_eof(OSError())
        recorder.receive_eof()
        with pytest.raises(ValueError, match="is over"):
            recorder.receive_data(b"x")
    assert [line["end"] for line in lines(tmp_path / "answer.times.jsonl")[1:]] == ["broken"]


@pytest.mark.parametrize("name", ["answer.sse", "answer.times.jsonl"])
def test_no_file_is_written_over(name, tmp_path):
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        Recorder(tmp_path / "answer").receive_head()
    with pytest.raises(FileExistsError, match="already"):
        Recordings(tmp_path / "answer")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_directory_that_is_not_there_is_said_before_the_call(tmp_path):
    with pytest.raises(NotADirectoryError, match="missing"):
        Recordings(tmp_path / "missing" / "answer")


SECRETS = ["Set-Cookie", "authorization", "Proxy-Authenticate", "x-api-key", "X-Apikey", "x-session-token", "x-amz-signature", "client-secret"]  # fmt: skip


def test_headers_that_tell_secrets_are_left_out(tmp_path):
    kept = {"anthropic-ratelimit-tokens-remaining": "7", "content-type": "text/event-stream", "x-trace-id": "t"}
    with Recorder(tmp_path / "answer") as recorder:
        recorder.receive_head(200, {**dict.fromkeys(SECRETS, "hush"), **kept})
    assert read_recording(tmp_path / "answer").headers == kept
    assert b"hush" not in (tmp_path / "answer.times.jsonl").read_bytes()


# --- clients ---------------------------------------------------------------------------------------------

FAST = RetryPolicy(first_delay=0.0)


def test_a_client_records_what_came_over_the_wire(driver: Driver, tmp_path):
    """In its content coding, with the key nowhere, though the server says it back in its head."""
    coded = gzip.compress(WHOLE)
    raw = head(200, "content-encoding: gzip", "x-said: key sk-very-secret", f"content-length: {len(coded)}") + coded

    async def main() -> None:
        recordings = Recordings(tmp_path / "answer")
        with FaultServer(says(raw)) as server:
            async with driver.client(base_url=server.base_url, api_key="sk-very-secret", tap=recordings) as client:
                async with client.stream(REQUEST) as stream:
                    events = [event async for event in stream]
                assert events
                assert stream.result()
        assert recordings.paths == [tmp_path / "answer.sse"]

    driver.run(main)
    assert (tmp_path / "answer.sse").read_bytes() == coded
    recording = read_recording(tmp_path / "answer")
    assert (recording.status, recording.end, recording.request) == (200, "eof", None)
    assert recording.headers["x-said"] == "key ***"
    times = (tmp_path / "answer.times.jsonl").read_bytes()
    assert b"sk-very-secret" not in times
    assert b"a secret question" not in times
    assert 0 < recording.head_ns <= recording.reads[0][1] <= recording.reads[-1][1] <= (recording.end_ns or 0)


def test_every_response_has_a_recording_also_one_that_is_retried(driver: Driver, tmp_path):
    """An error status, an error as the first event, a stream: three files, in the order they came. A name that is taken
    meanwhile is passed over."""
    refusal = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    failing = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n'

    async def main() -> None:
        recordings = Recordings(tmp_path / "a")
        (tmp_path / "a-2.sse").write_bytes(b"mine")
        recordings.request = REQUEST
        scripts = [says(answer(refusal, status=529)), says(answer(failing)), says(answer(WHOLE))]  # fmt: skip
        with FaultServer(*scripts) as server:
            async with driver.client(base_url=server.base_url, tap=recordings, retries=FAST) as client:
                async with client.stream(REQUEST) as stream:
                    async for _ in stream:
                        pass
        assert [path.name for path in recordings.paths] == ["a.sse", "a-3.sse", "a-4.sse"]

    driver.run(main)
    gc.collect()
    bodies = [(tmp_path / f"{name}.sse").read_bytes() for name in ("a", "a-2", "a-3", "a-4")]
    assert bodies == [refusal, b"mine", failing, WHOLE]
    assert [read_recording(tmp_path / name).end is None for name in ("a", "a-3", "a-4")] == [False] * 3
    assert read_recording(tmp_path / "a").status == 529
    assert read_recording(tmp_path / "a-4").request == REQUEST


def test_a_response_that_breaks_off_or_is_left_is_told_so(driver: Driver, tmp_path):
    async def main() -> None:
        recordings = Recordings(tmp_path / "a")
        cut = head(200, f"content-length: {len(WHOLE)}") + HALF
        with FaultServer(says(cut), says(cut)) as server:
            async with driver.client(base_url=server.base_url, tap=recordings, max_retries=0) as client:
                with pytest.raises(StreamError):
                    async with client.stream(REQUEST) as stream:
                        async for _ in stream:
                            pass
                async with client.stream(REQUEST) as stream:
                    pass

    driver.run(main)
    assert [read_recording(tmp_path / name).end for name in ("a", "a-2")] == ["broken", "broken"]
    assert (tmp_path / "a.sse").read_bytes() == HALF


def test_a_call_without_a_response_leaves_no_file(driver: Driver, tmp_path):
    async def main() -> None:
        with FaultServer(says()) as server:
            async with driver.client(base_url=server.base_url, tap=Recordings(tmp_path / "a"), max_retries=0) as client:
                with pytest.raises(StreamError):
                    await client.create(REQUEST)

    driver.run(main)
    assert list(tmp_path.iterdir()) == []


# --- reading ---------------------------------------------------------------------------------------------

HEAD = b'{"recording":1,"status":200,"headers":{},"head_ns":5}\n'


@pytest.mark.parametrize(
    ("times", "line"),
    [(b"", 1), (b"[1,2]\n", 1), (b'{"recording":1}\n', 1), (b"\xff\n", 1), (HEAD + b"[1]\n", 2), (HEAD + b"[0,9]\nx\n", 3),
     (HEAD + b"[0,9]\n[0,10]\n", 3), (HEAD + b"[0,9]\n[4,8]\n", 3), (HEAD + b"[-1,9]\n", 2), (HEAD + b'{"end":5}\n', 2)],
)  # fmt: skip
def test_times_that_are_none_are_a_value_error_with_their_line(times, line, tmp_path):
    (tmp_path / "a.times.jsonl").write_bytes(times)
    with pytest.raises(ValueError, match=f"^line {line} of the times"):
        read_recording(tmp_path / "a")


def test_a_last_line_that_was_cut_is_left_out(tmp_path):
    (tmp_path / "a.times.jsonl").write_bytes(HEAD + b"[0,9]\n[14,1")
    recording = read_recording(tmp_path / "a.sse")
    assert (recording.reads, recording.end, recording.status) == ([(0, 9)], None, 200)


def test_no_times_are_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_recording(tmp_path / "a")
