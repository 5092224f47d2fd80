"""The turn for the next request: what a server takes back of a message, and nothing that it refuses."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import sys
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    ContentBlock,
    Message,
    MessageRequest,
    MessageStream,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    decode_message,
    parse,
    to_dict,
    to_param,
)
from sansio_step.testing import messages

from .helpers import (
    TEXT,
    THINKING,
    TOOL,
    block_start,
    block_stop,
    delta,
    frame,
    message_delta,
    message_start,
    partial_of,
    text_block,
    tool_block,
    whole,
)

SAID = {"type": "text", "text": "said"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
REDACTED = {"type": "redacted_thinking", "data": "x"}
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
FALLBACK = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}, "trigger": None}
KINDS = {kind.type: kind for kind in get_args(ContentBlock) if kind is not UnknownBlock}
BROKEN = '{"a": tru'


def message_of(*blocks: dict[str, Any]) -> Message:
    return decode_message(json.dumps({"type": "message", "content": blocks}))


def sent(message: Message, **options: Any) -> list[dict[str, Any]]:
    turn = to_param(message, **options)
    request = MessageRequest(model="m", max_tokens=1, messages=[{"role": "user", "content": "Hi"}, turn])
    assert json.loads(request.to_json())["messages"][1] == turn
    assert turn.keys() == {"role", "content"}
    assert turn["role"] == "assistant"
    return turn["content"]


def refusal(message: Message, **options: Any) -> str:
    with pytest.raises(ValueError, match="^no block of the message can be sent back: ") as caught:
        to_param(message, **options)
    return str(caught.value).partition(": ")[2]


# --- which blocks ----------------------------------------------------------------------------------------


def test_what_a_server_takes_back():
    """Finished blocks; signed thinking; calls whose arguments are whole; no empty text."""
    message = parse(
        whole(
            block_start(THINKING), delta(thinking="hm"), delta(signature="s"), block_stop(),
            block_start(THINKING, 1), delta(1, thinking="unsigned"), block_stop(1),
            text_block("", index=2), text_block("Hi", index=3), tool_block('{"a":1}', index=4), tool_block('{"a', index=5),
            block_start(REDACTED, 6), block_stop(6),
        )
    )  # fmt: skip
    assert sent(message) == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
        REDACTED,
    ]


@pytest.mark.parametrize("broken_input", ["drop", "wrap"])
@pytest.mark.parametrize(
    "cut",
    [
        block_start(TEXT, 1) + delta(1, text="Hel"),
        block_start(TOOL, 1),
        block_start(TOOL, 1) + delta(1, partial_json="{}"),
        block_start(TOOL, 1) + delta(1, partial_json='{"a": "b'),
        block_start(THINKING, 1) + delta(1, thinking="hm") + delta(1, signature="s"),
        block_start(FOUND, 1),
        block_start({"type": "new", "text": "x"}, 1),
    ],
)
def test_a_message_that_broke_off(cut, broken_input):
    """What was not finished is left out, whatever kind it is of: above all, arguments that were still coming."""
    partial = partial_of(message_start() + text_block("whole") + cut)
    assert len(partial.content) == 2
    assert sent(partial, broken_input=broken_input, thinking="all") == [{"type": "text", "text": "whole"}]


@pytest.mark.parametrize(
    ("thinking", "kept"),
    [("signed", [THOUGHT, {**THOUGHT, "thinking": ""}, REDACTED]),
     ("all", [THOUGHT, {**THOUGHT, "thinking": ""}, {"type": "thinking", "thinking": "a"},
              {"type": "thinking", "thinking": "b", "signature": ""}, REDACTED]),
     ("none", [])],
)  # fmt: skip
def test_thinking(thinking, kept):
    """Signed only, or unsigned as well but not if it is empty, or none at all: redacted thinking is thinking, too."""
    message = message_of(
        THOUGHT, {**THOUGHT, "thinking": ""}, {"type": "thinking", "thinking": "a"}, {"type": "thinking", "thinking": ""},
        {"type": "thinking", "thinking": "b", "signature": ""}, REDACTED, SAID,
    )  # fmt: skip
    assert sent(message, thinking=thinking) == [*kept, SAID]


@pytest.mark.parametrize(
    ("option", "choices"), [("thinking", "'signed', 'all' or 'none'"), ("broken_input", "'drop' or 'wrap'")]
)
@pytest.mark.parametrize("wrong", ["Signed", "", None, True, ["all"]])
def test_another_word_is_no_choice(option, choices, wrong):
    """The error names the argument, what came and the choices, even if no block asks for one."""
    with pytest.raises(ValueError) as caught:
        to_param(message_of(SAID), **{option: wrong})
    assert str(caught.value) == f"{option}: {wrong!r} is not {choices}"


def test_a_text_of_blanks_alone_is_left_out():
    """Blanks of any script and number; a text that has anything else keeps its blanks."""
    blanks = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    assert {" ", "\n", "\u00a0", "\u3000", "\u2028"} <= set(blanks)
    texts = [*blanks, "", "".join(blanks)]
    blank = [{"type": "text", "text": text, "citations": [{"type": "new"}]} for text in texts]
    assert sent(message_of(*blank, {"type": "text", "text": " a\n"}, CALL)) == [{"type": "text", "text": " a\n"}, CALL]
    assert refusal(message_of(*blank)) == f"blank text ({len(blank)})"


def test_an_empty_turn_is_refused_with_its_reasons():
    """A server refuses it, on every later request too. What was left out is said, each reason once."""
    assert refusal(Message()) == refusal(message_of()) == "it has none"
    assert refusal(message_of(*[{"type": "text", "text": " "}] * 3, {"type": "thinking", "thinking": "a"})) == (
        "blank text (3), unsigned thinking (1)"
    )
    cut = partial_of(message_start() + tool_block(BROKEN) + block_start(TEXT, 1) + delta(1, text="a"))
    assert refusal(cut) == "broken call (1), unfinished block (1)"
    assert refusal(message_of(THOUGHT, REDACTED), thinking="none") == "thinking (2)"
    listed = {"type": "new", "a": 1}
    empty, compacted = {"type": "tool_use", "input": {}}, {"type": "compaction"}
    assert refusal(message_of(empty, compacted)) == "empty call (1), empty compaction (1)"
    assert refusal(message_of({"type": "thinking", "thinking": ""}), thinking="all") == "empty thinking (1)"
    declined = b"".join(
        block_start(block, index) + block_stop(index) for index, block in enumerate([listed, CALL, SEARCH])
    )
    cut = partial_of(message_start() + declined + block_start(FALLBACK, 3))
    assert refusal(cut) == "declined block (3), unfinished block (1)"
    result = {**FOUND, "tool_use_id": "s1"}
    cut = partial_of(message_start() + tool_block(BROKEN, start=SEARCH) + block_start(result, 1) + block_stop(1))
    assert refusal(cut) == "broken call (1), result without its call (1)"


def test_nothing_that_an_empty_delta_opened():
    """A block that no start opened and no delta filled holds nothing but its type: no server made it."""
    empties = [
        delta(0, text=""), delta(1, thinking=""), delta(2, partial_json=""), delta(4, signature=""),
        frame("content_block_delta", index=3, delta={"type": "compaction_delta", "content": None}),
    ]  # fmt: skip
    for choice in ("signed", "all"):
        message = parse(whole(*empties, text_block("said", index=9)))
        assert len(message.content) == len(empties) + 1
        assert sent(message, thinking=choice, broken_input="wrap") == [SAID]
    full = [
        {"type": "compaction", "content": "c"}, {"type": "compaction", "encrypted_content": "e"},
        {"type": "compaction", "signature": "s"}, {"type": "tool_use", "name": "look", "input": {}},
        {"type": "tool_use", "id": "t", "input": {}}, {"type": "tool_use", "input": {"a": 1}},
        {"type": "mcp_tool_listing"}, {"type": "server_tool_use", "input": {}}, {"type": "new"},
    ]  # fmt: skip
    assert sent(message_of(*full, {"type": "compaction", "content": "", "tool_changes": []})) == full


@pytest.mark.parametrize("kind", [*KINDS, "new"])
def test_a_block_that_lost_a_delta(kind):
    """Thinking and blocks without a class are the server's to judge: one that lacks a part is left out, others go back."""
    block = {"type": kind, "text": "a", "thinking": "a", "signature": "s", "content": "a", "id": "i"}
    message = message_of(block, SAID)
    assert [each["type"] for each in sent(message)] == [kind, "text"]
    message.content[0].set_unapplied()
    if kind in ("thinking", "redacted_thinking", "new"):
        assert sent(message) == [SAID]
        assert refusal(Message(content=message.content[:1])) == "incomplete block (1)"
    else:
        assert [each["type"] for each in sent(message)] == [kind, "text"]


@pytest.mark.parametrize("kind", [*KINDS.values(), UnknownBlock])
def test_a_lost_delta_shows_in_nothing_but_has_unapplied(kind):
    """JSON, repr and equality don't know of it; copies and pickles do."""
    block = UnknownBlock("new", extra={"a": 1}) if kind is UnknownBlock else kind()
    other = copy.copy(block)
    assert not block.has_unapplied
    block.set_unapplied()
    assert block == other
    assert repr(block) == repr(other)
    assert to_dict(block) == to_dict(other)
    assert msgspec.json.encode(block) == msgspec.json.encode(other)
    assert msgspec.to_builtins(block) == msgspec.to_builtins(other)
    for twin in (copy.copy(block), copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert (twin.has_unapplied, twin.is_finished) == (True, True)
    for twin in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert not twin.has_unapplied
    block.set_finished(False)
    assert (block.has_unapplied, block.is_finished) == (True, False)


# --- broken arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
@pytest.mark.parametrize("text", ['{"a": Dave}', BROKEN, "[1]", " ", '"', "{}{}", "null"])
def test_broken_arguments(kind, text):
    """A finished call whose arguments are not a JSON object is dropped, or keeps its place with their text as its input."""
    start = {**TOOL, "type": kind}
    message = parse(whole(tool_block(text, start=start), text_block("said", index=1)))
    wrapped = {**start, "input": {"INVALID_JSON": text}}
    assert sent(message) == [SAID]
    assert sent(message, broken_input="wrap") == [wrapped, SAID]


def test_arguments_that_max_tokens_cut():
    """The stop reason finished the block: it is a call with broken arguments, of which nothing is completed."""
    body = message_start() + block_start(TOOL) + delta(partial_json=BROKEN) + message_delta("max_tokens")
    assert refusal(parse(body)) == "broken call (1)"
    assert sent(parse(body), broken_input="wrap") == [{**TOOL, "input": {"INVALID_JSON": BROKEN}}]


def test_a_result_is_left_out_with_its_call():
    """A server refuses a result without its call. It keeps one whose call was in the turn before, or stands twice."""
    start = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    found = block_start(FOUND, 1) + block_stop(1)
    new = {"type": "new_tool_result", "tool_use_id": "s1"}
    body = whole(
        tool_block(BROKEN, start=start), found, block_start(new, 2), block_stop(2), text_block("said", index=3)
    )
    assert sent(parse(body)) == [SAID]
    assert sent(parse(body), broken_input="wrap") == [{**start, "input": {"INVALID_JSON": BROKEN}}, FOUND, new, SAID]
    assert sent(message_of(FOUND, SAID)) == [FOUND, SAID]
    twice = whole(tool_block(BROKEN, start=start), found, tool_block('{"q":"x"}', start=start, index=2))
    assert sent(parse(twice)) == [FOUND, SEARCH]
    for nobody in ("", None):
        calls = [{**SEARCH, "id": nobody}, {**FOUND, "tool_use_id": nobody}]
        message = message_of(*calls, SAID)
        message.content[0].input_json = BROKEN
        assert [block["type"] for block in sent(message)] == ["web_search_tool_result", "text"]


# --- a model that declined -------------------------------------------------------------------------------


def test_the_calls_of_a_model_that_declined_are_not_to_be_run():
    """The content before the last fallback block is of a model that declined; so `tool_uses` has the calls after it."""
    calls = [{**CALL, "id": letter} for letter in "abc"]
    blocks = [calls[0], FALLBACK, calls[1], FALLBACK, calls[2]]
    body = b"".join(block_start(block, index) + block_stop(index) for index, block in enumerate(blocks))
    seen = []
    stream = MessageStream()
    for part in (message_start() + body).split(b"\n\n")[:-1]:
        stream.receive_data(part + b"\n\n")
        if b'"content_block_start"' in part:
            seen.append([call.id for call in stream.message.tool_uses])
    assert seen == [["a"], [], ["b"], [], ["c"]]
    assert [call.id for call in message_of(*blocks).tool_uses] == ["c"]
    assert Message().tool_uses == message_of(FALLBACK).tool_uses == message_of(CALL, FALLBACK).tool_uses == []
    assert [call.id for call in message_of(FALLBACK, CALL).tool_uses] == ["t1"]


def test_what_goes_back_of_a_model_that_declined():
    """Texts, and calls of a server's tools with their results. The fallback blocks stay where they are."""
    narration = {"type": "connector_text", "connector_text": "let me look"}
    declined = [THOUGHT, REDACTED, narration, SAID, SEARCH, FOUND, CALL, {**SEARCH, "id": "s2"}]
    listing = {"type": "mcp_tool_listing", "tools": []}
    answer = [THOUGHT, narration, {**CALL, "id": "t2"}, {**SEARCH, "id": "s3"}]
    for options in ({}, {"thinking": "all", "broken_input": "wrap"}):
        message = message_of(*declined, FALLBACK, *declined, listing, FALLBACK, *answer)
        kept = [SAID, SEARCH, FOUND]
        assert sent(message, **options) == [*kept, FALLBACK, *kept, listing, FALLBACK, *answer]
        assert {block["id"] for block in sent(message, **options) if block["type"] == "tool_use"} == {
            call.id for call in message.tool_uses
        }
    assert sent(message_of(*declined, FALLBACK, THOUGHT), thinking="none") == [*kept, FALLBACK]
    assert sent(message_of(*declined)) == declined
    assert sent(message_of(FALLBACK, *declined)) == [FALLBACK, *declined]
    assert sent(message_of({**CALL, "id": "s1"}, SEARCH, FOUND, FALLBACK)) == [*kept[1:], FALLBACK]
    assert sent(message_of({**SEARCH, "id": None}, {**SEARCH, "id": ""}, SAID, FALLBACK)) == [SAID, FALLBACK]


def test_a_declined_call_and_its_result_go_together():
    """Neither goes back if the other is left out, or of a kind that nobody knows."""
    unheard = {"type": "new_tool_result", "tool_use_id": "s1"}
    assert sent(message_of(SEARCH, unheard, FALLBACK, SAID)) == [FALLBACK, SAID]
    message = message_of(SEARCH, FOUND, FALLBACK, SAID)
    message.content[0].input_json = BROKEN
    assert sent(message) == [FALLBACK, SAID]
    assert sent(message, broken_input="wrap") == [{**SEARCH, "input": {"INVALID_JSON": BROKEN}}, FOUND, FALLBACK, SAID]


# --- which fields ----------------------------------------------------------------------------------------


LEFTOVERS = {"id": "", "name": "", "input": None, "text": "", "thinking": "", "signature": "", "data": None, "index": 3,
             "citations": None, "caller": None, "cache_control": None, "toolset_name": "", "content": [], "new": {"a": 1}}  # fmt: skip


@pytest.mark.parametrize("block", [SAID, THOUGHT, CALL])
def test_no_fields_of_other_blocks(block):
    """A server that writes all blocks from one struct leaves fields of others on them; requests have no such fields."""
    body = whole(block_start({**LEFTOVERS, **block}), block_stop())
    assert sent(parse(body, strict=True)) == sent(message_of({**LEFTOVERS, **block})) == [block]


def test_the_optional_fields_of_a_request():
    """What a request can say of a text and of a call goes back, unless it is empty or of a wrong kind."""
    cited = {**SAID, "citations": [{"type": "new", "a": None}], "cache_control": {"type": "ephemeral"}}
    call = {**CALL, "caller": {"type": "direct"}, "toolset_name": "set", "cache_control": {"type": "ephemeral"}}
    assert sent(message_of(cited, call)) == [cited, call]
    empty = {"citations": [], "caller": {}, "toolset_name": "", "cache_control": {}}
    assert sent(message_of({**SAID, **empty}, {**CALL, **empty})) == [SAID, CALL]
    odd = {"citations": "a", "caller": 1, "toolset_name": [1], "cache_control": True, "input": 5}
    assert sent(Message(content=[TextBlock("said", extra=odd), ToolUseBlock("t1", "look", {"a": 1}, extra=odd)])) == [
        SAID,
        CALL,
    ]


DOCUMENT = {"cited_text": "x", "document_index": 0, "document_title": None}
CITATIONS = [
    {"type": "char_location", **DOCUMENT, "start_char_index": 0, "end_char_index": 1},
    {"type": "page_location", **DOCUMENT, "start_page_number": 1, "end_page_number": 2},
    {"type": "content_block_location", **DOCUMENT, "start_block_index": 0, "end_block_index": 1},
    {"type": "search_result_location", "cited_text": "x", "search_result_index": 0, "source": "u", "title": None,
     "start_block_index": 0, "end_block_index": 1},
    {"type": "web_search_result_location", "cited_text": "x", "encrypted_index": "e", "title": None, "url": "u"},
]  # fmt: skip


def test_citations_have_the_fields_of_a_request():
    """Responses add a file_id to what they cite, and unions add more. The title is required, null too."""
    added = [{"file_id": "f", "new": 1, **citation} for citation in CITATIONS]
    unheard = [{"type": "new_location", "file_id": "f"}, {"type": ["char_location"]}, {"file_id": "f"}, "x", None, 5]
    unheard.append({"type": "char_location", "cited_text": "x"})
    start = {**TEXT, "citations": unheard}
    pieces = b"".join(delta(citation=citation) for citation in added)
    message = parse(whole(block_start(start), delta(text="said"), pieces, block_stop()))
    before = to_dict(message)
    assert sent(message) == [{**SAID, "citations": [*unheard, *CITATIONS]}]
    assert to_dict(message) == before


@pytest.mark.parametrize("kind", sorted({*KINDS, "new"} - {"text", "thinking", "tool_use"}))
def test_other_blocks_go_back_as_they_came(kind):
    """Whatever fields they have: what a request may say of them is the server's business."""
    block = {"type": kind, "text": "", "new": {"a": [None, 2**70]}, "file_id": "f", "tool_use_id": "u", "index": 0}
    if kind.endswith("tool_use"):
        block["input"] = {"a": 1}
    assert sent(message_of(block, SAID)) == [block, SAID]


def test_what_is_no_id_pairs_nothing():
    """A block without a class can have anything as its id, most blocks have none."""
    odd = [{"type": "new", "id": ["s1"], "tool_use_id": {"a": 1}}, {"type": "new", "id": 1, "tool_use_id": None}]
    assert sent(message_of(*odd, {"type": "text", "text": ""}, CALL)) == [*odd, CALL]
    assert sent(message_of({"type": "text", "text": ""}, CALL)) == [CALL]


# --- what a request takes --------------------------------------------------------------------------------


CHOICES = [
    {"thinking": thinking, "broken_input": broken_input}
    for thinking, broken_input in itertools.product(("signed", "all", "none"), ("drop", "wrap"))
]


@given(messages(), st.sampled_from(CHOICES))
def test_any_message_makes_a_turn_that_a_request_takes_or_none(message, options):
    """A turn of its blocks in their order, which a request takes as it is; the message stays what it was."""
    before = to_dict(message)
    try:
        turn = sent(message, **options)
    except ValueError as error:
        assert str(error).startswith("no block of the message can be sent back: ")
        turn = []
    assert to_dict(message) == before
    came = iter([block.type for block in message.content])
    assert all(block["type"] in came for block in turn)
    assert all(block["text"].strip() for block in turn if block["type"] == "text")
    assert [block["id"] for block in turn if block["type"] == "tool_use"] == [
        call.id for call in message.tool_uses if options["broken_input"] == "wrap" or "input_json" not in to_dict(call)
    ]


def test_a_request_takes_every_integer_that_can_be_read():
    """Python reads and writes 4,300 digits, and no more."""
    number = 10**4300 - 1
    call = {**CALL, "input": {"a": [number, -number]}}
    assert sent(message_of(call)) == [call]
    for larger in (number + 1, -number - 1):
        with pytest.raises(ValueError, match="too large"):
            MessageRequest(model="m", max_tokens=1, messages=[{"role": "user", "content": "Hi"}], extra={"a": larger})


@pytest.mark.parametrize("wrong", [None, {"role": "assistant"}, TextBlock("a"), [TextBlock("a")]])
def test_only_a_message_makes_a_turn(wrong):
    """A wrong argument is a TypeError that names what came."""
    with pytest.raises(TypeError, match=type(wrong).__name__):
        to_param(wrong)


def test_blocks_made_by_hand():
    """They are finished, and a caller's own turn is made of them."""
    message = Message(
        content=[ThinkingBlock("a", "s"), RedactedThinkingBlock("x"), ToolUseBlock("t1", "look", {"a": 1})]
    )
    assert sent(message) == [{**THOUGHT, "thinking": "a"}, REDACTED, CALL]


def test_broken_arguments_stay_broken_if_the_index_is_reused():
    """Of a block without a class too: whatever begins at its index, nobody knows what its call was going to be."""
    broken = tool_block(BROKEN, start={"type": "odd_use", "id": "o1", "input": {}})
    for after in (text_block("said", index=1), text_block("said")):
        message = parse(whole(broken, after))
        assert [block.is_finished for block in message.content] == [False, True]
        assert sent(message) == [SAID]
