"""JSON while it grows: the same value, deltas and fault however it is cut, and exactly what the finished input says."""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, product
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_step import (
    JSONClosed,
    JSONDelta,
    JSONOpened,
    JSONPiece,
    JSONReader,
    JSONScalar,
    JSONString,
    LimitExceeded,
    MessageStream,
    StreamError,
    ToolInputError,
    ToolUseBlock,
)

from .helpers import TOOL, block_start, block_stop, delta, message_start

# --- reading, and what a reading shows ----------------------------------------------------------------------------


def splits(text: str) -> Iterator[list[str]]:
    """Whole, character by character, and cut at each index (into an empty piece, too); at some, if there are many."""
    yield [text]
    yield list(text)
    yield from ([text[:index], text[index:]] for index in range(0, len(text) + 1, 1 + len(text) // 250))


def feed(pieces: list[str], **options: Any) -> tuple[JSONReader, list[JSONDelta]]:
    """A reader after a text and its end, and all that it gave."""
    reader = JSONReader(**options)
    found: list[JSONDelta] = []
    try:
        for piece in pieces:
            found += reader.receive_text(piece)
        found += reader.receive_eof()
    except StreamError as error:
        assert error is reader.fault
    return reader, found


def merged(found: list[JSONDelta]) -> list[JSONDelta]:
    """The deltas with the pieces of each string joined, which are all that a cutting may change."""
    result: list[JSONDelta] = []
    for each in found:
        last = result[-1] if result else None
        if each.kind == "piece" and last is not None and last.kind == "piece":
            assert last.path == each.path
            result[-1] = JSONPiece(each.path, last.text + each.text)
        else:
            result.append(each)
    return result


def rebuilt(found: list[JSONDelta]) -> Any:
    """The value that the deltas say. None if they say none."""
    root: list[Any] = [None]

    def put(path: tuple[Any, ...], value: Any) -> None:
        *way, last = (0, *path)
        place: Any = root
        for key in way:
            place = place[key]
        if isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value

    texts: dict[Any, str] = {}
    for each in found:
        match each.kind:
            case "opened":
                put(each.path, {} if each.container == "object" else [])
            case "piece":
                assert each.text
                texts[each.path] = texts.get(each.path, "") + each.text
                put(each.path, texts[each.path])
            case "string":
                assert texts.pop(each.path, "") == each.value
                put(each.path, each.value)
            case "scalar":
                put(each.path, each.value)
            case "closed":
                place: Any = root[0]
                for key in each.path:
                    place = place[key]
                assert place == each.value
    return root[0]


def told(error: StreamError | None) -> Any:
    return error and (type(error), str(error), getattr(error, "position", None), getattr(error, "input_json", None))


def read(text: str, **options: Any) -> tuple[JSONReader, list[JSONDelta]]:
    """Read a text in all cuttings, which have to give the same."""
    first, deltas = feed([text], **options)
    for pieces in splits(text):
        reader, found = feed(pieces, **options)
        assert (merged(found), repr(found and rebuilt(found))) == (merged(deltas), repr(deltas and rebuilt(deltas)))
        assert told(reader.fault) == told(first.fault)
        assert repr(reader.partial()) == repr(first.partial())
        assert reader.is_finished == first.is_finished
    return first, deltas


def input_of(text: str) -> Any:
    """What a tool call's `input` says of a text: the text as one of its arguments, since `input` is an object.

    A ToolInputError if it refuses it.
    """
    try:
        return ToolUseBlock(input_json=f'{{"a":{text}}}').input["a"]
    except ToolInputError as error:
        return error


# --- RFC 8259, production by production ---------------------------------------------------------------------------

# y: every reader takes it. The value is the standard library's.
Y = {
    "array_empty": "[]", "array_with_space": " [ ] ", "array_of_each": '[1,"a",true,false,null,{},[]]', "array_nested": "[[],[[]],[[[1]]]]",
    "object_empty": "{}", "object_with_space": "{ }", "object_one": '{"a":1}', "object_two": '{"a":1,"b":2}', "object_empty_key": '{"":0}',
    "object_nested": '{"a":{"b":{"c":{}}}}', "object_key_twice": '{"a":1,"b":2,"a":3}', "object_key_twice_container": '{"a":[1],"a":{"b":[]}}',
    "object_key_escaped": '{"\\u0061\\n":1}', "object_key_same_by_escape": '{"a":1,"\\u0061":2}', "object_key_twice_string": '{"a":"x","a":"yz"}',
    "space_all_four": "\t\n\r [\t1\n,\r2 ]\n\n", "space_around_colon": '{"a" : 1 , "b"\n:\t2}',
    "number_zero": "0", "number_minus_zero": "-0", "number_digits": "1234567890", "number_minus": "-1", "number_fraction": "0.5", "number_zeros": "1.000",
    "number_minus_zero_fraction": "-0.0", "number_exponent": "1e5", "number_EXPONENT": "1E5", "number_exponent_plus": "1e+5", "number_exponent_minus": "1e-5",
    "number_exponent_zeros": "1e0005", "number_all_parts": "-12.34e-56", "number_zero_exponent": "0e1", "number_zero_huge_exponent": "0.0e99999",
    "number_smallest": "5e-324", "number_below_smallest": "1e-400", "number_largest": "1.7976931348623157e308", "number_beyond_64_bits": "123456789012345678901234567890",
    "number_large_made_small": "1" + "0" * 400 + "e-400", "number_small_made_large": "0." + "0" * 400 + "1e401", "number_long_fraction": "0." + "3" * 400,
    "literals": "[true,false,null]", "true_alone": "true", "false_alone": " false ", "null_alone": "null",
    "string_empty": '""', "string_plain": '"abc"', "string_space": '" "', "string_each_escape": r'"\"\\\/\b\f\n\r\t"', "string_escapes_alone": r'"\\\\\\"',
    "string_hex": r'"\u00e9\u00E9\uAbCd"', "string_nul_escaped": r'"\u0000"', "string_pair": r'"\ud83d\ude00"', "string_pairs": r'"\ud83d\ude00\ud83d\ude01"',
    "string_del": '"\x7f"', "string_c1": '"\x80\x9f"', "string_raw_beyond_bmp": '"a\U0001f600b"', "string_line_separators": '"\u2028\u2029"', "string_bom": '"\ufeff"',
    "string_noncharacter": '"\uffff\U0010ffff"', "string_brackets": '"[{]},:"', "string_backslash_then_quote": r'"\\\""', "string_of_u": r'"\\u0041"',
    "string_cjk": '["你好","\\u4f60\\u597d"]', "string_long": '"' + "ab\\n" * 300 + '"', "string_many_escapes": '"' + "\\t" * 1100 + '"',
}  # fmt: skip

# n: no reader takes it. The position is that of the first character with which no JSON text goes on.
N: dict[str, tuple[str, int]] = {
    "empty": ("", 0), "space_alone": (" \n", 2), "bom": ("\ufeff1", 0), "nothing_known": ("x", 0), "formfeed": ("[\f1]", 1), "no_break_space": ("[\xa01]", 1),
    "nul": ("\x00", 0), "comment": ("[/**/1]", 1), "single_quotes": ("['a']", 1), "bare_word": ("[abc]", 1), "undefined": ("undefined", 0),
    "array_open": ("[", 1), "array_cut": ("[1", 2), "array_cut_after_comma": ("[1,", 3), "array_comma_first": ("[,1]", 1), "array_comma_last": ("[1,]", 3),
    "array_comma_twice": ("[1,,2]", 3), "array_no_comma": ("[1 2]", 3), "array_strings_no_comma": ('["a""b"]', 4), "array_closed_as_object": ("[1}", 2),
    "array_colon": ('["a":1]', 4), "array_closed_twice": ("[1]]", 3), "array_close_alone": ("]", 0), "two_values": ("[][]", 2), "two_scalars": ("1 2", 2), "true_twice": ("true true", 5),
    "object_open": ("{", 1), "object_cut_in_key": ('{"a', 3), "object_cut_after_key": ('{"a"', 4), "object_cut_after_colon": ('{"a":', 5), "object_cut_after_comma": ('{"a":1,', 7),
    "object_no_colon": ('{"a" 1}', 5), "object_two_colons": ('{"a"::1}', 5), "object_comma_for_colon": ('{"a",1}', 4), "object_comma_last": ('{"a":1,}', 7), "object_comma_first": ("{,}", 1),
    "object_no_comma": ('{"a":1 "b":2}', 7), "object_closed_as_array": ('{"a":1]', 6), "object_number_key": ("{1:2}", 1), "object_bare_key": ("{a:1}", 1), "object_literal_key": ("{null:1}", 1),
    "object_no_value": ('{"a":}', 5), "object_key_alone": ('{"a"}', 4), "object_text_after": ("{}x", 2), "object_close_alone": ("}", 0), "object_quoted_wrong": ("{'a':1}", 1),
    "number_minus_alone": ("[-]", 2), "number_minus_cut": ("-", 1), "number_plus": ("[+1]", 1), "number_point_first": ("[.5]", 1), "number_point_last": ("[1.]", 3), "number_point_cut": ("1.", 2),
    "number_zero_first": ("[01]", 2), "number_minus_zero_first": ("[-01]", 3), "number_two_points": ("[1.2.3]", 4), "number_two_minuses": ("[--1]", 2), "number_no_exponent": ("[1e]", 3),
    "number_exponent_sign_alone": ("[1e+]", 4), "number_exponent_cut": ("1e-", 3), "number_exponent_fraction": ("[1e1.5]", 4), "number_exponent_twice": ("[1e1e1]", 4), "number_minus_inside": ("[1-2]", 2),
    "number_hex": ("[0x1]", 2), "number_underscore": ("[1_0]", 2), "number_letter_after": ("[1a]", 2), "number_full_width": ("[\uff11]", 1), "number_arabic": ("[1\u0661]", 2), "number_zero_word": ("0true", 1),
    "nan": ("[NaN]", 1), "infinity": ("[Infinity]", 1), "minus_infinity": ("[-Infinity]", 2), "literal_cut": ("[tru]", 4), "literal_cut_at_end": ("nul", 3), "literal_capital": ("[True]", 1),
    "literal_wrong_inside": ("[trae]", 3), "literal_goes_on": ("[nulll]", 5), "literal_wrong_at_end": ("falsy", 4), "literal_quote_inside": ('[fa"]', 3),
    "string_open": ('"', 1), "string_cut": ('["ab', 4), "string_cut_in_escape": ('"\\', 2), "string_cut_in_hex": ('"\\u12', 5), "string_end_escaped": ('"\\"', 3), "string_closed_wrong": ("\"a'", 3),
    "string_bad_escape": ('["\\x"]', 3), "string_escaped_quote_mark": ('"\\\'"', 2), "string_escaped_newline": ('"\\\n"', 2), "string_octal": ('"\\0"', 2), "string_capital_u": ('"\\U0041"', 2), "string_bad_hex": ('"\\u00g0"', 5),
    "string_short_hex": ('"\\u12"', 5), "string_hex_sign": ('"\\u+123"', 3), "string_hex_underscore": ('"\\u1_23"', 4), "string_hex_full_width": ('"\\u\uff110"', 3), "string_newline": ('"a\nb"', 2), "string_tab": ('"\t"', 1), "string_nul": ('"a\x00"', 2),
    "string_unit_separator": ('"\x1f"', 1), "string_control_after_escape": ('"\\n\x01"', 3), "string_key_control": ('{"a\n":1}', 3), "string_key_escape": ('{"\\a":1}', 3), "string_half_of_pair_then_bad": (r'"\ud83d\x"', 8),
    "half_outside": ("\ud83d", 0), "half_as_escape": ('"\\\ud83d"', 2), "half_in_literal": ("[tr\ude00]", 3), "beyond_bmp_outside": ("[\U0001f600]", 1),
}  # fmt: skip

# i, left open: RFC 8259 leaves it to the reader. Here the value, or the position at which it is refused.
HALF = "\ufffd"
DEEP, TOO_DEEP = "[" * 200 + "]" * 200, "[" * 201 + "]" * 201
LEFT_OPEN: dict[str, tuple[str, Any]] = {
    "string_first_half_alone": (r'"\ud83d"', HALF), "string_second_half_alone": (r'"\ude00"', HALF), "string_halves_swapped": (r'"\ude00\ud83d"', HALF * 2),
    "string_first_half_twice": (r'"\ud83d\ud83d\ude00"', HALF + "\U0001f600"), "string_half_then_text": (r'"\ud83dx"', HALF + "x"), "string_half_then_escape": (r'"\ud83d\n"', HALF + "\n"),
    "string_first_pair": (r'"\ud800\udc00"', "\U00010000"), "raw_first_pair": ('"\ud800\udc00"', "\U00010000"),
    "string_last_pair": (r'"\udbff\udfff"', "\U0010ffff"), "raw_last_pair": ('"\udbff\udfff"', "\U0010ffff"),
    "string_half_at_end_of_many": (r'"ab\udbff"', "ab" + HALF), "key_half": (r'{"\ud83d":1}', {HALF: 1}), "keys_of_halves": (r'{"\ud83d":1,"\ude00":2}', {HALF: 2}),
    "raw_half": ('"\ud83d"', HALF), "raw_halves": ('"\ud83d\ude00"', "\U0001f600"), "raw_half_and_escape": ('"\ud83d\\ude00"', "\U0001f600"), "escape_and_raw_half": ('"\\ud83d\ude00"', "\U0001f600"),
    "raw_halves_in_key": ('{"a\ud83d\ude00":1}', {"a\U0001f600": 1}), "raw_second_half": ('"x\udc00y"', f"x{HALF}y"),
    "number_too_large": ("1e400", 4), "number_too_large_in_array": ("[1e309,2]", 5), "number_too_large_minus": ("-1e999", 5), "number_too_large_plus": ("1E+999", 5), "number_just_too_large": ("1.7976931348623159e308", 21),
    "number_too_large_zeros": ("1e000999", 7), "number_too_large_then_broken": ("[1e999x]", 5), "number_too_many_digits_fraction": ("[" + "1" * 400 + ".5]", 403), "number_too_many_digits_exponent": ("1" * 400 + "e0", 401),
    "number_too_many_digits_exponent_minus": ("[" + "1" * 400 + "e-1]", 404), "number_small_made_too_large": ("0.001e312", 8), "number_zero_any_exponent": ("-0.00e+" + "9" * 50, -0.0), "number_huge_exponent": ("1e" + "9" * 50, 4),
    "depth_200": (DEEP, json.loads(DEEP)), "depth_201": (TOO_DEEP, 200), "depth_201_of_objects": ('{"a":' * 201, 1000), "depth_closed_again": ("[" + "[[]]," * 300 + "1]", [*[[[]]] * 300, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", Y)
def test_y_is_read(name):
    """Legal texts have the value that the standard library and msgspec give them, and that `input` gives."""
    text = Y[name]
    reader, deltas = read(text)
    assert reader.fault is None
    assert reader.is_finished
    for other in (
        json.loads(text),
        msgspec.json.decode(text),
        input_of(text),
        rebuilt(deltas),
        reader.partial(),
        reader.snapshot(),
    ):
        assert repr(reader.value) == repr(other)


@pytest.mark.parametrize("name", N)
def test_n_is_refused_at_its_character(name):
    """Broken texts are a ToolInputError at the first impossible character, as soon as that is there."""
    text, position = N[name]
    for refused in (json.loads, lambda text: msgspec.json.decode(text.encode("utf-8", "surrogatepass"))):
        with pytest.raises((ValueError, msgspec.DecodeError)):
            json_only(refused(text))
    reader, _ = read(text)
    check_fault(reader, text, position)


def json_only(value: Any) -> None:
    """json.loads also reads what is not JSON: NaN and Infinity."""
    assert isinstance(value, list)
    if value and isinstance(value[0], float) and not math.isfinite(value[0]):
        raise ValueError


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_i_is_read_like_the_input(name):
    """What JSON leaves open is read, or refused, as `input` does it."""
    text, expected = LEFT_OPEN[name]
    reader, deltas = read(text)
    refused = isinstance(expected, int) and not isinstance(expected, bool)
    if refused:
        check_fault(reader, text, expected)
    else:
        assert repr(reader.value) == repr(expected) == repr(rebuilt(deltas))
    inside = text if text[0] == "{" or "depth" in name else f'{{"a":{text}}}'
    try:
        value = ToolUseBlock(input_json=inside).input
    except ToolInputError:
        assert refused or inside[0] == "["
    else:
        assert not refused
        assert repr(value) == repr(expected if inside is text else {"a": expected})


def check_fault(reader: JSONReader, text: str, position: int) -> None:
    fault = reader.fault
    assert isinstance(fault, ToolInputError)
    assert (fault.position, fault.input_json) == (position, text[: position + 1])
    # The piece with the character raises it, and none before that.
    one_less = JSONReader()
    one_less.receive_text(text[:position])
    assert one_less.fault is None
    if position < len(text):
        one_less_found = []
        try:
            one_less_found = one_less.receive_text(text[position])
        except ToolInputError:
            assert not one_less_found
        assert told(one_less.fault) == told(fault)
    else:
        with pytest.raises(ToolInputError, match="ends too early|out of range"):
            one_less.receive_eof()


@pytest.mark.skipif(not hasattr(sys, "get_int_max_str_digits"), reason="this Python reads integers of any length")
def test_integers_as_long_as_python_reads_them():
    """As `input`: the limit on digits is Python's. A longer one is refused when it ends, since an exponent may follow."""
    digits = sys.get_int_max_str_digits()
    for text, position in (
        ("1" * digits, None),
        ("1" * (digits + 1), digits + 1),
        (f"[{'1' * (digits + 1)}]", digits + 2),
    ):
        whole, _ = feed([text])
        tiny, _ = feed([text[start : start + 7] for start in range(0, len(text), 7)])
        assert isinstance(input_of(text), ToolInputError) == (position is not None)
        for reader in (whole, tiny):
            assert getattr(reader.fault, "position", None) == position
        if position is None:
            assert whole.value == tiny.value == int(text)
    reader, _ = feed(["1" * (digits + 1), f"e-{digits}"])
    assert reader.value == float("1." + "1" * 30)


# --- any text -----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TEXTS = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    VALUES, st.booleans(), st.sampled_from([None, 1]),
)  # fmt: skip
NOISE = '{}[]",:0123456789.eE+-truefalsn \\u\x00d8\ud83d\ude00é'


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A legal text with some characters put in, or left out."""
    text = draw(TEXTS)
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(st.text(NOISE, max_size=3)) + text[start + draw(st.integers(0, 2)) :]


@given(TEXTS)
@example('{"a": "b\\ud83d\\ude00", "c": [1, -2.5e3, null]}')
def test_every_cutting_gives_the_value(text):
    """The value is that of the standard library and of `input`, by `value`, by the deltas, and however it is cut."""
    reader, deltas = read(text)
    for other in (reader.value, rebuilt(deltas), reader.partial(), reader.snapshot(False), input_of(text)):
        assert repr(other) == repr(json.loads(text))


@given(st.text(NOISE, max_size=14) | damaged())
@example("[1E400E")
@example("1e0e")
def test_every_cutting_gives_the_fault(text):
    """What `input` refuses is refused, at one place, with the same deltas before it; what it reads is read."""
    reader, _ = read(text)
    expected = input_of(text)
    # `input` writes raw halves as escapes before it reads, and so takes one after a backslash for something else. Nor
    # can this test put everything into an object: the text may close it.
    if not any(mark == "\\" and "\ud800" <= half <= "\udfff" for mark, half in zip(text, text[1:], strict=False)):
        if reader.fault is None:
            assert repr(reader.value) == repr(expected)
        else:
            assert isinstance(expected, ToolInputError) or "}" in text
    if reader.fault is not None:
        assert isinstance(reader.fault, ToolInputError)
        check_fault(reader, text, reader.fault.position)


ENDS_OF_TOKENS = [
    "",
    "0",
    '"',
    "rue",
    "ue",
    "e",
    "alse",
    "lse",
    "se",
    "ull",
    "ll",
    "l",
    '"":0',
    'n"',
    '0"',
    '00"',
    '000"',
    '0000"',
]
CLOSERS = [*map("".join, chain.from_iterable(product("]}", repeat=depth) for depth in range(5)))]


def can_be_completed(text: str) -> bool:
    """Whether the standard library reads the text with one of many ends: for open brackets up to four levels."""
    for token in ENDS_OF_TOKENS:
        for member in ("", ":0"):
            for closer in CLOSERS:
                try:
                    json.loads(text + token + member + closer, parse_constant=refuse)
                except ValueError:
                    pass
                else:
                    return True
    return False


def refuse(word: str) -> Any:
    raise ValueError(word)


@given(
    st.builds(
        str.__add__,
        st.sampled_from(["", "[", "[1", '["', '{"', '{"a":', '{"a":[', '["\\', "[-", "[t"]),
        st.text(NOISE, max_size=8),
    )
)
@example('{"a":[1,{"b":tru,')
@example('["\\ud83d\\x')
@example("[-.")
@example('{"a" ,')
@example("[1.5e+,")
def test_the_position_is_that_of_the_first_impossible_character(text):
    """What comes before it can still become JSON, with it nothing can."""
    reader, _ = feed([text])
    if reader.fault is None:
        return
    assert isinstance(reader.fault, ToolInputError)
    position = reader.fault.position
    assert can_be_completed(text[:position]) or text.count("[") + text.count("{") > 4
    if position < len(text) and "out of range" not in reader.fault.reason:
        assert not can_be_completed(text[: position + 1])


@given(damaged() | st.text(NOISE, max_size=14), st.data())
def test_partial_is_the_same_however_one_came_there(text, data):
    """After any cutting, and any calls before: with and without strings, live and standing still."""
    reader = JSONReader()
    rest = text
    while rest and reader.fault is None:
        size = data.draw(st.integers(1, len(rest)))
        try:
            reader.receive_text(rest[:size])
        except ToolInputError:
            assert reader.fault is not None
        rest = rest[size:]
        fresh, _ = feed_only(text[: len(text) - len(rest)])
        for call in data.draw(st.lists(st.sampled_from(["partial", "snapshot"]), max_size=3)):
            strings = data.draw(st.booleans())
            shown = getattr(reader, call)(strings)
            assert repr(shown) == repr(getattr(fresh, call)(strings))
            assert is_part(shown, fresh.partial())


def feed_only(text: str) -> tuple[JSONReader, list[JSONDelta]]:
    reader = JSONReader()
    try:
        return reader, reader.receive_text(text)
    except ToolInputError:
        return reader, []


def is_part(part: Any, whole: Any) -> bool:
    """Whether a value is another one as far as it had come."""
    if part is None:
        return True
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and is_part(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) <= len(whole) and all(map(is_part, part, whole))
    return whole.startswith(part) if isinstance(part, str) and isinstance(whole, str) else repr(part) == repr(whole)


@given(TEXTS)
def test_partial_only_grows(text):
    """Each moment's value is part of the whole, and of each later moment's."""
    reader = JSONReader()
    moments = []
    for character in text:
        reader.receive_text(character)
        moments.append(copy.deepcopy(reader.partial()))
    for before, after in zip(moments, [*moments[1:], json.loads(text)], strict=True):
        assert is_part(before, after)


# --- deltas -------------------------------------------------------------------------------------------------------


def test_what_each_piece_says():
    """A key shows in the path of what follows it, a number when it can't grow any more, a string as it comes."""
    reader = JSONReader()
    steps: list[tuple[str, list[JSONDelta]]] = [
        ("", []),
        (' {"pa', [JSONOpened((), "object")]),
        ('th"', []),
        (': "a.', [JSONPiece(("path",), "a.")]),
        ('py", "n": 12', [JSONPiece(("path",), "py"), JSONString(("path",), "a.py")]),
        ("3", []),
        (" ", [JSONScalar(("n",), 123)]),
        (', "l": [tru', [JSONOpened(("l",), "array")]),
        ("e", [JSONScalar(("l", 0), True)]),
        (",{", [JSONOpened(("l", 1), "object")]),
        ("}, nul", [JSONClosed(("l", 1), {})]),
        ('l, ""]', [JSONScalar(("l", 2), None), JSONString(("l", 3), ""), JSONClosed(("l",), [True, {}, None, ""])]),
        (',"s":"a\\', [JSONPiece(("s",), "a")]),
        ("u00e", []),
        ("9\\n\\ud83d", [JSONPiece(("s",), "é\n")]),
        ("\\ude0", []),
        ("0", [JSONPiece(("s",), "\U0001f600")]),
        ("\\ud83d", []),
        ("b", [JSONPiece(("s",), "\ufffdb")]),
        ('\\ud83d"', [JSONPiece(("s",), "\ufffd"), JSONString(("s",), "aé\n\U0001f600\ufffdb\ufffd")]),
    ]
    for piece, expected in steps:
        found = reader.receive_text(piece)
        assert found == expected
        assert list(map(type, found)) == list(map(type, expected))
    value = {"path": "a.py", "n": 123, "l": [True, {}, None, ""], "s": "aé\n\U0001f600\ufffdb\ufffd"}
    assert not reader.is_finished
    assert reader.receive_text("}  ") == [JSONClosed((), value)]
    assert reader.is_finished
    assert reader.receive_eof() == []
    assert reader.value == value


def test_a_long_string_gives_each_piece_as_it_is():
    """The pieces of the inside of a string go through untouched, whatever alphabet they are in."""
    for piece in ("plain", "Grüße", "你好", "\U0001f600", "\x7f", "tab\u3000"):
        reader = JSONReader()
        reader.receive_text('["')
        for _ in range(3):
            assert reader.receive_text(piece) == [JSONPiece((0,), piece)]
        assert reader.receive_text("") == []
        assert reader.receive_text('"]')[0] == JSONString((0,), piece * 3)


@pytest.mark.parametrize("pieces", [1, 499, 500, 501, 1000, 2600])
@pytest.mark.parametrize("text", ["x", "é", "\\n"])
def test_any_number_of_pieces(pieces, text):
    """Strings, keys and numbers of thousands of pieces are whole, and so is the text in the error after them."""
    digits = ["0", ".", *["5"] * pieces]
    whole = [*'{"', *[text] * pieces, *'":"', *[text] * pieces, *'","n":', *digits]
    value = json.loads(f'"{text * pieces}"')
    expected = {value: value, "n": float("".join(digits))}
    reader, found = feed([*whole, "}"])
    assert reader.value == rebuilt(found) == expected
    reader, found = feed([*whole, "?"])
    assert reader.partial() == rebuilt(found) == expected
    assert isinstance(reader.fault, ToolInputError)
    assert reader.fault.input_json == "".join(whole) + "?"


def test_a_number_that_is_all_ends_with_the_text():
    """At the top more digits may come until receive_eof, which then gives it; other values end by themselves."""
    reader = JSONReader()
    assert reader.receive_text("1") == reader.receive_text("2") == []
    assert (reader.is_finished, reader.partial()) == (False, None)
    with pytest.raises(ToolInputError, match="not finished"):
        reader.value  # noqa: B018
    assert reader.receive_eof() == [JSONScalar((), 12)]
    assert (reader.is_finished, reader.value, reader.partial(), reader.receive_eof()) == (True, 12, 12, [])
    assert JSONReader().receive_text("12\n") == [JSONScalar((), 12)]
    assert JSONReader().receive_text("null") == [JSONScalar((), None)]


@pytest.mark.parametrize("each", [JSONOpened(("a", 0), "array"), JSONClosed((), {"a": []}), JSONPiece((0,), "a\x1b\u202e"), JSONString((), "s"), JSONScalar((1,), 2.5)])  # fmt: skip
def test_deltas_are_values(each):
    """They compare, copy, pickle, and go through JSON by their kind; their repr is one short line."""
    for twin in (copy.copy(each), copy.deepcopy(each), pickle.loads(pickle.dumps(each))):
        assert twin == each
        assert type(twin) is type(each)
    assert msgspec.json.decode(msgspec.json.encode(each), type=JSONDelta) == each
    assert msgspec.to_builtins(each)["kind"] == each.kind
    assert isinstance(each, JSONDelta)
    with pytest.raises(AttributeError):
        each.path = ()
    fields = ", ".join(f"{name}={getattr(each, name)!r}" for name in each.__struct_fields__)
    assert repr(each) == f"{type(each).__name__}({fields})"
    assert repr(each).isprintable()
    assert len(repr(JSONString(("k" * 10_000,), "v" * 10_000))) < 300


# --- the value so far ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "without_strings"),
    [
        ("", None, None), (" ", None, None), ("{", {}, {}), ('{"a', {}, {}), ('{"a"', {}, {}), ('{"a":', {}, {}), ('{"a":1', {}, {}), ('{"a":1,', {"a": 1}, {"a": 1}), ('{"a":1 ', {"a": 1}, {"a": 1}),
        ('{"a":-', {}, {}), ('{"a":1.', {}, {}), ('{"a":1.5', {}, {}), ('{"a":1e', {}, {}), ('{"a":1.5}', {"a": 1.5}, {"a": 1.5}), ('{"a":tr', {}, {}), ('{"a":true', {"a": True}, {"a": True}),
        ('{"a":nul', {}, {}), ('{"a":"', {"a": ""}, {}), ('{"a":"b', {"a": "b"}, {}), ('{"a":"b\\', {"a": "b"}, {}), ('{"a":"b\\u12', {"a": "b"}, {}), ('{"a":"\\ud83d', {"a": ""}, {}),
        ('{"a":"\\ud83d\\ude00', {"a": "\U0001f600"}, {}), ('{"a":["b",[', {"a": ["b", []]}, {"a": ["b", []]}), ('{"a":["b', {"a": ["b"]}, {"a": []}), ('[1,["b', [1, ["b"]], [1, []]), ('{"a":[1,2', {"a": [1]}, {"a": [1]}), ('{"a":{"b":"c"},"d', {"a": {"b": "c"}}, {"a": {"b": "c"}}),
        ('{"a":1}', {"a": 1}, {"a": 1}), ('{"a":1}x', {"a": 1}, {"a": 1}), ('{"a":oops', {}, {}), ('{"a":"b\x01c"}', {"a": "b"}, {}), ('["x', ["x"], []), ('"x', "x", None), ('"x"', "x", "x"),
        ('{"a":"x\\ud83d"}', {"a": "x\ufffd"}, {"a": "x\ufffd"}), ('{"a":01', {}, {}), ("[1 2]", [1], [1]), ("[1x", [1], [1]), ('{"a":"b\\q', {"a": "b"}, {}), ('{"b":0,"a":1,"b":"x', {"b": "x", "a": 1}, {"b": 0, "a": 1}),
        ('{"a":1,"a":', {"a": 1}, {"a": 1}), ('{"a":1,"a":2', {"a": 1}, {"a": 1}), ('[["a"],"b', [["a"], "b"], [["a"]]),
    ],
)  # fmt: skip
def test_partial(text, value, without_strings):
    """Strings as far as they go or not at all; no unfinished number, literal, escape or key; what broke stays out."""
    for pieces in splits(text):
        reader = JSONReader()
        for piece in pieces:
            if reader.fault is None:
                feed_piece(reader, piece)
        for _ in range(2):
            assert repr(reader.partial()) == repr(reader.snapshot()) == repr(value)
            assert repr(reader.partial(strings=False)) == repr(reader.snapshot(strings=False)) == repr(without_strings)


def feed_piece(reader: JSONReader, piece: str) -> None:
    try:
        reader.receive_text(piece)
    except ToolInputError as error:
        assert error is reader.fault


def test_a_key_that_comes_twice_is_put_back():
    """Without strings, the earlier value stands in its place until the later one is whole, and in no other place."""
    reader = JSONReader()
    reader.receive_text('{"a": 1, "b": 2, "a": "x')
    assert list(reader.partial().items()) == [("a", "x"), ("b", 2)]
    assert list(reader.partial(False).items()) == [("a", 1), ("b", 2)]
    reader.receive_text('y", "c": ["z')
    assert reader.partial() == {"a": "xy", "b": 2, "c": ["z"]}
    assert reader.partial(False) == {"a": "xy", "b": 2, "c": []}
    reader.receive_text('"], "d": "q')
    assert reader.partial() == {"a": "xy", "b": 2, "c": ["z"], "d": "q"}
    assert reader.partial(False) == {"a": "xy", "b": 2, "c": ["z"]}


def test_partial_is_live():
    """It is one value that grows: the dicts and lists are those of the finished one."""
    reader = JSONReader()
    reader.receive_text('{"a": [1, {"b": "x')
    first = reader.partial()
    inner = first["a"][1]
    reader.receive_text("y")
    assert reader.partial() is first
    assert inner == {"b": "xy"}
    held = inner["b"]
    reader.receive_text('z"}], "c": "d"}')
    assert (held, inner, first) == ("xy", {"b": "xyz"}, {"a": [1, {"b": "xyz"}], "c": "d"})
    assert reader.value is reader.partial() is first
    assert first["a"][1] is inner


def test_a_snapshot_stands_still():
    """What comes later changes none of the snapshots, at any depth, in strings or beside them; what is finished is shared."""
    text = '{"a": [[1, 2], {"b": "xyz", "c": [true, "q"]}], "a": "again", "z": 0} '
    for size in (1, 2, 5):
        reader = JSONReader()
        held = []
        for start in range(0, len(text), size):
            reader.receive_text(text[start : start + size])
            for strings in (True, False):
                shown = reader.snapshot(strings)
                held.append((shown, repr(shown)))
        assert [repr(shown) for shown, _ in held] == [then for _, then in held]
        assert held[-1][0] is reader.value
    reader = JSONReader()
    reader.receive_text("[[1],[")
    assert reader.snapshot()[0] is reader.snapshot()[0] is reader.partial()[0]
    assert reader.snapshot()[1] is not reader.partial()[1]


# --- the two verbs, limits ----------------------------------------------------------------------------------------


def test_what_is_complete_before_a_fault_is_given_first():
    """The next call raises the fault, and each later one; with nothing before it, it is raised at once."""
    reader = JSONReader()
    assert reader.receive_text('["a", ') == [JSONOpened((), "array"), JSONPiece((0,), "a"), JSONString((0,), "a")]
    assert reader.receive_text('"b\x00') == [JSONPiece((1,), "b")]
    fault = reader.fault
    assert isinstance(fault, ToolInputError)
    assert str(fault) == "control character in a string (character 8 of 9)"
    for call in (lambda: reader.receive_text("c"), reader.receive_eof, lambda: reader.value):
        for _ in range(2):
            with pytest.raises(ToolInputError) as caught:
                call()
            assert caught.value is fault
            assert len(caught.traceback) <= 3  # it doesn't grow with each time
    assert reader.partial() == ["a", "b"]
    assert reader.partial(False) == ["a"]
    assert not reader.is_finished
    with pytest.raises(ToolInputError):
        JSONReader().receive_text("x")


def test_a_reader_is_shown_in_one_line():
    """How far it has come and what broke, without the text."""
    reader = JSONReader()
    reader.receive_text('["\x7f')
    assert repr(reader) == "<JSONReader characters=3 finished=False fault=None>"
    feed_piece(reader, "\n")
    assert repr(reader).startswith("<JSONReader characters=4 finished=False fault=ToolInputError('control character")


def test_a_fault_after_the_value():
    """Text after the value makes it no value, as `input` has none; what it was stays to be looked at."""
    reader = JSONReader()
    reader.receive_text("{} ")
    assert (reader.is_finished, reader.value) == (True, {})
    with pytest.raises(ToolInputError, match="text after the JSON value"):
        reader.receive_text("{}")
    assert not reader.is_finished
    with pytest.raises(ToolInputError, match=r"character 3 of 4"):
        reader.value  # noqa: B018
    assert reader.partial() == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "a JSON value"), ("[", "a JSON value"), ("{", "a key in double quotes"), ('{"a":1,', "a key in double quotes"), ('{"a', "the end of a string"), ('{"a"', "':' after a key"),
     ('["a', "the end of a string"), ("[1", "the rest of a number"), ("-", "the rest of a number"), ("[1 ", "',' or the end of the object or array"), ("tru", "a JSON value")],
)  # fmt: skip
def test_a_text_that_ends_too_early(text, expected):
    """receive_eof says what is missing, at the length of the text. A second call raises the same."""
    reader = JSONReader()
    reader.receive_text(text)
    for _ in range(2):
        with pytest.raises(ToolInputError, match=f"^the text ends too early: expected {expected} ") as caught:
            reader.receive_eof()
        assert caught.value is reader.fault
    assert (caught.value.position, caught.value.input_json) == (len(text), text)


@pytest.mark.parametrize("count", [1, 2, 498, 499, 500, 501, 999, 1000, 1001])
def test_a_string_in_many_pieces_is_whole(count):
    """Pieces are packed by hundreds, and one more may come after the last pack."""
    for first in ('"', '["', '{"a":"'):
        reader = JSONReader()
        found = [each for piece in (first, *"ab" * count, '"') for each in reader.receive_text(piece)]
        assert [each.value for each in found if each.kind == "string"] == ["ab" * count]
        reader = JSONReader()
        found = [each for piece in (first, *"a" * count, '"') for each in reader.receive_text(piece)]
        assert [each.value for each in found if each.kind == "string"] == ["a" * count]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 2", "text after the JSON value"),
        ("[trux]", "expected a JSON value"),
        ("[x]", "expected a JSON value"),
        ("[01]", "invalid number"),
        ("[1.]", "invalid number"),
        ("[-]", "invalid number"),
        ("[1e999]", "number out of range"),
        ('["\x01"]', "control character in a string"),
        ('["\\x"]', "invalid escape in a string"),
        ("[1}", "expected ',' or the end of the object or array"),
        ("{1}", "expected a key in double quotes"),
        ('{"a"}', "expected ':' after a key"),
        ("[" * 201, "nested deeper than 200"),
        ("[", "the text ends too early: expected a JSON value"),
    ],
)
def test_what_is_wrong_is_said_in_words(text, what):
    """In the error's text, before the place, and alone as `what`."""
    reader = JSONReader()
    for call in (lambda: reader.receive_text(text), reader.receive_eof):
        with suppress(ToolInputError):
            call()
    assert (reader.fault.what, reader.fault.reason.partition(" (character")[0]) == (what, what)


@pytest.mark.parametrize(
    "begun",
    ["-", "-0", "0", "1", "-23", "1.", "1.5", "1.50", "1e", "1E", "1e+", "1e-", "1e0", "1e00", "1e5", "1.5e-5"],
)
def test_each_character_after_each_part_of_a_number(begun):
    """It goes on, ends, or breaks there, as in the standard library's reader: at the first that no such text can have."""

    def value_of(text):
        try:
            value = json.loads(text)
            json_only(value)
        except ValueError:
            return None
        return value

    def goes_on(text):
        return any(value_of(text + end) is not None for end in ("", "]", "1]", "0]", ".0]", "e1]"))

    for mark in (*map(chr, range(33, 127)), "\xb2", "\u0663", ""):
        for text in (f"[{begun}{mark}]", f"[{begun}{mark}1]", f"[{begun}{mark}0e1]"):
            reader = JSONReader()
            if goes_on(text):
                reader.receive_text(text)
                assert repr(reader.value) == repr(value_of(text))
                continue
            with suppress(ToolInputError):
                reader.receive_text(text)
            assert reader.fault.position == next(at for at in range(len(text)) if not goes_on(text[: at + 1]))


def test_wrong_calls():
    """Bytes are a TypeError, text after the end a ValueError, a copy a TypeError; none of them spoils the reader."""
    reader = JSONReader()
    for wrong in (b"[]", None, bytearray(b"1")):
        with pytest.raises(TypeError, match="expected a str, not"):
            reader.receive_text(wrong)
    reader.receive_text('["')
    with pytest.raises(TypeError, match="expected a str, not bytes"):
        reader.receive_text(b"a")
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="^JSONReader can't be copied or pickled because it reads one text"):
            way(reader)
    reader.receive_text('a"]')
    reader.receive_eof()
    with pytest.raises(ValueError, match="^receive_text after receive_eof: one reader reads one text$"):
        reader.receive_text("")
    assert reader.value == ["a"]
    ended = JSONReader()
    ended.receive_text('"a')
    with pytest.raises(ToolInputError):
        ended.receive_eof()
    with pytest.raises(ToolInputError):
        ended.receive_text("b")


class Text(str):
    """A str of somebody's own."""


def test_any_str_will_do():
    """A subclass of str is a str."""
    reader, found = feed([Text('["a'), Text("b"), Text('\\n"]')])
    assert reader.value == ["ab\n"]
    assert all(type(each.text) is str for each in found if each.kind == "piece")


@pytest.mark.parametrize("text", ['{"a":"bcdefgh"}', '["éé\U0001f600é", "é"]', '["\ud83d\ude00\ud83d"]'])
def test_the_size_has_a_limit_in_bytes(text):
    """As many bytes of UTF-8 as allowed are read and one more is refused, at the same character in every cutting."""
    sizes = [len(text[:end].encode("utf-8", "surrogatepass")) for end in range(len(text) + 1)]
    for limit in range(1, sizes[-1]):
        fits = max(end for end, size in enumerate(sizes) if size <= limit)
        within, expected = feed_only(text[:fits])
        reader, found = read(text, max_size=limit)
        assert merged(found) == merged(expected)
        assert isinstance(reader.fault, LimitExceeded)
        assert (reader.fault.name, reader.fault.limit) == ("max_size", limit)
        assert repr(reader.partial()) == repr(within.partial())
    assert read(text, max_size=sizes[-1])[0].fault is None


def test_a_fault_within_the_limit_comes_first():
    """What breaks before the limit is that fault, also if the piece goes on beyond the limit."""
    reader, _ = read("[x" + "y" * 100, max_size=10)
    assert isinstance(reader.fault, ToolInputError)
    assert JSONReader().max_size == 64 * 1024 * 1024


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most bytes that were held in this block on top of those before it."""
    gc.collect()
    tracemalloc.start()
    peak: list[int] = []
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("character", ["\u4f60", "\u3000"])
def test_tiny_pieces_take_no_more_memory_than_their_text(character):
    """At most four times the bytes, though a str of one character takes 76: for the string and for the text of errors.

    The second character doesn't go the short way.
    """
    with peak_memory() as peak:
        reader = JSONReader()
        reader.receive_text('["')
        for _ in range(50_000):
            reader.receive_text(chr(ord(character)))  # a str of its own
    assert peak[0] < 4 * 50_000 * 3
    with pytest.raises(ToolInputError) as caught:
        reader.receive_eof()
    assert caught.value.input_json == '["' + character * 50_000


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="CPython alone appends to a str in place")
def test_a_shown_string_grows_in_place():
    """Looking at a megabyte after each piece copies none of it, as long as nobody holds the string itself."""
    if sys.gettrace() is not None:
        pytest.skip("a tracer, such as that of coverage, takes the interpreter off this way")
    with peak_memory():
        reader = JSONReader()
        reader.receive_text('{"a":"' + "x" * (1 << 20))
        for number in range(100):
            if number == 50:  # by now the interpreter has specialized the code
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
            reader.receive_text("y" * 64)
            tree = reader.partial()
        assert tracemalloc.get_traced_memory()[1] - before < 1 << 19
        held = tree["a"]
        reader.receive_text("z")
        assert len(reader.partial()["a"]) == len(held) + 1
        assert tracemalloc.get_traced_memory()[1] - before > 1 << 20  # this one had to be copied
    assert tree == {"a": "x" * (1 << 20) + "y" * 6400 + "z"}


def test_nesting_costs_no_stack():
    """Two hundred levels are read, shown and copied at any depth of the caller's stack."""

    def down(left: int) -> Any:
        if left:
            return down(left - 1)
        reader = JSONReader()
        reader.receive_text('[{"a":' * 100 + '"x')
        return reader.snapshot()

    value = down(sys.getrecursionlimit() - 150)
    for _ in range(100):
        value = value[0]["a"]
    assert value == "x"


# --- in a tool call -----------------------------------------------------------------------------------------------


def live(*pieces: str) -> tuple[MessageStream, Any]:
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TOOL) + b"".join(delta(partial_json=piece) for piece in pieces))
    return stream, stream.message.tool_uses[0]


@pytest.fixture
def given_texts(monkeypatch):
    """What all readers are given to read."""
    texts: list[str] = []
    receive = JSONReader.receive_text

    def receive_text(self, piece):
        texts.append(piece)
        return receive(self, piece)

    monkeypatch.setattr(JSONReader, "receive_text", receive_text)
    return texts


ARGUMENTS = '{"path": "a.py", "content": "print(\\"\\ud83d\\ude00\\")\\n", "n": [1, 2.5], "ok": true}'


@pytest.mark.parametrize("look", ["never", "always", "late"])
def test_partial_input_reads_each_character_once(look, given_texts):
    """It reads on from where it was, also if the text itself is read in between; nothing is read if nobody asks."""
    stream, block = live()
    for number, character in enumerate(ARGUMENTS):
        stream.receive_data(delta(partial_json=character))
        block = stream.message.tool_uses[0]
        if look == "always" or (look == "late" and number > 40):
            if number % 3 == 0:
                assert block.input_json == ARGUMENTS[: number + 1]
            fresh = JSONReader()
            fresh_texts = len(given_texts)
            fresh.receive_text(ARGUMENTS[: number + 1])
            del given_texts[fresh_texts:]
            assert block.partial_input() == block.partial_input() == fresh.partial()
    assert "".join(given_texts) == ("" if look == "never" else ARGUMENTS)
    stream.receive_data(block_stop())
    assert block.input == block.partial_input() == json.loads(ARGUMENTS)
    assert "".join(given_texts) == ("" if look == "never" else ARGUMENTS)


def test_partial_input_stands_still():
    """What a call returned stays what it was, in the stream and after it; the blocks around it don't matter."""
    stream, block = live()
    held = []
    for character in ARGUMENTS:
        stream.receive_data(delta(partial_json=character))
        shown = stream.message.tool_uses[0].partial_input()
        held.append((shown, repr(shown)))
    stream.receive_data(block_stop())
    assert [repr(shown) for shown, _ in held] == [then for _, then in held]


def test_partial_input_of_what_broke():
    """The view stays what it was before the fault, whatever comes then."""
    stream, block = live('{"a": 1, "b": "x', 'y", oops')
    assert block.partial_input() == {"a": 1, "b": "xy"}
    for more in ("}", "", '"c": 1}'):
        stream.receive_data(delta(partial_json=more))
        assert block.partial_input() == {"a": 1, "b": "xy"}
    cut = ToolUseBlock(input_json='{"a": [1, 2')
    assert cut.partial_input() == cut.partial_input() == {"a": [1]}
    assert ToolUseBlock(input_json='["a"').partial_input() == {}


def test_partial_input_before_the_first_piece():
    """What the block started with stands until a character comes."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start({**TOOL, "input": {"s": 1}}) + delta(partial_json=""))
    block = stream.message.tool_uses[0]
    assert block.partial_input() == {"s": 1}
    stream.receive_data(delta(partial_json=" "))
    assert block.partial_input() == {}
    stream.receive_data(delta(partial_json='{"t":"'))
    assert block.partial_input() == {"t": ""}


@pytest.mark.parametrize("start", [{}, {"s": 1}])
def test_an_empty_piece_after_the_stop_changes_nothing(start):
    """What the block started with is still its input, finished and so far."""
    stream = MessageStream()
    late = block_start({**TOOL, "input": start}) + block_stop() + delta(partial_json="")
    stream.receive_data(message_start() + late)
    block = stream.message.tool_uses[0]
    assert block.input == block.partial_input() == start


def test_partial_input_joins_halves_that_the_server_cut():
    """As the text does: a half at the end waits for the other."""
    stream, block = live('{"a":"x\ud83d')
    assert block.partial_input() == {"a": "x"}
    stream.receive_data(delta(partial_json="\ude00y"))
    assert block.partial_input() == {"a": "x\U0001f600y"}


@pytest.mark.parametrize("size", [0, -1])
def test_a_limit_is_at_least_one(size):
    with pytest.raises(ValueError, match=f"max_size is {size}, must be at least 1"):
        JSONReader(max_size=size)
