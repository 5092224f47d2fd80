"""Bodies and archives for the tests, and the table that was made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sansio_step_adapters.archive import Options, Summary, find_splits, run_split


def event(kind: str, **fields: Any) -> bytes:
    """One event as the first party writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def stream(text: str = "Hello", *, tool: tuple[str, ...] = (), cut: int | None = None, id: str = "msg_1") -> bytes:
    """A whole stream of 3 input and 7 output tokens: a text, and a tool call in pieces. `cut` is where it breaks off."""
    message = {"id": id, "type": "message", "role": "assistant", "model": "step-3.7-flash", "content": []}
    message |= {"usage": {"input_tokens": 3, "output_tokens": 1, "service_tier": "standard"}}
    events = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        event("content_block_stop", index=0),
    ]
    if tool:
        block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
        events.append(event("content_block_start", index=1, content_block=block))
        events += [
            event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": piece})
            for piece in tool
        ]
        events.append(event("content_block_stop", index=1))
    delta = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    events.append(event("message_delta", delta=delta, usage={"output_tokens": 7}))
    events.append(event("message_stop"))
    return b"".join(events)[:cut]


def line(number: int, body: Any = None, **fields: Any) -> bytes:
    """A logger's line: an id and a body, by default a whole stream."""
    body = stream(f"text {number}") if body is None else body
    wire = {"id": f"req_{number}", "body": body.decode() if isinstance(body, bytes) else body, **fields}
    return json.dumps(wire).encode()


def decode(paths: list[Path], out: Path, split_size: int | None = None, **options: Any) -> list[dict[str, Any]]:
    """The rows that an archive becomes, split by split in this process."""
    summary = Summary()
    sizes = {} if split_size is None else {"split_size": split_size}
    for split in find_splits(map(str, paths), Options(**options), **sizes):
        summary.add(run_split(split, str(out)))
    rows = rows_in(out)
    assert summary.captures == len(rows)
    return rows


def table_in(out: Path) -> pa.Table:
    """All rows of the files in a folder."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))])


def rows_in(out: Path) -> list[dict[str, Any]]:
    """All rows of the files in a folder, by source and place."""
    return sorted(table_in(out).to_pylist(), key=lambda row: (row["source"], row["row"]))


def only(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of some rows."""
    return [tuple(row[name] for name in names) for row in rows]
