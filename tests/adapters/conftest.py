"""One suite for all drivers: a test written once runs on asyncio, on trio and on plain sockets."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Callable, Coroutine, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

pytest.importorskip("h11", reason="the adapters need the extra `anyio`")
anyio = pytest.importorskip("anyio", reason="the adapters need the extra `anyio`")

from sansio_step_adapters.anyio import AsyncClient  # noqa: E402
from sansio_step_adapters.sockets import Client, Stream  # noqa: E402

DRIVERS = ("asyncio", "trio", "sockets")

# `test_without_extras.py` says so where they are left out.
collect_ignore_glob = [] if find_spec("pyarrow") and find_spec("dask") else ["test_archive_*.py"]


class Driver:
    """How a test calls a client, whichever it is: `await` and `async with` work on all three.

    On sockets nothing is ever awaited: each call blocks where it stands, and the servers run in threads.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.name != "sockets":
            if self.name == "trio":
                pytest.importorskip("trio")
            anyio.run(main, backend=self.name)
            return
        coroutine = main()
        with pytest.raises(StopIteration):
            coroutine.send(None)

    def client(self, **arguments: Any) -> Any:
        arguments.setdefault("trust_env", False)
        return AsyncClient(**arguments) if self.name != "sockets" else _ClientOnSockets(Client(**arguments))


class _ClientOnSockets:
    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __repr__(self) -> str:
        return repr(self._client)

    async def __aenter__(self) -> _ClientOnSockets:
        self._client.__enter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._client.__exit__(*exc)

    async def aclose(self) -> None:
        self._client.close()

    def stream(self, request: Any) -> _StreamOnSockets:
        return _StreamOnSockets(self._client.stream(request))

    async def create(self, request: Any) -> Any:
        return self._client.create(request)

    async def count_tokens(self, request: Any) -> Any:
        return self._client.count_tokens(request)


class _StreamOnSockets:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __repr__(self) -> str:
        return repr(self._stream)

    async def __aenter__(self) -> _StreamOnSockets:
        self._stream.__enter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._stream.__exit__(*exc)

    async def aclose(self) -> None:
        self._stream.close()

    def __aiter__(self) -> _AsyncIterator:
        return _AsyncIterator(iter(self._stream))

    @property
    def text(self) -> _AsyncIterator:
        return _AsyncIterator(self._stream.text)


class _AsyncIterator:
    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator

    def __aiter__(self) -> _AsyncIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """A socket or transport left open shows as a ResourceWarning in the test that left it, not in a later one."""
    yield
    gc.collect()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest, no_leaks: None) -> Driver:
    return Driver(request.param)


@pytest.fixture(params=("asyncio", "trio"))
def backend(request: pytest.FixtureRequest, no_leaks: None) -> str:
    if request.param == "trio":
        pytest.importorskip("trio")
    return str(request.param)


@pytest.fixture(scope="session")
def authority() -> Any:
    return pytest.importorskip("trustme").CA()


@pytest.fixture(scope="session")
def server_tls(authority: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
