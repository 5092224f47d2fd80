"""A folder of captured streams becomes a table, and DuckDB answers questions about it.

Here it is `table_of` and `report`, 10 lines; the command is `sansio-step archive FOLDER --out TABLE --body body --id id`.

Run it: `python examples/archive_to_duckdb.py` (with the extra `archive` and the package `duckdb`).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from sansio_step import Message, Outcome, TextBlock, Usage, encode_event, message_events
from sansio_step_adapters.archive import Options, decode_archive

TOKENS = """
select model, outcome, count(*) as streams, cast(sum(output_tokens) filter (usage_is_final) as bigint) as tokens
from read_parquet($files) group by all order by model, outcome
"""


def table_of(logs: Path, out: Path) -> str:
    """The Parquet files of a table, one row for each line of the logs, whatever is in it."""
    done = decode_archive([str(logs)], str(out), Options(body="body", id="id"), engine="serial")
    print(done.summary)
    return str(out / "*.parquet")


def report(files: str) -> list[tuple[Any, ...]]:
    """Streams and tokens by model and by how they ended. Counts of streams that broke off are none: they ran on."""
    with duckdb.connect() as database:
        rows: list[tuple[Any, ...]] = database.execute(TOKENS, {"files": files}).fetchall()
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder, "logs")
        logs.mkdir()
        (logs / "day.jsonl").write_text("\n".join(lines()), encoding="utf-8")
        for row in report(table_of(logs, Path(folder, "table"))):
            print(*row)


def lines() -> list[str]:
    """A log as gateways keep one: three whole streams, one that was cut, and what is no stream at all."""
    kept = []
    for number, outcome in enumerate([Outcome.COMPLETE] * 3 + [Outcome.TRUNCATED]):
        usage = Usage(input_tokens=12, output_tokens=50 + number)
        message = Message(
            id=f"msg_{number}",
            role="assistant",
            model="step-3.7-flash",
            content=[TextBlock("Hi")],
            stop_reason="end_turn",
            usage=usage,
        )
        body = b"".join(map(encode_event, message_events(message, outcome=outcome)))
        kept.append(json.dumps({"id": f"req_{number}", "body": body.decode()}))
    return [*kept, json.dumps({"id": "req_4", "body": "<html>502 Bad Gateway</html>"})]


if __name__ == "__main__":
    main()
