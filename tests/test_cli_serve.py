"""`sansio-step serve` in a process of its own: where it is, a line for each request, its options, its end."""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import pytest

from sansio_step import iter_events, parse, to_dict
from sansio_step_adapters.cli import _captures

from .program import POSIX, Terminal, commands_in, run, start

WHOLE = _captures.first_party()
REQUEST = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi there"}]}
URL = re.compile(r"http://127\.0\.0\.1:([0-9]+)")


class Program:
    """The program in a pipe, at any free port."""

    def __init__(self, *arguments: object, fresh: bool = False) -> None:
        self.process = start("serve", "--port", "0", *map(str, arguments), fresh=fresh)

    def __enter__(self) -> Program:
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline().decode()
        self.port = int(URL.search(self.first)[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line, as soon as it is written."""
        return self.process.stdout.readline().decode().rstrip("\n")

    def ask(self, path="/v1/messages", method="POST", headers=(), **fields) -> tuple[int, bytes, bool]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, json.dumps({**REQUEST, **fields}), dict(headers))
        response = connection.getresponse()
        try:
            return response.status, response.read(), True
        except IncompleteRead as error:
            return response.status, error.partial, False
        finally:
            connection.close()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "sky.sse").write_bytes(WHOLE)
    (tmp_path / "cut.sse").write_bytes(_captures.cut_short())
    (tmp_path / "said.json").write_text(json.dumps(to_dict(parse(_captures.stepfun()))))
    return [str(tmp_path / name) for name in ("sky.sse", "cut.sse", "said.json")]


def test_files_and_their_lines(files):
    """By model, else in turn; a line a request in a pipe, at once, with all that it is about and no key."""
    with Program(*files) as program:
        assert program.first == f"serving at http://127.0.0.1:{program.port}\n"
        assert program.ask(model="said", stream=False)[0] == 200
        assert re.fullmatch(r"POST  /v1/messages  said  200  [0-9,]+ bytes  whole", program.line())
        assert program.ask(model="other", headers={"x-api-key": "sk-secret"}.items()) == (200, WHOLE, True)
        assert program.line() == f"POST  /v1/messages  other  200  {len(WHOLE):,} bytes  whole"
        status, body, _ = program.ask(path="/v1/messages?key=sk-secret", model="said")
        assert to_dict(parse(body)) == to_dict(parse(_captures.stepfun()))
        assert program.line().startswith("POST  /v1/messages  said  200  ")
        assert program.ask(max_tokens=0)[0] == 400
        assert re.fullmatch(r"POST  /v1/messages  m  400  [0-9]+ bytes  refused", program.line())
        assert program.ask(method="GET", path="/v1/models")[0] == 404
        assert program.line().startswith("GET  /v1/models  m  404  ")


def test_nothing_to_serve_is_an_echo():
    with Program() as program:
        assert parse(program.ask()[1]).text == "Hi there"


def test_what_a_client_sends_is_no_command_to_a_terminal():
    """Of a model or path with control characters, and endless ones, the line is one and short."""
    with Program("--echo") as program:
        assert program.ask(model="\x1b[2J\u202e\n" + "x" * 10_000)[0] == 200
        line = program.line()
        assert commands_in(line) == []
        assert len(line) < 200
        with socket.create_connection(("127.0.0.1", program.port), timeout=30) as sock:
            sock.sendall(b"\x1b[2J\r\n\r\n")
            sock.recv(1)
        assert program.line().startswith("no HTTP  -  -  400  ")


OPTIONS = [
    (["--cut", "2"], "ended early, as told", True),
    (["--fail-after", "2"], "connection broken, as told", False),
    (["--fail-after", "99B"], "connection broken, as told", False),
    (["--error", "overloaded_error@2"], "error", True),
    (["--chunk", "7", "--pace", "0", "--latency", "0", "--ping", "9"], "whole", True),
]


@pytest.mark.parametrize(("options", "said", "whole"), OPTIONS, ids=lambda value: str(value))
def test_dials(files, options, said, whole):
    """Each is that of the server, and the line says how the answer ended because of it."""
    with Program(files[0], *options) as program:
        status, body, is_whole = program.ask()
        assert (status, is_whole) == (200, whole)
        assert program.line().endswith(f"  {said}")
        size = 99 if "99B" in options else len(body) if said == "whole" else WHOLE.index(b"event: content_block_start")
        assert body[:size] == WHOLE[:size]
        assert (len(body) > size) == (said == "error")


def test_an_error():
    with Program("--echo", "--error", "overloaded_error") as program:
        status, body, _ = program.ask()
        assert (status, json.loads(body)["error"]["type"]) == (529, "overloaded_error")
        assert program.line().endswith("  error")


def test_by_and_script(files, tmp_path):
    """`--by model` has nothing for others; a script comes first, and its files are beside it."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"times": 1, "error": "rate_limit_error"}, {"says": "there", "file": "sky.sse"}]))
    with Program("--script", script) as program:
        assert [program.ask()[0] for _ in range(2)] == [429, 200]
        assert program.ask(messages=[{"role": "user", "content": "Hi"}])[0] == 404
    with Program("--by", "model", files[0]) as program:
        assert (program.ask(model="sky")[0], program.ask()[0]) == (200, 404)


def wrong(*arguments):
    ended = run("serve", *map(str, arguments))
    assert ended.stdout == b""
    lines = ended.stderr.decode().splitlines()
    return ended.returncode, lines[0], len(lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--chunk", "0"], "argument --chunk: 0 is less than 1"),
        (["--fail-after", "x"], "argument --fail-after: 'x' is no number of events"),
        (["--pace", "slow"], "argument --pace: 'slow' is neither seconds nor: recorded"),
        (["--latency", "nan"], "argument --latency: nan is no number of seconds"),
        (["--error", "@1"], "argument --error: the type is empty"),
        (["--port", "70000"], "argument --port: '70000' is no port"),
        (["--by", "chance"], "argument --by: invalid choice"),
        (["--echo", "sky.sse"], "--echo answers instead of files"),
    ],
)
def test_wrong_arguments(arguments, words):
    """Exit code 2, and where there is help."""
    code, line, lines = wrong(*arguments)
    assert (code, lines) == (2, 2)
    assert line.startswith(f"sansio-step serve: {words}")


def test_what_cant_be_served(tmp_path):
    """Exit code 1 and one line: a file that is not there, a script that is wrong, a port that is taken."""
    script = tmp_path / "script.json"
    script.write_text('[{"tims": 1}]')
    for arguments, words in [
        ([tmp_path / "sky.sse"], "sky.sse: No such file or directory"),
        (["--script", script], "unknown field `tims`"),
        (["--script", tmp_path / "none.json"], "No such file or directory"),
        (["--by", "model"], "by: no capture has a name"),
        (["--host", "203.0.113.1", "--port", "0"], "port 0 at 203.0.113.1: "),
        (["--host", "nowhere.invalid"], "port 8787 at nowhere.invalid: "),
    ]:
        code, line, lines = wrong(*arguments)
        assert (code, lines) == (1, 1)
        assert words in line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line, lines = wrong("--port", port)
    assert (code, lines) == (1, 1)
    assert line == f"sansio-step serve: port {port} at 127.0.0.1: it is in use; --port 0 takes any that is free"


def more(path, number):
    """Copies of a file, more0 and so on."""
    paths = [Path(path).with_name(f"more{each}.sse") for each in range(number)]
    for each in paths:
        each.write_bytes(Path(path).read_bytes())
    return map(str, paths)


@POSIX
def test_in_a_terminal(files):
    """It says how clients are pointed at it, and ^C is how it ends well: exit code 0 and no traceback."""
    terminal = Terminal(["serve", "--port", "0", *files, *[files[0]] * 2, *more(files[0], 7)], columns=100)
    shown = terminal.read_until("Ctrl-C ends it.")
    url = URL.search(shown)[0]
    assert f'Anthropic(base_url="{url}", api_key="none")' in shown
    assert f"sansio-step chat --base-url {url}" in shown
    assert re.search(r"models +sky, cut, said, more0, more1, more2, more3, more4 and 2 more", shown)
    ended = run("chat", "--base-url", url, "--model", "sky", "Hello")
    assert ended.returncode == 0
    assert b"Broken Bridge" in ended.stdout
    terminal.read_until("whole")
    terminal.type("\x03")
    code, shown = terminal.end()
    assert code == 0
    assert shown.rstrip().endswith("ended after 1 requests")
    assert "Traceback" not in shown


@POSIX
def test_interrupted_in_a_pipe(files):
    """With an answer on its way, too."""
    import signal

    with Program(files[0], "--pace", "3000", fresh=True) as program:
        with socket.create_connection(("127.0.0.1", program.port), timeout=30) as sock:
            body = json.dumps(REQUEST).encode()
            sock.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            assert sock.recv(4) == b"HTTP"
            program.process.send_signal(signal.SIGINT)
            out, err = program.process.communicate(timeout=30)
    assert (program.process.returncode, err) == (0, b"")
    lines = out.decode().splitlines()
    assert lines[0].endswith("  stopped")
    assert lines[1:] == ["ended after 1 requests"]


@POSIX
def test_nobody_reads_its_lines(files):
    """As `serve | head -1`: it ends as other programs do, when it has something to say."""
    with Program(files[0]) as program:
        program.process.stdout.close()
        program.ask()
        assert program.process.wait(timeout=30) == 141


def test_the_recorded_pace(tmp_path):
    """A recording whose reads lie in the future of no test: its bytes, as they were read."""
    from sansio_step_adapters.record import Recorder

    recorder = Recorder(tmp_path / "sky", clock=lambda: 0)
    recorder.receive_head(200, {})
    recorder.receive_data(WHOLE)
    recorder.receive_eof()
    with Program(tmp_path / "sky", "--pace", "recorded") as program:
        assert list(iter_events([program.ask(model="sky")[1]])) == list(iter_events([WHOLE]))
