"""Archives of captured streams become a table: one row for each capture, whatever is in it.

    decode_table     a column of bodies to the columns of SCHEMA: a pure function, for the map of any engine
    decode_batches   the same for an iterator of batches, as PySpark's mapInArrow has it
    decode_archive   files, folders and globs to a folder of Parquet files, on an engine; `sansio-step archive` runs it
    find_splits, run_split   its two halves, for an engine of your own: each split becomes one file

The extra `archive` installs what it needs: pyarrow and dask[distributed]. Ray is used if it is installed.
"""

from __future__ import annotations

from .._extras import missing_extra

try:
    from ._job import Failure, OtherJob, Progress, Report, decode_archive
    from ._run import run_split
    from ._schema import FILE_SCHEMA, SCHEMA
    from ._splits import Options, Split, Summary, find_splits
    from ._table import decode_batches, decode_table
except ModuleNotFoundError as error:
    raise missing_extra("archive", error) from error

__all__ = [
    "FILE_SCHEMA",
    "SCHEMA",
    "Failure",
    "Options",
    "OtherJob",
    "Progress",
    "Report",
    "Split",
    "Summary",
    "decode_archive",
    "decode_batches",
    "decode_table",
    "find_splits",
    "run_split",
]
