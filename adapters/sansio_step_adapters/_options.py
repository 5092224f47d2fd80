"""The keyword arguments that clients and gateway share, listed once."""

from __future__ import annotations

import inspect
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar, get_type_hints

from sansio_step import RetryPolicy, Timeouts

from ._reader import MAX_EVENT_SIZE, MAX_MESSAGE_SIZE, MAX_RESPONSE_SIZE
from .record import Tap

if TYPE_CHECKING:
    from typing_extensions import Unpack
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:

    class Unpack:
        """What Python 3.10 lacks: `Unpack[Options]` only has to be an annotation there."""

        def __class_getitem__(cls, options: Any) -> Any:
            return options


__all__ = ["DEFAULTS", "Auth", "Options", "Unpack", "UpstreamOptions", "check_names", "shows_options"]

Auth = Literal["bearer", "x-api-key"]
Function = TypeVar("Function", bound=Callable[..., Any])


class UpstreamOptions(TypedDict, total=False):
    """How to reach a server, and as whom.

    `api_key` is the key and `auth` how it is sent: as a "bearer" token (the default) or as "x-api-key". `timeouts` are
    the time limits. `ssl_context` replaces the system's trust. `proxy` is the URL of an HTTP proxy, "" for none; else
    HTTP(S)_PROXY and NO_PROXY say, unless `trust_env` is false.
    """

    api_key: str | None
    auth: Auth
    timeouts: Timeouts | None
    ssl_context: ssl.SSLContext | None
    proxy: str | None
    trust_env: bool


class Options(UpstreamOptions, total=False):
    """What a client can be told, by keyword. Each has a default.

    `base_url` is given without `/v1`. `api_key` is STEP_API_KEY, or else STEPFUN_API_KEY, of the environment if it
    isn't given. `headers` go on top of the client's own. `max_retries` (2) and `retries`: see `RetryPolicy`. `strict`
    and the sizes are those of `MessageStream`; `max_response_size` bounds the decoded bytes of one response. `tap` makes
    a `Tap` for each response, which is told its head and its bytes as they come; see `record.Recordings`.
    """

    base_url: str
    headers: Mapping[str, str] | None
    max_retries: int | None
    retries: RetryPolicy | None
    strict: bool
    max_event_size: int
    max_message_size: int
    max_response_size: int
    tap: Callable[[], Tap] | None


DEFAULTS: Final[Options] = {
    "base_url": "https://api.stepfun.ai",
    "api_key": None,
    "auth": "bearer",
    "headers": None,
    "timeouts": None,
    "max_retries": None,
    "retries": None,
    "strict": False,
    "max_event_size": MAX_EVENT_SIZE,
    "max_message_size": MAX_MESSAGE_SIZE,
    "max_response_size": MAX_RESPONSE_SIZE,
    "ssl_context": None,
    "proxy": None,
    "trust_env": True,
    "tap": None,
}


def check_names(given: Mapping[str, Any], listed: type) -> None:
    """A TypeError for an option that isn't listed there."""
    names: frozenset[str] = listed.__optional_keys__  # type: ignore[attr-defined]  # every TypedDict has it
    for name in given.keys() - names:
        raise TypeError(f"there is no option {name!r}; there are {', '.join(sorted(names))}")


def shows_options(listed: type) -> Callable[[Function], Function]:
    """Decorates a function that takes `**options`, so that `inspect` and `help` show each with its default."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        kinds = get_type_hints(listed)
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kinds[name])
            for name, default in DEFAULTS.items()
            if name in kinds
        ]
        before = [p for p in own.parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        after = [p for p in own.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        function.__signature__ = own.replace(parameters=[*before, *options, *after])  # type: ignore[attr-defined]
        return function

    return decorate
