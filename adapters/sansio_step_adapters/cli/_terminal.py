"""What a terminal may be shown: a server's control characters are commands to it."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["escaped"]

# C0 but for the line end, DEL and C1 (as bytes of a file's name, too, which Python reads as halves of characters), line
# separators, the marks and overrides of bidirectional text.
_COMMANDS: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udc9f]")


def escaped(text: str, *, tabs: bool = False) -> str:
    """A text with control characters as JSON writes them, line ends aside: in a JSON document it says the same.

    With `tabs` those stay, too, as prose and code have them.
    """
    return _COMMANDS.sub(lambda mark: "\t" if tabs and mark[0] == "\t" else f"\\u{ord(mark[0]):04x}", text)
