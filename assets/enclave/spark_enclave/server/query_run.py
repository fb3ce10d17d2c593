"""One query on its way: what the worker gives is sealed and kept in a short queue until somebody takes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from spark_enclave.protocol.limits import CHUNK_BYTES
from spark_enclave.protocol.messages import Query
from spark_enclave.protocol.result_chunks import ResultSealer, Trailer, split
from spark_enclave.server.session_worker import Failed, Finished, Refused, SessionWorker
from spark_enclave.server.worker_frames import WorkerGone

_log = logging.getLogger(__name__)

#: Sealed chunks that wait for a reader; the worker waits when there are so many.
_WINDOW: Final = 64
#: Small pieces of the stream are put together up to this size.
_ENOUGH_BYTES: Final = CHUNK_BYTES

Chunk = tuple[int, bool, bytes]


class ResultDropped(Exception):
    """The query was abandoned: there are no more chunks."""


class QueryRun:
    """From the sealed query to the last sealed chunk."""

    def __init__(self, number: int, query: Query, sealer: ResultSealer, ticket: bytes) -> None:
        self.number, self.ticket = number, ticket
        self.last = query.last
        self.fetched = False
        self._query, self._sealer = query, sealer
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue(_WINDOW)
        self._task: asyncio.Task[None] | None = None
        self._abandoning: asyncio.Task[None] | None = None
        self._dropped = False

    def begin(self, worker: SessionWorker, limits: Mapping[str, int], grant: object, parameters: object) -> None:
        """Start it in the background."""
        self._task = asyncio.create_task(self._run(worker, dict(limits), grant, parameters))

    @property
    def awaited(self) -> bool:
        """Whether somebody is there for the result and waits for the worker."""
        return self.fetched and self._task is not None and not self._task.done() and self._chunks.empty()

    async def next_chunk(self) -> Chunk:
        """The next sealed chunk; waits for it. Raises ResultDropped."""
        chunk = None if self._dropped else await self._chunks.get()
        if chunk is None:
            raise ResultDropped
        return chunk

    async def abandon(self) -> None:
        """Nobody wants the result any more: stop the query, drop what is there. May be called more than once."""
        if self._task is None:
            return
        if self._abandoning is None:
            self._abandoning = asyncio.create_task(self._give_up(self._task))
        # A second cancellation would interrupt the stopping itself, and leave its frames to the next query.
        await asyncio.shield(self._abandoning)

    async def _give_up(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        while not self._chunks.empty():
            self._chunks.get_nowait()
        # Whoever waits for a chunk learns that none comes.
        self._dropped = True
        self._chunks.put_nowait(None)

    async def _run(self, worker: SessionWorker, limits: dict[str, int], grant: object, parameters: object) -> None:
        ended = False
        try:
            pieces = bytearray()
            trailer: Trailer | None = None
            async for frame in worker.query(self.number, self._query.sql, limits, grant, parameters):
                if isinstance(frame, bytes):
                    pieces += frame
                    if len(pieces) >= _ENOUGH_BYTES:
                        await self._put(bytes(pieces))
                        pieces.clear()
                else:
                    ended = True
                    trailer = _trailer(frame)
            if pieces and trailer is not None and trailer.outcome == "done":
                await self._put(bytes(pieces))
            await self._put_end(trailer or Trailer("failed", rule="internal", message="The query did not end."))
        except WorkerGone:
            _log.warning("a session worker ended in the middle of a query")
            await worker.end()
            await self._put_end(
                Trailer("failed", rule="memory", message="The query took more than its session has, and was ended.")
            )
        except asyncio.CancelledError:
            if not ended:
                await self._stop(worker)
            raise

    async def _stop(self, worker: SessionWorker) -> None:
        try:
            await worker.cancel(self.number)
        except WorkerGone:
            await worker.end()

    async def _put(self, data: bytes) -> None:
        for piece in split(data):
            index, sealed = self._sealer.seal(piece)
            await self._chunks.put((index, False, sealed))

    async def _put_end(self, trailer: Trailer) -> None:
        if not self._sealer.ended:
            index, sealed = self._sealer.seal(trailer.encode(), end=True)
            await self._chunks.put((index, True, sealed))


def _trailer(ended: Finished | Refused | Failed) -> Trailer:
    match ended:
        case Finished(rows):
            return Trailer("done", rows=rows)
        case Refused(rule, message):
            return Trailer("refused", rule=rule, message=message)
        case Failed(kind, message):
            return Trailer("failed", rule=kind, message=message)
