"""Values for fields: text in several scripts, numbers at their limits, JSON of any shape, names nobody knows."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from .._base import WireStruct

JSON = dict[str, Any]

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
def texts() -> st.SearchStrategy[str]:
    """Any text, nearly always short, sometimes of tens of kilobytes. No lone surrogates: those are a deviation."""
    short = st.one_of(st.text("abc ", max_size=8), st.text(max_size=12), st.sampled_from(HARD_TEXTS))
    return st.builds(_repeated, short, st.sampled_from(_TIMES))


def _repeated(text: str, times: int) -> str:
    return text * times


@cache
def names() -> st.SearchStrategy[str]:
    """Ids, model names, types: short, on one line, not empty."""
    return st.sampled_from(("a", "future", "名前")) | st.text(
        st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=8
    )


@cache
def counts() -> st.SearchStrategy[int]:
    """Numbers of tokens."""
    return st.integers(0, 9_999) | st.sampled_from(HARD_NUMBERS)


@cache
def _numbers() -> st.SearchStrategy[int | float]:
    limits = (*HARD_NUMBERS, *(-number for number in HARD_NUMBERS), 1.7976931348623157e308, 5e-324, -0.0, 0.1)
    return st.integers(-9, 9) | st.sampled_from(limits) | st.floats(allow_nan=False, allow_infinity=False)


@cache
def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value with few parts."""
    scalars = st.none() | st.booleans() | _numbers() | texts()
    return st.recursive(scalars, _containers, max_leaves=4)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(_keys(), inner, max_size=3)


@cache
def _keys() -> st.SearchStrategy[str]:
    # Some are words that a reader might take for its own.
    return st.sampled_from(("a", "key", "extra", "input_json", "_raw", "__class__", "delta", "text", "")) | st.text(
        max_size=6
    )


@cache
def json_objects() -> st.SearchStrategy[JSON]:
    return st.dictionaries(_keys(), json_values(), max_size=3)


@cache
def extras(*beside: type[WireStruct]) -> st.SearchStrategy[JSON]:
    """Fields that the given types don't name, mostly none."""
    taken = {"type"}.union(*(cls.__struct_encode_fields__ for cls in beside)) - {"extra"}
    some = st.dictionaries(_keys().filter(lambda key: key not in taken), json_values(), min_size=1, max_size=2)
    # Three in four are empty: examples stay readable and quick to draw.
    return st.one_of(st.just({}), st.just({}), st.just({}), some)
