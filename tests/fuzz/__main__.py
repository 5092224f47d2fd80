"""The program of the fuzzer: one process for each target, since libFuzzer never gives one back."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import tests.fuzz

NAMES = ("frames", "events", "message", "requests", "http")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=tests.fuzz.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", choices=NAMES, action="append", help="only this one; can be given several times")
    parser.add_argument("--corpus", type=Path, help="a folder to keep interesting inputs in")
    parser.add_argument("--artifacts", type=Path, help="a folder for inputs that break a target")
    parser.add_argument("--replay", type=Path, help="run one input through --target and stop")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    names = options.target or NAMES
    if options.replay is not None:
        return replay(names[0], options.replay)
    if not has_atheris():
        print("SKIPPED: nothing was fuzzed, atheris is not installed here (pip install atheris; Linux, CPython)")
        return 0
    if options.run is not None:
        return fuzz(options.run, rest)
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    from .seeds import words  # noqa: PLC0415

    artifacts = options.artifacts or Path(tempfile.mkdtemp(prefix="fuzz-"))
    artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = options.corpus or Path(scratch)
        dictionary = Path(scratch, "words")
        escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in words())
        dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
        seconds = max(1, options.seconds // len(names))
        codes = [run(name, seconds, corpus / name, dictionary, artifacts) for name in names]
    return max(codes)


def has_atheris() -> bool:
    if importlib.util.find_spec("atheris") is None:
        return False
    try:
        import atheris  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def replay(name: str, path: Path) -> int:
    from .targets import TARGETS  # noqa: PLC0415

    TARGETS[name](path.read_bytes())
    print(f"{name} holds on {path}")
    return 0


def run(name: str, seconds: int, corpus: Path, dictionary: Path, artifacts: Path) -> int:
    """Fuzz one target in a process of its own."""
    from .seeds import seeds  # noqa: PLC0415

    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--run",
        name,
        str(corpus),
        f"-max_total_time={seconds}",
        f"-dict={dictionary}",
    ]
    command += [f"-artifact_prefix={artifacts}/{name}-", "-timeout=20", "-rss_limit_mb=2048", "-verbosity=0"]
    command += ["-print_final_stats=1"]
    print(f"=== {name}: {seconds} seconds from {len(list(corpus.iterdir()))} inputs", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    units = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print("".join(units) or "no statistics", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n")
        print(f"{name} BROKE: to see it again, python -m tests.fuzz --target {name} --replay {artifacts}/{name}-...")
    return done.returncode


def fuzz(name: str, arguments: list[str]) -> int:
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["sansio_step", "sansio_step_adapters"]):
        from .targets import TARGETS  # noqa: PLC0415

        if name == "http":
            import sansio_step_adapters.http1  # noqa: F401, PLC0415
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
