"""The heads of a gateway's requests and responses: what goes on to the other side, and what must not. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from ._coding import CODINGS
from ._config import KEY_HEADERS

Headers: TypeAlias = list[tuple[bytes, bytes]]

KEYS: Final = frozenset(name.encode("ascii") for name in KEY_HEADERS)
# RFC 9110 7.6.1: these concern one connection and don't go on to the next.
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOTHING: Final = re.compile(r"0(?:\.0*)?")
_MESSAGES: Final = re.compile(
    r"(?:/messages"  # the first party, and most others
    r"|(?<!/count-tokens):(?:rawPredict|streamRawPredict)"  # Vertex
    r"|/model/.+/invoke(?:-with-response-stream)?"  # Bedrock, whose models can have a slash in their names
    r")\Z"
)


class BadRequest(ValueError):
    """What the upstream must not see, with what is wrong about it."""


def is_messages(path: str) -> bool:
    """Whether a POST to this path is a call of the Messages API: the first party's, Vertex's and Bedrock's paths are."""
    return _MESSAGES.search(path) is not None


def target_of(scope: Mapping[str, Any]) -> bytes:
    """Path and query below the application's own place: a router that mounts it leaves its prefix in (as `root_path`).

    Raises BadRequest for what is no path (RFC 9112 3.2): sent on with the gateway's key, it could lead elsewhere. So
    could dot segments, since the upstream undoes them after whoever stands before it has looked at the path.
    """
    if scope["method"] == "CONNECT":
        raise BadRequest("a gateway opens no tunnel")
    path: bytes = (scope.get("raw_path") or quote(scope["path"]).encode("ascii")).partition(b"?")[0]
    query: bytes = scope.get("query_string") or b""
    if not path.startswith(b"/"):
        raise BadRequest("the target is no path")
    if b"#" in path or b"#" in query:
        raise BadRequest("the target has a fragment")
    if _has_dot_segment(path) or _has_dot_segment(scope["path"].encode("utf-8", "surrogateescape")):
        raise BadRequest("the path has dot segments")
    mount = quote(scope.get("root_path", "")).encode("ascii").rstrip(b"/")
    if path.startswith(mount + b"/"):
        path = path.removeprefix(mount)
    return path + (b"?" + query if query else b"")


def _has_dot_segment(path: bytes) -> bool:
    while (plain := unquote_to_bytes(path)) != path:
        path = plain  # some decode twice
    segments = path.replace(b"\\", b"/").split(b"/")
    # Some servers cut parameters off first: /..;x/
    return any(segment.partition(b";")[0] in (b".", b"..") for segment in segments)


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers that are not about one connection, be it by their own `Connection`.

    With a Transfer-Encoding there is no Content-Length (RFC 9112 6.3): the two together are how requests are smuggled.
    """
    headers = list(headers)
    names = {name.lower() for name, _ in headers}
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named | ({b"content-length"} if b"transfer-encoding" in names else set())
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def readable_only(headers: Headers) -> Headers:
    """The headers of a request whose answer will be read: of the codings that the caller accepts, those that can be undone.

    They keep the caller's ranks, and what it refuses (q=0) stays refused.
    """
    values = [value.decode("latin-1") for name, value in headers if name.lower() == b"accept-encoding"]
    if not values:
        return headers
    offers = [offer.strip() for offer in ",".join(values).split(",") if offer.strip()]
    ranked = {offer.partition(";")[0].strip().lower(): offer for offer in offers}
    refused = {name: offer for name, offer in ranked.items() if _refuses(offer)}
    wanted = {name: offer for name, offer in ranked.items() if name not in refused}
    offered = [offer for name, offer in wanted.items() if name in CODINGS or name == "identity"]
    if "*" in wanted:
        offered += [wanted["*"].replace("*", coding, 1) for coding in CODINGS if coding not in ranked]
    if not offered and not refused.keys() & {"identity", "*"}:
        offered.append("identity")
    offered += refused.values()
    kept = [(name, value) for name, value in headers if name.lower() != b"accept-encoding"]
    return [*kept, (b"accept-encoding", ", ".join(offered).encode("latin-1"))]


def _refuses(offer: str) -> bool:
    parameters = [parameter.strip().lower() for parameter in offer.split(";")[1:]]
    return any(p.startswith("q=") and _NOTHING.fullmatch(p[2:].strip()) is not None for p in parameters)
