"""Slots for sessions: so many run, so many wait, and one warm worker stands by so that nobody waits for Spark."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from spark_enclave.server.session_user import SessionUsers
from spark_enclave.server.session_worker import SessionWorker, WorkerCommand
from spark_enclave.server.settings import Settings
from spark_enclave.server.worker_frames import WorkerGone

_log = logging.getLogger(__name__)


class NoSlot(Exception):
    """All sessions are taken, and the queue is full or took too long."""


class WorkerPool:
    """At most `sessions_most` workers exist, the spare included. Belongs to one event loop."""

    def __init__(self, command: WorkerCommand, settings: Settings) -> None:
        self._command, self._settings = command, settings
        # Twice as many users as sessions: a worker that is being ended keeps its user while its successor starts.
        self.users = SessionUsers(settings.first_uid, 2 * settings.sessions_most + 2)
        self._slots = asyncio.Semaphore(settings.sessions_most)
        self._spare: asyncio.Task[SessionWorker] | None = None
        self._closed = False
        self.taken = 0
        self.waiting = 0

    def warm(self) -> None:
        """Start a spare in the background, if there is a slot for it and none yet."""
        if self._settings.warm_spare and not self._closed and self._spare is None and not self._full():
            self._spare = asyncio.create_task(self.start())

    async def take_slot(self) -> None:
        """Wait for a slot, bounded in number and time; raises NoSlot."""
        if self._slots.locked() and self.waiting >= self._settings.waiting_most:
            raise NoSlot
        self.waiting += 1
        try:
            async with asyncio.timeout(self._settings.waiting_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise NoSlot from None
        finally:
            self.waiting -= 1
        self.taken += 1

    def release_slot(self) -> None:
        """A session is gone."""
        self.taken -= 1
        self._slots.release()
        self.warm()

    def worker(self) -> asyncio.Task[SessionWorker]:
        """The spare, ready or getting ready, or a new one; for whoever holds a slot."""
        task, self._spare = self._spare, None
        if task is None or (task.done() and (task.exception() is not None or not task.result().alive)):
            task = asyncio.create_task(self.start())
        self.warm()
        return task

    async def start(self) -> SessionWorker:
        """A new worker, tried twice; raises WorkerGone."""
        try:
            return await SessionWorker.start(self._command, self._settings, self.users)
        except WorkerGone as error:
            _log.warning("a session worker did not start (%s); trying once more", error)
            return await SessionWorker.start(self._command, self._settings, self.users)

    async def close(self) -> None:
        """End the spare."""
        self._closed = True
        if self._spare is not None:
            with contextlib.suppress(WorkerGone, asyncio.CancelledError, OSError):
                self._spare.cancel()
                await (await self._spare).end()

    def _full(self) -> bool:
        return self.taken >= self._settings.sessions_most
