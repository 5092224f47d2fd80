"""The fixture `messages_server`: there by entry point, at no cost for those who don't ask for it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from .program import ROOT, environment

PLUGIN = "sansio_step_adapters.pytest_plugin"
TESTS = '''
import json
import sys
import threading
from urllib.request import Request, urlopen

SAID = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi there"}]}
SERVERS = []


def ask(server):
    return json.load(urlopen(Request(server.base_url + "/v1/messages", json.dumps(SAID).encode())))


def test_nothing_is_imported_before_it_is_asked_for():
    assert not {"sansio_step", "msgspec", "h11", "sansio_step_adapters.replay"} & set(sys.modules)


def test_servers(messages_server):
    """Several of them, each with options of its own."""
    echo, again = messages_server(), messages_server(b"", rules=[])
    assert ask(echo)["content"][0]["text"] == "Hi there"
    assert echo.requests[0].json == SAID
    SERVERS.extend([echo, again])
    assert threading.active_count() > 2


def test_they_end_with_their_test():
    assert threading.active_count() == 1
    assert SERVERS[0].calls == 1


def test_rules_alone(messages_server):
    from sansio_step_adapters.replay import Dials, Rule

    server = messages_server(rules=[Rule("said.json", times=1)])
    assert ask(server)["id"] == "msg_1"
'''
SAID = '{"type":"message","id":"msg_1","role":"assistant","model":"m","content":[],"stop_reason":"end_turn"}'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "said.json").write_text(SAID)
    return tmp_path


def run_pytest(folder, *options):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options]
    # `-p` is what the entry point does where the package is installed; both together load it once.
    command += ["-p", PLUGIN, "--rootdir", str(folder), "-c", "/dev/null", str(folder)]
    return subprocess.run(
        command, cwd=folder, env=environment(PYTEST_ADDOPTS=""), capture_output=True, text=True, timeout=60
    )


def test_the_fixture(folder):
    """It starts servers, which end with the test, and imports the library only then."""
    ended = run_pytest(folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout


def test_it_says_what_it_is(folder):
    """In the list of fixtures."""
    assert re.search(r"messages_server.*\n +Start Messages servers", run_pytest(folder, "--fixtures").stdout)


def test_the_entry_point_has_the_name_of_its_module():
    """So that pytest knows the plugin when it meets it again, by `-p` or in `pytest_plugins`."""
    points = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("entry-points.pytest11]\n")[2]
    assert points.splitlines()[0] == f'"{PLUGIN}" = "{PLUGIN}"'
