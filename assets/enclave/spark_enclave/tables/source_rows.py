"""Reads what is to be encrypted, a batch at a time: CSV or Parquet, one file or many, with one schema."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from spark_enclave.tables.refusals import SourceRefused

#: Bytes of CSV that are read, and from which types are inferred, at a time.
_CSV_BLOCK: Final = 8 * 1024 * 1024
#: Rows of a batch out of Parquet.
_BATCH_ROWS: Final = 64 * 1024
#: Names of types for CSV columns, beside `decimal(P,S)`.
TYPES: Final[Mapping[str, Any]] = {
    "int": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
}


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Rows to encrypt: their schema, as Spark reads it back, and a way to read them once."""

    files: tuple[Path, ...]
    schema: Any
    """pyarrow.Schema of the chosen columns."""
    types: Mapping[str, Any]

    def batches(self) -> Iterator[Any]:
        """pyarrow.RecordBatch after batch, every one of `schema`. Raises SourceRefused."""
        for file in self.files:
            try:
                for batch in _read(file, self.types, self.schema.names):
                    yield from _cast(batch, self.schema)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
                raise SourceRefused(f"{file} cannot be read: {error}.") from None


def source_rows(
    sources: Sequence[str | Path], *, columns: Sequence[str] | None = None, types: Mapping[str, str] | None = None
) -> SourceRows:
    """CSV files (`.csv`, also `.gz`) and Parquet files, given by path, folder or glob; all of one schema.

    `columns`: which to take, in this order; None: all. `types`: column → type for CSV (`TYPES`, `decimal(P,S)`); the
    others are inferred from the first 8 MiB. Raises SourceRefused.
    """
    files = _files(sources)
    wanted = {name: _type(kind) for name, kind in (types or {}).items()}
    schemas = [_normalised(_schema(file, wanted), file) for file in files]
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        if not schema.equals(schemas[0]):
            raise SourceRefused(f"{file} has other columns or types than {files[0]}.")
    everything = schemas[0]
    for name in [*(columns or ()), *wanted]:
        if name not in everything.names:
            raise SourceRefused(f"{files[0]} has no column {name}; it has {', '.join(everything.names)}.")
    chosen = pa.schema([everything.field(name) for name in columns]) if columns else everything
    folded = [name.lower() for name in chosen.names]
    twice = sorted({name for name in folded if folded.count(name) > 1})
    if twice:
        raise SourceRefused(f"Columns may differ in more than case: {', '.join(twice)}.")
    return SourceRows(files, chosen, wanted)


def _files(sources: Sequence[str | Path]) -> tuple[Path, ...]:
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            matches = sorted(p for p in path.iterdir() if p.is_file() and _kind(p))
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(Path(match) for match in glob.glob(str(source)))  # noqa: PTH207 (an absolute pattern may be given)
        if not matches:
            raise SourceRefused(f"There is no file {source}.")
        found += matches
    for file in found:
        if not _kind(file):
            raise SourceRefused(f"{file} is neither CSV nor Parquet by its name.")
    return tuple(found)


def _kind(file: Path) -> str | None:
    name = file.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return "csv"
    return "parquet" if name.endswith((".parquet", ".pq")) else None


def _schema(file: Path, types: Mapping[str, Any]) -> Any:
    try:
        if _kind(file) == "csv":
            with _open_csv(file, types, None) as reader:
                return reader.schema
        return pa.parquet.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceRefused(f"{file} cannot be read: {error}.") from None


def _read(file: Path, types: Mapping[str, Any], columns: Sequence[str]) -> Iterator[Any]:
    if _kind(file) == "csv":
        with _open_csv(file, types, columns) as reader:
            yield from reader
    else:
        with pa.parquet.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(_BATCH_ROWS, columns=list(columns))


def _open_csv(file: Path, types: Mapping[str, Any], columns: Sequence[str] | None) -> Any:
    return pa.csv.open_csv(
        file,
        read_options=pa.csv.ReadOptions(block_size=_CSV_BLOCK),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict(types), include_columns=list(columns) if columns else None
        ),
    )


def _type(kind: str) -> Any:
    if kind in TYPES:
        return TYPES[kind]
    if kind.startswith("decimal(") and kind.endswith(")"):
        precision, _, scale = kind[len("decimal(") : -1].partition(",")
        if precision.strip().isdigit() and scale.strip().isdigit() and int(scale) <= int(precision) <= 38:
            return pa.decimal128(int(precision), int(scale))
    raise SourceRefused(f"{kind} is no type; there are {', '.join(TYPES)} and decimal(P,S).")


def _normalised(schema: Any, file: Path) -> Any:
    """The schema without metadata, in Spark's types; others are widened without loss, or refused."""
    return pa.schema(
        [pa.field(field.name, _spark_type(field.type, field.name, file), field.nullable) for field in schema]
    )


def _spark_type(kind: Any, name: str, file: Path) -> Any:
    of = pa.types
    widened = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
        pa.float16(): pa.float32(),
        pa.date64(): pa.date32(),
    }
    if kind in widened:
        return widened[kind]
    if of.is_large_string(kind) or of.is_string_view(kind):
        return pa.string()
    if of.is_large_binary(kind) or of.is_fixed_size_binary(kind) or of.is_binary_view(kind):
        return pa.binary()
    if of.is_dictionary(kind):
        return _spark_type(kind.value_type, name, file)
    if of.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", _spark_type(kind.value_type, name, file), kind.value_field.nullable))
    if of.is_struct(kind):
        return pa.struct([pa.field(one.name, _spark_type(one.type, name, file), one.nullable) for one in kind])
    if of.is_map(kind):
        return pa.map_(_spark_type(kind.key_type, name, file), _spark_type(kind.item_type, name, file))
    if of.is_null(kind):
        return pa.string()  # a CSV column without any value
    known = (of.is_boolean, of.is_integer, of.is_floating, of.is_string, of.is_binary, of.is_date32, of.is_decimal128)
    if any(fits(kind) for fits in known):
        return kind
    raise SourceRefused(f"The column {name} of {file} has the type {kind}, which Spark does not have.")


def _cast(batch: Any, schema: Any) -> Iterator[Any]:
    table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
    yield from table.to_batches()
