"""What the clients share before a byte moves: where to connect, through what, with which key and limits.

No I/O, but that the environment is read when a client is made.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

from sansio_step import Deadlines, MessageRequest, RetryPolicy, Timeouts, __version__

from ._options import DEFAULTS, Auth, Options, Unpack, check_names
from ._reader import Wanted
from ._secrets import Mask, Secret, secrets_in
from .http1 import Exchange
from .record import Tap

Request: TypeAlias = MessageRequest | Mapping[str, Any]

KEY_HEADERS: Final = frozenset({"authorization", "x-api-key"})
# What a header's value may hold (RFC 9110 5.5), without spaces: no key has any.
_HEADER_TEXT: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
# What no name or address holds (RFC 3986 3.2.2), a zone's percent sign aside.
_NO_HOST: Final = re.compile(r"[^0-9a-z._:%~!$&'()*+,;=-]", re.ASCII)
_TIMEOUTS: Final = Timeouts()
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Origin:
    """Where a TCP connection goes, and whether TLS is spoken there."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Proxy:
    """A proxy to go through by CONNECT."""

    origin: Origin
    authorization: Secret | None = None
    password: Secret | None = None


@dataclass(frozen=True)
class Config:
    """All that a call needs to know; made by `make_config`."""

    origin: Origin
    host_header: str
    path: str
    proxy: Proxy | None
    ssl_context: ssl.SSLContext | None
    key: Secret | None
    auth: Auth
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    timeouts: Timeouts
    retries: RetryPolicy
    strict: bool
    max_event_size: int
    max_message_size: int
    max_response_size: int
    tap: Callable[[], Tap] | None

    def request_headers(self, *, streaming: bool) -> list[tuple[bytes, bytes]]:
        """The headers of a call, but for the body's length."""
        own = {
            "host": self.host_header,
            "accept": "text/event-stream" if streaming else "application/json",
            # Deltas are tiny: a proxy that compresses them holds them back. What is compressed all the same is read.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"sansio-step/{__version__}",
        }
        if self.key is not None and self.auth == "bearer":
            own["authorization"] = f"Bearer {self.key.reveal()}"
        elif self.key is not None:
            own["x-api-key"] = self.key.reveal()
            # Servers that take this header are of the first party's kind, which asks for the version with it.
            own["anthropic-version"] = "2023-06-01"
        own.update((name.lower(), value) for name, value in self.headers)
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in own.items()]

    def exchange(self, connection: Any, wanted: Wanted) -> Exchange:
        """A new exchange with this configuration's limits, on an h11 connection."""
        return Exchange(
            connection,
            streaming=wanted is Wanted.STREAM,
            counting=wanted is Wanted.COUNT,
            strict=self.strict,
            max_event_size=self.max_event_size,
            max_message_size=self.max_message_size,
            max_response_size=self.max_response_size,
            secrets=self.mask,
            tap=self.tap() if self.tap is not None else None,
        )

    @property
    def secrets(self) -> list[str]:
        """What no error may show: the key, wherever it was given, and what the proxy is told."""
        given = [self.key.reveal()] if self.key is not None else []
        for name, value in self.headers:
            if _says_who(name):
                given += secrets_in(value)
        if self.proxy is not None and self.proxy.authorization is not None:
            given.append(self.proxy.authorization.reveal().rpartition(" ")[2])
        if self.proxy is not None and self.proxy.password is not None:
            given.append(self.proxy.password.reveal())
        return list(dict.fromkeys(filter(None, given)))

    @cached_property
    def mask(self) -> Mask:
        """Hides them."""
        return Mask(self.secrets)

    @property
    def keyless(self) -> bool:
        """Whether a call says nothing of who asks."""
        return self.key is None and not any(_says_who(name) for name, _ in self.headers)

    @property
    def first(self) -> Origin:
        """Where the TCP connection goes."""
        return self.proxy.origin if self.proxy is not None else self.origin

    def deadlines(self, now: float) -> Deadlines:
        """The limits of a call that begins now."""
        return Deadlines(self.timeouts, now)


def make_config(
    *,
    url_name: str = "base_url",
    default_timeouts: Timeouts = _TIMEOUTS,
    **options: Unpack[Options],
) -> Config:
    """Check a client's options; a ValueError or TypeError says which is wrong, without showing a key or a password.

    With `trust_env` the key is read from STEP_API_KEY, or STEPFUN_API_KEY if that is not set, and the proxy from
    HTTP(S)_PROXY and NO_PROXY, if the options don't give them. `url_name` is what the caller calls `base_url`.
    """
    check_names(options, Options)
    given: Options = {**DEFAULTS, **options}
    environ: Mapping[str, str] = os.environ if given["trust_env"] else {}
    auth = given["auth"]
    if auth not in ("bearer", "x-api-key"):
        raise ValueError(f"auth: {auth!r} is neither 'bearer' nor 'x-api-key'")
    timeouts, retries, ssl_context = given["timeouts"], given["retries"], given["ssl_context"]
    # Each would be found out in the middle of a call otherwise, or never.
    _check_type("timeouts", timeouts, Timeouts, "a float for all of them is not taken; say which")
    _check_type("retries", retries, RetryPolicy, "their number is max_retries")
    _check_type("ssl_context", ssl_context, ssl.SSLContext, "certificates are always checked by one")
    sizes = {
        "max_event_size": given["max_event_size"],
        "max_message_size": given["max_message_size"],
        "max_response_size": given["max_response_size"],
    }
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"{name}: a number of bytes is expected, not {type(size).__name__}")
        if size < 1:
            raise ValueError(f"{name}: {size} is less than 1")
    origin, path, user_info = _parse_url(url_name, given["base_url"])
    if user_info is not None:
        raise ValueError(f"{url_name}: a user and password don't belong there; the key is the argument api_key")
    if re.search(r"/v1(/messages)?$", path):
        raise ValueError(f"{url_name}: give it without /v1, which the client adds")
    policy = retries if retries is not None else RetryPolicy()
    max_retries = given["max_retries"]
    if max_retries is not None:
        policy = msgspec.structs.replace(policy, max_retries=max_retries)
        policy.__post_init__()
    through, proxy = None, given["proxy"]
    if proxy:
        through = parse_proxy(proxy)
    elif proxy is None and not _is_loopback(origin.host):
        through = proxy_from(environ, origin)
    key = given["api_key"]
    needs_tls = origin.tls or (through is not None and through.origin.tls)
    default_port = origin.port == _DEFAULT_PORTS["https" if origin.tls else "http"]
    return Config(
        origin=origin,
        host_header=origin.authority.rpartition(":")[0] if default_port else origin.authority,
        path=f"{path}/v1/messages",
        proxy=through,
        ssl_context=ssl_context or (_default_context() if needs_tls else None),
        key=_checked_key(key if key is not None else _key_from(environ)),
        auth=auth,
        headers=_checked_headers(given["headers"] or {}),
        timeouts=timeouts if timeouts is not None else default_timeouts,
        retries=policy,
        strict=given["strict"],
        tap=given["tap"],
        **sizes,
    )


def encode_request(request: Request, *, streaming: bool) -> bytes:
    """A request's JSON, with `stream` as the call needs it. ValueError or TypeError for one that is not valid."""
    return _checked_request(request, stream=streaming).to_json()


def encode_count(request: Request) -> bytes:
    """The same for a call that counts tokens, where `max_tokens` may be missing and says nothing."""
    missing = {"max_tokens": 1} if isinstance(request, Mapping) and "max_tokens" not in request else {}
    wire = _checked_request(request, stream=False, **missing).to_dict()
    del wire["max_tokens"]
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode()


def _checked_request(request: Request, **changes: Any) -> MessageRequest:
    if isinstance(request, Mapping):
        return MessageRequest(**{**request, **changes})
    if not isinstance(request, MessageRequest):
        kind = type(request).__name__
        raise TypeError(f"request: a MessageRequest or a dict of its fields is expected, not {kind}")
    return request.replace(**changes)


def parse_proxy(url: str, what: str = "proxy") -> Proxy:
    """A proxy's URL, http or https, with user and password if it asks for them; `what` names it in errors."""
    if isinstance(url, str) and "://" not in url:
        url = f"http://{url}"
    origin, _, user_info = _parse_url(what, url)
    if user_info is None:
        return Proxy(origin)
    user, password = (unquote(part) for part in user_info.partition(":")[::2])
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Proxy(origin, Secret(f"Basic {encoded}"), Secret(password))


def proxy_from(environ: Mapping[str, str], origin: Origin) -> Proxy | None:
    """The proxy that the environment names for an origin, by the conventions that curl set.

    Names in lower case come first; HTTP_PROXY in capitals is not read where REQUEST_METHOD is set, since a CGI server
    fills it from the client's `Proxy` header.
    """
    names = ["https_proxy", "HTTPS_PROXY"] if origin.tls else ["http_proxy", "HTTP_PROXY"]
    if "REQUEST_METHOD" in environ and "HTTP_PROXY" in names:
        names.remove("HTTP_PROXY")
    name = next((name for name in [*names, "all_proxy", "ALL_PROXY"] if environ.get(name)), None)
    if name is None or _bypassed(environ.get("no_proxy") or environ.get("NO_PROXY") or "", origin):
        return None
    return parse_proxy(environ[name], f"proxy, from {name}")


def _bypassed(no_proxy: str, origin: Origin) -> bool:
    """NO_PROXY: `*`, names (their subdomains too), addresses and networks, each with a port or without."""
    return any(_covers(entry.strip().lower(), origin) for entry in no_proxy.split(","))


def _covers(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    name, _, port = entry.rpartition(":")
    if name and port.isdecimal() and (":" not in name or name.startswith("[")):
        if int(port) != origin.port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").lstrip(".")
    if not entry:
        return False
    try:
        return ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return origin.host == entry or origin.host.endswith(f".{entry}")


def _is_loopback(host: str) -> bool:
    # A proxy elsewhere would find itself there, not us (Go's net/http has the same rule).
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse_url(what: str, url: str) -> tuple[Origin, str, str | None]:
    """Origin, path without a slash at the end, user and password if any: which errors don't show, nor the URL."""
    if not isinstance(url, str):
        raise TypeError(f"{what}: a str is expected, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{what}: no valid URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        if "://" not in url:  # `localhost:8000` has a scheme, to the letter
            raise ValueError(f"{what}: it has to begin with http:// or https://")
        raise ValueError(f"{what}: the scheme is {parts.scheme!r}, not http or https")
    if not host:
        raise ValueError(f"{what}: the URL has no host")
    if parts.query or parts.fragment:
        raise ValueError(f"{what}: the URL has a query or a fragment")
    path = parts.path.rstrip("/")
    if path and not _HEADER_TEXT.fullmatch(path):
        raise ValueError(f"{what}: the path has characters that must be percent-encoded")
    try:
        # Name resolution does the same to any name, and raises what is no OSError for an empty or long label.
        host = host.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{what}: no valid host name") from None
    if port == 0 or _NO_HOST.search(host):
        raise ValueError(f"{what}: no valid {'port' if port == 0 else 'host name'}")
    user_info = parts.netloc.rpartition("@")[0] or None
    origin = Origin(host, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "https")
    return origin, path, user_info


def _says_who(header: str) -> bool:
    """Whether a header of the caller's own, by its name, carries a key: vendors and gateways have names of their own."""
    return header.lower() in KEY_HEADERS or re.search("key|auth|token", header, re.IGNORECASE) is not None


def _key_from(environ: Mapping[str, str]) -> str | None:
    """STEP_API_KEY as the documentation has it, STEPFUN_API_KEY as many tools do."""
    return environ.get("STEP_API_KEY") or environ.get("STEPFUN_API_KEY") or None


def _checked_key(key: str | None) -> Secret | None:
    if key is None:
        return None
    if not isinstance(key, str):
        raise TypeError(f"api_key: a str is expected, not {type(key).__name__}")
    key = key.strip()
    if not _HEADER_TEXT.fullmatch(key):
        raise ValueError("api_key: it is empty or has characters that a header can't carry")
    return Secret(key)


def _check_type(name: str, value: object, expected: type, hint: str) -> None:
    if value is not None and not isinstance(value, expected):
        raise TypeError(f"{name}: {expected.__name__} is expected, not {type(value).__name__}; {hint}")


def _checked_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers: a mapping is expected, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"headers: name and value of {name!r} have to be str")
        # The value may be a secret of its own, so only the name is shown.
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f"headers: {name!r} is no name of a header")
        if name.lower() in ("content-length", "transfer-encoding", "connection"):
            raise ValueError(f"headers: {name!r} is the client's own business")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
            raise ValueError(f"headers: the value of {name!r} has characters that a header can't carry")
    return tuple((name, value.strip()) for name, value in headers.items())


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
