"""Whether a failed call is worth another try, and after how long: a pure function of what came back.

Messages requests are billed and not idempotent, so nothing is retried once the first event has come, pings aside. Before
that, connection failures, streams without an event, 408, 409, 429 and 5xx are, and an `error` event of that kind if
it is the first event that is no ping. A spend limit or a used-up quota is not, whatever its status: no wait lifts it.
The server has the last word: `x-should-retry` says whether (and `isRetryable` in the error, without that header),
`retry-after-ms` and `retry-after` say when.
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

    The n-th retry waits `first_delay * 2**n` seconds, at most `max_delay`, shortened by up to a quarter so that many
    clients don't come back at once. A server's own wish is kept exactly; if it asks for more than
    `max_server_delay`, the call fails now, since an earlier try would be against its word and a later one is a
    decision for people.
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

    `attempt` counts from 0, the first try. `delivered` says that an event other than a ping has already gone to the caller. `headers`
    are those of the failed response, with names in lower case. `jitter` is a random number from 0 to 1, `now` the
    time in seconds since the epoch, against which a date in `retry-after` is read.
    """
    headers = headers or {}
    if delivered or attempt >= policy.max_retries or not _worth_it(failure, headers):
        return None
    asked = _server_delay(headers, now)
    if asked is None:
        # The power is bounded too: 2.0**1024 is no float.
        return min(policy.max_delay, policy.first_delay * 2.0 ** min(attempt, 64)) * (1 - 0.25 * jitter)
    return asked if asked <= policy.max_server_delay else None


def _worth_it(failure: StreamError, headers: Mapping[str, str]) -> bool:
    if isinstance(failure, APIError):
        verdict = headers.get("x-should-retry", "").strip().lower()
        return verdict == "true" or (verdict != "false" and failure.retryable)
    if isinstance(failure, DeadlineExceeded):
        # No connection was made, so nothing was asked for; after every other limit a request may be at work.
        return failure.name == "connect"
    if isinstance(failure, UnexpectedResponse):
        return failure.retryable
    # A stream of nothing but pings that ended, too: no content has come, and the server went away.
    return isinstance(failure, (ConnectError, ConnectionLost, IncompleteStream))


def _server_delay(headers: Mapping[str, str], now: float) -> float | None:
    """What the server asks for in seconds; None if it says nothing, nothing readable, or a time gone by."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if _SECONDS.fullmatch(value):
            delay = float(value) / unit
        elif name == "retry-after" and value:
            # email.utils imports socket and more, which nobody needs who never meets a date here.
            from email.utils import parsedate_to_datetime  # noqa: PLC0415

            try:
                date = parsedate_to_datetime(value)
                # HTTP's dates are in GMT, also in the form that doesn't say so (RFC 9110 5.6.7).
                delay = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now
            except (ValueError, OverflowError, TypeError):
                # TypeError: what Python 3.10 before its last fixes raises for a text that is no date.
                continue
        else:
            continue
        if delay > 0:
            return delay
    return None
