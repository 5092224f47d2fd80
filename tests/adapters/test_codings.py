"""The content codings of the extra `codings`: br and zstd, read as gzip and deflate are."""

from __future__ import annotations

import runpy
import sys
from typing import Any

import pytest
from faultserver import EVENTS, HALF, WHOLE, answer

from sansio_step import ConnectionLost, IncompleteStream, LimitExceeded, UnexpectedResponse
from sansio_step_adapters import _coding
from sansio_step_adapters._coding import content_decoder
from sansio_step_adapters.http1 import Exchange

brotli = pytest.importorskip("brotli", reason="the extra `codings` is not installed")
zstandard = pytest.importorskip("zstandard", reason="the extra `codings` is not installed")


def compress(coding: str, body: bytes) -> bytes:
    return brotli.compress(body) if coding == "br" else zstandard.ZstdCompressor().compress(body)  # type: ignore[no-any-return]


def feed(body: bytes, coding: str, size: int, **limits: Any) -> tuple[Exchange, list[Any]]:
    exchange = Exchange(**limits)
    exchange.request("/v1/messages", [(b"host", b"x")], b"{}")
    response = answer(body, f"content-encoding: {coding}")
    events: list[Any] = []
    for start in range(0, len(response), size):
        events += exchange.receive_data(response[start : start + size])
    if not exchange.done:
        events += exchange.receive_eof()
    return exchange, events


both = pytest.mark.parametrize("coding", ["br", "zstd"])


@both
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_coded_stream_is_read(coding: str, size: int) -> None:
    """In whatever pieces it comes; an empty body is an empty body."""
    exchange, events = feed(compress(coding, WHOLE), coding, size)
    assert (len(events), exchange.error) == (EVENTS, None)
    assert exchange.result().text == "Hello"
    exchange, _ = feed(b"", coding, size)
    assert "an empty body" in str(exchange.error)


@both
def test_a_flushed_coding_gives_its_events_at_once(coding: str) -> None:
    """What a server has flushed is there, though the body goes on."""
    if coding == "br":
        coder = brotli.Compressor()
        pieces = [coder.process(HALF) + coder.flush(), coder.process(WHOLE[len(HALF) :]) + coder.finish()]
    else:
        coder = zstandard.ZstdCompressor().compressobj()
        pieces = [coder.compress(HALF) + coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
        pieces.append(coder.compress(WHOLE[len(HALF) :]) + coder.flush())
    decoder = content_decoder(coding)
    assert decoder is not None
    assert b"".join(decoder.decode(pieces[0])) == HALF
    assert not decoder.whole
    assert b"".join(decoder.decode(pieces[1])) == WHOLE[len(HALF) :]
    assert decoder.whole


def test_zstd_frames_one_after_the_other() -> None:
    """A body can be several frames, each of which counts, the empty ones too."""
    body = compress("zstd", HALF) + compress("zstd", b"") * 3 + compress("zstd", WHOLE[len(HALF) :])
    for size in (1, 100_000):
        exchange, events = feed(body, "zstd", size)
        assert (len(events), exchange.error) == (EVENTS, None)
    exchange, _ = feed(compress("zstd", b"") * 2000, "zstd", 100_000, max_response_size=10_000)
    assert isinstance(exchange.error, LimitExceeded)


@both
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_cut_body_is_cut(coding: str, size: int) -> None:
    """A body that ends inside its coding is no whole one, though its message may be."""
    exchange, events = feed(compress(coding, HALF * 50)[:-2], coding, size)
    assert isinstance(exchange.error, (ConnectionLost, IncompleteStream))
    assert exchange.transport_error is not None
    assert "inside its content coding" in str(exchange.transport_error)


@both
def test_a_broken_body_is_named(coding: str) -> None:
    """What is not in the coding that its header names is an error that says so, and after events a loss."""
    exchange, _ = feed(b"\xff" * 50, coding, 100_000)
    assert isinstance(exchange.error, UnexpectedResponse)
    assert "not in its content coding" in str(exchange.error)


@both
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_came_before_a_fault_is_not_lost(coding: str, size: int) -> None:
    """However the body is cut, the events before the fault are the same."""
    if coding == "br":
        coder = brotli.Compressor()
        body = coder.process(HALF) + coder.flush()
    else:
        coder = zstandard.ZstdCompressor().compressobj()
        body = coder.compress(HALF) + coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    exchange, events = feed(body + b"\xff" * 100, coding, size)
    assert len(events) == 5
    assert isinstance(exchange.transport_error, ConnectionLost)
    assert "not in its content coding" in str(exchange.transport_error)


def test_what_follows_a_whole_br_body_is_ignored() -> None:
    """As after deflate: the coded form has ended."""
    exchange, events = feed(compress("br", WHOLE) + b"more", "br", 100_000)
    assert (len(events), exchange.error) == (EVENTS, None)
    exchange, events = feed(compress("br", WHOLE) + b"more", "br", 1)
    assert (len(events), exchange.error) == (EVENTS, None)


@both
def test_a_bomb_is_decoded_in_small_pieces(coding: str) -> None:
    """No piece is larger than 64 KiB, and of zstd never more than 2 MiB are decoded at once."""
    import tracemalloc  # noqa: PLC0415

    bomb = compress(coding, b" " * 50_000_000)
    decoder = content_decoder(coding)
    assert decoder is not None
    total = 0
    tracemalloc.start()
    try:
        for piece in decoder.decode(bomb):
            assert len(piece) <= 64 * 1024
            total += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 50_000_000
    assert decoder.whole
    assert peak < 8_000_000
    exchange, _ = feed(compress(coding, WHOLE + b": bomb\n" * 1_000_000), coding, 100_000, max_response_size=1_000_000)
    assert isinstance(exchange.error, LimitExceeded)


def test_a_window_that_no_reader_should_give() -> None:
    """RFC 9659: a server may ask for 8 MiB of memory, not for more."""
    coder = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    ).compressobj()
    body = coder.compress(WHOLE) + coder.flush()
    exchange, _ = feed(body, "zstd", 100_000)
    assert isinstance(exchange.error, UnexpectedResponse)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codings are then refused by name, and no gateway offers them."""
    for package in ("brotli", "zstandard"):
        monkeypatch.setitem(sys.modules, package, None)
    module = runpy.run_path(_coding.__file__)
    assert module["CODINGS"] == ("gzip", "x-gzip", "deflate")
    for name in ("br", "zstd"):
        with pytest.raises(ValueError, match=f"content coding '{name}' is not supported"):
            module["content_decoder"](name)
