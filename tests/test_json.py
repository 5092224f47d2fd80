"""JSON: what msgspec refuses is read again, and agrees with it on all else."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_step import DecodeError, decode_event
from sansio_step._json import (
    NotJSON,
    _Reader,
    has_halves,
    join_halves,
    json_bytes,
    read_json,
    write_json,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_both_readers_agree_with_the_standard_library(value, ascii_only):
    """Whatever json.dumps writes reads back the same, by msgspec and by the reader that stands in for it."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert _Reader(text).read() == value
    assert read_json(text.encode())[0] == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u\x00d8', max_size=12))
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
        value = read_json(text.encode())[0]
    except NotJSON as error:
        assert 0 <= error.position <= len(text)
        with pytest.raises(NotJSON):
            _Reader(text).read()
    else:
        assert _Reader(text, mended=True).read() == value


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("", "the text ends too early: expected a JSON value", 0),
        ("[1", "the text ends inside a number", 2),
        ('{"a"', "the text ends too early: expected ':' after a key", 4),
        ('{"a":', "the text ends too early: expected a JSON value", 5),
        ('{"a":1,', "the text ends too early: expected a key in double quotes", 7),
        ('["ab', "the text ends too early: a string without its end", 4),
        ("{1:2}", "expected a key in double quotes", 1),
        ('{"a" 1}', "expected ':' after a key", 5),
        ("[1 2]", "expected ',' or the end of the object or array", 3),
        ('{"a":1]', "expected ',' or the end of the object or array", 6),
        ("[}", "expected a JSON value", 1),
        ("{]", "expected a key in double quotes", 1),
        ("1 2", "text after the JSON value", 2),
        ("[tru]", "expected a JSON value", 1),
        ('["\\x"]', "Invalid \\escape", 2),
        ("[1e999]", "number out of range", 1),
        ("[%s]" % ("1" * 5000), "number out of range", 1),
        ("[1.]", "invalid number", 2),
    ],
)
def test_reasons_and_positions(text, reason, position):
    """The error says what is wrong and where, in characters; cut text is wrong at its end."""
    with pytest.raises(NotJSON) as caught:
        read_json(text.encode())
    assert (caught.value.reason, caught.value.position) == (reason, position)
    assert str(caught.value) == reason


def nested(depth, start="[", end="]"):
    return start * depth + "1" + end * depth


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"é":', "}"), (' [ {"k" :', "} ]")])
def test_depth_has_one_limit_for_both_readers(start, end):
    """200 levels are read, of the 201st the place is told, in characters; what stands beside it or in strings is no level."""
    levels = start.count("[") + start.count("{")
    text = nested(200 // levels, start, end)
    assert read_json(text.encode())[0] == _Reader(text).read()
    row = f'[{text[len(start) : -len(end)]}, "[[{{", {{}}, [], [[]], "\\"[", {text[len(start) : -len(end)]}]'
    assert read_json(row.encode())[0] == _Reader(row).read() == json.loads(row)
    for deep in (f"[{text}]", '{"[\\"[":["é",' + text + "]}"):
        for read in (lambda deep: read_json(deep.encode()), lambda deep: _Reader(deep).read()):
            with pytest.raises(NotJSON, match="^nested deeper than 200$") as caught:
                read(deep)
            assert deep[caught.value.position] in "[{"
            assert depth_at(deep, caught.value.position) == 200


def test_what_is_closed_is_no_depth_any_more_and_no_less():
    """Three hundred closed levels before them count neither against the limit nor for it."""
    for closed in ("[],", "[[[]]],", '{"a":{}},'):
        assert read_json(f"[[[{closed * 300}{nested(197)}]]]".encode())[0][0][0][-1]
        with pytest.raises(NotJSON) as caught:
            read_json(f"[[[{closed * 300}{nested(198)}]]]".encode())
        assert caught.value.position == len(closed) * 300 + 200


def depth_at(text, position):
    """How many levels are open before a position: counted without strings."""
    depth, in_string, escaped = 0, False, False
    for mark in text[:position]:
        if in_string:
            in_string = escaped or mark != '"'
            escaped = mark == "\\" and not escaped
        elif mark == '"':
            in_string = True
        else:
            depth += (mark in "[{") - (mark in "]}")
    return depth


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "[[]]",
        "[ ]",
        '{ "a" : { } , "b" : [ [ ] , 1 ] }',
        " [1 , true,false, null] ",
        '[{},[],""]',
        "-0.5e-1",
    ],
)
def test_the_reader_behind_msgspec(text):
    """Space and empty containers, by the reader that only odd text comes to."""
    assert _Reader(text).read() == json.loads(text)
    value, raw, _ = read_json(b"[" + text.encode() + b',"\xff\xc3\xa9"]')  # a byte that is not UTF-8
    assert value is raw
    assert value == [json.loads(text), "\ufffdé"]


def test_halves_of_characters():
    """First halves (D800 to DBFF) wait for a second one (DC00 to DFFF) if more may come; other text is left alone."""
    assert not has_halves("aé🦜")
    assert all(map(has_halves, "\ud800\udbff\udc00\udfff"))
    assert join_halves("a\ud800", hold_back=True) == join_halves("a\udbff", hold_back=True) == "a"
    assert join_halves("a\udc00", hold_back=True) == join_halves("a\ud800") == "a\ufffd"
    assert join_halves("\ud83e\udd9c\ud83e", hold_back=True) == "🦜"


@given(VALUES)
@example([{"a": 1, "é\n": [], "c": {}}, [[], [1, [2]]], None, True, 1e300, 10**30])
def test_writing_without_recursion(value):
    """The compact text that the standard library writes, and it reads back as the value."""
    text = write_json(value)
    assert text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_writing_nested_values():
    """Nesting is no obstacle to writing."""
    value = None
    for _ in range(10_000):
        value = {"k": [value]}
    assert write_json(value) == '{"k":[' * 10_000 + "null" + "]}" * 10_000


def test_a_control_character_in_a_string_is_named():
    """The reason and the place do not run into each other."""
    with pytest.raises(NotJSON) as caught:
        read_json(b'{"a":"\x01"}')
    assert (caught.value.reason, caught.value.position) == ("Invalid control character", 6)


def test_lone_halves_become_escapes():
    """What UTF-8 can't carry goes as JSON's own word for it; whole characters stay as they are."""
    assert json_bytes('"\ud83e a \U0001f95c"') == b'"\\ud83e a \xf0\x9f\xa5\x9c"'


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("text", ['"a"', '"\t"', r'"\ud83d"', '"\t\\ud83d"'])
def test_no_number_is_infinite_whichever_way_reads_it(number, text):
    """A raw control character or half of a surrogate pair in a text beside it makes no difference."""
    with pytest.raises(DecodeError):
        decode_event(f'{{"type":"odd","a":{text},"b":{number}}}')
