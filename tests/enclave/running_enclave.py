"""A simulated enclave that runs, clients of it, and encrypted tables for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emulation.enclave import SimulatedEnclave
from spark_enclave.client import EnclaveConnection, EnclaveSession, TableFolder
from spark_enclave.tables import ClientKeys
from spark_enclave.tables.encryption import encrypt_table

#: Stands in for the JVM, so that tests of broker, protocol and client need no Spark.
WORKER_DOUBLE = [sys.executable, str(Path(__file__).parents[1] / "support" / "session_worker_double.py")]

CSV = "region,amount\n" + "".join(f"{'north' if n % 3 else 'south'},{n}\n" for n in range(1000))
#: Stands nowhere but in a test's query or data, so that it can be looked for where it must not be.
MARKER = "marker8f3a61"


def simulated(folder: Path, *, sessions: int = 4, code: Path | None = None, **settings: object) -> SimulatedEnclave:
    """With the worker double, which this machine's sessions of another user could not run: it lies in a closed home."""
    values: Mapping[str, object] = {"first_uid": None, "stall_seconds": 2.0, **settings}
    return SimulatedEnclave(folder, sessions=sessions, worker=WORKER_DOUBLE, settings=values, code=code)


@contextmanager
def session_with(enclave: SimulatedEnclave, keys: ClientKeys | None = None) -> Iterator[EnclaveSession]:
    with (
        EnclaveConnection(enclave.address) as connection,
        connection.open_session(enclave.trust(), (keys or ClientKeys.new()).signing_key) as session,
    ):
        yield session


@dataclass(frozen=True)
class Owner:
    """Someone with keys, and tables that were CSV a moment before."""

    keys: ClientKeys
    folder: Path

    def table(self, name: str = "sales", *, version: int = 1, csv: str = CSV, pin: int = 1) -> TableFolder:
        source, out = self.folder / f"{name}-{version}.csv", self.folder / f"{name}-{version}"
        if not out.exists():
            source.write_text(csv, encoding="utf-8")
            encrypt_table(
                [source],
                out,
                self.keys.table_key(name),
                table_id=name,
                version=version,
                signing_key=self.keys.signing_key,
            )
        return TableFolder.open(
            out,
            table_key=self.keys.table_key(name).secret,
            owner_key=self.keys.public_key,
            minimum_version=pin,
        )
