"""Whether a failed call is worth another try, and how long to wait first: a pure function of what came back.

Messages requests are billed and not idempotent, so nothing is retried after the first event, pings aside. Before that,
connection failures, streams without an event, and 408, 409, 429 and 5xx are retried. So is an `error` event of that
kind if only pings came before it. A spend limit or a used-up quota is not, whatever its status: no wait lifts it.
The server has the last word. `x-should-retry` says whether to retry; without that header, `isRetryable` in the error
says so. `retry-after-ms` and `retry-after` say when.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timezone

import msgspec

from ._errors import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    IncompleteStream,
    StreamError,
    UnexpectedResponse,
)

_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how patiently to retry.

    Retry n, counted from 0, waits `first_delay * 2**n` seconds, but at most `max_delay`. The wait is shortened by up
    to a quarter so that many clients don't come back at once. A delay that the server asks for is kept exactly. If it
    is longer than `max_server_delay`, the call fails now: an earlier try would ignore the server's word, and a later
    one is a decision for people.
    """

    max_retries: int = 2
    first_delay: float = 0.5
    max_delay: float = 8.0
    max_server_delay: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"{name}: {value!r} is negative")


def retry_delay(
    policy: RetryPolicy,
    failure: StreamError,
    *,
    attempt: int,
    delivered: bool,
    jitter: float,
    now: float,
    headers: Mapping[str, str] | None = None,
) -> float | None:
    """Seconds to wait before the next attempt, or None if the failure is final.

    `attempt` counts from 0, the first try. `delivered` says whether an event other than a ping has already gone to the
    caller. `headers` are those of the failed response, with names in lower case. `jitter` is a random number from 0 to
    1. `now` is the time in seconds since the epoch, against which a date in `retry-after` is read.
    """
    headers = headers or {}
    if delivered or attempt >= policy.max_retries or not _worth_it(failure, headers):
        return None
    asked = _server_delay(headers, now)
    if asked is None:
        # The exponent is bounded too, because 2.0**1024 is more than a float can hold.
        return min(policy.max_delay, policy.first_delay * 2.0 ** min(attempt, 64)) * (1 - 0.25 * jitter)
    return asked if asked <= policy.max_server_delay else None


def _worth_it(failure: StreamError, headers: Mapping[str, str]) -> bool:
    if isinstance(failure, APIError):
        verdict = headers.get("x-should-retry", "").strip().lower()
        return verdict == "true" or (verdict != "false" and failure.retryable)
    if isinstance(failure, DeadlineExceeded):
        # If no connection was made, nothing was asked for. After any other time limit, a request may be at work.
        return failure.name == "connect"
    if isinstance(failure, UnexpectedResponse):
        return failure.retryable
    # A stream that ended after nothing but pings counts too: no content has come, and the server went away.
    return isinstance(failure, (ConnectError, ConnectionLost, IncompleteStream))


def _server_delay(headers: Mapping[str, str], now: float) -> float | None:
    """The delay that the server asks for, in seconds. None if there is none, or it is unreadable or in the past."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if _SECONDS.fullmatch(value):
            delay = float(value) / unit
        elif name == "retry-after" and value:
            # email.utils imports socket and more, which callers who never get a date don't need.
            from email.utils import parsedate_to_datetime  # noqa: PLC0415

            try:
                date = parsedate_to_datetime(value)
                # HTTP dates are in GMT, even in the form that doesn't say so (RFC 9110 5.6.7).
                delay = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now
            except (ValueError, OverflowError, TypeError):
                # Python 3.10 without its last fixes raises TypeError for a text that is not a date.
                continue
        else:
            continue
        if delay > 0:
            return delay
    return None
