"""Checks of the object that gives the chunks of a body. The TypeError for a wrong one says what to do instead."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

Bytes = bytes | bytearray | memoryview


def check_chunks(chunks: Iterable[Bytes]) -> Iterable[Bytes]:
    """The same object, if it can be iterated for bytes; else TypeError."""
    if isinstance(chunks, str):
        raise TypeError("expected an iterable of bytes, not str: the body as it came, before any decoding")
    if isinstance(chunks, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected an iterable of bytes, not {_kind(chunks)} itself; parse() takes it whole")
    if hasattr(chunks, "__aiter__"):
        raise TypeError(f"expected an iterable of bytes, not {_kind(chunks)}, which is async: aiter_events() takes it")
    if not hasattr(chunks, "__iter__") and not hasattr(chunks, "__getitem__"):
        raise TypeError(f"expected an iterable of bytes, not {_kind(chunks)}{_iterator_of(chunks)}")
    return chunks


def check_async_chunks(chunks: AsyncIterable[Bytes]) -> AsyncIterable[Bytes]:
    """The same object, if it can be iterated asynchronously for bytes; else TypeError."""
    if hasattr(chunks, "__aiter__"):
        return chunks
    if isinstance(chunks, (bytes, bytearray, memoryview, str)):
        instead = " itself; parse() takes a whole body, as bytes"
    elif hasattr(chunks, "__iter__"):
        instead = ", which is not async: iter_events() takes it"
    else:
        instead = _iterator_of(chunks)
    raise TypeError(f"expected an async iterable of bytes, not {_kind(chunks)}{instead}")


def _kind(thing: object) -> str:
    return type(thing).__name__


def _iterator_of(response: object) -> str:
    """Which of a response's attributes gives its chunks, as HTTP libraries name them."""
    found = [
        f"{name}()"
        for name in ("aiter_bytes", "iter_bytes", "iter_content", "iter_any", "iter_chunked", "stream")
        if callable(getattr(response, name, None))
    ]
    if callable(getattr(getattr(response, "content", None), "iter_any", None)):
        found = ["content.iter_any()"]
    return f": pass the chunks of its body, as {' or '.join(found)} gives them" if found else ""
