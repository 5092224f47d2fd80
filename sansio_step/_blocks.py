"""Cut a text/event-stream into blocks: the lines up to a blank line, and that line.

This is the byte work under every decoder: the byte order mark, the three line ends, chunks that end
anywhere, comments, the size limit. Out come whole blocks in one common form, LF the only line end, so
that what reads them need not know what was on the wire.
(WHATWG HTML, 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event stream".)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

MAX_EVENT_SIZE = 16 * 1024 * 1024
# File-sized tool arguments and base64 documents come as one line of several MiB.

LARGE = 64 * 1024
# What waits in more bytes than this is one large event. It is read where it lies: each copy of some MiB is memory that the
# system has to find anew, which costs more than the reading (8 MiB: 2.8 nanoseconds a byte with three copies, 0.7 with none).

_BOM = b"\xef\xbb\xbf"
_CRLF = re.compile(b"\r\n")
_DIGITS = re.compile(b"[0-9]+")


class BlockReader:
    """Bytes in, whole blocks out.

    `feed` returns the blocks that are now complete as one bytes object: LF line ends, each block with its
    blank line. The unfinished block waits in `pending`, without comments, which are dropped as they come.
    """

    def __init__(self, max_event_size: int) -> None:
        if max_event_size < 1:
            raise ValueError(f"max_event_size is {max_event_size}, must be at least 1")
        self.limit = max_event_size
        self.pending = bytearray()
        self.pending_offset = 0  # where in the body the first pending byte stood
        self._start: bytes | None = b""  # the first bytes, while they may still be a cut BOM; None after that
        self._after_cr = False  # the last byte was a CR; an LF right behind it is the same line end
        self._in_comment = False  # the last line is a comment and still open; its bytes are not kept
        self._in_line = False  # the pending bytes end inside a line
        self.idle = False  # nothing of what came before has a say in how the next byte is read, or where it stands
        # What `offset_of` needs: the bytes of the body taken so far, the last piece as it was on the wire, how many of its
        # first (normalised) bytes were dropped, and what was pending in front of it. A decoder that reads a piece
        # itself, while this reader is idle, sets the first two.
        self.consumed = 0
        self.raw = b""
        self._skipped = 0
        self._carried = 0
        self._carried_offset = 0

    def feed(self, data: bytes) -> bytes | bytearray:
        """Take bytes and return the blocks that they complete, b"" where there is none."""
        self.raw = data
        self._skipped = 0
        self.consumed += len(data)
        if self._after_cr or self._in_comment or self._start is not None or 13 in data:  # a CR
            data = self._normalise(data)
        pending = self.pending
        carried = self._carried = len(pending)
        if carried:
            self._carried_offset = self.pending_offset
        # Only what is new is searched: searching all that is pending again would make a long line quadratic.
        end = data.rfind(b"\n\n") + 2
        if end == 1 and not (carried and pending[-1] == 10 and data[:1] == b"\n"):
            end = 0  # nor is there a blank line that the chunks share
        ready: bytes | bytearray
        if not end:
            ready, tail = b"", data
        elif carried > LARGE:
            pending += data[:end]
            ready, tail = pending, data[end:]
            self.pending = pending = bytearray()
        elif carried:
            ready, tail = b"".join((pending, data[:end])), data[end:]
            pending.clear()
        else:
            ready, tail = data if end == len(data) else data[:end], data[end:]
        if tail:
            self._keep(tail, end)
        self._in_line = bool(pending) and pending[-1] != 10 and not self._in_comment
        self.idle = not (
            pending or self._after_cr or self._in_comment or self._start is not None or carried or self._skipped
        )
        return ready

    def hold(self, data: object) -> bool:
        """Take a chunk that is just more of a line, and say so: one byte a chunk is 0.3 instead of 0.9 microseconds."""
        if (
            not self._in_line
            or type(data) is not bytes
            or 10 in data
            or 13 in data
            or len(self.pending) + len(data) > self.limit
        ):
            return False
        self.pending += data
        self.consumed += len(data)
        return True

    def finish(self) -> bytes:
        """What is left when the body ends inside a block."""
        rest = bytes(self.pending) + (self._start or b"")
        self.pending = bytearray()
        self.idle = self._in_line = False
        return rest

    def offset_of(self, position: int) -> int:
        """Where in the body the byte at a position of the blocks last returned stood."""
        if position < self._carried:
            # Only the start of the first block is ever asked for: it is the start of what was pending.
            return self._carried_offset
        return self._absolute(position - self._carried)

    def _absolute(self, position: int) -> int:
        """Where in the body a byte of the last piece stood, given its place after `_normalise`."""
        position += self._skipped
        if 13 in self.raw:
            for crlf in _CRLF.finditer(self.raw):
                if crlf.start() >= position:
                    break
                position += 1
        return self.consumed - len(self.raw) + position

    def _normalise(self, data: bytes) -> bytes:
        """Drop a BOM, make every line end an LF, drop the rest of an open comment."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return b""
            self._start = None
            data = data.removeprefix(_BOM)
            self.raw = data
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                self.raw = data = data[1:]
        if 13 in data:
            # A CR ends its line now, whatever comes next: waiting for a possible LF would hold the event back.
            self._after_cr = data.endswith(b"\r")
            # For bytes these three are what splitlines splits at. Half the time of two replacements.
            ends = data[-1] in b"\r\n"
            data = b"\n".join(data.splitlines())
            if ends:
                data += b"\n"
        if self._in_comment:
            self._skipped = data.find(b"\n") + 1 or len(data)
            self._in_comment = not data.endswith(b"\n", 0, self._skipped)
            data = data[self._skipped :]
        return data

    def _keep(self, tail: bytes, position: int) -> None:
        """Add the start of an unfinished block to what is pending, without comments and empty lines.

        `position` is where the tail begins in the piece. A stream of nothing but comments must not fill
        the memory, whether they come as many lines or as one that never ends.
        """
        pending = self.pending
        fresh = not pending or pending[-1] == 10
        if tail.find(b"\n:") < 0 and not (fresh and tail[:1] in (b":", b"\n")):
            if not pending:
                self.pending_offset = self._absolute(position)
            pending += tail
            return
        *lines, last = tail.split(b"\n")
        for line in lines:
            if not fresh or line[:1] not in (b":", b""):
                if not pending:
                    self.pending_offset = self._absolute(position)
                pending += line + b"\n"
            position += len(line) + 1
            fresh = True
        if fresh and last[:1] == b":":
            self._in_comment = True
        elif last:
            if not pending:
                self.pending_offset = self._absolute(position)
            pending += last


def split_blocks(ready: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """The blocks of what `BlockReader.feed` returned: where each starts, and its lines without comments.

    Blocks without a line are left out. A block starts at its first line that is no comment, so that its
    place does not depend on whether comments were dropped on the way.
    """
    position = 0
    for block in ready.split(b"\n\n"):
        start = position
        position += len(block) + 2
        if block[:1] in (b":", b"\n") or b"\n:" in block:
            lines = []
            for line in block.split(b"\n"):
                if line[:1] not in (b":", b""):
                    lines.append(line)
                elif not lines:
                    start += len(line) + 1
        else:
            lines = block.split(b"\n")
        if block and lines:
            yield start, lines


Fields = tuple[bytes | None, bytes | memoryview | None, bytes | None, bytes | None]
"""The values of event, data, id and retry in one block, None where there was no such line (or none that counts)."""


def read_fields(lines: list[bytes]) -> Fields:
    """Interpret the lines of one block (WHATWG HTML 9.2.6, "process the field")."""
    event = last_id = retry = None
    data: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
        elif name == b"id":
            if b"\0" not in value:
                last_id = value
        elif name == b"retry" and _DIGITS.fullmatch(value):
            retry = value
    return event, b"\n".join(data) if data else None, last_id, retry


# The orders of fields that servers use: an id, an event, one or more data lines; comments in front. `split`
# gives [gap, id, event, data, gap, id, event, data, ..., gap] in one C call, and a gap that is not just
# comments and empty lines is something else. 0.4 microseconds a block, where the loop over lines takes 2.
# A match begins where a block does, and nowhere else: of a long row of comments, empty lines or data lines
# each would be a start otherwise, and all behind it searched again.
_FIELDS = r"(?:id: ?([^\n\0]*)\n)?(?:event: ?(.*)\n)?data: ?(.*(?:\ndata:.*)*)\n\n"
# A few keep-alives in front belong to the match, which is twice as fast as a gap; a bounded number, for the same reason.
_USUAL = r"(?:(?<=\n\n)|\A\n*)(?::.*\n\n?){0,3}" + _FIELDS
_USUAL_TEXT = re.compile(_USUAL)
_USUAL_BYTES = re.compile(_USUAL.encode())
_COMMENTS = r"(?::.*\n|\n)*"
_COMMENTS_TEXT = re.compile(_COMMENTS)
_COMMENTS_BYTES = re.compile(_COMMENTS.encode())
_ONE_USUAL_BYTES = re.compile((_COMMENTS + _FIELDS).encode())
_DATA_LINE = b"\ndata: "
_NEXT_DATA_TEXT = re.compile(r"\ndata: ?")
_NEXT_DATA_BYTES = re.compile(rb"\ndata: ?")


def split_usual_text(ready: str) -> tuple[list[str | None], list[str | None], list[str]] | None:
    """The ids, event names and data of blocks that all have a usual shape; else None."""
    parts = _USUAL_TEXT.split(ready)
    if not all(map(_COMMENTS_TEXT.fullmatch, filter(None, parts[::4]))):
        return None
    data = [_joined_text(value) if "\n" in value else value for value in parts[3::4]]
    return parts[1::4], parts[2::4], data


def with_lf(chunk: bytes) -> bytes:
    """The chunk with LF for CRLF; b"" where a lone CR is among its line ends, as hardly any server writes."""
    chunk = chunk.replace(b"\r\n", b"\n")
    return b"" if 13 in chunk else chunk


def join_lines(lines: bytes) -> bytes | None:
    """The data of data lines, given without the first one's "data: "; None where another line is among them."""
    return lines.replace(_DATA_LINE, b"\n") if lines.count(b"\n") == lines.count(_DATA_LINE) else None


def match_usual(chunk: bytes) -> Fields:
    """The fields of a chunk that is just one block of a usual shape, LF its line end; where it is not, there is no
    data among them.
    """
    match = _ONE_USUAL_BYTES.fullmatch(chunk)
    if match is None:
        return None, None, None, None
    last_id, name, data = match.groups()
    return name, _joined_bytes(data) if 10 in data else data, last_id, None


def read_large(ready: bytearray) -> Iterable[Fields]:
    """As `read_blocks`, where the first block is large: its data, if that is one line, is a view of where it lies."""
    view = memoryview(ready)
    lines: list[memoryview] = []
    start = 0
    # A few lines, as an event in one data line has them: a view is 200 bytes, a block can have a million lines.
    while (end := ready.find(b"\n", start)) > start and len(lines) < 8:
        lines.append(view[start:end])
        start = end + 1
    data = [line for line in lines if bytes(line[:5]) == b"data:"]
    name, others, last_id, retry = read_fields([bytes(line) for line in lines if line not in data])
    if end > start or len(data) != 1 or others is not None:
        return read_blocks(bytes(ready))
    value = data[0][6 if bytes(data[0][5:6]) == b" " else 5 :]
    return chain([(name, value, last_id, retry)], read_blocks(bytes(view[end + 1 :])))


def read_blocks(ready: bytes) -> Iterable[Fields]:
    """The fields of each block of what `BlockReader.feed` returned."""
    *parts, rest = _USUAL_BYTES.split(ready)
    if not all(map(_COMMENTS_BYTES.fullmatch, filter(None, parts[::4]))):
        return [read_fields(lines) for _, lines in split_blocks(ready)]
    data = [_joined_bytes(value) if 10 in value else value for value in parts[3::4]]
    usual = zip(parts[2::4], data, parts[1::4], repeat(None))
    return chain(usual, (read_fields(lines) for _, lines in split_blocks(rest))) if rest else usual


def _joined_text(lines: str) -> str:
    """The value of several data lines, given without the first one's name."""
    value = lines.replace("\ndata: ", "\n")  # a third of the time of the expression, which is right for all
    return value if "\ndata:" not in value else _NEXT_DATA_TEXT.sub("\n", lines)


def _joined_bytes(lines: bytes) -> bytes:
    value = lines.replace(b"\ndata: ", b"\n")
    return value if b"\ndata:" not in value else _NEXT_DATA_BYTES.sub(b"\n", lines)
