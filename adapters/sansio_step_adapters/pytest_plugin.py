"""The pytest fixture `messages_server`, which is there wherever the package is installed.

    def test_a_cut_stream(messages_server):
        server = messages_server("sky.sse", cut=5)
        client = Anthropic(base_url=server.base_url, api_key="none")
        ...
        assert server.requests[0].json["max_tokens"] == 100

Every test run imports this module, before coverage is measured: so it imports nothing of the library. The server and
what it needs come with the first test that asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .replay import Playable, ReplayServer

__all__ = ["ServerFactory", "messages_server"]


class ServerFactory(Protocol):
    """What the fixture gives: `serve` of `sansio_step_adapters.replay`, whose server runs until the test ends."""

    def __call__(self, captures: Playable | Sequence[Playable] | None = None, **options: Any) -> ReplayServer:
        """A server in a thread of its own, at its `base_url`. Without captures or rules it echoes."""


@pytest.fixture
def messages_server() -> Iterator[ServerFactory]:
    """Start Messages servers, each in a thread of its own until the test ends; needs the extra `anyio`."""
    from .replay import echo, serve  # noqa: PLC0415

    with ExitStack() as stack:

        def start(captures: Playable | Sequence[Playable] | None = None, **options: Any) -> ReplayServer:
            if captures is None:
                captures = () if options.get("rules") else echo
            return stack.enter_context(serve(captures, **options))

        yield start
