"""The lines of a batch's results file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from sansio_step import APIError, BatchResult, DecodeError, TextBlock, decode_batch_result, decode_message, to_dict
from sansio_step.testing import messages

MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}]}


def line(result, **fields):
    return json.dumps({"custom_id": "mine", "result": result, **fields}).encode() + b"\n"


def test_a_request_that_succeeded():
    """Its message is what the same body would have been."""
    result = decode_batch_result(line({"type": "succeeded", "message": MESSAGE}))
    assert (result.custom_id, result.type, result.error, result.extra) == ("mine", "succeeded", None, {})
    assert result.message == decode_message(MESSAGE)
    assert result.message.content == [TextBlock("Hi")]
    assert result == BatchResult("mine", "succeeded", result.message)


@given(messages())
def test_any_message(message):
    """Every kind of block and field goes through, from text and from the object."""
    wire = {"custom_id": "a", "result": {"type": "succeeded", "message": to_dict(message)}}
    for body in (json.dumps(wire), json.dumps(wire).encode(), wire):
        assert to_dict(decode_batch_result(body).message) == to_dict(message)


@pytest.mark.parametrize(
    ("error", "kind", "message", "request_id"),
    [
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "No"}, "request_id": "req_1"}, "invalid_request_error", "No", "req_1"),
        ({"type": "invalid_request_error", "message": "No"}, "invalid_request_error", "No", None),
        ("No", None, "No", None),
        (None, None, None, None),
    ],
)  # fmt: skip
def test_a_request_that_failed(error, kind, message, request_id):
    """The envelope of an error response, or a barer one, as the exception that `decode_error` would give."""
    for fields in ({"error": error}, *([{}] if error is None else [])):
        result = decode_batch_result(line({"type": "errored", **fields}))
        assert (result.type, result.message, result.extra) == ("errored", None, {})
        assert type(result.error) is APIError
        assert (result.error.type, result.error.message, result.error.request_id) == (kind, message, request_id)


@pytest.mark.parametrize("kind", ["canceled", "expired"])
def test_a_request_that_was_not_answered(kind):
    """There is neither a message nor an error."""
    assert decode_batch_result(line({"type": kind})) == BatchResult("mine", kind)


def test_what_nobody_knows_yet_is_kept():
    """Another type, and fields of the line and of its result, which succeeded or not."""
    assert decode_batch_result(line({"type": "paused", "message": 1}, cost=2)) == BatchResult(
        "mine", "paused", extra={"cost": 2, "result": {"message": 1}}
    )
    result = decode_batch_result(line({"type": "succeeded", "message": MESSAGE, "error": 3}))
    assert result.extra == {"result": {"error": 3}}


def test_a_line_that_was_parsed_stays_as_it_is():
    """Nothing is taken out of the caller's object, and nothing of it is shared."""
    wire = {"custom_id": "a", "result": {"type": "succeeded", "message": {**MESSAGE, "odd": [1]}}}
    before = json.dumps(wire)
    decode_batch_result(wire).message.extra["odd"].append(2)
    assert json.dumps(wire) == before


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the text ends too early: expected a JSON value at character 0 of the line"),
        (b"[]", "the line is not a JSON object"),
        (b"{}", "the line has null for custom_id, not a string"),
        (b'{"custom_id":1}', "the line has an integer for custom_id, not a string"),
        (b'{"custom_id":"a"}', "the line has null for result, not an object"),
        (b'{"custom_id":"a","result":{}}', "the result has null for type, not a string"),
        (b'{"custom_id":"a","result":{"type":"succeeded"}}', "the result has null for message, not an object"),
        (b'{"custom_id":"a","result":{"type":"succeeded","message":{"content":1}}}', "message.content is an integer, not an array"),
    ],
)  # fmt: skip
def test_what_is_no_result(body, reason):
    """A typed error says what is missing."""
    with pytest.raises(DecodeError) as caught:
        decode_batch_result(body)
    assert str(caught.value) == reason


def test_it_shows_itself_in_short():
    """On one line, without what is not there."""
    assert repr(decode_batch_result(line({"type": "expired"}))) == "BatchResult(custom_id='mine', type='expired')"
    assert len(repr(decode_batch_result(line({"type": "expired", "odd": "x" * 5000})))) < 300
