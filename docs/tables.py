"""Writes the tables of `events.md` from the types: `python docs/tables.py`. A test says when that is due."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import sansio_step

PAGE = Path(__file__).with_name("events.md")
OTHERS = (sansio_step.Message, sansio_step.Usage, sansio_step.MessageDelta, sansio_step.ErrorDetail)
TABLES = {
    "events": get_args(sansio_step.StreamEvent),
    "deltas": get_args(sansio_step.Delta),
    "blocks": get_args(sansio_step.ContentBlock),
    "others": OTHERS,
}
# How annotations are said in a table. Names of the source that are nobody's business come first.
WORDS = [
    (r"\bWireIndex\b", "int"),
    (r"\b_WireDelta\b", "Delta"),
    (r"dict\[str, Any\]", "dict"),
    (r"list\[Any\]", "list"),
    (r"\bAny\b", "any JSON"),
    (r" \| ", " or "),
]


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def page(text: str) -> str:
    """The page with all tables as the types have them now."""
    for name, classes in TABLES.items():
        begin, end = f"<!-- {name}, by tables.py -->\n", "<!-- end -->"
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        text = f"{before}{begin}{''.join(rows(classes))}{end}{after}"
    return text


def rows(classes: Iterable[Any]) -> Iterator[str]:
    """A table of classes: the type on the wire, the class, its fields, what it is."""
    yield "| `type` | class | fields | what it is |\n|---|---|---|---|\n"
    for cls in classes:
        wire = getattr(cls, "type", None)
        kind = f"`{wire}`" if isinstance(wire, str) else "any other" if cls.__name__.startswith("Unknown") else ""
        summary = re.split(r"(?<=\.) |\n\n", inspect.getdoc(cls) or "")[0].replace("\n", " ")
        yield f"| {kind} | `{cls.__name__}` | {', '.join(fields(cls))} | {summary} |\n"


def fields(cls: Any) -> Iterator[str]:
    """The fields of a class, as `name` kind. `extra`, which all have, is left out."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        said |= inspect.get_annotations(base)
    for name in cls.__struct_fields__:
        if name != "extra" and not name.startswith("_"):
            kind = said[name]
            for pattern, word in WORDS:
                kind = re.sub(pattern, word, kind)
            yield f"`{name}` {kind}"


if __name__ == "__main__":
    main()
