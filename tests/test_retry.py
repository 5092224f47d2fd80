"""The retry policy, by literals: a failure and its headers in, seconds or None out."""

from __future__ import annotations

import pytest

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    IncompleteStream,
    LimitExceeded,
    RetryPolicy,
    StreamError,
    UnexpectedResponse,
    retry_delay,
)

POLICY = RetryPolicy()
# Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 5.6.7.
NOW = 784111777.0


def delay(
    failure: StreamError,
    headers: dict[str, str] | None = None,
    *,
    policy: RetryPolicy = POLICY,
    attempt: int = 0,
    delivered: bool = False,
    jitter: float = 0.0,
) -> float | None:
    return retry_delay(policy, failure, attempt=attempt, delivered=delivered, jitter=jitter, now=NOW, headers=headers)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_statuses_that_pass(status: int) -> None:
    """What may go away by itself is tried again."""
    assert delay(APIError(status=status)) == 0.5


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 451])
def test_statuses_that_stay(status: int) -> None:
    """What the caller has to change is not."""
    assert delay(APIError(status=status)) is None


@pytest.mark.parametrize("failure", [ConnectError("x"), ConnectionLost("x"), DeadlineExceeded("connect", 10)])
def test_failures_of_the_connection(failure: StreamError) -> None:
    """A connection that could not be made, or broke before the first event, is tried again."""
    assert delay(failure) == 0.5


@pytest.mark.parametrize("name", ["first_event", "idle", "stall", "total"])
def test_other_deadlines_are_final(name: str) -> None:
    """Behind them a request may be at work, and be billed."""
    assert delay(DeadlineExceeded(name, 1)) is None


@pytest.mark.parametrize(
    "failure",
    [UnexpectedResponse("x", status=200, content_type=""), DecodeError("x"), LimitExceeded("max_event_size", 1)],
)
def test_other_errors_are_final(failure: StreamError) -> None:
    """What would come again is not asked for again."""
    assert delay(failure) is None


@pytest.mark.parametrize(
    "failure",
    [UnexpectedResponse("empty", status=200, content_type="", retryable=True), IncompleteStream("nothing but pings")],
)
def test_an_answer_without_content_is_asked_for_again(failure: StreamError) -> None:
    """A stream that ends cleanly before it said anything is worth what one that breaks is."""
    assert delay(failure) == 0.5
    assert delay(failure, delivered=True) is None


@pytest.mark.parametrize(
    ("type", "expected"), [("overloaded_error", 0.5), ("api_error", 0.5), ("invalid_request_error", None)]
)
def test_an_error_event_as_the_first(type: str, expected: float | None) -> None:
    """An error event has no status of its own: its type decides."""
    assert delay(APIError(type, "m")) == expected


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "insufficient_quota"])
def test_a_limit_of_money_is_final(code: str) -> None:
    """A 429 that no wait lifts is not asked for again, unless the server itself says that it should be."""
    failure = APIError("rate_limit_error", "m", code=code, status=429)
    assert delay(failure) is None
    assert delay(failure, {"retry-after": "1"}) is None
    assert delay(failure, {"x-should-retry": "true", "retry-after": "1"}) == 1
    assert delay(APIError("rate_limit_error", "m", code=code)) is None


def test_the_error_says_whether() -> None:
    """`isRetryable` in the error stands over its status, `x-should-retry` over both."""
    for word, status in ((True, 400), (False, 529)):
        failure = APIError(status=status, extra={"isRetryable": word})
        assert delay(failure) == (0.5 if word else None)
        assert delay(failure, {"x-should-retry": "false" if word else "true"}) == (None if word else 0.5)


@pytest.mark.parametrize("failure", [APIError(status=529), ConnectionLost("x"), APIError("overloaded_error")])
def test_never_after_content(failure: StreamError) -> None:
    """Once an event was delivered, nothing is retried, whatever the server says."""
    assert delay(failure, {"x-should-retry": "true", "retry-after": "1"}, delivered=True) is None


def test_it_grows_and_has_a_ceiling() -> None:
    """Each wait is twice the one before, up to the most."""
    policy = RetryPolicy(max_retries=10_000)
    waits = [delay(ConnectError("x"), policy=policy, attempt=attempt) for attempt in range(7)]
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    assert delay(ConnectError("x"), policy=policy, attempt=9_999) == 8


def test_jitter_shortens_by_a_quarter_at_most() -> None:
    """The random number spreads clients over a quarter of the wait."""
    assert [delay(ConnectError("x"), jitter=jitter) for jitter in (0, 0.5, 1)] == [0.5, 0.4375, 0.375]


def test_the_number_of_retries() -> None:
    """Two retries, then the failure stands; none with max_retries=0."""
    assert [delay(ConnectError("x"), attempt=attempt) is None for attempt in range(4)] == [False, False, True, True]
    assert delay(ConnectError("x"), policy=RetryPolicy(max_retries=0)) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250.5"}, 0.2505),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sun Nov  6 08:49:47 1994"}, 10.0),
        ({"retry-after": "60"}, 60.0),
        ({"retry-after": "Sun, 06 Nov 1994 09:49:47 +0100"}, 10.0),
        ({"retry-after-ms": "Sun, 06 Nov 1994 08:49:57 GMT", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "0", "retry-after": "7"}, 7.0),
    ],
)
def test_the_servers_wish(headers: dict[str, str], expected: float) -> None:
    """retry-after-ms, and retry-after in seconds or as a date in any of HTTP's forms, are kept exactly."""
    assert delay(APIError(status=429), headers, jitter=1) == pytest.approx(expected)


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "1e3", "nan", "inf", "\u0665", "0", "0.0", "Sun, 06 Nov 1994 08:49:37 GMT", "9" * 400],
)
def test_a_wish_that_says_nothing(value: str) -> None:
    """What can't be read, and a time that has gone by, leave the policy's own wait."""
    assert delay(APIError(status=503), {"retry-after": value}) == 0.5


@pytest.mark.parametrize("headers", [{"retry-after": "61"}, {"retry-after-ms": "61000"}])
def test_a_wish_too_long(headers: dict[str, str]) -> None:
    """If the server asks for more patience than allowed, the call fails now instead of too early."""
    assert delay(APIError(status=429), headers) is None
    assert delay(APIError(status=429), headers, policy=RetryPolicy(max_server_delay=90)) == 61


def test_x_should_retry() -> None:
    """The server's own verdict stands over the status, in both directions."""
    assert delay(APIError(status=429), {"x-should-retry": "false"}) is None
    assert delay(APIError(status=400), {"x-should-retry": "true"}) == 0.5
    assert delay(APIError(status=429), {"x-should-retry": "maybe"}) == 0.5


@pytest.mark.parametrize("field", ["max_retries", "first_delay", "max_delay", "max_server_delay"])
def test_a_policy_has_no_negative_numbers(field: str) -> None:
    """A ValueError names the field."""
    with pytest.raises(ValueError, match=f"^{field}: "):
        RetryPolicy(**{field: -1})
