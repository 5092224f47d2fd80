"""What others do with the table: the questions of the guide, asked with DuckDB and Polars."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archivefiles import line, stream

from sansio_step_adapters.archive import Options, decode_archive, decode_table

GUIDE = Path(__file__).parents[2] / "docs" / "archives.md"


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Two days of two models, with cut tool calls and a vendor that leaves event lines out."""
    days = ["2026-11-26", "2026-11-27"]
    bare = stream().replace(b"event: content_block_delta\n", b"")
    cut = stream(tool=('{"a": 1', "}"))
    cut = cut[: cut.rindex(b'"}"')].rpartition(b"\n\n")[0] + b"\n\n"
    lines = [line(at, at=f"{days[at % 2]}T10:00:00Z", vendor="one") for at in range(6)]
    lines += [
        line(6, bare, at=f"{days[0]}T11:00:00Z", vendor="two"),
        line(7, cut, at=f"{days[1]}T12:00:00Z", vendor="one"),
    ]
    lines += [line(8, cut, at=f"{days[1]}T12:00:00Z", vendor="one", cut=True)]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
    options = Options(keep=("at", "vendor"), truncated="cut")
    decode_archive([str(tmp_path / "log.jsonl")], str(tmp_path / "out"), options, engine="serial")
    return str(tmp_path / "out")


DAY_ONE, DAY_TWO = datetime.date(2026, 11, 26), datetime.date(2026, 11, 27)
TOKENS = [("step-3.7-flash", DAY_ONE, 4, 28), ("step-3.7-flash", DAY_TWO, 3, 21)]
CUT_CALLS = [("req_7", "look", '{"a": 1')]
DEVIATIONS = [("two", "no_event_line", 1, 1)]


def recipes(language: str) -> list[str]:
    """The blocks of the guide in one language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_duckdb(table: str) -> None:
    """Tokens by model and day, cut tool calls, deviations by vendor: the guide's SQL as it stands."""
    duckdb = pytest.importorskip("duckdb", reason="no duckdb: the guide's SQL is NOT TESTED")
    tokens, calls, deviations = (
        duckdb.sql(text.replace("table/*.parquet", f"{table}/*.parquet")).fetchall() for text in recipes("sql")
    )
    assert tokens == TOKENS
    assert calls == CUT_CALLS
    assert deviations == DEVIATIONS


def test_polars(table: str) -> None:
    """The same three with Polars."""
    pytest.importorskip("polars", reason="no polars: the guide's Polars is NOT TESTED")
    (text,) = (text for text in recipes("python") if "import polars" in text)
    names: dict[str, Any] = {}
    exec(text.replace("table/*.parquet", f"{table}/*.parquet"), names)
    assert names["tokens"].rows() == TOKENS
    assert names["calls"].rows() == CUT_CALLS
    assert names["deviations"].rows() == DEVIATIONS


def test_inside_duckdb_and_polars() -> None:
    """`decode_table` takes what they give as Arrow, and gives what they take."""
    duckdb = pytest.importorskip("duckdb", reason="no duckdb: NOT TESTED")
    polars = pytest.importorskip("polars", reason="no polars: NOT TESTED")
    bodies = pa.table({"id": [1, 2], "body": [stream("a"), b""]})
    connection = duckdb.connect()
    connection.register("bodies", bodies)
    connection.register("decoded", decode_table(connection.sql("select * from bodies").to_arrow_table()))
    assert connection.sql("select id, text from decoded order by id").fetchall() == [(1, "a"), (2, None)]
    frame = polars.from_arrow(decode_table(polars.from_arrow(bodies).to_arrow()))
    assert frame["text"].to_list() == ["a", None]


@pytest.mark.filterwarnings("default")  # Spark's own
def test_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's `mapInArrow`, with a session on this machine."""
    pytest.importorskip("pyspark", reason="no pyspark: NOT TESTED here; nox -s engines does it")
    from pyspark.sql import SparkSession  # type: ignore[import-not-found,unused-ignore]

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        bodies = spark.createDataFrame([(at, stream(f"text {at}").decode()) for at in range(20)], "n int, body string")
        (text,) = (text for text in recipes("python") if "mapInArrow" in text)
        names: dict[str, Any] = {"bodies": bodies}
        exec(text, names)
        rows = sorted(names["decoded"].select("n", "text", "outcome").collect())
    finally:
        spark.stop()
    assert [tuple(row) for row in rows] == [(at, f"text {at}", "complete") for at in range(20)]
