"""JSON: what msgspec refuses is read again, and agrees with it on all else."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_step._json import NotJSON, _Reader, json_size, read_json, read_partial_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_both_readers_agree_with_the_standard_library(value, ascii_only):
    """Whatever json.dumps writes reads back the same, by msgspec and by the reader behind it."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert _Reader(text).read() == value
    assert read_json(data)[0] == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u\x00d8\ud83d', max_size=12))
@example("1.")
@example("[1.]")
@example('"\\u00e')
@example("[01]")
@example("-")
@example('{"a":1,}')
@example("\ufeff1")
def test_both_readers_refuse_the_same(text):
    """What one reader takes for JSON the other does too, lone halves aside."""
    try:
        data = text.encode()
        value = read_json(data)[0]
    except UnicodeEncodeError:
        return
    except NotJSON as error:
        assert 0 <= error.position <= len(text)
        with pytest.raises(NotJSON):
            _Reader(text).read()
    else:
        assert _Reader(text, mended=True).read() == value


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("", "too early", 0),
        ("[1", "ends inside a number", 2),
        ('{"a"', "too early", 4),
        ('{"a":', "too early", 5),
        ('{"a":1,', "too early", 7),
        ('["ab', "a string without its end", 4),
        ("{1:2}", "a key in double quotes", 1),
        ('{"a" 1}', "expected ':'", 5),
        ("[1 2]", "expected ','", 3),
        ("1 2", "behind the JSON value", 2),
        ("[tru]", "expected a JSON value", 1),
        ('["\\x"]', "Invalid", 2),
        ("[1e999]", "out of range", 1),
        ("[1.]", "invalid number", 2),
    ],
)
def test_reasons_and_positions(text, reason, position):
    """The error says what is wrong and where, in characters; cut text is wrong at its end."""
    with pytest.raises(NotJSON, match=reason) as caught:
        read_json(text.encode())
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("{", {}), ('{"a', {}), ('{"a"', {}), ('{"a":', {}), ('{"a":1', {}), ('{"a":1,', {"a": 1}), ('{"a":1 ', {"a": 1}),
        ('{"a":-', {}), ('{"a":1.', {}), ('{"a":1.5', {}), ('{"a":1e', {}), ('{"a":1.5}', {"a": 1.5}), ('{"a":tr', {}), ('{"a":true', {"a": True}),
        ('{"a":nul', {}), ('{"a":"b', {"a": "b"}), ('{"a":"b\\', {"a": "b"}), ('{"a":"b\\u12', {"a": "b"}), ('{"a":"\\ud83d', {"a": ""}),
        ('{"a":"\\ud83d\\ude00', {"a": "\U0001f600"}), ('{"a":["b",[', {"a": ["b", []]}), ('{"a":[1,2', {"a": [1]}), ('{"a":{"b":"c"},"d', {"a": {"b": "c"}}),
        ('{"a":1}', {"a": 1}), ('{"a":1}x', {"a": 1}), ('{"a":oops', {}), ('{"a":"b\x01c"}', {"a": "b"}), ('["x', ["x"]), ('"x', "x"),
        ('{"a":"x\\ud83d"}', {"a": "x\ufffd"}),
    ],
)  # fmt: skip
def test_partial_json(text, value):
    """Cut text gives what it says so far: no unfinished number, literal, escape or key."""
    assert read_partial_json(text) == value


@given(VALUES.filter(lambda value: isinstance(value, dict)), st.data())
def test_partial_json_only_grows(value, data):
    """Any prefix of an object gives an object whose finished parts are those of the whole."""
    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text)))
    assert is_part(read_partial_json(text[:cut]), value)


def is_part(part, whole):
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and is_part(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(map(is_part, part, whole)) and len(part) <= len(whole)
    return whole.startswith(part) if isinstance(part, str) and isinstance(whole, str) else part == whole


@given(VALUES.filter(lambda value: not isinstance(value, float)))
def test_size_without_recursion(value):
    """The size of compact JSON, but for escapes and the way of writing numbers."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert json_size(value) <= len(text.encode("utf-8", "surrogatepass")) + text.count(":") + text.count(",") + 20


def test_size_of_nested_values():
    """Nesting is no obstacle to counting."""
    value = [1, "ab", None, True]
    for _ in range(10_000):
        value = {"k": [value]}
    assert 50_000 < json_size(value) < 120_000
