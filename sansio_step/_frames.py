"""Bytes to frames, and a frame's fields. A frame is the lines up to a blank line, and that line.

This is the byte work under every decoder: the byte order mark, the three line ends, chunks that end
anywhere, comments, the size limit. Whole frames come out in one common form, with LF as the only line
end, so that their readers need not know what was on the wire.
(WHATWG HTML, 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event stream".)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import repeat

MAX_EVENT_SIZE = 16 * 1024 * 1024
# File-sized tool arguments and base64 documents come as one line of several MiB.

_BOM = b"\xef\xbb\xbf"
_CRLF = re.compile(b"\r\n")
_BLANK_LINES = re.compile(b"\n{3,}")
_DIGITS = re.compile(b"[0-9]+")
_NAMED = re.compile(b"[A-Za-z][A-Za-z0-9_-]*:")


class FrameReader:
    """Bytes in, whole frames out.

    `feed` returns the frames that are now complete as one bytes object: LF line ends, each frame with its
    blank line. The unfinished frame waits in `pending`, without comments, which are dropped as they come.
    """

    __slots__ = (
        "_after_cr",
        "_carried",
        "_carried_offset",
        "_in_comment",
        "_skipped",
        "_start",
        "idle",
        "limit",
        "pending",
        "pending_offset",
        "piece",
        "taken",
    )

    def __init__(self, max_event_size: int) -> None:
        if max_event_size < 1:
            raise ValueError(f"max_event_size is {max_event_size}, must be at least 1")
        self.limit = max_event_size
        # A frame that ends in the next piece stays bytes; one that goes on for more pieces is a bytearray.
        self.pending: bytes | bytearray = b""
        self.pending_offset = 0  # where in the body the first pending byte stood
        # Whether nothing that came before affects how the next byte is read, or where it stands.
        self.idle = False
        self._start: bytes | None = b""  # the first bytes, while they may still be a cut BOM; None after that
        self._after_cr = False  # the last byte was a CR; an LF right after it is the same line end
        self._in_comment = False  # the last line is a comment and still open; its bytes are not kept
        # What `offset_of` needs: the bytes of the body taken so far, the last piece as it was on the wire, how many of
        # its first (normalised) bytes were dropped, and the length and offset of what was pending before it. If the
        # reader is `idle`, a decoder that reads a chunk of whole frames itself sets the first two, because a call for
        # that would be 7 % of an event.
        self.taken = 0
        self.piece = b""
        self._skipped = 0
        self._carried = 0
        self._carried_offset = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes and return the frames that they complete, b"" if there is none."""
        if self.idle and data[-2:] == b"\n\n" and 13 not in data and data[:1] not in (b":", b"\n"):
            # Whole frames, as servers flush them: 0.24 microseconds instead of 0.46.
            self.piece = data
            self.taken += len(data)
            return data
        self._skipped = 0
        self.taken += len(data)
        pending = self.pending
        if not pending and data[:1] in (b"\n", b"\r") and not self._in_comment and self._start is None:
            # A flood of blank lines costs what its bytes do: 400 MiB of them took 99 seconds as so many frames.
            ends_in_cr = data[-1:] == b"\r"
            data = data.lstrip(b"\r\n")
            self._after_cr = not data and ends_in_cr
        self.piece = data
        if 13 in data or self._after_cr or self._in_comment or self._start is not None:  # a CR
            data = self._normalise(data)
        carried = self._carried = len(pending)
        # Only the new bytes are searched: searching all pending bytes again would make a long line quadratic.
        end = data.rfind(b"\n\n") + 2
        if end == 1 and not (carried and pending[-1] == 10 and data[:1] == b"\n"):
            end = 0  # there is no blank line, not even one that the end of the last chunk began
        if not end:
            ready = b""
            if data:
                self._keep(data, 0)
        else:
            if carried:
                self._carried_offset = self.pending_offset
                ready = b"".join((pending, data[:end]))
            else:
                ready = data if end == len(data) else data[:end]
            if ready[:1] == b":" and is_silent(ready):
                ready = b""
            self.pending = b""
            tail = data[end:]
            if tail:
                if tail[:1] in (b":", b"\n") or b"\n:" in tail:
                    self._keep(tail, end)
                else:
                    self.pending = tail
                    self.pending_offset = self._absolute(end)
        self.idle = not (
            self.pending or self._after_cr or self._in_comment or self._start is not None or carried or self._skipped
        )
        return ready

    def hold(self, data: bytes) -> bool:
        """Take bytes from the middle of a line; False, and nothing is taken, if they are anything else.

        Bytes one by one take a third of the time this way.
        """
        pending = self.pending
        if (
            not pending
            or 10 in data
            or 13 in data
            or pending[-1] == 10
            or self._after_cr
            or self._in_comment
            or len(pending) + len(data) > self.limit
        ):
            return False
        if not isinstance(pending, bytearray):
            self.pending = pending = bytearray(pending)
        pending += data
        self.piece = data
        self.taken += len(data)
        self._skipped = 0
        return True

    def finish(self) -> bytes:
        """What is left when the body ends inside a frame."""
        rest = bytes(self.pending) + (self._start or b"")
        self.pending = b""
        self.idle = False
        return rest

    def offset_of(self, position: int) -> int:
        """The offset in the body of the byte at this position of the frames that `feed` returned last."""
        if position < self._carried:
            # Callers ask only for the starts of frames. In the pending bytes only one frame starts, at their beginning.
            return self._carried_offset
        return self._absolute(position - self._carried)

    def _absolute(self, position: int) -> int:
        """The offset in the body of a byte of the last piece, given its place after `_normalise`."""
        position += self._skipped
        if 13 in self.piece:
            for crlf in _CRLF.finditer(self.piece):
                if crlf.start() >= position:
                    break
                position += 1
        return self.taken - len(self.piece) + position

    def _normalise(self, data: bytes) -> bytes:
        """Drop a BOM, make every line end an LF, drop the rest of an open comment."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return b""
            self._start = None
            data = data.removeprefix(_BOM)
            self.piece = data
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                self.piece = data = data[1:]
        if 13 in data:
            # A CR ends its line now, whatever comes next: waiting for a possible LF would hold the event back.
            self._after_cr = data.endswith(b"\r")
            # On bytes, splitlines splits at just these three. It takes half the time of two replacements.
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
        """Add the start of an unfinished frame to what is pending, without comments and empty lines.

        `position` is where the tail begins in the piece. A stream of nothing but comments must not fill
        the memory, whether they come as many lines or as one that never ends.
        """
        pending = self.pending
        if not isinstance(pending, bytearray):
            self.pending = pending = bytearray(pending)
        fresh = not pending or pending[-1] == 10
        if tail.find(b"\n:") < 0 and not (fresh and tail[:1] in (b":", b"\n")):
            if not pending:
                self.pending_offset = self._absolute(position)
            pending += tail
            return
        if fresh and tail[:1] == b":" and is_silent(tail):
            self._in_comment = tail[-1:] != b"\n"
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


def is_silent(lines: bytes) -> bool:
    """Whether lines are all comments or blank, given that the first is a comment. It is counted at memory's speed.

    Each line end is followed by a colon then, by another line end, or by nothing. Three line ends in a row are a no.
    """
    followed = lines.count(b"\n") - lines.endswith(b"\n")
    return lines.count(b"\n:") + lines.count(b"\n\n") == followed


def without_blank_lines(ready: bytes) -> bytes:
    """Whole frames with one blank line between any two."""
    return _BLANK_LINES.sub(b"\n\n", ready) if b"\n\n\n" in ready else ready


def split_frames(ready: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """The frames of what `FrameReader.feed` returned: where each starts, and its lines without comments.

    Frames without a line are left out. A frame starts at its first line that is not a comment, so that its
    place does not depend on whether comments were dropped on the way.
    """
    position = 0
    for frame in ready.split(b"\n\n"):
        start = position
        position += len(frame) + 2
        if frame[:1] in (b":", b"\n") or b"\n:" in frame:
            lines = []
            for line in frame.split(b"\n"):
                if line[:1] not in (b":", b""):
                    lines.append(line)
                elif not lines:
                    start += len(line) + 1
        else:
            lines = frame.split(b"\n")
        if frame and lines:
            yield start, lines


Fields = tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]
"""The values of event, data, id and retry in one frame, None if there was no such line (or none that counts).

The fifth value holds the lines that don't look like fields. The standard ignores them, but some servers write whole
documents that way.
"""


def read_fields(frame: bytes) -> Fields:
    """Interpret one frame (WHATWG HTML 9.2.6, "process the field"). Comments and empty lines name no field."""
    first, _, second = frame.partition(b"\n")
    if first[:7] == b"event: " and second[:6] == b"data: " and 10 not in second:
        return first[7:], second[6:], None, None, None  # as nearly all are: 0.3 microseconds, and the loop takes 1.2
    event = last_id = retry = None
    data: list[bytes] = []
    bare: list[bytes] = []
    for line in frame.split(b"\n"):
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
        elif name == b"retry":
            retry = value if _DIGITS.fullmatch(value) else retry
        elif name and not _NAMED.match(line):
            bare.append(line)
    return event, b"\n".join(data) if data else None, last_id, retry, b"\n".join(bare) if bare else None


# The order of fields that servers use: an id, an event, one or more data lines; comments before them. `split`
# gives [gap, id, event, data, gap, id, event, data, ..., gap] in one C call, and a gap with more than comments
# and empty lines means another shape. It takes 0.4 microseconds a frame, the loop over lines 1.2.
# A match can begin only where a frame does: otherwise each line in a long row of comments, empty lines or data
# lines would be a start, and everything after it would be searched again.
_FIELDS = rb"(?:id: ?([^\n\0]*)\n)?(?:event: ?(.*)\n)?data: ?(.*(?:\ndata:.*)*)\n\n"
# The match includes a few keep-alives before the fields, which is twice as fast as a gap. Their number is bounded, so
# that a long row of them is not searched again from each of its lines.
_USUAL = re.compile(rb"(?:(?<=\n\n)|\A\n*)(?::.*\n\n?){0,3}" + _FIELDS)
_COMMENTS = re.compile(rb"(?::.*\n|\n)*")
_ONE_USUAL = re.compile(rb"(?::.*\n|\n)*" + _FIELDS)
_NEXT_DATA = re.compile(rb"\ndata: ?")


def fields_of_frames(ready: bytes) -> Iterable[Fields]:
    """The fields of each frame of what `FrameReader.feed` returned."""
    if ready.count(b"\n\n", 0, 4096) < 8:  # the pattern costs 1 microsecond to begin with
        return map(read_fields, ready.split(b"\n\n"))
    parts = _USUAL.split(ready)
    if not all(map(_COMMENTS.fullmatch, filter(None, parts[::4]))):
        return map(read_fields, ready.split(b"\n\n"))
    data = [_joined(value) if 10 in value else value for value in parts[3::4]]
    return zip(parts[2::4], data, parts[1::4], repeat(None), repeat(None))


def read_one(chunk: bytes) -> Fields:
    """The fields of a chunk that is just one frame of a usual shape; for any other chunk the data is None."""
    if 13 in chunk:
        chunk = chunk.replace(b"\r\n", b"\n")
    # On a chunk of two frames the pattern tries each of the first one's bytes as its end, for 12 microseconds.
    may_be = chunk.find(b"\n\n") == len(chunk) - 2 or chunk[:1] == b":"
    match = _ONE_USUAL.fullmatch(chunk) if may_be and 13 not in chunk else None  # a lone CR ends a line, too
    if match is None:
        return None, None, None, None, None
    last_id, name, data = match.groups()
    return name, _joined(data) if 10 in data else data, last_id, None, None


def _joined(lines: bytes) -> bytes:
    """The value of several data lines, given without the first one's name."""
    value = lines.replace(b"\ndata: ", b"\n")  # takes a third of the time of the pattern, which handles all forms
    return value if b"\ndata:" not in value else _NEXT_DATA.sub(b"\n", lines)
