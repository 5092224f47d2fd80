"""Tool arguments as a type of the caller's own."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import msgspec

from ._errors import ToolInputError, shown
from ._json_path import position_of

_AT = re.compile(r"(.*) - at (?:`key` in )?`(\$.*)`", re.DOTALL)
"""msgspec's words for a value that is not of its type. It names no path for the outermost object."""


def convert_input(arguments: dict[str, Any], input_json: str, type: Any) -> Any:
    """The arguments as a type that msgspec knows. Raises ToolInputError, with the path that is at fault."""
    try:
        # From the text, if there is one: a Decimal keeps its digits, and Raw its text.
        if input_json:
            # What it refuses can be right all the same: halves of characters, and an earlier value of a key that comes
            # twice.
            with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
                return msgspec.json.decode(input_json, type=type)
        return msgspec.convert(arguments, type, str_keys=True)
    except msgspec.ValidationError as error:
        found = _AT.fullmatch(str(error))
        reason, path = found.groups() if found is not None else (str(error), "$")
        position = position_of(input_json, path) if input_json else None
        raise ToolInputError(f"{shown(reason)} - at {shown(path)}", input_json, position, path) from error
