"""The demo's captures: the same kind of answer in the two shapes that servers send, a file, and one that breaks off.

    first_party()   every event in its place; thinking, text and a tool call
    stepfun()       the shape on StepFun's own page: no content or usage at the start, no block stops, stop_reason at the
                    top level; in Chinese
    written_file()  a tool call that writes a file: its path first, then its content
    cut_short()     one that breaks off inside a number of a tool's arguments

Written for the demo, event by event, and cut into pieces about as a model's tokens would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

__all__ = [
    "CUT_SHORT_ARGUMENTS",
    "CUT_SHORT_QUESTION",
    "FIRST_PARTY_QUESTION",
    "STEPFUN_QUESTION",
    "WRITTEN_FILE_QUESTION",
    "cut_short",
    "first_party",
    "stepfun",
    "written_file",
]

Event = dict[str, Any]

# A token, roughly: a word with the space before it, one or two CJK characters, a mark.
_TOKEN: Final = re.compile(r"\s*[A-Za-z0-9’]+|[\u3400-\u9fff]{1,2}|\s*\S")

FIRST_PARTY_QUESTION: Final = (
    "I have one afternoon in Hangzhou. Where do I drink Longjing tea with a view of the lake, and how do I order it?"
)
_THINKING: Final = (
    "One afternoon, tea, a view of West Lake (西湖). On the shore it is crowded; the hills of Longjing village are "
    "quieter but have no view of the water. So a house on the north shore, within a walk of Broken Bridge (断桥). "
    "I should not make up opening hours: look them up."
)
_TEXT: Final = (
    "Take the north shore, between Broken Bridge (断桥) and Baoshi Hill: old tea rooms, and the whole lake in front "
    "of you. Order with “一杯明前龙井，谢谢。” – a cup of Longjing picked before the Qingming festival, please. Let me "
    "see who has a table by the window at half past three."
)
# As it is on the wire: the city's name in escapes, which the pieces below cut in two.
_ARGUMENTS: Final = (
    '{"city": "\\u676d\\u5dde", "near": "Broken Bridge 断桥", "at": "15:30", "seats": 2, '
    '"wishes": ["window", "quiet", "Longjing 龙井"], "price": {"at_most": 120.5, "currency": "CNY"}}'
)

STEPFUN_QUESTION: Final = "周六想从上海市区骑车去朱家角，天气合适吗？路怎么走？"
_CHINESE_THINKING: Final = (
    "用户想骑车去朱家角，大约五十公里。先看天气：风向比温度更要紧，去程多半逆风。"
    "路线走青浦一侧的乡道，比沿国道安静得多。天气不能凭空说，要查。"
)
_CHINESE_TEXT: Final = (
    "可以去！早上七点前出发，沿淀浦河一路向西，约五十公里，路面平坦，三个小时就到古镇。"
    "回来若是累了，坐十七号线，折叠车可以带上车🚲。我先查一下周六的风和雨。"
)
_CHINESE_ARGUMENTS: Final = (
    '{"地点": "朱家角", "日期": "周六", "时段": ["07:00", "12:00", "17:00"], '
    '"要看": {"风": true, "降雨": true, "气温": false}}'
)

WRITTEN_FILE_QUESTION: Final = "Write me a little program that adds up what our tea costs."
_FILE: Final = """\
# What a table of guests pays for its tea.
from dataclasses import dataclass

PRICES = {"Longjing 龙井": 38, "Biluochun": 32}


@dataclass
class Order:
    tea: str
    cups: int = 1

    def total(self) -> int:
        return PRICES[self.tea] * self.cups


print(Order("Longjing 龙井", cups=12).total())
"""

CUT_SHORT_QUESTION: Final = "Book the table for all of us, please. 我们一共十二个人。"
_LAST_TEXT: Final = "Booking it now, one long table for twelve."
# Twelve, not one: what a reader of cut arguments must not get wrong.
CUT_SHORT_ARGUMENTS: Final = '{"house": "湖畔居", "at": "15:30", "seats": 1'


def first_party() -> bytes:
    """Every event in its place; pings between; a piece of JSON that ends inside an escape."""
    start: Event = {
        "id": "msg_demo_hangzhou",
        "type": "message",
        "role": "assistant",
        "model": "step-3.7-flash",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 312, "output_tokens": 1, "cache_read_input_tokens": 256},
    }
    call = {"type": "tool_use", "id": "toolu_demo_tea", "name": "find_tea_house", "input": {}}
    return _encode(
        [
            {"type": "message_start", "message": start},
            {"type": "ping"},
            _block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
            *_deltas(0, "thinking_delta", "thinking", _tokens(_THINKING)),
            _delta(0, "signature_delta", "signature", "c2lnbmVkLWJ5LXRoZS1kZW1v"),
            _block_stop(0),
            _block_start(1, {"type": "text", "text": ""}),
            *_with_pings(_deltas(1, "text_delta", "text", _tokens(_TEXT))),
            _block_stop(1),
            _block_start(2, call),
            *_deltas(2, "input_json_delta", "partial_json", ["", *_slices(_ARGUMENTS, 7)]),
            _block_stop(2),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {"output_tokens": 196, "output_tokens_details": {"thinking_tokens": 71}},
            },
            {"type": "message_stop"},
        ]
    )


def stepfun() -> bytes:
    """What StepFun's page shows: less of everything, and a whole message all the same."""
    start: Event = {"id": "msg_demo_zhujiajiao", "type": "message", "role": "assistant", "model": "step-3.5-flash"}
    call = {"type": "tool_use", "id": "call_demo_weather", "name": "查天气", "input": {}}
    return _encode(
        [
            {"type": "message_start", "message": start},
            {"type": "ping"},
            _block_start(0, {"type": "thinking", "thinking": ""}),
            *_deltas(0, "thinking_delta", "thinking", _tokens(_CHINESE_THINKING)),
            _block_start(1, {"type": "text", "text": ""}),
            *_with_pings(_deltas(1, "text_delta", "text", _tokens(_CHINESE_TEXT))),
            _block_start(2, call),
            *_deltas(2, "input_json_delta", "partial_json", _slices(_CHINESE_ARGUMENTS, 4)),
            {"type": "message_delta", "stop_reason": "tool_use", "usage": {"input_tokens": 87, "output_tokens": 143}},
            {"type": "message_stop"},
        ]
    )


def written_file() -> bytes:
    """A call whose arguments are a path and a file: line ends, quotes and Chinese in escapes, some of them cut in two."""
    start: Event = {
        "id": "msg_demo_file",
        "type": "message",
        "role": "assistant",
        "model": "step-3.7-flash",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 401, "output_tokens": 1},
    }
    call = {"type": "tool_use", "id": "toolu_demo_file", "name": "write_file", "input": {}}
    arguments = json.dumps({"path": "tea/order.py", "content": _FILE, "executable": False})
    return _encode(
        [
            {"type": "message_start", "message": start},
            _block_start(0, call),
            *_with_pings(_deltas(0, "input_json_delta", "partial_json", _slices(arguments, 5))),
            _block_stop(0),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {"output_tokens": 158},
            },
            {"type": "message_stop"},
        ]
    )


def cut_short() -> bytes:
    """The connection ends where twelve seats have come as far as `1`."""
    start: Event = {
        "id": "msg_demo_cut",
        "type": "message",
        "role": "assistant",
        "model": "step-3.7-flash",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 540, "output_tokens": 1},
    }
    call = {"type": "tool_use", "id": "toolu_demo_book", "name": "book_table", "input": {}}
    return _encode(
        [
            {"type": "message_start", "message": start},
            _block_start(0, {"type": "text", "text": ""}),
            *_deltas(0, "text_delta", "text", _tokens(_LAST_TEXT)),
            _block_stop(0),
            _block_start(1, call),
            *_deltas(1, "input_json_delta", "partial_json", _slices(CUT_SHORT_ARGUMENTS, 4)),
        ]
    )


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _slices(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _block_start(index: int, block: Event) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _block_stop(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def _delta(index: int, kind: str, field: str, piece: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}}


def _deltas(index: int, kind: str, field: str, pieces: Iterable[str]) -> Iterator[Event]:
    return (_delta(index, kind, field, piece) for piece in pieces)


def _with_pings(events: Iterable[Event], every: int = 20) -> Iterator[Event]:
    for number, event in enumerate(events):
        if number and number % every == 0:
            yield {"type": "ping"}
        yield event


def _encode(events: Iterable[Event]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event)) for event in events
    )
