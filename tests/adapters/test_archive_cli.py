"""`sansio-step archive`: what it takes, what it says, and how it ends."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from archivefiles import line, rows_in, stream

from sansio_step_adapters import cli
from sansio_step_adapters.archive import Failure, Progress, Report, Split, Summary
from sansio_step_adapters.cli import archive as program
from sansio_step_adapters.cli.arguments.archive import ArchiveArguments

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    code: Any
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`sansio-step archive` in this process, which reads everything itself."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sansio-step", "archive", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Six captures: whole, cut by the server, cut by the logger, an error, a deviation, a damaged line."""
    path = tmp_path / "log.jsonl"
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}
    lines = [
        line(0, user="u", cut=False),
        line(1, stream(cut=-100), cut=False),
        line(2, stream(cut=-100), cut=True),
        line(3, error),
        line(4, stream().replace(b"event: message_stop\n", b"")),
        line(5)[:-200],
    ]
    path.write_bytes(b"\n".join(lines))
    return path


def test_the_summary(run: Callable[..., Ended], log: Path, tmp_path: Path) -> None:
    """Captures by outcome, tokens, deviations and errors on stdout; how far it is on stderr; the exit code is 0."""
    ended = run(log, "--out", tmp_path / "out", "--engine", "serial", "--truncated", "cut", "--keep", "user")
    assert ended.code == 0
    assert ended.out == (
        "captures    6\n"
        "  truncated 3, 1 of them by the logger\n"
        "  complete  2\n"
        "  failed    1\n"
        "tokens      input 15, output 17, cache read 0, cache creation 0\n"
        "deviations  unfinished_event 3\n"
        "            no_event_line 1\n"
        "errors      IncompleteStream 2\n"
        "            APIError 1\n"
        "            DamagedLine 1\n"
    )
    first, last = ended.err.splitlines()
    assert first == "0 of 1 parts, 0 captures"
    assert last.startswith("1 of 1 parts, 6 captures, ")
    assert last.endswith(" MB/s of input, 0:00:00 left")
    assert rows_in(tmp_path / "out")[0]["user"] == "u"


def test_again_it_says_what_is_there(run: Callable[..., Ended], log: Path, tmp_path: Path) -> None:
    """The same summary; without a word on progress if told so."""
    first = run(log, "--out", tmp_path / "out", "--engine", "serial", "-q")
    assert first.err == ""
    again = run(log, "--out", tmp_path / "out")
    assert (again.code, again.out) == (0, first.out)
    assert again.err == "1 of 1 parts, 6 captures, 1 of them from an earlier run\n"
    other = run(log, "--out", tmp_path / "out", "--engine", "serial", "-q", "--strict")
    assert (other.code, other.out) == (1, "")
    assert other.err.startswith("sansio-step: ")
    assert other.err.endswith("--replace removes what there is of them, another --out leaves it\n")
    replaced = run(log, "--out", tmp_path / "out", "--engine", "serial", "-q", "--strict", "--replace")
    assert "  complete  1\n" in replaced.out


def test_a_file_that_cant_be_read_at_all(run: Callable[..., Ended], log: Path, tmp_path: Path) -> None:
    """The exit code is 1, and the summary says which and why, without the control characters of its name."""
    bad = tmp_path / "bad\x1b[31m.parquet"
    bad.write_bytes(b"no parquet")
    ended = run(log, bad, "--out", tmp_path / "out", "--engine", "serial", "-q")
    assert ended.code == 1
    assert ended.out.startswith("captures    6\n")
    assert "not read    " in ended.out
    assert "bad\\u001b[31m.parquet: ArrowInvalid: " in ended.out
    missing = run(tmp_path / "nothing", "--out", tmp_path / "out")
    assert (missing.code, missing.err) == (1, f"sansio-step: no file at {tmp_path / 'nothing'}\n")
    inside = run(tmp_path, "--out", tmp_path / "out", "-q")
    assert inside.code == 1
    assert "where the table goes" in inside.err


def test_options_reach_the_job(run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one by its name; those that were not given are the library's own."""
    seen: list[Any] = []

    def record(*arguments: Any, **named: Any) -> Report:
        seen.append((arguments, named))
        return Report(Summary(), [])

    monkeypatch.setattr("sansio_step_adapters.archive.decode_archive", record)
    words = "a b --out o --engine tcp://h:1 --body x.y --id i --truncated t --keep k,l.m, --format files --no-message"
    run(*words.split(), "--strict", "--max-body-size", "5", "--replace", "-q")
    run("--workers", "3", "--out", "o", "a")
    ((paths, out, options), named), ((_, _, default), local) = seen
    assert (paths, out) == (["a", "b"], "o")
    assert {name: getattr(options, name) for name in options.__struct_fields__} == {
        "body": "x.y", "id": "i", "truncated": "t", "keep": ("k", "l.m"), "format": "files", "message": False,
        "strict": True, "max_body_size": 5,
    }  # fmt: skip
    assert named == {"engine": "tcp://h:1", "workers": None, "replace": True, "listener": None}
    assert default == type(default)()
    assert (local["engine"], local["workers"], local["replace"]) == ("local", 3, False)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "the following arguments are required: "),
        ("a", "--out"),
        ("a --out o --engine spark", "no engine 'spark'"),
        ("a --out o --engine serial --workers 2", "--workers is for the engine local"),
        ("a --out o --workers 0", "'0' is no number from 1"),
        ("a --out o --max-body-size x", "'x' is no number from 1"),
        ("a --out o --format csv", "invalid choice: 'csv'"),
    ],
)
def test_wrong_arguments(run: Callable[..., Ended], words: str, reason: str) -> None:
    """The exit code is 2, with a word on what is wrong and which command says more."""
    ended = run(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert reason in ended.err
    assert ended.err.endswith("Try: sansio-step archive --help\n")


def test_help(run: Callable[..., Ended]) -> None:
    """It names every option, and what the exit code means."""
    ended = run("--help")
    assert ended.code == 0
    for name in ("IN", "--out", "--engine", "--workers", "--body", "--id", "--truncated", "--keep", "--format",
                 "--no-message", "--strict", "--max-body-size", "--replace", "--quiet", "The exit code is 0"):  # fmt: skip
        assert name in ended.out


BLOCKED = """
import sys
sys.modules[{package!r}] = None
sys.argv[1:] = ["archive", {log!r}, "--out", {out!r}, "--engine", "ray://127.0.0.1:1", "-q"]
from sansio_step_adapters.cli import main
main()
"""


@pytest.mark.parametrize(("package", "extra"), [("pyarrow", '"sansio-step[archive]"'), ("ray", '"ray[client]"')])
def test_without_its_packages(log: Path, tmp_path: Path, package: str, extra: str) -> None:
    """One line says what to install."""
    code = BLOCKED.format(package=package, log=str(log), out=str(tmp_path / "out"))
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"sansio-step: no module {package!r}; run: pip install {extra}\n"


def test_many_failures_are_cut_short(run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty are listed, and how many more there are."""
    split = Split(kind="lines", origin="/logs/x", uris=(), stamps=(), size=0)
    report = Report(Summary(), [Failure(split, OSError("gone"))] * 25)
    monkeypatch.setattr("sansio_step_adapters.archive.decode_archive", lambda *_, **__: report)
    ended = run("a", "--out", "o")
    assert ended.code == 1
    assert ended.out.count("/logs/x: OSError: gone\n") == 20
    assert ended.out.endswith("            and 5 more\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_terminal(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that is written over, at most five times a second, and at the end; rates are of this run alone."""
    clock = [100.0]
    monkeypatch.setattr(program, "monotonic", lambda: clock[0])
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def job(*_: Any, listener: Callable[[Progress], None], **__: Any) -> Report:
        def tell(at: float, done: int, captures: int) -> None:
            clock[0] = at
            listener(Progress(10, done, 2, 10_000_000, done * 1_000_000, 2_000_000, Summary(captures=captures)))

        tell(101, 2, 2_000)
        tell(101.1, 3, 3_000)  # too soon
        tell(105, 4, 4_000)
        tell(3_701, 5, 5_000)
        tell(3_701.1, 10, 10_000)  # the end is always shown
        return Report(Summary(captures=10_000), [])

    monkeypatch.setattr("sansio_step_adapters.archive.decode_archive", job)
    arguments = ArchiveArguments(["a"], "o", "local", None, False, False, {})
    assert program.run(arguments)
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "2 of 10 parts, 2,000 captures, 2 of them from an earlier run",
        "4 of 10 parts, 4,000 captures, 500 a second, 0.5 MB/s of input, 0:00:12 left",
        "5 of 10 parts, 5,000 captures, 1 a second, 0.0 MB/s of input, 1:40:00 left",
        "10 of 10 parts, 10,000 captures, 2 a second, 0.0 MB/s of input, 0:00:00 left\n",
    ]
