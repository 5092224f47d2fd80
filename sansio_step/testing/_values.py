"""Values for fields: text in several scripts, numbers at their limits, JSON of any shape, names nobody knows."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

from .._base import WireStruct

JSON = dict[str, Any]


class Dials(NamedTuple):
    """What a value may be. By default it is anything; a consumer that can't take it all turns some of it down."""

    unknown: bool = True  # fields, types and words that nobody announced
    broken_input: bool = True  # arguments of calls that were cut
    nul: bool = True  # U+0000 in texts and keys
    max_text: int | None = None  # characters
    max_number: int | None = None  # of integers, in either direction


ANYTHING = Dials()

# Strategies are cached: making one takes longer than drawing from it.

# Text that has broken readers before: astral characters, combining marks, characters that look like a line end but
# are none, text that looks like syntax of a layer below, the edges of the surrogate range.
HARD_TEXTS = (
    "你好，世界",
    "🦜",
    "e\u0301👩\u200d💻",
    "\u2028\u2029\u0085\x0b\x0c\x1c",
    "\0\x01\x1f\x7f",
    "\r\n\r\n",
    "data: [DONE]\n\nevent: error\n",
    '"}\\',
    '{"a": 1}',
    "\\ud83d",
    "\ufeff",
    "\ud7ff\ue000\uffff\U0010ffff",
    "</thinking>{{}}%s",
)

HARD_NUMBERS = (
    2**31 - 1,
    2**31,
    2**53 - 1,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    10**300,
)


# How often a text is repeated: some texts are longer than the 28 KiB that a decoder reads at a time, and than any
# network read.
_TIMES = (1,) * 40 + (30, 1_000, 20_000)


@cache
def texts(dials: Dials = ANYTHING) -> st.SearchStrategy[str]:
    """Any text, nearly always short, sometimes of tens of kilobytes. No lone surrogates: those are a deviation."""
    hard = tuple(text for text in HARD_TEXTS if dials.nul or "\0" not in text)
    short = st.one_of(st.text("abc ", max_size=8), st.text(characters(dials), max_size=12), st.sampled_from(hard))
    return st.builds(_repeated, short, st.sampled_from(_TIMES), st.just(dials.max_text))


def _repeated(text: str, times: int, most: int | None) -> str:
    return (text * times)[:most]


def characters(dials: Dials, without: str = "") -> st.SearchStrategy[str]:
    """Any character but those, and no half of one."""
    return st.characters(exclude_characters=without if dials.nul else without + "\0", exclude_categories=["Cs"])


@cache
def names() -> st.SearchStrategy[str]:
    """Ids, model names, types: short, on one line, not empty."""
    return st.sampled_from(("a", "future", "名前")) | st.text(
        st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=8
    )


@cache
def counts(dials: Dials = ANYTHING) -> st.SearchStrategy[int]:
    """Numbers of tokens."""
    most = 9_999 if dials.max_number is None else min(9_999, dials.max_number)
    hard = _hard_numbers(dials)
    return st.integers(0, most) | st.sampled_from(hard) if hard else st.integers(0, most)


def _hard_numbers(dials: Dials) -> tuple[int, ...]:
    return tuple(number for number in HARD_NUMBERS if dials.max_number is None or number <= dials.max_number)


@cache
def _numbers(dials: Dials) -> st.SearchStrategy[int | float]:
    hard = _hard_numbers(dials)
    limits = (*hard, *(-number for number in hard), 1.7976931348623157e308, 5e-324, -0.0, 0.1)
    few = 9 if dials.max_number is None else min(9, dials.max_number)
    return st.integers(-few, few) | st.sampled_from(limits) | st.floats(allow_nan=False, allow_infinity=False)


@cache
def json_values(dials: Dials = ANYTHING) -> st.SearchStrategy[Any]:
    """Any JSON value with few parts."""
    scalars = st.none() | st.booleans() | _numbers(dials) | texts(dials)

    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=3) | st.dictionaries(_keys(dials), inner, max_size=3)

    return st.recursive(scalars, containers, max_leaves=4)


@cache
def _keys(dials: Dials) -> st.SearchStrategy[str]:
    # Some are words that a reader might take for its own.
    return st.sampled_from(("a", "key", "extra", "input_json", "_raw", "__class__", "delta", "text", "")) | st.text(
        characters(dials), max_size=6
    )


@cache
def json_objects(dials: Dials = ANYTHING) -> st.SearchStrategy[JSON]:
    return st.dictionaries(_keys(dials), json_values(dials), max_size=3)


@cache
def extras(*beside: type[WireStruct], dials: Dials = ANYTHING) -> st.SearchStrategy[JSON]:
    """Fields that the given types don't name, mostly none."""
    if not dials.unknown:
        return st.just({})
    taken = {"type"}.union(*(cls.__struct_encode_fields__ for cls in beside)) - {"extra"}
    free = _keys(dials).filter(lambda key: key not in taken)
    some = st.dictionaries(free, json_values(dials), min_size=1, max_size=2)
    # Three in four are empty: examples stay readable and quick to draw.
    return st.one_of(st.just({}), st.just({}), st.just({}), some)
