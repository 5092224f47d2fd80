"""`MessageRequest`: what it accepts, what it refuses and how it says so, what it sends."""

import copy
import dataclasses
import enum
import json
import pickle
import re
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import MessageRequest, decode_message, parse, to_dict, to_param

USER = {"role": "user", "content": "你好"}
LEAST: dict[str, Any] = {"model": "step-3.7-flash", "messages": [USER], "max_tokens": 100}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
LINK = {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}}
CALL = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "杭州"}}
RESULT = {
    "type": "tool_result",
    "tool_use_id": "t1",
    "content": [{"type": "text", "text": "晴"}, LINK],
    "is_error": False,
}
TOOL = {"name": "weather", "description": "Now", "input_schema": {"type": "object"}}


def request(**changes: Any) -> MessageRequest:
    return MessageRequest(**{**LEAST, **changes})


def turn(role: str, *blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


# --- what is sent ----------------------------------------------------------------------------------------


def test_the_least_request_has_its_three_fields_and_no_other():
    assert json.loads(request().to_json()) == request().to_dict() == LEAST


def test_every_field_has_its_place():
    made = request(
        system="Be brief.",
        tools=[TOOL],
        effort="low",
        stream=True,
        temperature=0,
        top_p=1,
        top_k=0,
        stop_sequences=["\n\n"],
        extra={"tool_choice": {"type": "auto"}},
    )
    assert made.to_dict() == {
        **LEAST,
        "system": "Be brief.",
        "tools": [TOOL],
        "output_config": {"effort": "low"},
        "stream": True,
        "temperature": 0,
        "top_p": 1,
        "top_k": 0,
        "stop_sequences": ["\n\n"],
        "tool_choice": {"type": "auto"},
    }


def test_json_is_compact_utf_8():
    assert '"content":"你好"'.encode() in request().to_json()


def test_integers_of_any_size_are_sent_as_they_are():
    made = request(extra={"seed": 2**70})
    assert f'"seed":{2**70}'.encode() in made.to_json()


def test_empty_lists_are_fields_that_are_set():
    assert request(tools=[], stop_sequences=()).to_dict() == {**LEAST, "tools": [], "stop_sequences": []}


def test_extra_may_add_to_output_config():
    config = {"output_config": {"format": "json"}}
    assert request(extra=config).to_dict() == {**LEAST, **config}
    both = request(extra=config, effort="high").to_dict()
    assert both["output_config"] == {"format": "json", "effort": "high"}


def test_extra_may_name_an_effort_that_the_endpoint_does_not_list():
    """Other vendors take efforts of their own, which go out as they are given."""
    config = {"output_config": {"effort": "xhigh", "format": "json"}}
    assert json.loads(request(extra=config).to_json())["output_config"] == config["output_config"]


def test_it_keeps_a_copy_of_what_was_checked():
    """A list that the caller goes on with changes no request that was made of it."""
    messages = [dict(USER)]
    made = request(messages=messages)
    messages[0]["content"] = 1
    messages.clear()
    assert made.to_dict() == LEAST


def test_tuples_mappings_and_subclasses_become_plain_json():
    class Model(str, enum.Enum):
        FLASH = "step-3.7-flash"

    class Number(enum.IntEnum):
        TEN = 10

    class Real(float):
        pass

    made = request(
        model=Model.FLASH,
        messages=(MappingProxyType(USER),),
        top_k=Number.TEN,
        extra={"a": Number.TEN, "b": Real(0.5), "c": None, "d": True},
    )
    assert made.to_dict() == {**LEAST, "top_k": 10, "a": 10, "b": 0.5, "c": None, "d": True}
    assert type(made.model) is str
    assert made.to_dict()["d"] is True  # which is no 1 to JSON
    for name, shown in (("n" * 60, "n" * 60), ("n" * 61, "n" * 60 + "...")):
        with pytest.raises(TypeError, match=rf"^extra\.{re.escape(shown)}: "):
            request(extra={name: {1, 2}})
    assert type(made.to_dict()["a"]) is int
    assert type(made.to_dict()["b"]) is float


# --- changed copies, repr --------------------------------------------------------------------------------


def test_a_copy_with_changes_is_checked_too():
    made = request(effort="low").replace(stream=True, model="step-3.5-flash-2603")
    assert (made.stream, made.model, made.effort) == (True, "step-3.5-flash-2603", "low")
    with pytest.raises(ValueError, match="effort"):
        made.replace(effort="medium")


def test_the_standard_replace_works():
    assert dataclasses.replace(request(), stream=True) == request(stream=True)


def test_it_is_frozen_and_copies_and_pickles():
    made = request(**turn("user", PNG))
    with pytest.raises(AttributeError):
        made.model = "x"  # type: ignore[misc]
    for twin in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert twin == made


def test_arguments_are_keywords_and_known():
    with pytest.raises(TypeError):
        MessageRequest("step-3.7-flash", [USER], 1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="tool_choice"):
        request(tool_choice={"type": "auto"})
    with pytest.raises(TypeError, match="max_tokens"):
        MessageRequest(model="m", messages=[USER])  # type: ignore[call-arg]


def test_repr_is_short_and_shows_what_is_set():
    image = {**PNG, "source": {**PNG["source"], "data": "A" * 1_000_000}}  # type: ignore[dict-item]
    shown = repr(request(system="s" * 10_000, **turn("user", *[image] * 100)))
    assert len(shown) < 1000
    assert shown.startswith("MessageRequest(model='step-3.7-flash', messages=[")
    assert "top_k" not in shown


# --- what is accepted ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "a-model-of-tomorrow"},
        {"messages": [USER, {"role": "assistant", "content": ""}, {"role": "user", "content": []}]},
        turn("user", {"type": "text", "text": "看图", "cache_control": {"type": "ephemeral"}}, PNG, LINK),
        turn("assistant", CALL),
        turn("assistant", {"type": "tool_use", "name": "", "input": {}}),  # a server's, which forgot the rest
        turn("user", RESULT),
        turn("user", {"type": "tool_result", "tool_use_id": "t1"}),
        turn("user", {"type": "tool_result", "tool_use_id": "t1", "content": "晴", "is_error": True}),
        turn("user", {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "document"}]}),
        turn("user", {"type": "document", "source": {"type": "file"}}),
        turn("assistant", {"type": "image", "source": "as the server said"}, {"type": "tool_result"}),
        turn("assistant", {"type": "thinking", "thinking": "", "signature": "s"}, {"type": "future_block", "x": None}),
        {"system": []},
        {"system": [{"type": "text", "text": "Be brief."}]},
        {"tools": [{"name": "f", "input_schema": {}}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
        *({"effort": effort} for effort in ("low", "medium", "high")),
        *({"effort": effort, "model": "step-3.5-flash-2603"} for effort in ("low", "high")),
        *({"temperature": number} for number in (0, 0.0, 1.5, 2)),
        *({"top_p": number} for number in (1e-9, 0.5, 1)),
        *({"top_k": number} for number in (0, 500)),
        {"max_tokens": 1},
        {"extra": {}},
        {"extra": {"extra": 1, "thinking": {"type": "enabled"}}},
    ],
)
def test_accepted(fields: dict[str, Any]):
    made = request(**fields)
    assert json.loads(made.to_json()) == made.to_dict()


# --- what is refused -------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def source(**fields: Any) -> dict[str, Any]:
    return turn("user", {"type": "image", "source": fields})


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"model": ""}, ValueError, "model: '' is empty"),
        ({"model": " "}, ValueError, "model: ' ' is empty"),
        ({"model": None}, TypeError, "model: None is of type NoneType, not a string"),
        ({"messages": []}, ValueError, "messages: [] is empty: at least one message is needed"),
        ({"messages": "你好"}, TypeError, "messages: '你好' is of type str, not an array (a list)"),
        ({"messages": [1]}, TypeError, "messages[0]: 1 is of type int, not an object (a dict)"),
        ({"messages": [{"content": ""}]}, ValueError, "messages[0].role: it is missing"),
        ({"messages": [{"role": "user"}]}, ValueError, "messages[0].content: it is missing"),
        (
            {"messages": [USER, {"role": "system", "content": ""}]},
            ValueError,
            "messages[1].role: 'system' is not 'user' or 'assistant'",
        ),
        (
            {"messages": [{"type": "message", "role": "assistant", "content": []}]},
            ValueError,
            "messages[0]: it is a whole response; to_param(message) makes a turn of it",
        ),
        (
            {"messages": [{"role": "user", "content": 1}]},
            TypeError,
            "messages[0].content: 1 is of type int, not a string or an array of blocks",
        ),
        (
            {"messages": [{"role": "user", "content": "\ud83d"}]},
            ValueError,
            "messages[0].content: '\\ud83d' has half of a surrogate pair, which UTF-8 can't carry",
        ),
        (turn("user", {"type": 1}), TypeError, "messages[0].content[0].type: 1 is of type int, not a string"),
        ({"messages": [{"role": 1, "content": ""}]}, TypeError, "messages[0].role: 1 is of type int, not a string"),
        (
            turn("user", {"type": "image", "source": 1}),
            TypeError,
            "messages[0].content[0].source: 1 is of type int, not an object (a dict)",
        ),
        (source(), ValueError, "messages[0].content[0].source.type: it is missing"),
        (source(type=1), TypeError, "messages[0].content[0].source.type: 1 is of type int, not a string"),
        (source(type="url", url=""), ValueError, "messages[0].content[0].source.url: '' is empty"),
        (
            source(type="base64", media_type="", data=""),
            ValueError,
            "messages[0].content[0].source.media_type: '' is empty",
        ),
        (source(type="base64", media_type="a"), ValueError, "messages[0].content[0].source.data: it is missing"),
        (
            turn("assistant", {**CALL, "name": 1}),
            TypeError,
            "messages[0].content[0].name: 1 is of type int, not a string",
        ),
        ({"system": "\ud83d"}, ValueError, "system: '\\ud83d' has half of a surrogate pair, which UTF-8 can't carry"),
        ({"system": [{"type": "text", "text": "", "a": NAN}]}, ValueError, "system[0].a: nan is not a JSON number"),
        ({"tools": 1}, TypeError, "tools: 1 is of type int, not an array (a list)"),
        ({"tools": [1]}, TypeError, "tools[0]: 1 is of type int, not an object (a dict)"),
        ({"tools": [{"name": ""}]}, ValueError, "tools[0].name: '' is empty"),
        (
            {"tools": [{"name": "f", "input_schema": 1}]},
            TypeError,
            "tools[0].input_schema: 1 is of type int, not an object (a dict)",
        ),
        (
            {"tools": [{"name": "f", "type": "t", "input_schema": 1}]},
            TypeError,
            "tools[0].input_schema: 1 is of type int, not an object (a dict)",
        ),
        ({"effort": 1}, TypeError, "effort: 1 is of type int, not a string"),
        ({"top_p": "1"}, TypeError, "top_p: '1' is of type str, not a number"),
        (turn("user", "text"), TypeError, "messages[0].content[0]: 'text' is of type str, not an object (a dict)"),
        (turn("user", {"text": "x"}), ValueError, "messages[0].content[0].type: it is missing"),
        (turn("user", {"type": "text"}), ValueError, "messages[0].content[0].text: it is missing"),
        (
            turn("user", {"type": "text", "text": None}),
            TypeError,
            "messages[0].content[0].text: None is of type NoneType, not a string",
        ),
        (turn("user", {"type": "image"}), ValueError, "messages[0].content[0].source: it is missing"),
        (source(type="file"), ValueError, "messages[0].content[0].source.type: 'file' is not 'url' or 'base64'"),
        (source(type="url"), ValueError, "messages[0].content[0].source.url: it is missing"),
        (source(type="base64", data="AA=="), ValueError, "messages[0].content[0].source.media_type: it is missing"),
        (
            source(type="base64", media_type="image/png", data="data:image/png;base64,AA=="),
            ValueError,
            "messages[0].content[0].source.data: 'data:image/png;base64,AA==' is not base64",
        ),
        (
            source(type="base64", media_type="image/png", data=b"AA=="),
            TypeError,
            "messages[0].content[0].source.data: b'AA==' is of type bytes, not a string",
        ),
        (turn("assistant", {"type": "tool_use"}), ValueError, "messages[0].content[0].input: it is missing"),
        (
            turn("assistant", {**CALL, "id": 1}),
            TypeError,
            "messages[0].content[0].id: 1 is of type int, not a string",
        ),
        (
            turn("user", {**RESULT, "tool_use_id": ""}),
            ValueError,
            "messages[0].content[0].tool_use_id: '' is empty",
        ),
        (
            turn("assistant", {**CALL, "input": "{}"}),
            TypeError,
            "messages[0].content[0].input: '{}' is of type str, not an object (a dict)",
        ),
        (turn("user", {"type": "tool_result"}), ValueError, "messages[0].content[0].tool_use_id: it is missing"),
        (
            turn("user", {**RESULT, "content": None}),
            TypeError,
            "messages[0].content[0].content: None is of type NoneType, not a string or an array of blocks",
        ),
        (
            turn("user", {**RESULT, "content": [{"type": "text"}]}),
            ValueError,
            "messages[0].content[0].content[0].text: it is missing",
        ),
        (
            turn("user", {**RESULT, "is_error": 1}),
            TypeError,
            "messages[0].content[0].is_error: 1 is of type int, not a boolean",
        ),
        ({"max_tokens": 0}, ValueError, "max_tokens: 0 is not greater than 0"),
        ({"max_tokens": True}, TypeError, "max_tokens: True is of type bool, not an integer"),
        ({"max_tokens": 1.0}, TypeError, "max_tokens: 1.0 is of type float, not an integer"),
        ({"max_tokens": None}, TypeError, "max_tokens: None is of type NoneType, not an integer"),
        ({"system": 1}, TypeError, "system: 1 is of type int, not a string or an array of blocks"),
        ({"system": [PNG]}, ValueError, "system[0].type: 'image' is not 'text'"),
        ({"system": [{"type": "text"}]}, ValueError, "system[0].text: it is missing"),
        ({"tools": TOOL}, TypeError, None),
        ({"tools": [{"input_schema": {}}]}, ValueError, "tools[0].name: it is missing"),
        ({"tools": [{"name": "f"}]}, ValueError, "tools[0].input_schema: it is missing"),
        ({"tools": [{"name": "f", "type": "custom"}]}, ValueError, "tools[0].input_schema: it is missing"),
        ({"tools": [{**TOOL, "description": 1}]}, TypeError, "tools[0].description: 1 is of type int, not a string"),
        (
            {"tools": [{**TOOL, "input_schema": {"maximum": INF}}]},
            ValueError,
            "tools[0].input_schema.maximum: inf is not a JSON number",
        ),
        ({"effort": "max"}, ValueError, "effort: 'max' is not 'low', 'medium' or 'high'"),
        (
            {"effort": "medium", "model": "step-3.5-flash-2603"},
            ValueError,
            "effort: 'medium' is not 'low' or 'high', the only efforts that step-3.5-flash-2603 takes",
        ),
        ({"stream": 1}, TypeError, "stream: 1 is of type int, not a boolean"),
        ({"stream": None}, TypeError, "stream: None is of type NoneType, not a boolean"),
        ({"temperature": 2.1}, ValueError, "temperature: 2.1 is not between 0 and 2"),
        ({"temperature": -0.1}, ValueError, "temperature: -0.1 is not between 0 and 2"),
        ({"temperature": NAN}, ValueError, "temperature: nan is not between 0 and 2"),
        ({"temperature": True}, TypeError, "temperature: True is of type bool, not a number"),
        ({"temperature": "1"}, TypeError, "temperature: '1' is of type str, not a number"),
        ({"top_p": 0}, ValueError, "top_p: 0 is not greater than 0 and at most 1"),
        ({"top_p": 1.01}, ValueError, "top_p: 1.01 is not greater than 0 and at most 1"),
        ({"top_p": NAN}, ValueError, "top_p: nan is not greater than 0 and at most 1"),
        ({"top_k": -1}, ValueError, "top_k: -1 is not between 0 and 500"),
        ({"top_k": 501}, ValueError, "top_k: 501 is not between 0 and 500"),
        ({"top_k": 1.5}, TypeError, "top_k: 1.5 is of type float, not an integer"),
        ({"stop_sequences": "END"}, TypeError, "stop_sequences: 'END' is of type str, not an array (a list)"),
        ({"stop_sequences": [1]}, TypeError, "stop_sequences[0]: 1 is of type int, not a string"),
        ({"extra": []}, TypeError, "extra: [] is of type list, not an object (a dict)"),
        ({"extra": {"top_k": 1}}, ValueError, "extra.top_k: it is an argument of its own"),
        ({"extra": {"effort": "low"}}, ValueError, "extra.effort: it is an argument of its own"),
        (
            {"extra": {"output_config": {"effort": "max"}}, "effort": "low"},
            ValueError,
            "effort: extra.output_config.effort sets it too",
        ),
        ({"max_tokens": 10**5000}, ValueError, "max_tokens: an integer of 16610 bits is too large to be written"),
        ({"top_k": 10**5000}, ValueError, "top_k: an integer of 16610 bits is too large to be written"),
        ({"extra": {"seed": 10**5000}}, ValueError, "extra.seed: an integer of 16610 bits is too large to be written"),
        (
            {"tool_choice": {"type": "auto"}},
            TypeError,
            "'tool_choice' is not a field that the endpoint lists; if the server takes it, pass extra={'tool_choice': ...}",
        ),
        ({"extra": {"output_config": 1}}, TypeError, "extra.output_config: 1 is of type int, not an object (a dict)"),
        ({"extra": {1: 2}}, TypeError, "a key of extra: 1 is of type int, not a string"),
        ({"extra": {"a": NAN}}, ValueError, "extra.a: nan is not a JSON number"),
        ({"extra": {"a": {1}}}, TypeError, "extra.a: {1} is of type set, not a JSON value"),
        ({"extra": {"a": CYCLE}}, ValueError, None),
    ],
)
def test_refused(fields: dict[str, Any], error: type[Exception], message: str | None):
    """The error names the field, the value and the rule."""
    with pytest.raises(error) as caught:
        request(**fields)
    assert message is None or str(caught.value) == message


def test_the_value_is_shortened():
    with pytest.raises(ValueError, match="effort: 'aaaa") as caught:
        request(effort="a" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_nesting_is_bounded_and_not_below_what_can_be_read():
    def nested(depth: int) -> Any:
        value: Any = 0
        for _ in range(depth):
            value = [value]
        return value

    # `extra` is the first level itself, `messages`, a message and its content the first three of a block.
    assert request(extra={"a": nested(255)}).to_json()
    with pytest.raises(ValueError, match=r"^extra\.a(\[0\]){24}\[\.\.\.: nested deeper than 256$"):
        request(extra={"a": nested(256)})
    deep = {"k": {"k": {"k": 0}}}
    for _ in range(252):
        deep = {"k": deep}
    assert request(extra={"a": deep}).to_json()
    with pytest.raises(ValueError, match="nested deeper than 256$"):
        request(extra={"a": {"k": deep}})


def test_system_blocks_are_sent_as_they_came():
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    assert request(system=blocks).to_dict()["system"] == blocks
    assert request(**turn("user", {"type": "tool_result", "tool_use_id": "t"})).to_json()


# --- what to_param returns -------------------------------------------------------------------------------

TEXT = st.text(st.sampled_from('ab "\\\n\0你😀\u2028'), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e9, 1e9) | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
TYPED: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "text": {"text": TEXT, "citations": st.lists(OBJECT, max_size=2)},
    "thinking": {"thinking": TEXT, "signature": TEXT},
    "redacted_thinking": {"data": TEXT},
    "tool_use": {"id": TEXT, "name": TEXT, "input": OBJECT, "caller": OBJECT},
    "server_tool_use": {"id": TEXT, "name": TEXT, "input": OBJECT},
    "mcp_tool_use": {"id": TEXT, "name": TEXT, "input": OBJECT, "server_name": TEXT},
    "web_search_tool_result": {"tool_use_id": TEXT, "content": JSON},
    "mcp_tool_result": {"tool_use_id": TEXT, "content": JSON, "is_error": st.booleans()},
    "container_upload": {"file_id": TEXT},
    "compaction": {"content": TEXT},
    "fallback": {"from": OBJECT, "to": OBJECT},
    "image": {"source": JSON},
    "tool_result": {"tool_use_id": JSON, "content": JSON},
    "document": {"source": JSON},
}


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([*TYPED, "", "block_of_tomorrow"]))
    fields = TYPED.get(kind, {})
    kept = {name: draw(values) for name, values in fields.items() if draw(st.booleans())}
    others = {name: value for name, value in draw(OBJECT).items() if name not in fields}
    return {**others, **kept, "type": kind}


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events
    )


@given(st.lists(blocks(), max_size=4), st.sampled_from(["assistant", None]))
def test_what_to_param_returns_is_accepted(content: list[dict[str, Any]], role: str | None):
    """Of a document and of a stream: it is sent as it is."""
    content = [*content, {"type": "text", "text": "hi"}]  # without any block there would be no turn
    body = {"type": "message", "role": role, "content": content}
    starts = [
        {"type": "content_block_start", "index": index, "content_block": block} for index, block in enumerate(content)
    ]
    start = {"type": "message_start", "message": {"id": "m", "role": role, "content": []}}
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    for message in (decode_message(json.dumps(body)), parse(sse(start, *starts, *end))):
        param = to_param(message)
        made = request(messages=[USER, param, USER])
        assert made.to_dict()["messages"][1] == param
        assert json.loads(made.to_json()) == made.to_dict()


def test_a_block_as_deep_as_can_be_read_is_accepted():
    deep = '{"a":' * 190 + "1" + "}" * 190
    message = decode_message('{"content":[{"type":"tool_use","id":"t","name":"f","input":' + deep + "}]}")
    assert request(messages=[USER, to_param(message)]).to_json()


def test_a_whole_response_is_no_turn():
    message = decode_message('{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}]}')
    with pytest.raises(ValueError, match="to_param"):
        request(messages=[USER, to_dict(message)])
