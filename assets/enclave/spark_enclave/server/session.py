"""A session inside the broker: its keys, its numbered messages, its tables, its worker, and the end of all that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.messages import Answer, EndSession, decode_request
from spark_enclave.protocol.refusals import NumberRefused
from spark_enclave.protocol.result_chunks import ResultSealer, result_context
from spark_enclave.protocol.session_keys import Purpose, SessionKeys
from spark_enclave.server.key_release import KeyNotReleased, KeyRelease
from spark_enclave.server.query_run import QueryRun
from spark_enclave.server.session_worker import SessionWorker, TablesRefused
from spark_enclave.server.settings import Settings
from spark_enclave.server.table_intake import IntakeRefused, Table, allowed, check_key, worker_parameters
from spark_enclave.server.worker_frames import WorkerGone
from spark_enclave.server.worker_pool import WorkerPool

_log = logging.getLogger(__name__)

#: For a worker to read and check all files of all tables.
_LOAD_SECONDS: Final = 300.0


class SessionBusy(Exception):
    """Another message of this session is being worked on."""


class Session:
    """One client's. All methods belong to the broker's event loop."""

    def __init__(
        self, keys: SessionKeys, client_key: bytes, pool: WorkerPool, settings: Settings, release: KeyRelease
    ) -> None:
        self.keys, self.client_key = keys, client_key
        self.run: QueryRun | None = None
        self.tables: dict[str, Table] = {}
        self.busy = False
        self._pool, self._settings, self._release = pool, settings, release
        self._worker: asyncio.Task[SessionWorker] = pool.worker()
        self._last_number = 0
        self._begun = self._touched = time.monotonic()
        self._ended = False

    def touch(self) -> None:
        """Something authenticated arrived, or somebody took a chunk."""
        self._touched = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether it was idle for too long, or is too old."""
        now = time.monotonic()
        waited_for = self.busy or (self.run is not None and self.run.awaited)
        idle = now - self._touched > self._settings.seconds_idle and not waited_for
        return idle or now - self._begun > self._settings.seconds_most

    def unseal(self, purpose: Purpose, number: int, sealed: bytes) -> bytes:
        """The plaintext of the next message; its number is used from now on, whatever becomes of it.

        Raises SessionBusy, NumberRefused, SealBroken; none of these uses the number.
        """
        if self.busy:
            raise SessionBusy
        if number != self._last_number + 1:
            raise NumberRefused("The message is not the next one of its session.")
        plaintext = self.keys.unseal(purpose, number, "to-enclave", sealed)
        self._last_number = number
        self.touch()
        return plaintext

    def answer(self, purpose: Purpose, number: int, answer: Answer) -> bytes:
        """Sealed for the client."""
        return self.keys.seal(purpose, number, "to-client", answer.encode())

    def acceptance(self) -> bytes:
        """What the client learns first, and what proves that the enclave has its secret."""
        said = {
            "seconds_idle": self._settings.seconds_idle,
            "seconds_most": self._settings.seconds_most,
            "memory_mib": self._settings.heap_mib,
        }
        return self.keys.seal("accepted", 0, "to-client", canonical_cbor.encode(said))

    async def worker(self) -> SessionWorker:
        """The session's worker with all its tables; a new one where the old one ended. Raises WorkerGone."""
        if self._ended:
            raise WorkerGone("the session has ended")
        try:
            worker = await asyncio.shield(self._worker)
            if worker.idle:
                return worker
            await worker.end()
        except WorkerGone:
            _log.info("a session's worker had not started")
        self._worker = asyncio.create_task(self._pool.start())
        worker = await asyncio.shield(self._worker)
        try:
            await self._load(worker, [table for table in self.tables.values() if table.key is not None])
        except TablesRefused:
            raise WorkerGone("a new worker does not take the tables of the old one") from None
        return worker

    @property
    def room(self) -> int:
        """Bytes of tables that it still takes."""
        return self._settings.table_bytes - sum(table.size for table in self.tables.values())

    async def add_table(self, table: Table) -> Answer:
        """Hand a table whose files are here to the worker; one under KMS waits until a query on it is allowed."""
        if table.key is None:
            self.tables[table.name] = table
            return Answer("taken")
        try:
            await self._load(await self.worker(), [table])
        except TablesRefused as error:
            table.remove()
            return Answer("refused", error.reason.rule, error.reason.message)
        except WorkerGone:
            table.remove()
            return Answer("failed", "internal", "Spark did not take the table; its session starts anew.")
        self.tables[table.name] = table
        return Answer("taken")

    async def _load(self, worker: SessionWorker, tables: Sequence[Table]) -> None:
        for table in tables:
            table.share_with(worker.uid)
        if tables:
            await worker.load([table.for_worker() for table in tables], _LOAD_SECONDS)

    async def start_query(self, number: int, plaintext: bytes) -> tuple[Answer, bool]:
        """Begin what the message asks for; the second value is True when it asks for the session's end."""
        request = decode_request(plaintext)
        if isinstance(request, EndSession):
            return Answer("taken"), True
        if self.run is not None:
            await self.run.abandon()
            self.run = None
        try:
            grant = allowed(self.tables, self.client_key, request)
        except IntakeRefused as error:
            return Answer("refused", error.rule, error.what), False
        try:
            worker = await self.worker()
            await self._release_keys(worker)
        except IntakeRefused as error:
            return Answer("refused", error.rule, error.what), False
        except WorkerGone:
            return Answer("failed", "internal", "Spark did not start inside the enclave; try again."), False
        seen = {name: table.seen for name, table in self.tables.items()}
        sealer = ResultSealer(self.keys, number, result_context(self.keys.session_id, number, plaintext, seen))
        self.run = QueryRun(number, request, sealer, self.keys.ticket(number))
        limits = request.limits
        seconds = min(limits.seconds, self._settings.query_seconds_most)
        self.run.begin(
            worker, {"rows": limits.rows, "seconds": seconds, "bytes": limits.bytes}, grant, worker_parameters(request)
        )
        return Answer("taken"), False

    async def _release_keys(self, worker: SessionWorker) -> None:
        """Ask KMS for the keys that are not here yet; the query that needs them was allowed. Raises IntakeRefused."""
        for table in [one for one in self.tables.values() if one.key is None]:
            try:
                key = await asyncio.to_thread(self._release.table_key, table.manifest)
            except KeyNotReleased as error:
                raise IntakeRefused(
                    "key-release", f"The key of {table.name} is not given to this enclave: {error}."
                ) from None
            check_key(table.manifest, key)
            table.key = key
            try:
                await self._load(worker, [table])
            except TablesRefused as error:
                table.key = None
                raise IntakeRefused(error.reason.rule, error.reason.message) from None

    async def end(self) -> None:
        """Stop everything, kill the worker, remove its files, forget the keys."""
        if self._ended:
            return
        self._ended = True
        if self.run is not None:
            await self.run.abandon()
        # One that is still starting is not waited for: it ends itself when it is cancelled.
        self._worker.cancel()
        try:
            await (await self._worker).end()
        except (WorkerGone, asyncio.CancelledError):
            _log.info("a session ended whose worker never started")
        for table in self.tables.values():
            table.remove()
        self.tables.clear()
        self.run = None
