"""A result as it is opened: Arrow record batches, in order, and the certainty at the end that nothing is missing."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from spark_enclave.client.errors import QueryFailed, QueryRefused
from spark_enclave.protocol.refusals import MessageMalformed, ResultTruncated
from spark_enclave.protocol.result_chunks import ResultOpener

#: Index, whether it is the last, sealed bytes.
SealedChunk = tuple[int, bool, bytes]


class QueryResult:
    """Iterate over it for record batches as they come, or take it whole with `to_table`.

    Batches are authentic and in order, but only the end of the iteration says that the result is complete:
    ResultTruncated, ChunkOutOfPlace, ChunkChanged, QueryRefused and QueryFailed may come before. Can be read once.
    """

    def __init__(self, chunks: Iterable[SealedChunk], opener: ResultOpener, *, simulated: bool) -> None:
        self.simulated = simulated
        """Whether a simulation computed it, which proves nothing about hardware."""
        self._opener = opener
        self._stream = _Plaintext(chunks, opener)
        self._reader: Any = None

    @property
    def schema(self) -> Any:
        """The pyarrow schema; waits for the first bytes of the result."""
        return self._open().schema

    @property
    def rows(self) -> int:
        """How many rows the enclave says it sent; only after the end."""
        if self._opener.trailer is None:
            raise ValueError("the result was not read to its end yet")
        return self._opener.trailer.rows

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batches()
        finally:
            # Whoever stops in the middle has the enclave stop the query.
            self._stream.stop()

    def _batches(self) -> Iterator[Any]:
        reader = self._open()
        rows = 0
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            except pa.ArrowInvalid as error:
                self._stream.finish()
                raise _not_arrow(error) from None
            rows += batch.num_rows
            yield batch
        self._stream.finish()
        if rows != self.rows:
            raise ResultTruncated(f"The result has {rows} rows where the enclave sent {self.rows}.")

    def to_table(self) -> Any:
        """The whole result as a pyarrow Table, complete or not at all."""
        schema = self.schema
        return pa.Table.from_batches(list(self), schema=schema)

    def _open(self) -> Any:
        if self._reader is None:
            try:
                self._reader = pa.ipc.open_stream(pa.PythonFile(self._stream, mode="r"))
            except pa.ArrowInvalid as error:
                self._stream.finish()
                raise _not_arrow(error) from None
        return self._reader


class _Plaintext(io.RawIOBase):
    """The opened chunks as one stream of bytes."""

    def __init__(self, chunks: Iterable[SealedChunk], opener: ResultOpener) -> None:
        super().__init__()
        self._chunks, self._opener = iter(chunks), opener
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._piece and self._next():
            pass
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes unless the result ends before, as Arrow wants it."""
        parts: list[memoryview] = []
        missing = size if size >= 0 else 1 << 62
        while missing and (self._piece or self._next()):
            part, self._piece = self._piece[:missing], self._piece[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def stop(self) -> None:
        """Let go of where the chunks come from."""
        closing = getattr(self._chunks, "close", None)
        if closing is not None:
            closing()

    def finish(self) -> None:
        """Take what is left, which must be the authenticated end; raises QueryRefused, QueryFailed."""
        while self._next():
            pass

    def _next(self) -> bool:
        """Open the next chunk; False after the end of a complete result."""
        chunk = next(self._chunks, None)
        trailer = self._opener.trailer
        if chunk is None:
            if trailer is None:
                raise ResultTruncated("The result stops before its end.")
            if trailer.outcome == "refused":
                raise QueryRefused(trailer.rule, trailer.message)
            if trailer.outcome == "failed":
                raise QueryFailed(trailer.rule, trailer.message)
            return False
        self._piece = memoryview(self._opener.open(*chunk))
        return True


def _not_arrow(error: Exception) -> MessageMalformed:
    return MessageMalformed(f"The result is no Arrow stream ({type(error).__name__}).")
