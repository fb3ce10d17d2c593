"""A real session worker to talk to in tests, as the broker does, and tables to give it."""

from __future__ import annotations

import atexit
import json
import queue
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spark_enclave.tables import ClientKeys, TableKey, VerifiedManifest, verify_manifest, worker_table
from spark_enclave.tables.encryption import encrypt_table
from sparkvault.java import find_java
from sparkvault.plugins import plugin_jar
from sparkvault.targets.local.spark_home import find_spark

ROOT = Path(__file__).parents[2]
OPTIONS = ROOT / "assets" / "spark-plugins" / "enclave" / "session-jvm.options"

LIMITS = {"rows": 1_000_000, "seconds": 120, "bytes": 1 << 30}


@cache
def spark_jars() -> Path:
    return find_spark() / "jars"


@dataclass
class Answer:
    """What came of a query: its last message, and the rows if there are any."""

    message: dict[str, Any]
    fields: list[dict[str, str]] = field(default_factory=list)
    stream: bytes = b""

    @property
    def rule(self) -> str:
        """Rule or kind; `end` where the query ended well."""
        return str(self.message.get("rule") or self.message.get("kind") or self.message["is"])

    def table(self) -> Any:
        assert self.message["is"] == "end", self.message
        return pa.ipc.open_stream(self.stream).read_all()

    def rows(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.table().to_pylist()]


class SessionJvm:
    """A worker process; every wait ends after `patience` seconds."""

    def __init__(self, scratch: Path, memory_mib: int = 768, *, start: bool = True, patience: float = 240.0) -> None:
        self.scratch, self.patience = scratch, patience
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [
                find_java().program,
                f"@{OPTIONS}",
                f"-Xmx{memory_mib}m",
                "-XX:TieredStopAtLevel=1",  # starts sooner on a busy machine
                f"-Djava.io.tmpdir={scratch}",
                "-cp",
                f"{plugin_jar('enclave')}:{spark_jars()}/*",
                "org.sparkvault.enclave.SessionMain",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd=scratch,
        )
        self._frames: queue.Queue[tuple[str, bytes] | None] = queue.Queue(maxsize=64)
        self._errors: list[bytes] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()
        self._last = 0
        if start:
            self.send({"do": "start", "memory_mib": memory_mib, "scratch": str(scratch)})
            assert self.receive() == {"is": "ready"}

    @property
    def remarks(self) -> str:
        return b"".join(self._errors).decode()

    def send(self, message: Mapping[str, Any]) -> None:
        payload = b"J" + json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(struct.pack(">I", len(payload)) + payload)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any] | bytes:
        frame = self._frames.get(timeout=self.patience)
        if frame is None:
            raise EOFError(f"the worker ended with {self.process.wait(10)}; it said: {self.remarks}")
        kind, payload = frame
        return json.loads(payload) if kind == "J" else payload

    def add_tables(self, *tables: Mapping[str, Any]) -> dict[str, Any]:
        self.send({"do": "tables", "tables": list(tables)})
        answer = self.receive()
        assert isinstance(answer, dict)
        return answer

    def ask(self, sql: str, **more: Any) -> int:
        """Send a query; returns its number."""
        self._last += 1
        self.send({"do": "query", "id": self._last, "sql": sql, "limits": LIMITS, "grant": None, **more})
        return self._last

    def answer(self) -> Answer:
        """What comes until the query is over."""
        answer = Answer({})
        parts: list[bytes] = []
        while True:
            frame = self.receive()
            if isinstance(frame, bytes):
                parts.append(frame)
            elif frame["is"] == "schema":
                answer.fields = frame["fields"]
            else:
                answer.message, answer.stream = frame, b"".join(parts)
                return answer

    def query(self, sql: str, **more: Any) -> Answer:
        self.ask(sql, **more)
        return self.answer()

    def close(self) -> int:
        if self.process.poll() is None:
            self.send({"do": "close"})
        return self.process.wait(30)

    def _read(self) -> None:
        assert self.process.stdout is not None
        while len(head := self.process.stdout.read(5)) == 5:
            length, kind = struct.unpack(">IB", head)
            self._frames.put((chr(kind), self.process.stdout.read(length - 1)))
        self._frames.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(iter(lambda: self.process.stderr.read(1), b""))  # type: ignore[union-attr]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@cache
def shared_jvm() -> SessionJvm:
    """One worker for all tests of this process that do not end it."""
    scratch = Path(tempfile.mkdtemp(prefix="session-jvm-"))
    jvm = SessionJvm(scratch)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atexit.register(jvm.kill)
    return jvm


KEYS = ClientKeys.new()


def encrypted(folder: Path, name: str, rows: Any, *, version: int = 1) -> tuple[Path, VerifiedManifest, TableKey]:
    """A pyarrow.Table, encrypted; where it lies, its manifest and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / f"{name}.parquet")
    key, out = KEYS.table_key(name), folder / f"{name}-{version}"
    signed = encrypt_table(
        [folder / f"{name}.parquet"], out, key, table_id=name, version=version, signing_key=KEYS.signing_key
    )
    return out, verify_manifest(signed.data, KEYS.public_key, version), key


def message(folder: Path, name: str, rows: Any, *, version: int = 1) -> dict[str, Any]:
    """A pyarrow.Table as one entry of a `tables` message."""
    out, manifest, key = encrypted(folder, name, rows, version=version)
    return worker_table(manifest, key, name=name, directory=out)
