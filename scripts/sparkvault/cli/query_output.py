"""A result as a table on the terminal, CSV, JSON or Parquet: complete, or not there at all."""

import csv
import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sparkvault.console import out as terminal
from sparkvault.console import say, table
from sparkvault.errors import SparkvaultError, UsageError

if TYPE_CHECKING:
    from spark_enclave.client import QueryResult

#: More rows than anybody reads on a terminal.
_ROWS_SHOWN = 1000


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


def format_of(given: Format | None, out: Path | None) -> Format:
    """As asked for, or by the file's ending. Raises UsageError."""
    if given is None and out is not None:
        by_ending = {f".{one.value}": one for one in Format if one is not Format.TABLE}
        if out.suffix not in by_ending:
            raise UsageError(f"{out} does not say its format", "end it with .csv, .json or .parquet, or give --format")
        given = by_ending[out.suffix]
    chosen = given or Format.TABLE
    if chosen is Format.PARQUET and out is None:
        raise UsageError("Parquet is nothing for a terminal", "give --out FILE")
    return chosen


def write_result(result: "QueryResult", out: Path | None, form: Format) -> None:
    """Write it when its end was verified. A file that is there is replaced then, and not before."""
    if out is None:
        _to_terminal(result.to_table(), form)
        return
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        # Nobody but who asked: the file may hold what the enclave is there to protect.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _WRITERS[form](result, file)
        part.replace(out)
    except OSError as error:
        raise SparkvaultError(f"{out} cannot be written: {error.strerror}", "free some space or name another") from None
    finally:
        part.unlink(missing_ok=True)
    say(f"{result.rows} rows in {out}")


def _to_terminal(found: Any, form: Format) -> None:
    if form is Format.CSV:
        _csv_rows(found.schema.names, [found], sys.stdout)
    elif form is Format.JSON:
        sys.stdout.write(json.dumps(found.to_pylist(), indent=2, default=str) + "\n")
    else:
        shown = table(*found.schema.names)
        for row in found.slice(0, _ROWS_SHOWN).to_pylist():
            shown.add_row(*("" if value is None else str(value) for value in row.values()))
        terminal.print(shown, markup=False)
        if found.num_rows > _ROWS_SHOWN:
            say(f"{found.num_rows - _ROWS_SHOWN} more rows; give --out FILE for all")


def _csv_rows(names: list[str], batches: Any, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for batch in batches:
        writer.writerows(row.values() for row in batch.to_pylist())


def _write_csv(result: "QueryResult", file: IO[bytes]) -> None:
    with open(file.fileno(), "w", encoding="utf-8", newline="", closefd=False) as text:
        _csv_rows(result.schema.names, result, text)


def _write_json(result: "QueryResult", file: IO[bytes]) -> None:
    file.write(json.dumps(result.to_table().to_pylist(), indent=2, default=str).encode() + b"\n")


def _write_parquet(result: "QueryResult", file: IO[bytes]) -> None:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(file, result.schema) as writer:
        for batch in result:
            writer.write_batch(batch)


def _write_table(result: "QueryResult", file: IO[bytes]) -> None:
    raise UsageError("a table is for the terminal", "give --format csv, json or parquet with --out")


_WRITERS: dict[Format, Callable[["QueryResult", IO[bytes]], None]] = {
    Format.CSV: _write_csv,
    Format.JSON: _write_json,
    Format.PARQUET: _write_parquet,
    Format.TABLE: _write_table,
}
