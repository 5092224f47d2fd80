"""Tool arguments as a type of the caller's own, and where they are not of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import MCPToolUseBlock, ServerToolUseBlock, ToolInputError, ToolUseBlock, parse

from .helpers import TOOL, block_start, delta, message_start, partial_of, tool_block, whole


class Place(msgspec.Struct):
    name: str
    days: list[int] = []


class Trip(msgspec.Struct):
    places: list[Place]
    when: date | None = None
    mode: Literal["train", "bus"] = "train"
    prices: dict[str, int] = {}
    by_year: dict[int, str] = {}


@dataclass
class Data:
    name: str
    inner: Data | None = None


class Typed(TypedDict):
    name: str


def call(text):
    return ToolUseBlock("t", "n", input_json=text)


@pytest.mark.parametrize("cls", [ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock])
def test_the_input_of_every_call(cls):
    """Whichever tool is called, as a text or as an object that came whole."""
    arguments = {"places": [{"name": "Ulm", "days": [1]}], "when": "2026-11-27", "by_year": {"7": "a"}}
    expected = Trip([Place("Ulm", [1])], date(2026, 11, 27), by_year={7: "a"})
    assert cls(input=arguments).input_as(Trip) == expected
    assert cls(input_json=json.dumps(arguments)).input_as(Trip) == expected


def test_any_type_that_msgspec_knows():
    """Dataclasses, TypedDicts, unions, plain dicts."""
    block = call('{"name": "a", "inner": {"name": "b"}}')
    assert block.input_as(Data) == Data("a", Data("b"))
    assert block.input_as(Typed) == {"name": "a"}
    assert block.input_as(Data | None) == Data("a", Data("b"))
    assert block.input_as(dict[str, Any]) == block.input
    with pytest.raises(TypeError, match="Type unions may not contain more than one dict-like type"):
        block.input_as(Data | Typed)


def test_an_input_from_a_stream():
    """Once it is finished; before that, and if it is broken, the error is that of `input`."""
    message = parse(whole(tool_block('{"name"', ': "a"}')))
    assert message.content[0].input_as(Data) == Data("a")
    cut = partial_of(message_start() + block_start(TOOL) + delta(partial_json='{"name": "a"}'))
    with pytest.raises(ToolInputError, match="the block is not finished") as caught:
        cut.content[0].input_as(Data)
    assert caught.value.path is None
    with pytest.raises(ToolInputError, match="broken tool input") as caught:
        call('{"name": "a"').input_as(Data)
    assert (caught.value.path, caught.value.position) == (None, 12)


AT = [
    ('{"places": [{"name": 1}]}', "Expected `str`, got `int`", "$.places[0].name", "1}]}"),
    ('{"places": [{"name": "a"}, {"name": "b", "days": [1, "x"]}]}', "Expected `int`, got `str`", "$.places[1].days[1]", '"x"]'),
    (' { "places" : [ { } ] }', "Object missing required field `name`", "$.places[0]", "{ } ]"),
    (' {}', "Object missing required field `places`", "$", "{}"),
    ('{"places": [], "mode": "car"}', "Invalid enum value 'car'", "$.mode", '"car"'),
    ('{"places": [], "when": "soon"}', "Invalid RFC3339 encoded date", "$.when", '"soon"'),
    ('{"places": [], "prices": {"a": 1, "b": "c"}}', "Expected `int`, got `str`", "$.prices[...]", '{"a"'),
    ('{"places": [], "by_year": {"x": "c"}}', "Expected `int`, got `str`", "$.by_year", '{"x"'),
    ('{"places": 1, "a": [{"]": "}\\"{"}, 1], "places": {"b": []}}', "Expected `array`, got `object`", "$.places", '{"b"'),
    ('{"pl\\u0061ces": 1}', "Expected `array`, got `int`", "$.places", "1}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "path", "there"), AT)
def test_the_path_at_fault_and_its_place(text, reason, path, there):
    """The error names both, and the place is where the value starts, or that of the value that holds it."""
    with pytest.raises(ToolInputError) as caught:
        call(text).input_as(Trip)
    error = caught.value
    assert (error.path, error.input_json) == (path, text)
    assert text[error.position :].startswith(there)
    assert str(error) == f"{reason} - at {path} (character {error.position} of {len(text)})"


def test_an_input_that_came_without_a_text_has_no_place():
    """There is only the path."""
    with pytest.raises(ToolInputError) as caught:
        ToolUseBlock(input={"places": 1}).input_as(Trip)
    error = caught.value
    assert (str(error), error.position) == ("Expected `array`, got `int` - at $.places", None)


class Odd(msgspec.Struct, rename={"value": "a.b", "element": "c[1]"}):
    value: int = 0
    element: int = 0
    checked: int = 0

    def __post_init__(self):
        if self.checked:
            raise ValueError("no " + "\x1b" + "x" * 10_000)


@pytest.mark.parametrize(
    ("text", "path", "position"),
    [
        ('{"a.b": "x"}', "$.a.b", 0),
        ('{"a": 1, "a.b": "x"}', "$.a.b", 6),
        ('{"a": ["b", 1], "a.b": "x"}', "$.a.b", 6),
        ('{"c[1]": "x"}', "$.c[1]", 0),
        ('{"c": 1, "c[1]": "x"}', "$.c[1]", 6),
        ('{"c": [1], "c[1]": "x"}', "$.c[1]", 6),
        ('{"c": [], "c[1]": "x"}', "$.c[1]", 6),
    ],
)
def test_a_name_that_looks_like_a_path(text, path, position):
    """A path can't say which dots belong to a name, so the place is that of the last value on its way."""
    with pytest.raises(ToolInputError) as caught:
        call(text).input_as(Odd)
    assert (caught.value.path, caught.value.position) == (path, position)


def test_a_type_with_rules_of_its_own():
    """What they say is kept, in short and on one line."""
    with pytest.raises(ToolInputError) as caught:
        call('{"checked": 1}').input_as(Odd)
    assert str(caught.value).startswith("no \\x1bxxx")
    assert len(str(caught.value)) < 400


JSON = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('"\\\\[]{},:a', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\\\[]{},:a', max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.tuples(st.sampled_from("xyz") | st.integers(0, 3), JSON), max_size=4),
    st.sampled_from([(",", ":"), (" , ", " :\t"), (",\n", ": ")]),
)
def test_the_place_of_any_value(steps, separators):
    """Wherever a wrong value stands, and whatever stands around it, its place is where it starts."""
    good: Any = 1
    bad: Any = "wrong"
    kind: Any = int
    path = ""
    for step, noise in [*steps, ("top", None)]:
        if isinstance(step, int):
            bad = [*[good] * step, bad, good]
            good, kind, path = [good], list[kind], f"[{step}]{path}"
        else:
            bad = {"before": noise, step: bad, "after": noise}
            good, kind, path = {step: good}, msgspec.defstruct("Inner", [(step, kind)]), f".{step}{path}"
    text = json.dumps(bad, separators=separators)
    with pytest.raises(ToolInputError) as caught:
        call(text).input_as(kind)
    assert caught.value.path == f"${path}"
    assert text[caught.value.position :].startswith('"wrong"')


def test_types_that_keep_more_than_json_values_do():
    """From the text, as msgspec would read it."""

    class Order(msgspec.Struct):
        price: Decimal
        rest: msgspec.Raw

    order = ToolUseBlock("toolu_1", "buy", input_json='{"price": 0.10000000000000000001, "rest": [1, 2]}').input_as(
        Order
    )
    assert order.price == Decimal("0.10000000000000000001")
    assert bytes(order.rest) == b"[1, 2]"
    raw = ToolUseBlock("toolu_1", "say", input_json='{"text": "a\ud83d"}')  # as json.loads gives such a text
    assert raw.input_as(dict[str, str]) == {"text": "a\ufffd"}
    halves = ToolUseBlock("toolu_1", "say", input_json='{"text": "a\\ud83d"}')
    assert halves.input_as(dict[str, str]) == {"text": "a\ufffd"}
