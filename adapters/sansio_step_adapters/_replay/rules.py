"""Which request gets what: by rules, by its model or in turn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from sansio_step import MessageRequest, StreamError, TextBlock, decode_message

from .captures import Capture, Playable, echo, playable
from .requests import last_text
from .timeline import AS_IT_IS, Dials

__all__ = ["NoAnswer", "Rule", "Selection", "read_script"]


class NoAnswer(Exception):
    """There is nothing for a request."""


@dataclass(frozen=True)
class Rule:
    """What the requests get that it is for: those that have all that is named here.

    A rule without an `answer` turns the dials of what a request gets anyway.
    """

    answer: Playable | None = None
    dials: Dials = AS_IT_IS
    model: str | None = None
    """The request's model, as a shell's pattern: step-*."""
    says: str | None = None
    """What is in the text of the user's last turn, results of tools among it."""
    stream: bool | None = None
    times: int | None = None
    """So many requests, after which the rule is used up; None: all of them."""

    def is_for(self, request: MessageRequest) -> bool:
        """Whether it is for a request."""
        return (
            (self.model is None or fnmatchcase(request.model, self.model))
            and (self.says is None or self.says in last_text(request))
            and (self.stream is None or self.stream == request.stream)
        )


class Selection:
    """What is served, and to whom: the first rule that is for a request and is not used up; else the capture that has
    the name of its model; else the captures in turn, again and again.
    """

    def __init__(
        self,
        captures: Sequence[Playable],
        rules: Sequence[Rule] = (),
        by: Literal["model", "order"] | None = None,
        dials: Dials = AS_IT_IS,
    ) -> None:
        self._captures = [playable(capture) for capture in captures]
        self._rules = [(rule, None if rule.answer is None else playable(rule.answer)) for rule in rules]
        self._left = [rule.times for rule in rules]
        self._by = by
        self._dials = dials
        self._turn = 0
        self._named: dict[str, Capture] = {}
        for capture in self._captures:
            if isinstance(capture, Capture) and capture.name:
                self._named.setdefault(capture.name, capture)
        if by == "model" and not self._named:
            raise ValueError("by: no capture has a name for a model to ask by")

    @property
    def names(self) -> list[str]:
        """The models that have a capture of their own, in the order of the captures."""
        return [] if self._by == "order" else list(self._named)

    def choose(self, request: MessageRequest) -> tuple[Playable, Dials]:
        """What a request gets. Raises NoAnswer."""
        for number, (rule, answer) in enumerate(self._rules):
            left = self._left[number]
            if left == 0 or not rule.is_for(request):
                continue
            failure = rule.dials.failure
            # An error with a status is all that there is, and takes no capture's turn.
            is_all = failure is not None and failure.after is None
            found = answer if answer is not None else b"" if is_all else self._default(request)
            if left is not None:
                self._left[number] = left - 1
            return found, rule.dials.over(self._dials)
        return self._default(request), self._dials

    def _default(self, request: MessageRequest) -> Playable:
        if self._by != "order" and request.model in self._named:
            return self._named[request.model]
        if self._by == "model":
            raise NoAnswer(f"model: {request.model}")
        if not self._captures:
            raise NoAnswer("no rule has an answer for this request")
        capture = self._captures[self._turn % len(self._captures)]
        self._turn += 1
        return capture


class _Entry(Dials, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of a script."""

    model: str | None = None
    says: str | None = None
    stream: bool | None = None
    times: int | None = None
    file: str | None = None
    text: str | None = None
    message: dict[str, Any] | None = None
    echo: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.times is not None and self.times < 1:
            raise ValueError(f"times: {self.times} is less than 1")
        given = [name for name in ("file", "text", "message") if getattr(self, name) is not None]
        given += ["echo"] * self.echo
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: a rule gives one of them")

    def as_rule(self, folder: Path) -> Rule:
        """The rule that it says. ValueError for a file or a message that can't be read."""
        answer: Playable | None = None
        if self.file is not None:
            answer = folder / self.file
        elif self.text is not None:
            answer = _speaker(self.text)
        elif self.message is not None:
            answer = decode_message(self.message)
        elif self.echo:
            answer = echo
        dials = Dials(**{name: getattr(self, name) for name in Dials.__struct_fields__})
        answer = None if answer is None else playable(answer)
        return Rule(answer, dials, self.model, self.says, self.stream, self.times)


def read_script(path: str | os.PathLike[str]) -> list[Rule]:
    """The rules of a script: a JSON array of objects, whose files are relative to the script's folder.

    Raises OSError if the script can't be opened, and ValueError, in one line, for what is wrong in it.
    """
    try:
        entries = msgspec.json.decode(Path(path).read_bytes(), type=list[_Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    if not entries:
        raise ValueError(f"{os.fspath(path)}: there is no rule in it")
    try:
        return [entry.as_rule(Path(path).parent) for entry in entries]
    except (ValueError, StreamError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def _speaker(text: str) -> Playable:
    def answer(request: MessageRequest) -> Playable:
        message = echo(request)
        message.content = [TextBlock(text)] if text else []
        return message

    return answer
