"""Messages and blocks: tool arguments above all, which are never finished before they are."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from sansio_step import (
    MCPToolUseBlock,
    Message,
    MessageStream,
    ServerToolUseBlock,
    StreamError,
    TextBlock,
    ThinkingBlock,
    ToolInputError,
    ToolUseBlock,
    UnknownBlock,
    parse,
    to_dict,
)

from .helpers import (
    MESSAGE_STOP,
    TEXT,
    THINKING,
    TOOL,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
    read,
    text_block,
    tool_block,
    whole,
)

TOOLS = {"tool_use": ToolUseBlock, "server_tool_use": ServerToolUseBlock, "mcp_tool_use": MCPToolUseBlock}
ARGUMENTS = {
    "text": 'Zo\u00eb \\ "\u4f60\U0001f600\n', "n": -12.5e-3, "zero": 0, "t": True, "f": False, "nil": None,
    "list": [1, [2, {}], "x", []], "deep": {"a": {"b": [{"c": 10**20}]}}, "": "",
}  # fmt: skip


def live(*parts):
    stream = MessageStream()
    stream.receive_data(b"".join((message_start(), *parts)))
    return stream.message.content[-1]


@pytest.mark.parametrize("kind", TOOLS)
class TestToolInput:
    """The same rules for the three blocks that call a tool."""

    def test_pieces_are_parsed_when_whole(self, kind):
        """input_json is the raw text, input what it parses to, however it was cut."""
        text = json.dumps(ARGUMENTS)
        for size in (1, 3, len(text)):
            cut = [text[start : start + size] for start in range(0, len(text), size)]
            (block,) = parse(whole(tool_block(*cut, start={**TOOL, "type": kind})), strict=True).content
            assert type(block) is TOOLS[kind]
            assert (block.input_json, block.input) == (text, ARGUMENTS)

    @pytest.mark.parametrize("pieces", [(), ("",), ("", "", "")])
    @pytest.mark.parametrize("start", [{}, {"a": 1}])
    def test_without_pieces_the_starts_input_stands(self, kind, start, pieces):
        """No piece, or only empty ones: what content_block_start said is the input, {} too."""
        (block,) = parse(whole(tool_block(*pieces, start={**TOOL, "type": kind, "input": start})), strict=True).content
        assert (block.input, block.input_json, block.partial_input()) == (start, "", start)
        assert to_dict(block) == {**TOOL, "type": kind, "input": start}

    @pytest.mark.parametrize("pieces", [(), ("",), ('{"a"',), ('{"a":1}',)])
    def test_an_unfinished_block_has_no_input(self, kind, pieces):
        """Not even if the text so far would parse, or no piece has come yet, whatever the start said."""
        start = {**TOOL, "type": kind, "input": {"s": 1}}
        block = live(block_start(start), *(delta(partial_json=piece) for piece in pieces))
        text = "".join(pieces)
        with pytest.raises(ToolInputError, match="not finished") as caught:
            block.input  # noqa: B018
        assert (caught.value.input_json, caught.value.position) == (text, len(text))
        assert to_dict(block) == {**start, "input": block.partial_input(), "input_json": text}

    @pytest.mark.parametrize("end", [block_stop(), message_delta(), MESSAGE_STOP])
    def test_each_end_finishes_it(self, kind, end):
        """Its stop, a stop_reason, message_stop."""
        assert live(block_start({**TOOL, "type": kind}), delta(partial_json='{"a":1}'), end).input == {"a": 1}

    @pytest.mark.parametrize(
        ("text", "position"),
        [('{"a":', 5), ('{"a": tru', 6), ("[]", 0), ('"a"', 0), ("null", 0), ("{} {}", 3), ('{"a":1,}', 7), ("{'a':1}", 1),
         ('{"a":01}', 6), ('{"a":"\n"}', 6), ('{"a":"\\q"}', 6), ('{"a":1e999}', 5), ('{"\u4f60":x}', 5), (" ", 1)],
    )  # fmt: skip
    def test_broken_text_raises_where_it_breaks(self, kind, text, position):
        """Strictly one JSON object; the position is in characters."""
        block = TOOLS[kind](input_json=text)
        for _ in range(2):
            with pytest.raises(ToolInputError) as caught:
                block.input  # noqa: B018
            assert (caught.value.input_json, caught.value.position) == (text, position)
        assert isinstance(block.partial_input(), dict)
        assert to_dict(block) == {"type": kind, "input": block.partial_input(), "input_json": text}

    def test_cut_arguments_in_a_whole_message(self, kind):
        """max_tokens cuts arguments: the message is whole, the input is not, and to_dict shows both views."""
        shown = read(
            [whole(tool_block('{"a": [1, 2', start={**TOOL, "type": kind}), stop_reason="max_tokens")], strict=True
        )
        (block,) = shown["messages"][0]["content"]
        assert (block["input"], block["input_json"]) == ({"a": [1]}, '{"a": [1, 2')

    def test_it_is_parsed_once(self, kind):
        """The same object each time, so that a caller may change it; a copy has one of its own."""
        block = TOOLS[kind](input_json='{"a":{"b":1}}')
        assert block.input is block.input
        twin = copy.deepcopy(block)
        twin.input["a"]["b"] = 2
        assert block.input == {"a": {"b": 1}}


@pytest.mark.parametrize("dumps", [json.dumps, lambda value: json.dumps(value, ensure_ascii=False, indent=1)])
def test_partial_input_at_every_cut(dumps):
    """At each character: finished numbers and literals exactly, texts as far as they came, nothing else."""
    text = dumps(ARGUMENTS)
    seen = []

    def check(part, full, path=""):
        assert type(part) is type(full), path
        if isinstance(full, dict):
            assert list(part) == list(full)[: len(part)]
            for key, value in part.items():
                check(value, full[key], f"{path}.{key}")
        elif isinstance(full, list):
            assert len(part) <= len(full)
            for number, value in enumerate(part):
                check(value, full[number], f"{path}[{number}]")
        elif isinstance(full, str):
            assert full.startswith(part), path
        else:
            assert part == full, path

    block = ToolUseBlock()
    for end in range(1, len(text) + 1):
        block.input_json = text[:end]
        part = block.partial_input()
        check(part, ARGUMENTS)
        seen.append(json.dumps(part))
    # It only grows, and is all there when the text is.
    assert [len(one) for one in seen] == sorted(len(one) for one in seen)
    assert json.loads(seen[-1]) == ARGUMENTS


def test_partial_input_grows_with_the_stream():
    """The live view of a block, between any two deltas."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TOOL))
    seen = []
    for piece in ('{"city": "P', "aris", '", "days": 1', "0, ", '"ok": tr', 'ue, "x"', ': {"', '"}'):
        stream.receive_data(delta(partial_json=piece))
        seen.append(stream.message.tool_uses[0].partial_input())
    first = {"city": "Paris"}
    assert seen == [{"city": "P"}, first, first, {**first, "days": 10}, {**first, "days": 10}, {**first, "days": 10, "ok": True},
                    {**first, "days": 10, "ok": True, "x": {}}, {**first, "days": 10, "ok": True, "x": {}}]  # fmt: skip


def test_text_and_tool_uses():
    """What most callers want: the text blocks joined, the calls of the caller's own tools."""
    message = Message(
        content=[ThinkingBlock("hm"), TextBlock("a"), ServerToolUseBlock(name="s"), TextBlock("b"), ToolUseBlock(name="t"),
                 MCPToolUseBlock(name="m"), UnknownBlock("poem", extra={"text": "no"})]
    )  # fmt: skip
    assert message.text == "ab"
    assert [block.name for block in message.tool_uses] == ["t"]
    assert (Message().text, Message().tool_uses) == ("", [])


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_of_a_live_message_stand_still(twin_of):
    """At every event: the copy equals the message of the moment, and neither follows the other from then on."""
    body = whole(text_block("a", "b\ud83d", "\ude00"), tool_block('{"a', '":1}', index=1), block_start({"type": "poem"}, 2),
                 delta(2, text="x"), block_stop(2), block_start(THINKING, 5), delta(5, thinking="t"), delta(4, text="z"))  # fmt: skip
    stream = MessageStream()
    twins = []
    for part in body.split(b"\n\n")[:-1]:
        stream.receive_data(part + b"\n\n")
        twin = twin_of(stream.message)
        assert twin == stream.message
        twins.append((twin, json.dumps(to_dict(stream.message))))
    for twin, shown in twins:
        assert json.dumps(to_dict(twin)) == shown
        twin.content.append(TextBlock("mine"))
        for block in twin.content:
            if isinstance(block, TextBlock):
                block.text += "!"
    assert to_dict(stream.message) == to_dict(parse(body))


def test_a_class_shows_its_fields_as_other_classes_do():
    """By what reads them of an object: `help` and other tools look there."""
    block = ToolUseBlock("t", "n", input_json="[1")
    assert TextBlock.text.__get__(TextBlock("a")) == "a"
    assert ToolUseBlock.input_json.__get__(block) == "[1"
    with pytest.raises(ToolInputError, match="the text ends inside a number"):
        ToolUseBlock.input.__get__(block)


def test_an_unfinished_block_stays_so_in_its_copy():
    """A copy does not finish what the stream has not."""
    twin = copy.deepcopy(live(block_start(TOOL), delta(partial_json="{}")))
    with pytest.raises(ToolInputError, match="not finished"):
        twin.input  # noqa: B018


def test_a_message_is_the_callers_to_change():
    """Once it is whole: fields and blocks can be set, added, removed, like those of any object."""
    message = parse(whole(text_block("a"), block_start(TEXT, 1), block_stop(1)))
    message.content[0].text = "b"
    message.content.append(ToolUseBlock(id="i", name="n", input={"a": 1}))
    del message.content[1]
    message.content[0].extra = {"mark": 1}
    message.model = None
    assert to_dict(message)["content"] == [
        {"type": "text", "text": "b", "mark": 1},
        {"type": "tool_use", "id": "i", "name": "n", "input": {"a": 1}},
    ]


@pytest.mark.parametrize("depth", [50, 900])
def test_input_at_any_depth_of_the_callers_stack(depth):
    """Nested arguments are read, or refused, whatever stack is left: the bound is 200."""

    def down(left, call):
        return call() if left == 0 else down(left - 1, call)

    halves = ToolUseBlock(input_json='{"a":"\ud83d"}')  # json.loads makes such a text
    assert halves.input == {"a": "\ufffd"}
    fine = ToolUseBlock(input_json='{"a":' * 200 + "1" + "}" * 200)
    deep = ToolUseBlock(input_json='{"a":' * 201 + "1" + "}" * 201)
    assert list(down(depth, lambda: fine.input)) == ["a"]
    with pytest.raises(StreamError, match="nested deeper than 200"):
        down(depth, lambda: deep.input)
    assert list(down(depth, deep.partial_input)) == ["a"]


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ('{"a":"\ud83d",x}', 9, "expected a key"),
        ('{"a":"\\\ud83d"}', 7, "invalid escape"),  # a backslash before a half is no escape
        ('{"\ud83d":', 5, "the text ends too early"),
        ('"\ud83d', 2, "the text ends too early"),
    ],
)
def test_a_broken_text_with_halves_of_characters_breaks_where_it_does(text, position, what):
    with pytest.raises(ToolInputError, match=f"^broken tool input: {what}") as caught:
        ToolUseBlock("toolu_1", "look", input_json=text).input  # noqa: B018
    assert (caught.value.position, caught.value.input_json) == (position, text)
    whole = ToolUseBlock("toolu_1", "look", input_json='{"\ud83d":"\ud83d"}')
    assert whole.input == {"\ufffd": "\ufffd"}


@pytest.mark.parametrize("size", [1, 256, 300])
def test_partial_input_that_is_first_asked_for_late(size):
    """Then it is read from its first character, in however many strings it came."""
    text = json.dumps({"a": "x" * 900, "b": [1]})
    block = live(block_start(TOOL), *(delta(partial_json=text[at : at + size]) for at in range(0, len(text), size)))
    assert block.partial_input() == json.loads(text)


@pytest.mark.parametrize("size", [1, 7, 300])
def test_partial_input_reads_on_whatever_is_read_in_between(size):
    """Long arguments are kept in many strings, and reading the text makes one of them."""
    text = json.dumps({"a": "x" * 900, "b": [1, 2, {"c": "y" * 900}]})
    for ask in (1, 3, 250):
        stream = MessageStream()
        stream.receive_data(message_start() + block_start(TOOL))
        for number, start in enumerate(range(0, len(text), size)):
            stream.receive_data(delta(partial_json=text[start : start + size]))
            block = stream.message.content[0]
            if number % ask == 0:
                so_far = block.partial_input()
                assert so_far.get("a", "") == ("x" * 900)[: len(so_far.get("a", ""))]
                assert len(so_far.get("a", "")) == min(900, max(0, start + size - 7))
            if number % 400 == 399:
                assert block.input_json == text[: start + size]
        assert block.partial_input() == json.loads(text)


def test_an_empty_extra_is_nobodys_to_fill():
    """All objects share it. What would change it says what to do instead."""
    block = TextBlock("a")
    for change in (lambda: block.extra.update(b=1), lambda: block.extra.setdefault("b", 1), block.extra.clear):
        with pytest.raises(
            TypeError, match="^this empty `extra` is shared and read-only; set `extra` to a dict of your own$"
        ):
            change()
    block.extra = {"b": 1}
    block.extra["c"] = 2
    assert (to_dict(block), TextBlock("a").extra) == ({"type": "text", "text": "a", "b": 1, "c": 2}, {})
