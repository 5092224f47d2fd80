"""The request for one message, held to the limits that the home endpoint documents.

A mistake shows when the request is made, not in a 400 from the server. The request keeps a copy of what it
checked, so it sends exactly that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal, NoReturn

from ._encode import encode_json
from ._errors import short_repr, shown

Role = Literal["user", "assistant"]
Effort = Literal["low", "medium", "high"]

_ROLES: Final = ("user", "assistant")
_EFFORTS: Final = ("low", "medium", "high")
_EFFORTS_OF: Final[dict[str, tuple[str, ...]]] = {"step-3.5-flash-2603": ("low", "high")}

_MAX_NESTING: Final = 256
# A block that was read can be 200 levels deep (`_json.MAX_NESTING`), and it sits a few levels down in a request.

_TOO_LARGE: Final = 10**4300
# Python neither reads nor writes an integer of more than 4,300 digits.

_BASE64: Final = re.compile(r"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*")


@dataclass(frozen=True, kw_only=True, init=False, repr=False)
class MessageRequest:
    """A request to `/v1/messages`: checked when it is made, encoded by `to_json()`.

    A ValueError or TypeError names the field, the value and the rule. Fields that the endpoint does not
    list (`thinking`, `tool_choice`, `metadata`: other vendors have them) go into `extra` under their wire
    names. So do efforts that it doesn't list: `extra={"output_config": {"effort": "max"}}`.
    `messages` takes what `to_param` returns as it is. `request.replace(stream=True)` makes a changed copy.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    system: str | Sequence[Mapping[str, Any]] | None
    tools: Sequence[Mapping[str, Any]] | None
    effort: Effort | None
    stream: bool
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: Sequence[str] | None
    extra: Mapping[str, Any] | None

    def __init__(
        self,
        *,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int,
        system: str | Sequence[Mapping[str, Any]] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        effort: Effort | None = None,
        stream: bool = False,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        stop_sequences: Sequence[str] | None = None,
        extra: Mapping[str, Any] | None = None,
        **unlisted: NoReturn,  # type checkers refuse it, and the error below says where it goes
    ) -> None:
        if unlisted:
            name = next(iter(unlisted))
            raise TypeError(
                f"{short_repr(name)} is not a field that the endpoint lists; "
                f"if the server takes it, pass extra={{{short_repr(name)}: ...}}"
            )
        given = {
            "model": model,
            "messages": messages,
            "max_tokens": max_tokens,
            "system": system,
            "tools": tools,
            "effort": effort,
            "stream": stream,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "stop_sequences": stop_sequences,
            "extra": extra,
        }
        for name, value in given.items():
            checked = _CHECKS[name](value, name) if value is not None or name in _REQUIRED else None
            object.__setattr__(self, name, checked)
        allowed = _EFFORTS_OF.get(self.model, _EFFORTS)
        if effort is not None and effort not in allowed:
            raise _wrong("effort", effort, f"is not {_one_of(allowed)}, the only efforts that {self.model} takes")
        if effort is not None and "effort" in (self.extra or {}).get("output_config", {}):
            raise ValueError("effort: extra.output_config.effort sets it too")

    def __repr__(self) -> str:
        # Short, whatever the size of the request: it ends up in logs and tracebacks.
        said = [f"{name}={short_repr(value)}" for name, value in vars(self).items() if value is not None]
        return f"MessageRequest({', '.join(said)})"

    def replace(self, **changes: Any) -> MessageRequest:
        """A copy with some fields changed, checked like a new one."""
        return MessageRequest(**{**vars(self), **changes})

    def to_dict(self) -> dict[str, Any]:
        """The JSON object with the fields that are set; `effort` becomes `output_config.effort`."""
        values = dict(vars(self))
        extra = values.pop("extra") or {}
        effort = values.pop("effort")
        wire = {name: value for name, value in values.items() if value is not None and value is not False}
        wire.update(extra)
        if effort is not None:
            wire["output_config"] = {**extra.get("output_config", {}), "effort": effort}
        return wire

    def to_json(self) -> bytes:
        """The body of the request: `to_dict` as compact JSON in UTF-8."""
        return encode_json(self.to_dict())


# --- what is wrong ---------------------------------------------------------------------------------------


def _wrong(path: str, value: object, rule: str) -> ValueError:
    return ValueError(f"{path}: {short_repr(value)} {rule}")


def _wrong_type(path: str, value: object, wanted: str) -> TypeError:
    return TypeError(f"{path}: {short_repr(value)} is of type {type(value).__name__}, not {wanted}")


def _one_of(allowed: Sequence[str]) -> str:
    *most, last = map(repr, allowed)
    return f"{', '.join(most)} or {last}"


# --- JSON ------------------------------------------------------------------------------------------------


def _plain(value: Any, path: str, depth: int = 0) -> Any:
    """A copy of a JSON value in plain types. Refuses a value that JSON can't express, instead of bending it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _string(value, path)
    if isinstance(value, int):
        return _writable(int(value), path)
    if isinstance(value, float):
        if not isfinite(value):
            raise _wrong(path, value, "is not a JSON number")
        return float(value)
    if depth == _MAX_NESTING:
        raise ValueError(f"{path[:80]}...: nested deeper than {_MAX_NESTING}")
    if isinstance(value, Mapping):
        made = {}
        for key, item in value.items():
            name = _string(key, f"a key of {path}")
            made[name] = _plain(item, f"{path}.{shown(name, 60)}", depth + 1)
        return made
    if isinstance(value, (list, tuple)):
        items = []
        for position, item in enumerate(value):
            items.append(_plain(item, f"{path}[{position}]", depth + 1))
        return items
    raise _wrong_type(path, value, "a JSON value")


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(path, value, "a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _wrong(path, value, "has half of a surrogate pair, which UTF-8 can't carry") from None
    return str.__str__(value)  # a str-Enum's value, not its name


def _filled(value: Any, path: str) -> str:
    text = _string(value, path)
    if not text.strip():
        raise _wrong(path, text, "is empty")
    return text


def _boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(path, value, "a boolean")
    return value


def _integer(value: Any, path: str) -> int:
    # A bool is an int to Python, not to JSON.
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(path, value, "an integer")
    return _writable(int(value), path)


def _writable(value: int, path: str) -> int:
    if abs(value) >= _TOO_LARGE:
        raise _wrong(path, value, "is too large to be written")
    return value


def _number(value: Any, path: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _wrong_type(path, value, "a number")
    return value


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong_type(path, value, "an object (a dict)")
    return value


def _array(value: Any, path: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise _wrong_type(path, value, "an array (a list)")
    return value


def _member(value: Mapping[str, Any], key: str, path: str) -> Any:
    if key not in value:
        raise ValueError(f"{path}.{key}: it is missing")
    return value[key]


# --- messages --------------------------------------------------------------------------------------------


def _messages(value: Any, path: str) -> Any:
    if not _array(value, path):
        raise _wrong(path, value, "is empty: at least one message is needed")
    for position, message in enumerate(value):
        _check_message(message, f"{path}[{position}]")
    return _plain(value, path)


def _check_message(value: Any, path: str) -> None:
    message = _object(value, path)
    if message.get("type") == "message":
        raise ValueError(f"{path}: it is a whole response; to_param(message) makes a turn of it")
    role = _string(_member(message, "role", path), f"{path}.role")
    if role not in _ROLES:
        raise _wrong(f"{path}.role", role, f"is not {_one_of(_ROLES)}")
    content = _member(message, "content", path)
    if not isinstance(content, str):
        checks = _USER_BLOCKS if role == "user" else _ASSISTANT_BLOCKS
        _check_blocks(content, f"{path}.content", checks)


def _check_blocks(value: Any, path: str, checks: Mapping[str, Callable[[Mapping[str, Any], str], None]]) -> None:
    if not isinstance(value, (list, tuple)):
        raise _wrong_type(path, value, "a string or an array of blocks")
    for position, item in enumerate(value):
        here = f"{path}[{position}]"
        block = _object(item, here)
        kind = _string(_member(block, "type", here), f"{here}.type")
        check = checks.get(kind)
        if check is not None:
            check(block, here)


def _check_text(block: Mapping[str, Any], path: str) -> None:
    _string(_member(block, "text", path), f"{path}.text")


def _check_image(block: Mapping[str, Any], path: str) -> None:
    path = f"{path}.source"
    source = _object(_member(block, "source", path.removesuffix(".source")), path)
    kind = _string(_member(source, "type", path), f"{path}.type")
    if kind == "url":
        _filled(_member(source, "url", path), f"{path}.url")
    elif kind == "base64":
        _filled(_member(source, "media_type", path), f"{path}.media_type")
        data = _string(_member(source, "data", path), f"{path}.data")
        if not _BASE64.fullmatch(data):
            raise _wrong(f"{path}.data", data, "is not base64")
    else:
        raise _wrong(f"{path}.type", kind, f"is not {_one_of(('url', 'base64'))}")


def _check_tool_use(block: Mapping[str, Any], path: str) -> None:
    # Some servers forget the id or the name, or leave them empty, and `to_param` can't make them up.
    for key in ("id", "name"):
        if key in block:
            _string(block[key], f"{path}.{key}")
    _object(_member(block, "input", path), f"{path}.input")


def _check_tool_result(block: Mapping[str, Any], path: str) -> None:
    _filled(_member(block, "tool_use_id", path), f"{path}.tool_use_id")
    content = block.get("content", "")
    if not isinstance(content, str):
        _check_blocks(content, f"{path}.content", _RESULT_BLOCKS)
    if "is_error" in block:
        _boolean(block["is_error"], f"{path}.is_error")


# Blocks of other types are the server's business. So are images and results in an assistant's turn: a server
# said them, and `to_param` gives them back as they came.
_ASSISTANT_BLOCKS: Final = {"text": _check_text, "tool_use": _check_tool_use}
_RESULT_BLOCKS: Final = {"text": _check_text, "image": _check_image}
_USER_BLOCKS: Final = {**_RESULT_BLOCKS, "tool_use": _check_tool_use, "tool_result": _check_tool_result}


# --- the other fields ------------------------------------------------------------------------------------


def _max_tokens(value: Any, path: str) -> int:
    number = _integer(value, path)
    if number <= 0:
        raise _wrong(path, number, "is not greater than 0")
    return number


def _system(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return _string(value, path)
    _check_blocks(value, path, {"text": _check_text})
    for position, block in enumerate(value):
        if block["type"] != "text":
            raise _wrong(f"{path}[{position}].type", block["type"], "is not 'text'")
    return _plain(value, path)


def _tools(value: Any, path: str) -> Any:
    for position, item in enumerate(_array(value, path)):
        here = f"{path}[{position}]"
        tool = _object(item, here)
        _filled(_member(tool, "name", here), f"{here}.name")
        if "description" in tool:
            _string(tool["description"], f"{here}.description")
        # A tool with a type is one of those that other vendors' servers run themselves.
        if "input_schema" in tool or tool.get("type", "custom") == "custom":
            _object(_member(tool, "input_schema", here), f"{here}.input_schema")
    return _plain(value, path)


def _effort(value: Any, path: str) -> str:
    effort = _string(value, path)
    if effort not in _EFFORTS:
        raise _wrong(path, effort, f"is not {_one_of(_EFFORTS)}")
    return effort


def _temperature(value: Any, path: str) -> float:
    number = _number(value, path)
    if not 0 <= number <= 2:
        raise _wrong(path, number, "is not between 0 and 2")
    return number


def _top_p(value: Any, path: str) -> float:
    number = _number(value, path)
    if not 0 < number <= 1:
        raise _wrong(path, number, "is not greater than 0 and at most 1")
    return number


def _top_k(value: Any, path: str) -> int:
    number = _integer(value, path)
    if not 0 <= number <= 500:
        raise _wrong(path, number, "is not between 0 and 500")
    return number


def _stop_sequences(value: Any, path: str) -> list[str]:
    return [_string(item, f"{path}[{position}]") for position, item in enumerate(_array(value, path))]


def _extra(value: Any, path: str) -> Any:
    fields = _object(value, path)
    for name in fields:
        if name in _LISTED:
            raise ValueError(f"{path}.{name}: it is an argument of its own")
    _object(fields.get("output_config", {}), f"{path}.output_config")
    return _plain(fields, path)


_REQUIRED: Final = frozenset({"model", "messages", "max_tokens", "stream"})
_CHECKS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "model": _filled,
    "messages": _messages,
    "max_tokens": _max_tokens,
    "system": _system,
    "tools": _tools,
    "effort": _effort,
    "stream": _boolean,
    "temperature": _temperature,
    "top_p": _top_p,
    "top_k": _top_k,
    "stop_sequences": _stop_sequences,
    "extra": _extra,
}
_LISTED: Final = frozenset(_CHECKS) - {"extra"}
