"""A client's arguments and environment: where it connects, through what, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from sansio_step import MessageRequest, RetryPolicy, __version__
from sansio_step_adapters._config import Origin, encode_count, make_config, proxy_from
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.sockets import Client

KEY = "sk-0123456789"


def config(**arguments: Any) -> Any:
    arguments.setdefault("trust_env", False)
    return make_config(**arguments)


@pytest.mark.parametrize(
    ("url", "origin", "host", "path"),
    [
        ("https://api.stepfun.ai", Origin("api.stepfun.ai", 443, True), "api.stepfun.ai", "/v1/messages"),
        ("https://api.stepfun.com/step_plan/", Origin("api.stepfun.com", 443, True), "api.stepfun.com", None),
        ("http://localhost:8000", Origin("localhost", 8000, False), "localhost:8000", "/v1/messages"),
        ("https://example.org:443/", Origin("example.org", 443, True), "example.org", "/v1/messages"),
        ("http://[::1]:8000/a/b", Origin("::1", 8000, False), "[::1]:8000", "/a/b/v1/messages"),
        ("http://[::1]", Origin("::1", 80, False), "[::1]", "/v1/messages"),
        ("https://b\u00fccher.example", Origin("xn--bcher-kva.example", 443, True), "xn--bcher-kva.example", None),
        ("HTTPS://EXAMPLE.org", Origin("example.org", 443, True), "example.org", "/v1/messages"),
    ],
)
def test_base_url(url: str, origin: Origin, host: str, path: str | None) -> None:
    """Scheme, host, port and path each go where HTTP wants them."""
    made = config(base_url=url)
    assert (made.origin, made.host_header) == (origin, host)
    assert made.path == (path or made.path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"base_url": "api.stepfun.ai"}, "it has to begin with http:// or https://"),
        ({"base_url": "ftp://example.org"}, "scheme is 'ftp'"),
        ({"base_url": "https://"}, "no host"),
        ({"base_url": "https://example.org:no"}, "no valid URL"),
        ({"base_url": "https://me:pass@example.org"}, "user and password"),
        ({"base_url": "https://example.org/v1"}, "base_url: give it without /v1"),
        ({"base_url": "127.0.0.1:8000"}, "base_url: it has to begin with http:// or https://"),
        ({"base_url": "localhost:8000"}, "base_url: it has to begin with http:// or https://"),
        ({"base_url": "https://example.org/v1/messages"}, "without /v1"),
        ({"base_url": "https://example.org/a b"}, "percent-encoded"),
        ({"base_url": "https://example.org?key=x"}, "a query"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "sk-secret\nx: y"}, "api_key"),
        ({"api_key": "sk-secr\u00e9t"}, "api_key"),
        ({"auth": "basic"}, "neither 'bearer' nor 'x-api-key'"),
        ({"headers": {"a b": "c"}}, "no name of a header"),
        ({"headers": {"a": "secret\r\nb: c"}}, "the value of 'a'"),
        ({"headers": {"Content-Length": "1"}}, "own business"),
        ({"proxy": "socks5://localhost"}, "proxy: the scheme is 'socks5'"),
        ({"max_retries": -1}, "max_retries"),
        ({"base_url": "http://a..b"}, "no valid host name"),
        ({"base_url": f"http://{'a' * 64}.org"}, "no valid host name"),
        ({"base_url": "http://exa mple.org"}, "no valid host name"),
        ({"base_url": "http://example.org:0"}, "no valid port"),
        ({"max_event_size": 0}, "^max_event_size: 0 is less than 1"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    """Each is a ValueError that names the argument and shows no secret, in both clients."""
    for client in (AsyncClient, Client):
        with pytest.raises(ValueError, match=words) as caught:
            client(**arguments)
        assert "secr" not in str(caught.value)
        assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"base_url": None}, "^base_url: a str is expected, not NoneType"),
        ({"base_url": b"https://example.org"}, "^base_url: a str"),
        ({"api_key": b"sk"}, "^api_key: a str is expected, not bytes"),
        ({"proxy": 8080}, "^proxy: a str is expected, not int"),
        ({"timeouts": 30}, "^timeouts: Timeouts is expected, not int"),
        ({"retries": 3}, "^retries: .*not int; their number is max_retries"),
        ({"ssl_context": False}, "^ssl_context: SSLContext is expected, not bool"),
        ({"max_response_size": None}, "^max_response_size: a number of bytes"),
        ({"headers": [("a", "b")]}, "^headers: a mapping is expected, not list"),
        ({"headers": {"a": 1}}, "^headers: name and value of 'a' have to be str"),
        ({"headers": {b"a": "1"}}, "^headers: name and value of b'a'"),
    ],
)
def test_arguments_of_a_wrong_type(arguments: dict[str, Any], words: str) -> None:
    """Each is a TypeError where the client is made, not something else in the middle of its first call."""
    for client in (AsyncClient, Client):
        with pytest.raises(TypeError, match=words):
            client(**arguments)


@pytest.mark.parametrize("request_", ["hello", None, [], 5])
def test_a_request_of_a_wrong_type(request_: Any) -> None:
    """A TypeError says what is expected instead."""
    with Client(trust_env=False) as client:
        for call in (client.create, lambda request: client.stream(request).__enter__()):
            with pytest.raises(TypeError, match="^request: a MessageRequest or a dict of its fields is expected"):
                call(request_)


def test_the_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """STEP_API_KEY is the key where the argument gives none, and unless the environment is not trusted."""
    monkeypatch.setenv("STEP_API_KEY", KEY)
    monkeypatch.delenv("STEPFUN_API_KEY", raising=False)

    def authorization(**arguments: Any) -> bytes | None:
        return dict(make_config(**arguments).request_headers(streaming=True)).get(b"authorization")

    assert authorization() == b"Bearer " + KEY.encode()
    assert authorization(api_key="other") == b"Bearer other"
    assert authorization(trust_env=False) is None
    monkeypatch.setenv("STEP_API_KEY", "")
    assert authorization() is None


def test_the_keys_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """STEPFUN_API_KEY is read if STEP_API_KEY is not set, or is empty, and never over it."""

    def key(**arguments: Any) -> str | None:
        made = make_config(**arguments)
        return made.key.reveal() if made.key is not None else None

    monkeypatch.delenv("STEP_API_KEY", raising=False)
    monkeypatch.setenv("STEPFUN_API_KEY", "sk-other")
    assert key() == "sk-other"
    assert key(api_key=KEY) == KEY
    assert key(trust_env=False) is None
    monkeypatch.setenv("STEP_API_KEY", "")
    assert key() == "sk-other"
    monkeypatch.setenv("STEP_API_KEY", KEY)
    assert key() == KEY


def test_what_a_count_sends() -> None:
    """The request without max_tokens and stream; a dict may lack max_tokens, and nothing else."""
    messages = [{"role": "user", "content": "\u6d77"}]
    request = {"model": "m", "messages": messages, "system": "be brief"}
    for given in (request, {**request, "max_tokens": 5, "stream": True}, {**request, "stream": False}):
        assert json.loads(encode_count(given)) == request
    made = MessageRequest(model="m", messages=messages, system="be brief", max_tokens=7, stream=True)
    assert json.loads(encode_count(made)) == request
    assert made.max_tokens == 7
    for wrong in ({"model": "m"}, {**request, "max_tokens": 0}, {**request, "max_tokens": "5"}):
        with pytest.raises((TypeError, ValueError)):
            encode_count(wrong)


def test_the_secrets_of_a_client() -> None:
    """All that an error must not show: the key by whatever argument, the proxy's password and what it is sent."""
    proxy = "http://me:p%40ss@proxy:1"
    made = config(api_key=KEY, headers={"X-Api-Key": "other", "Authorization": "Basic abcd", "x-a": "b"}, proxy=proxy)
    assert set(made.secrets) == {KEY, "other", "Basic abcd", "abcd", "p@ss", "bWU6cEBzcw=="}
    assert config().secrets == []


def test_headers() -> None:
    """The caller's headers stand over the client's own, whatever their case."""
    headers = dict(config(headers={"Accept-Encoding": "gzip", "X-A": " b "}).request_headers(streaming=True))
    assert headers[b"accept-encoding"] == b"gzip"
    assert headers[b"x-a"] == b"b"
    assert headers[b"accept"] == b"text/event-stream"
    assert headers[b"user-agent"] == f"sansio-step/{__version__}".encode()
    by_key = dict(config(api_key=KEY, auth="x-api-key").request_headers(streaming=False))
    assert by_key[b"x-api-key"] == KEY.encode()
    assert by_key[b"anthropic-version"] == b"2023-06-01"
    assert by_key[b"accept"] == b"application/json"


def test_secrets_show_nowhere() -> None:
    """No repr has the key or the proxy's password, and neither can be pickled away."""
    made = config(api_key=KEY, proxy="http://me:hush@proxy:1", headers={"x-token": "hidden"})
    for secret in (KEY, "hush", "hidden", "bWU6aHVzaA"):
        assert secret not in repr(made)
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(made)


HTTP = Origin("example.org", 80, False)
HTTPS = Origin("api.example.org", 443, True)


@pytest.mark.parametrize(
    ("environ", "origin", "port"),
    [
        ({}, HTTP, None),
        ({"HTTP_PROXY": "http://proxy:1"}, HTTP, 1),
        ({"http_proxy": "proxy:1", "HTTP_PROXY": "http://proxy:2"}, HTTP, 1),
        ({"HTTP_PROXY": "http://proxy:1", "REQUEST_METHOD": "GET"}, HTTP, None),
        ({"HTTP_PROXY": "http://proxy:1"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, HTTPS, 1),
        ({"https_proxy": "https://proxy"}, HTTPS, 443),
        ({"ALL_PROXY": "http://proxy:1"}, HTTPS, 1),
        ({"HTTPS_PROXY": ""}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "other.org, example.org"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": ".example.org"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "*.EXAMPLE.org"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "example.org:443"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "example.org:80"}, HTTPS, 1),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "ample.org,,  ,"}, HTTPS, 1),
        ({"HTTP_PROXY": "http://proxy:1", "no_proxy": "10.0.0.0/8"}, Origin("10.1.2.3", 80, False), None),
        ({"HTTP_PROXY": "http://proxy:1", "no_proxy": "10.0.0.0/8"}, Origin("11.1.2.3", 80, False), 1),
        ({"HTTP_PROXY": "http://proxy:1", "no_proxy": "[fd00::1]:80"}, Origin("fd00::1", 80, False), None),
        ({"HTTP_PROXY": "http://proxy:1", "no_proxy": "fd00::1"}, Origin("fd00::1", 80, False), None),
    ],
)
def test_the_environments_proxy(environ: dict[str, str], origin: Origin, port: int | None) -> None:
    """HTTP(S)_PROXY and NO_PROXY as curl reads them."""
    proxy = proxy_from(environ, origin)
    assert (proxy.origin.port if proxy is not None else None) == port


def test_a_proxy_that_is_no_http_proxy_is_named() -> None:
    """It isn't gone round in silence, and the error says which variable it came from."""
    with pytest.raises(ValueError, match="^proxy, from ALL_PROXY: the scheme is 'socks5h', not http or https"):
        proxy_from({"ALL_PROXY": "socks5h://localhost:1"}, HTTPS)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:1", "http://127.8.8.8:1", "http://[::1]:1"])
def test_no_proxy_for_this_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The environment's proxy is not asked for the loopback; one given by hand is."""
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    assert make_config(base_url=url).proxy is None
    assert make_config(base_url=url, proxy="http://proxy:1").proxy is not None
    assert make_config(base_url="http://example.org").proxy is not None
    assert make_config(base_url="http://example.org", proxy="").proxy is None
    assert make_config(base_url="http://example.org", trust_env=False).proxy is None


def test_retries() -> None:
    """`max_retries` is that of the policy, unless it is given on its own."""
    assert config().retries == RetryPolicy(max_retries=2)
    assert config(max_retries=5, retries=RetryPolicy(first_delay=9)).retries == RetryPolicy(
        max_retries=5, first_delay=9
    )
