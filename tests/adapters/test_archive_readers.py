"""What is read of an archive: JSON lines, Parquet, files; and what can be saved of those that are damaged."""

from __future__ import annotations

import base64
import gzip
import json
from collections import deque
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archivefiles import decode, line, only, stream

from sansio_step import to_dict
from sansio_step_adapters.archive import FILE_SCHEMA, Options, find_splits, run_split
from sansio_step_adapters.record import record


def lines_of(tmp_path: Path, *lines: bytes, name: str = "log.jsonl", **options: Any) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    path = tmp_path / name
    path.write_bytes(b"\n".join(lines))
    return decode([path], tmp_path / f"out of {name}", **options)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


# --- JSON lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("log.jsonl", lambda data: data),
        ("log.ndjson", lambda data: data + b"\n\n"),
        ("log.jsonl", lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")),
        ("log.jsonl.gz", gzip.compress),
        ("log.jsonl.gz", lambda data: gzip.compress(data[:500]) + gzip.compress(data[500:]) + b"\0" * 600),
        ("log.jsonl.zst", zstd),
        ("log.jsonl.zst", lambda data: zstd(data[:500]) + zstd(data[500:])),
    ],
)
def test_lines_however_they_are_packed(tmp_path: Path, name: str, pack: Any) -> None:
    """Each line that is not blank is a capture, and `row` is its number in the file."""
    path = tmp_path / name
    path.write_bytes(pack(b"\n".join([line(0), b"", line(2), line(3)])))
    rows = decode([path], tmp_path / "out")
    assert only(rows, "source", "row", "id", "text") == [(str(path), at, f"req_{at}", f"text {at}") for at in (0, 2, 3)]


def test_the_columns_of_a_file(tmp_path: Path) -> None:
    """`FILE_SCHEMA`, with the kept columns after the id as strings; those that are called alike get a prefix."""
    rows = lines_of(
        tmp_path,
        line(0, status=200, model="theirs", tags=["a"], none=None),
        line(1),
        keep=("status", "model", "tags", "none"),
    )
    assert list(rows[0]) == [*FILE_SCHEMA.names[:3], "status", "input_model", "tags", "none", *FILE_SCHEMA.names[3:]]
    kept = ("status", "input_model", "tags", "none")
    assert only(rows, *kept) == [("200", "theirs", '["a"]', None), (None, None, None, None)]


@pytest.mark.parametrize(
    "body",
    [
        stream(),
        base64.b64encode(stream()),
        [json.loads(part.partition(b"data: ")[2]) for part in stream().split(b"\n\n")[:-1]],
    ],
)
def test_bodies_of_each_kind(tmp_path: Path, body: Any) -> None:
    """A string, base64, an array of events, in files that have other kinds between."""
    document = {"type": "message", "content": [{"type": "text", "text": "Hello"}]}
    null = b'{"id":"req_3","body":null}'
    rows = lines_of(tmp_path, line(0, body), line(1, document), line(2, body), null)
    assert only(lines_of(tmp_path, null, name="null.jsonl"), "id", "form") == [("req_3", "empty")]
    assert only(rows, "id", "form", "text") == [
        ("req_0", "stream", "Hello"),
        ("req_1", "document", "Hello"),
        ("req_2", "stream", "Hello"),
        ("req_3", "empty", None),
    ]


@pytest.mark.parametrize(
    ("path", "wire"),
    [
        ("response.body", {"response": {"body": "@", "status": 1}, "body": "other"}),
        ("response", {"response": "@"}),
        ("calls.1.body", {"calls": [{"body": "x"}, {"body": "@"}]}),
        ("1.body", [0, {"body": "@"}]),
        (r"a\.b.c", {"a.b": {"c": "@"}, "a": {"b": "x"}}),
    ],
)
def test_paths(tmp_path: Path, path: str, wire: Any) -> None:
    """Keys, numbers of items, and keys with a dot; other values at the same names don't matter."""
    text = json.dumps(wire).replace('"@"', json.dumps(stream().decode())).encode()
    rows = lines_of(tmp_path, text, body=path)
    assert only(rows, "outcome", "text") == [("complete", "Hello")]


def test_the_line_itself_is_the_body(tmp_path: Path) -> None:
    """The path `.`, and an id inside it."""
    document = {"type": "message", "id": "msg_5", "content": [{"type": "text", "text": "a"}]}
    rows = lines_of(tmp_path, json.dumps(document).encode(), body=".")
    assert only(rows, "id", "form", "text", "message_id") == [("msg_5", "document", "a", "msg_5")]


def test_one_path_may_lead_into_another(tmp_path: Path) -> None:
    """The body may be an object of which other values are kept."""
    document = {"type": "message", "content": [], "meta": {"team": "x", "n": [1, 2]}}
    rows = lines_of(tmp_path, line(0, document), line(1, "text"), keep=("body.meta.team", "body.meta.n.1", "body.id.x"))
    assert only(rows, "body.meta.team", "body.meta.n.1", "body.id.x") == [("x", "2", None), (None, None, None)]


def test_the_body_itself_may_be_kept(tmp_path: Path) -> None:
    """As it came, beside what was read of it."""
    (row,) = lines_of(tmp_path, line(0), keep=("body",))
    assert row["body"] == stream("text 0").decode()


def test_results_of_a_batch(tmp_path: Path) -> None:
    """`result.message` and `custom_id`: what succeeded, what failed with its error, what never ran."""
    message = {"type": "message", "content": [{"type": "text", "text": "a"}], "usage": {"output_tokens": 2}}
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "req_7"}
    results = [
        {"type": "succeeded", "message": message},
        {"type": "errored", "error": error},
        {"type": "errored", "error": error["error"]},
        {"type": "canceled"},
        {"type": "expired"},
        None,
    ]
    texts = [json.dumps({"custom_id": f"c{at}", "result": result}).encode() for at, result in enumerate(results)]
    rows = lines_of(tmp_path, *texts, body="result.message", id="custom_id")
    assert only(rows, "id", "outcome", "form", "error", "error_type", "error_message") == [
        ("c0", "complete", "document", None, None, None),
        ("c1", "failed", "error_document", "APIError", "invalid_request_error", "no"),
        ("c2", "failed", "error_document", "APIError", "invalid_request_error", "no"),
        ("c3", "failed", "unreadable", "MissingBody", None, "there is nothing at result.message of what is 'canceled'"),
        ("c4", "failed", "unreadable", "MissingBody", None, "there is nothing at result.message of what is 'expired'"),
        ("c5", "failed", "unreadable", "MissingBody", None, "there is nothing at result.message"),
    ]
    assert rows[1]["request_id"] == "req_7"


def test_lines_without_a_body(tmp_path: Path) -> None:
    """Nothing at the path, something else than a text or an object, or JSON that is no object: each a row, with its id."""
    rows = lines_of(tmp_path, b'{"id":7}', b'{"id":"a","body":5}', b'{"body":true,"id":null}', b"[]", b'"text"', b"3")
    assert only(rows, "id", "form", "outcome", "error") == [
        ("7", "unreadable", "failed", "MissingBody"),
        ("a", "unreadable", "failed", "MissingBody"),
        *[(None, "unreadable", "failed", "MissingBody")] * 4,
    ]
    assert rows[1]["error_message"] == "the body is 5, which is neither a string nor an object"


def test_a_loggers_own_flag(tmp_path: Path) -> None:
    """It stands beside the outcome, so that a body that the logger cut isn't taken for an outage."""
    cut = stream(cut=-100)
    flags: list[Any] = [True, False, None, "true", "false", 0, 1, "", "0", "0.0", "yes"]
    texts = [line(at, cut, meta={"cut": flag}) for at, flag in enumerate(flags)]
    rows = lines_of(tmp_path, *texts, line(99, cut), truncated="meta.cut")
    expected = [True, False, None, True, False, False, True, False, False, False, True, None]
    assert [row["capture_truncated"] for row in sorted(rows, key=lambda row: row["row"])] == expected
    assert {row["outcome"] for row in rows} == {"truncated"}
    (split,) = find_splits([str(tmp_path / "log.jsonl")], Options(truncated="meta.cut"))
    assert run_split(split, str(tmp_path / "again")).truncated_by_logger == expected.count(True)
    assert [row["capture_truncated"] for row in decode([tmp_path / "log.jsonl"], tmp_path / "more")] == [None] * 12


# --- damaged lines -----------------------------------------------------------------------------------------

DAMAGES = {
    "no UTF-8": (line(1).replace(b"text 1", b"te\xffxt"), "te\ufffdxt", "complete", "req_1"),
    "a control character": (line(1).replace(b"text 1", b"te\x01xt"), "te\x01xt", "complete", "req_1"),
    "half of a character": (line(1).replace(b"text 1", rb"te\ud800xt"), "te\ufffd\ufffd\ufffdxt", "complete", "req_1"),
    "both": (line(1).replace(b"text 1", b"te\xff\\ud800xt"), None, "complete", "req_1"),
    "an escape that there is none of": (line(1).replace(b"text 1", rb"te\xt"), None, "failed", "req_1"),
    "a quote in the body": (line(1).replace(b"message_stop", b'message"stop', 1), "text 1", "complete", "req_1"),
    "the line's end is cut off": (line(1)[:-300], "text 1", "truncated", "req_1"),
    "cut inside an escape": (line(1).partition(rb"\n\n")[0] + b"\\", None, "truncated", "req_1"),
    "the id after the damage": (
        b'{"body":"' + line(1)[len(b'{"id": "req_1", "body": "') : -1].replace(b"event", b'e"ent', 1) + b',"id":"req_1"}',
        None, "truncated", "req_1",
    ),
    "a comma is missing": (line(1).replace(b', "body"', b' "body"'), "text 1", "complete", "req_1"),
    "a colon is another letter": (line(1).replace(b'"body": "', b'"body"; "'), None, "failed", "req_1"),
    "a bracket too many": (line(1)[:-1] + b"]}", "text 1", "complete", "req_1"),
    "a key without quotes": (b"{id" + line(1)[4:], None, "failed", None),
    "an object for a key": (b'{{"a":1}:2,' + line(1)[1:], None, "failed", "req_1"),
    "nothing but noise": (b"\x00\x01\xfe noise", None, "failed", None),
    "nested too deep": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"," + line(1)[1:], "text 1", "complete", "req_1"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_costs_no_neighbour_and_not_its_id(tmp_path: Path, damage: str) -> None:
    """What comes before the damage is read as it is, the row says what is wrong, and the id is found if it is whole."""
    data, text, outcome, id = DAMAGES[damage]
    rows = lines_of(tmp_path, line(0), data, line(2))
    assert only(rows, "row", "outcome") == [(0, "complete"), (1, outcome), (2, "complete")]
    assert (rows[1]["id"], rows[1]["error"]) == (id, "DamagedLine")
    assert rows[1]["error_message"]
    if text is not None:
        assert (rows[1]["text"] or "").startswith(text)


def test_other_values_of_a_damaged_line(tmp_path: Path) -> None:
    """Numbers, words, objects and null before the damage; and a key that stands twice after it says nothing."""
    data = b'{"other":"o","n":5,"t":true,"z":null,"o":{"a":[1,"]"]},"body":"x\xff","l":[{"b":7}],"u":"\\u00e9"'
    keep = ("n", "t", "z", "o", "o.a.1", "l.0.b", "u", "absent", "n.x")
    (row,) = lines_of(tmp_path, data, keep=keep)
    assert [row[name] for name in keep] == ["5", "true", None, '{"a":[1,"]"]}', "]", "7", "é", None, None]
    (row,) = lines_of(tmp_path, data + b"}", keep=keep, name="other.jsonl")
    assert [row[name] for name in keep] == ["5", "true", None, '{"a": [1, "]"]}', "]", "7", "é", None, None]
    rows = lines_of(
        tmp_path, b'{"body": "x" ? "n": 1, "t": "a\\"b"', b'{? "n":1,"m":{"n":2}', keep=("n", "t"), name="c.jsonl"
    )
    assert only(rows, "n", "t") == [("1", 'a"b'), (None, None)]
    rows = lines_of(tmp_path, b'{"o": {"a": 1, "b": [2', keep=("o", "o.b"), name="d.jsonl")
    assert only(rows, "o", "o.b") == [('{"a": 1, "b": [2', "[2")]


def test_a_line_that_is_too_long_is_one_row(tmp_path: Path) -> None:
    """It is passed over up to its end, whatever block that is in; its id is found before the body."""
    huge = line(1, b"x" * 3_500_000)
    rows = lines_of(tmp_path, line(0), huge, line(2), huge, max_body_size=1_000_000)
    assert only(rows, "row", "id", "outcome", "error") == [
        (0, "req_0", "complete", None),
        (1, "req_1", "failed", "LineTooLong"),
        (2, "req_2", "complete", None),
        (3, "req_1", "failed", "LineTooLong"),
    ]
    assert rows[1]["error_message"] == f"a line of {len(huge)} bytes, more than {2_000_000 + 1024 * 1024}"
    in_one_block = lines_of(tmp_path, line(0), line(1, b"x" * 1_100_000), line(2), max_body_size=10, name="b.jsonl")
    assert [row["error"] for row in in_one_block] == ["LimitExceeded", "LineTooLong", "LimitExceeded"]


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["log.jsonl.gz", "log.jsonl.zst"])
def test_a_compressed_file_that_is_cut(tmp_path: Path, name: str, cut: float) -> None:
    """Every line that can be decompressed is a row, and one more says why there are no others."""
    text = b"\n".join(line(at, stream(base64.b64encode(bytes([at % 256]) * 40).decode() * 3)) for at in range(2000))
    data = gzip.compress(text) if name.endswith("gz") else zstd(text)
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * cut)])
    rows = decode([path], tmp_path / "out")
    *whole, last = rows
    assert only(whole, "id", "outcome") == [(f"req_{at}", "complete") for at in range(len(whole))]
    assert (last["error"], last["row"]) == ("UnreadableFile", len(whole))
    if name.endswith("gz"):
        # About as much of the text as of the file, since it is alike all over.
        assert len(whole) > 2000 * cut * 0.8


def test_a_broken_byte_in_gzip(tmp_path: Path) -> None:
    """Lines up to the damage are rows, though zlib loses what it decoded in the same call."""
    text = b"\n".join(line(at) for at in range(300))
    data = bytearray(gzip.compress(text, 1))
    path = tmp_path / "log.jsonl.gz"
    middle = len(data) // 2
    data[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(data)
    rows = decode([path], tmp_path / "out")
    # The damage shows at once or some lines later, since deflate has a checksum for all of it alone.
    assert rows[-1]["error"] == "UnreadableFile"
    assert only(rows[:120], "id", "outcome") == [(f"req_{at}", "complete") for at in range(120)]
    path.write_bytes(gzip.compress(text) + b"no gzip")
    again = [row for row in decode([path], tmp_path / "again") if row["error"] is None]
    assert len(again) == 299


def test_a_second_frame_of_zstd_that_is_cut(tmp_path: Path) -> None:
    """What the first one holds is read whole, though the call that meets the cut loses it."""
    path = tmp_path / "log.jsonl.zst"
    path.write_bytes(zstd(line(0) + b"\n" + line(1) + b"\n") + zstd(line(2))[:-20])
    rows = decode([path], tmp_path / "out")
    assert only(rows, "id", "error") == [("req_0", None), ("req_1", None), (None, "UnreadableFile")]


def test_a_bomb_takes_no_room(tmp_path: Path) -> None:
    """64 KiB of gzip can hold 64 MiB: a line of it is skipped like any that is too long."""
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(b"\0" * 50_000_000 + b"\n" + line(1)))
    rows = decode([tmp_path / "log.jsonl.gz"], tmp_path / "out", max_body_size=100_000)
    assert only(rows, "row", "id", "error") == [(0, None, "LineTooLong"), (1, "req_1", None)]


# --- parts of a plain file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 700, 1234, 5000])
def test_parts_of_a_large_file(tmp_path: Path, size: int) -> None:
    """Wherever the parts end, each line is in one of them; rows are told apart and stand in the file's order."""
    lines = [line(at) for at in range(12)]
    lines.insert(5, b"")
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert len(list(find_splits([str(path)], split_size=max(size, 50)))) > 1
    rows = decode([path], tmp_path / "out", split_size=max(size, 50))
    assert [row["id"] for row in rows] == [f"req_{at}" for at in range(12)]
    assert len({row["row"] for row in rows}) == 12


def test_a_part_begins_with_a_line_or_inside_one(tmp_path: Path) -> None:
    """A boundary that falls on a line's first byte gives that line to the part after it, and to no other."""
    one = line(1)
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(one))
    assert len(list(find_splits([str(path)], split_size=1))) == 1  # gzip has no place to begin at
    path = tmp_path / "log.jsonl"
    path.write_bytes((one + b"\n") * 4)
    rows = decode([path], tmp_path / "out", split_size=len(one) + 1)
    assert len(list(tmp_path.glob("out/*.parquet"))) == 4
    assert [row["row"] for row in rows] == [0, len(one) + 1, 2 * (len(one) + 1), 3 * (len(one) + 1)]


# --- Parquet -----------------------------------------------------------------------------------------------


def parquet(path: Path, table: pa.Table, **how: Any) -> Path:
    pq.write_table(table, path, **how)
    return path


def test_a_parquet_column(tmp_path: Path) -> None:
    """Strings or bytes, with ids, flags and kept columns of any type; `row` is the place in the file."""
    table = pa.table({
        "id": pa.array([1, 2, None], pa.int64()),
        "body": [stream("a"), None, stream("c", cut=-90)],
        "cut": [False, None, True],
        "raw": pa.array([b"ok", b"\xff\xfe", None]),
        "at": pa.array([1, 2, 3], pa.timestamp("ns")),
        "tags": [["a"], None, []],
        "price": pa.array([1, 2, 3]).cast(pa.decimal128(24, 2)),
    })  # fmt: skip
    path = parquet(tmp_path / "calls.parquet", table, row_group_size=2)
    rows = decode([path], tmp_path / "out", truncated="cut", keep=("raw", "at", "price", "tags"))
    assert only(rows, "row", "id", "form", "outcome", "capture_truncated", "raw", "price") == [
        (0, "1", "stream", "complete", False, "ok", "1.00"),
        (1, "2", "empty", "truncated", None, "fffe", "2.00"),
        (2, None, "stream", "truncated", True, None, "3.00"),
    ]
    assert [row["at"] for row in rows] == [f"1970-01-01 00:00:00.00000000{at}" for at in (1, 2, 3)]
    assert [row["tags"] for row in rows] == ['["a"]', None, "[]"]


def test_row_groups_are_splits(tmp_path: Path) -> None:
    """A file that is large is split by its row groups, and the rows keep their numbers."""
    table = pa.table({"n": range(40), "body": [stream(f"{at:0200}") for at in range(40)]})
    path = parquet(tmp_path / "calls.pq", table, row_group_size=10, compression="none")
    splits = list(find_splits([str(path)], split_size=path.stat().st_size // 2 + 100))
    assert [(split.start, split.stop) for split in splits] == [(0, 3), (3, 4)]
    rows = decode([path], tmp_path / "out", split_size=path.stat().st_size // 2 + 100, keep=("n",))
    assert only(rows, "row", "n", "id") == [(at, str(at), None) for at in range(40)]


def test_fields_inside_a_column(tmp_path: Path) -> None:
    """A path leads into a column of structs; a column whose name has a dot is found by that name first."""
    table = pa.table({
        "response": [{"body": stream("a"), "id": "r1", "meta": {"status": 200}}],
        "a.b": ["kept"],
    })  # fmt: skip
    path = parquet(tmp_path / "calls.parquet", table)
    rows = decode(
        [path], tmp_path / "out", body="response.body", id="response.id", keep=("a.b", "response.meta.status")
    )
    assert only(rows, "id", "text", "a.b", "response.meta.status") == [("r1", "a", "kept", "200")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"body": "reply"}, "no column 'reply'; there are id, body"),
        ({"id": "name"}, "no column 'name'"),
        ({"truncated": "cut"}, "no column 'cut'"),
        ({"keep": ("body.x",)}, "no column 'body.x'"),
    ],
)
def test_a_missing_column_is_an_error_of_the_split(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    """A wrong name would else make a table of nothing."""
    path = parquet(tmp_path / "calls.parquet", pa.table({"id": ["a"], "body": [stream()]}))
    (split,) = find_splits([str(path)], Options(**options))
    with pytest.raises(ValueError, match=reason):
        run_split(split, str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_broken_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    """The footer says how many there are: each is a row with an error, and the other groups are read."""
    table = pa.table({"id": [str(at) for at in range(30)], "body": [stream(f"{at:01000}") for at in range(30)]})
    path = parquet(tmp_path / "calls.parquet", table, row_group_size=10, compression="zstd", use_dictionary=False)
    column = pq.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    rows = decode([path], tmp_path / "out", keep=("id",))
    assert [row["row"] for row in rows] == list(range(30))
    assert [row["error"] for row in rows] == [None] * 10 + ["UnreadableRow"] * 10 + [None] * 10
    assert rows[10]["error_message"].startswith("row group 1: ")


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    """Small or large enough to be split, it is an error of its split."""
    path = tmp_path / "calls.parquet"
    path.write_bytes(b"no parquet" * 100)
    for size in (10, 10_000):
        (split,) = find_splits([str(path)], split_size=size)
        with pytest.raises(ValueError, match="(?i)parquet"):
            run_split(split, str(tmp_path / "out"))
    empty = parquet(tmp_path / "empty.parquet", pa.table({"body": pa.array([], pa.string())}))
    assert decode([empty], tmp_path / "none", split_size=1) == []


# --- files that are a capture each -------------------------------------------------------------------------


def test_a_folder_of_files(tmp_path: Path) -> None:
    """Streams, whole messages and loggers' objects, packed or not; what begins with a dot or underscore is no capture."""
    folder = tmp_path / "logs"
    (folder / "sub").mkdir(parents=True)
    files = {
        "a.sse": stream("a"),
        "b.sse.gz": gzip.compress(stream("b")),
        "c.json": json.dumps({"type": "message", "content": [{"type": "text", "text": "c"}]}).encode(),
        "d.json": json.dumps({"id": "req_d", "body": stream("d").decode(), "cut": True}).encode(),
        "e.json": b'{"id": broken',
        "f": b"",
        "g.zst": zstd(stream("g")),
        "sub/h.sse": stream("h"),
        "sub/log.jsonl": line(0),
        "_SUCCESS": b"",
        ".hidden": b"x",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = decode([folder], tmp_path / "out", truncated="cut")
    assert [(row["source"].removeprefix(f"{folder}/"), row["id"], row["form"], row["text"]) for row in rows] == [
        ("a.sse", None, "stream", "a"),
        ("b.sse.gz", None, "stream", "b"),
        ("c.json", None, "document", "c"),
        ("d.json", "req_d", "stream", "d"),
        ("e.json", None, "unreadable", None),
        ("f", None, "empty", None),
        ("g.zst", None, "stream", "g"),
        ("sub/h.sse", None, "stream", "h"),
        ("sub/log.jsonl", "req_0", "stream", "text 0"),
    ]
    assert rows[3]["capture_truncated"] is True


def test_a_folder_of_recordings(tmp_path: Path) -> None:
    """A recording is one capture: its times stand beside its body, and are a file of lines only without it."""
    folder = tmp_path / "captures"
    folder.mkdir()
    for name in ("sky", "tea"):
        deque(record([stream(name)], folder / name), maxlen=0)
    (folder / "lost.times.jsonl").write_bytes(line(0))
    rows = decode([folder], tmp_path / "out")
    assert sorted(only(rows, "form", "text")) == [("stream", "sky"), ("stream", "tea"), ("stream", "text 0")]
    assert len(decode([folder / "s*"], tmp_path / "glob")) == 1
    assert len(decode(sorted(folder.glob("s*")), tmp_path / "by the shell")) == 1


def test_a_file_that_cant_be_read_is_a_row(tmp_path: Path) -> None:
    """Gone since it was listed, broken gzip, or over the limit: the others of its split are read."""
    for name, data in {"a": stream(), "b": b"", "c.gz": gzip.compress(stream())[:-30], "d": b"x" * 5000}.items():
        (tmp_path / name).write_bytes(data)
    (split,) = find_splits([str(tmp_path)], Options(max_body_size=4000))
    (tmp_path / "b").unlink()
    run_split(split, str(tmp_path / "out"))
    rows = pq.read_table(next((tmp_path / "out").glob("*.parquet"))).to_pylist()
    assert only(rows, "form", "outcome", "error") == [
        ("stream", "complete", None),
        ("unreadable", "failed", "UnreadableFile"),
        ("stream", "truncated", "UnreadableFile"),
        ("unreadable", "failed", "LimitExceeded"),
    ]
    assert rows[0]["message"] == json.dumps(to_dict(__import__("sansio_step").parse(stream())), separators=(",", ":"))


def test_small_files_are_put_together(tmp_path: Path) -> None:
    """By their size, and by a thousand at most."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for at in range(1100):
        (folder / f"{at:04}.sse").write_bytes(b"x" * 10)
    splits = list(find_splits([str(folder)]))
    assert [len(split.uris) for split in splits] == [1000, 100]
    assert [len(split.uris) for split in find_splits([str(folder)], split_size=5000)] == [500, 500, 100]
    assert len({split.name for split in splits}) == 2


def test_each_file_once_and_by_its_name(tmp_path: Path) -> None:
    """A file that two paths lead to is read once; a glob finds files; `format` says what a name does not."""
    (tmp_path / "a.log").write_bytes(line(0) + b"\n" + line(1))
    (tmp_path / "[b].log").write_bytes(line(2))
    found = list(
        find_splits([str(tmp_path), str(tmp_path / "a.log"), str(tmp_path / "*.log")], Options(format="lines"))
    )
    assert [Path(split.origin).name for split in found] == ["[b].log", "a.log"]
    assert [split.kind for split in find_splits([str(tmp_path / "[b].log")])] == ["files"]
    rows = decode([tmp_path], tmp_path / "out", format="lines")
    assert sorted(row["id"] for row in rows) == ["req_0", "req_1", "req_2"]
    with pytest.raises(FileNotFoundError, match="no file at"):
        list(find_splits([str(tmp_path / "nothing")]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no file at"):
        list(find_splits([str(tmp_path / "empty")]))
