"""A request's body on its way: pieces go in as they come, and out as the connection takes them. No I/O."""

from __future__ import annotations


class Body:
    """What is still to be sent of a body and, up to a size, what has been sent, in case it must go out again."""

    def __init__(self, most_kept: int = 0) -> None:
        self._most_kept = most_kept
        self._data: bytes | bytearray = bytearray()
        self._place = 0  # of the byte in `_data` that goes out next
        # How much came in.
        self.size = 0
        # How much of it has not gone out.
        self.unsent = 0
        # Whether no more will come in.
        self.whole = False

    @classmethod
    def of(cls, data: bytes) -> Body:
        """A body that is there from the start, and is kept."""
        body = cls(len(data))
        body._data, body.size, body.unsent, body.whole = data, len(data), len(data), True
        return body

    def feed(self, piece: bytes, *, more: bool) -> None:
        """Take a piece; without `more` it is the last."""
        self._data += piece
        self.size += len(piece)
        self.unsent += len(piece)
        self.whole = not more

    def take(self, most: int) -> bytes:
        """The next bytes, at most so many; none if there are none now."""
        taken = bytes(self._data[self._place : self._place + most])
        self._place += len(taken)
        self.unsent -= len(taken)
        if self.size > self._most_kept:
            self._drop()
        return taken

    def forget(self) -> None:
        """Keep nothing from now on: it won't begin again."""
        self._most_kept = -1
        self._drop()

    def _drop(self) -> None:
        if isinstance(self._data, bytearray):
            del self._data[: self._place]  # a bytearray gives its front away without moving the rest
        else:
            self._data = bytearray(self._data[self._place :])
        self._place = 0

    def rewind(self) -> bool:
        """Begin again with the first byte; False if it is not there any more."""
        if self._place + self.unsent < self.size:
            return False
        self._place, self.unsent = 0, self.size
        return True
