"""Coverage-guided fuzzing with atheris (libFuzzer): see `python -m tests.fuzz --help`.

Run from the root of the clone, in an environment with the extra `test` and `pip install atheris` (Linux, CPython):

    python -m tests.fuzz --seconds 60                       # all targets, a minute together: what CI does
    python -m tests.fuzz --seconds 36000 --target message   # one of them overnight
    python -m tests.fuzz --seconds 3600 --corpus ~/corpus   # keep what was found interesting, and go on from it

A target (`targets.py`) takes bytes and raises where a law is broken. The inputs start from the captured streams in
`../shared/corpus`, where that folder is, and from `seeds.py`. An input that breaks a target is written to a file that the
last lines name, in the folder `--artifacts` (a temporary one by default). To see it again:

    python -m tests.fuzz --target message --replay FILE

What was found and mended goes into `regressions.py`, with a line on what was wrong: `test_targets.py`, which needs no
atheris, runs all of them through their targets, and the seeds too.
"""
