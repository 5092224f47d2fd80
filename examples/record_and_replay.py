"""Tests of a program that talks to a model: recorded once, replayed ever after, over a real connection.

It replaces a cassette of pytest-recording 0.14 on vcrpy 9.4, which patches the HTTP library inside the test, keeps a body
as one text and hands it over at once. Here it is `client`, 12 lines: a fixture on `messages_server`, which pytest has
where this package is installed.

What is different: the bytes come over a socket, in the reads and at the times in which the model sent them (or faster:
leave out `pace`), so that what breaks on the way from a socket to a message breaks in the test; the same recording can
be served cut, failing or slowly (`cut=`, `error=`, `latency=`); and any client reads from it, in any language.

Run it: `python examples/record_and_replay.py`. It runs the test below twice, with a model and without one. (Keys are in
no recording.)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sansio_step import MessageRequest
from sansio_step_adapters.pytest_plugin import ServerFactory
from sansio_step_adapters.record import Recordings
from sansio_step_adapters.replay import echo, serve
from sansio_step_adapters.sockets import Client

# Beside the tests, as a rule: Path(__file__).parent / "recordings".
FOLDER = Path(os.environ.get("RECORDINGS", "recordings"))


@pytest.fixture
def client(request: pytest.FixtureRequest, messages_server: ServerFactory) -> Iterator[Client]:
    """A client for the program under test: it gets what it got the first time."""
    name = request.node.name
    recordings = sorted(FOLDER.glob(f"{name}*.sse"), key=lambda path: (len(path.name), path.name))
    if recordings:
        # Its answers in the order in which they came.
        server = messages_server(recordings, by="order", pace="recorded")
        with Client(base_url=server.base_url, api_key="none") as replaying:
            yield replaying
    else:
        with Client(base_url=os.environ["MODEL_URL"], tap=Recordings(FOLDER / name)) as recording:
            yield recording


def title_of(client: Client, text: str) -> str:
    """The program under test."""
    request = MessageRequest(
        model="step-3.7-flash", max_tokens=50, messages=[{"role": "user", "content": f"A title for: {text}"}]
    )
    with client.stream(request) as stream:
        return "".join(stream.text).strip().capitalize()


def test_a_title(client: Client) -> None:
    assert title_of(client, "tea by the lake") == "A title for: tea by the lake"
    assert title_of(client, "a ride to 朱家角") == "A title for: a ride to 朱家角"


def main() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, __file__]
    # The entry point does this where the package is installed.
    command += ["-p", "sansio_step_adapters.pytest_plugin"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "RECORDINGS": folder, "STEP_API_KEY": "secret"}
        with serve(echo) as model:  # in place of the model
            subprocess.run(command, env={**environment, "MODEL_URL": model.base_url}, cwd=folder, check=True)  # noqa: S603
            print(f"recorded: {model.calls} answers, {sorted(path.name for path in Path(folder).glob('*.sse'))}")
        # Nobody answers there any more.
        subprocess.run(command, env={**environment, "MODEL_URL": "http://127.0.0.1:9"}, cwd=folder, check=True)  # noqa: S603
        print("replayed")


if __name__ == "__main__":
    main()
