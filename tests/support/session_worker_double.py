"""A double of the session worker, on DuckDB: speaks the JVM's frames, so that tests of the broker need no Spark.

Enforces that tables decrypt under the keys it is given. Misbehaves on request, by a comment at the start of the SQL.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet.encryption import create_decryption_properties


class Frames:
    """Standard input and output, which nothing else may use."""

    def __init__(self) -> None:
        self.incoming: BinaryIO = os.fdopen(os.dup(0), "rb")
        self.outgoing: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self.lock = threading.Lock()

    def read(self) -> dict[str, Any] | None:
        head = self.incoming.read(4)
        if len(head) < 4:
            return None
        payload = self.incoming.read(int.from_bytes(head, "big"))
        message: dict[str, Any] = json.loads(payload[1:])
        return message

    def write(self, payload: bytes) -> None:
        with self.lock:
            self.outgoing.write(len(payload).to_bytes(4, "big") + payload)
            self.outgoing.flush()

    def say(self, **message: object) -> None:
        self.write(b"J" + json.dumps(message).encode())


class Pieces:
    """What Arrow writes, as frames."""

    def __init__(self, frames: Frames, most: int) -> None:
        self.frames, self.left, self.closed = frames, most, False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.left -= len(view)
        if self.left < 0:
            raise OverflowError
        for start in range(0, len(view), 1 << 20):
            self.frames.write(b"B" + view[start : start + (1 << 20)].tobytes())
        return len(view)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        pass


class Worker:
    def __init__(self) -> None:
        self.frames = Frames()
        self.cancelled = threading.Event()
        self.tables: dict[str, pa.Table] = {}

    def serve(self) -> None:
        while (message := self.frames.read()) is not None:
            match message["do"]:
                case "start":
                    self.frames.say(**{"is": "ready"})
                case "tables":
                    self.load(message["tables"])
                case "query":
                    self.cancelled.clear()
                    threading.Thread(target=self.query, args=(message,), daemon=True).start()
                case "cancel":
                    self.cancelled.set()
                case "close":
                    return

    def load(self, tables: list[dict[str, Any]]) -> None:
        for table in tables:
            parts = []
            for file in table["files"]:
                properties = create_decryption_properties(
                    base64.b64decode(file["key"]), aad_prefix=base64.b64decode(file["aad_prefix"])
                )
                try:
                    path = Path(table["directory"]) / file["name"]
                    parts.append(pq.ParquetFile(path, decryption_properties=properties).read())
                except (OSError, ValueError) as error:
                    self.frames.say(**{"is": "refused", "rule": "file-key", "message": str(error)[:200]})
                    return
            self.tables[table["name"]] = pa.concat_tables(parts)
        self.frames.say(**{"is": "tables", "tables": [table["name"] for table in tables]})

    def query(self, message: dict[str, Any]) -> None:
        number, sql = message["id"], message["sql"]
        if sql.startswith("/* die */"):
            os._exit(3)
        if sql.startswith("/* nonsense */"):
            self.frames.write(b"J[1]")
            return
        if sql.startswith("/* memory */"):
            self.frames.say(**{"is": "failed", "id": number, "kind": "memory", "message": "too much for this heap"})
            return
        while sql.startswith(("/* hang */", "/* deaf */")) and not (self.cancelled.is_set() and "hang" in sql[:10]):
            time.sleep(0.01)
        if self.cancelled.is_set():
            self.frames.say(**{"is": "failed", "id": number, "kind": "cancelled", "message": ""})
            return
        try:
            self.answer(number, sql, message["limits"])
        except duckdb.Error as error:
            self.frames.say(**{"is": "refused", "id": number, "rule": "analysis", "message": str(error)})
        except OverflowError:
            self.frames.say(**{"is": "failed", "id": number, "kind": "limit", "message": "too many bytes"})

    def answer(self, number: int, sql: str, limits: dict[str, int]) -> None:
        connection = duckdb.connect()
        for name, table in self.tables.items():
            connection.register(name, table)
        reader: Any = connection.execute(sql).to_arrow_reader(10_000)
        rows = 0
        with pa.ipc.new_stream(pa.PythonFile(Pieces(self.frames, limits["bytes"]), "w"), reader.schema) as writer:
            for batch in reader:
                if self.cancelled.is_set():
                    self.frames.say(**{"is": "failed", "id": number, "kind": "cancelled", "message": ""})
                    return
                rows += batch.num_rows
                writer.write_batch(batch)
        self.frames.say(**{"is": "end", "id": number, "rows": rows, "bytes": 0})


if __name__ == "__main__":
    Worker().serve()
