"""One session's Spark: a JVM of its own, under its own user, spoken to through a pipe and ended without mercy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spark_enclave.server import worker_frames
from spark_enclave.server.session_user import SessionUsers, UserStillBusy
from spark_enclave.server.settings import Settings
from spark_enclave.server.worker_frames import WorkerGone

_log = logging.getLogger(__name__)

#: Heap (MiB) and the worker's own folder → the command line that runs it.
WorkerCommand = Callable[[int, Path], Sequence[str]]

_MIB: Final = 1 << 20
_LAUNCHER: Final = Path(__file__).with_name("session_launcher.py")
_PIPE_BYTES: Final = 4 << 20
_CLOSE_SECONDS: Final = 3.0
_KILL_SECONDS: Final = 10.0
#: A worker that was told to stop a query, and its Spark to let go of it.
_CANCEL_SECONDS: Final = 15.0
#: How long after its own limit a query's worker is believed to be still at it.
_GRACE_SECONDS: Final = 20.0
#: Private memory that a JVM may map beside its heap: code, metaspace, threads' stacks, direct buffers.
_BESIDE_HEAP_MIB: Final = 1536


@dataclass(frozen=True, slots=True)
class Refused:
    """The worker does not do it: by which rule, and a sentence for the client alone."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The query was begun and could not be finished; `kind` says why, `message` is for the client alone."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The query is done; `rows` of result were sent."""

    rows: int


class TablesRefused(Exception):
    """The worker does not take a table."""

    def __init__(self, reason: Refused) -> None:
        super().__init__(reason.rule)
        self.reason = reason


class SessionWorker:
    """A running worker, under `uid` (None: the broker's own) and with a folder of its own."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, uid: int | None, users: SessionUsers) -> None:
        self._process, self.uid, self._users = process, uid, users
        self.folder = folder
        self._ended = self._asked = False
        assert process.stdin is not None  # noqa: S101 (started with pipes)
        assert process.stdout is not None  # noqa: S101
        self._in, self._out = process.stdin, process.stdout

    @classmethod
    async def start(cls, command: WorkerCommand, settings: Settings, users: SessionUsers) -> SessionWorker:
        """Start one and wait until its Spark is up; raises WorkerGone when it does not come up in time."""
        uid = users.take()
        folder = Path(tempfile.mkdtemp(prefix="session-", dir=settings.scratch))
        if uid is not None:
            os.chown(folder, uid, uid)
        try:
            process = await _spawn(
                *_launching(uid, settings),
                *command(settings.heap_mib, folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # What Spark writes there could quote a query; there is nobody inside to read it and nobody outside may.
                stderr=asyncio.subprocess.DEVNULL,
                limit=_PIPE_BYTES,
                cwd=folder,
                env={"LANG": "C.UTF-8", "HOME": str(folder), "PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            await users.give_back(uid)
            raise
        worker = cls(process, folder, uid, users)
        try:
            await worker._send({"do": "start", "memory_mib": settings.heap_mib, "scratch": str(folder)})
            async with asyncio.timeout(settings.worker_start_seconds):
                answer = await worker_frames.read(worker._out)
            if not isinstance(answer, dict) or answer.get("is") != "ready":
                raise WorkerGone("the worker did not start")
        except TimeoutError:
            await worker.end()
            raise WorkerGone("the worker did not start in time") from None
        except BaseException:
            await worker.end()
            raise
        return worker

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended and self._process.returncode is None

    @property
    def idle(self) -> bool:
        """Whether it can be asked: it runs on, and nothing of an earlier query can still come out of it."""
        return self.alive and not self._asked

    async def load(self, tables: Sequence[dict[str, object]], seconds: float) -> None:
        """Make these tables known to it; raises TablesRefused, WorkerGone."""
        await self._send({"do": "tables", "tables": list(tables)})
        try:
            async with asyncio.timeout(seconds):
                answer = await worker_frames.read(self._out)
        except TimeoutError:
            raise WorkerGone("the worker does not answer") from None
        match answer:
            case {"is": "tables"}:
                return
            case {"is": "refused", "rule": str(rule), "message": str(message)}:
                raise TablesRefused(Refused(rule, message))
            case {"is": "failed", "kind": str(kind), "message": str(message)}:
                raise TablesRefused(Refused(kind, message))
        raise WorkerGone("the worker gave an answer that there is not")

    async def query(
        self, number: int, sql: str, limits: dict[str, int], grant: object, parameters: object
    ) -> AsyncIterator[bytes | Finished | Refused | Failed]:
        """Run one query: bytes of an Arrow stream in order, then how it ended; raises WorkerGone.

        Whoever stops listening before the end must call `cancel`.
        """
        if self._asked:
            raise WorkerGone("the worker still speaks of an earlier query")
        self._asked = True
        await self._send(
            {"do": "query", "id": number, "sql": sql, "limits": limits, "grant": grant, "parameters": parameters}
        )
        deadline = asyncio.get_running_loop().time() + limits["seconds"] + _GRACE_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    frame = await worker_frames.read(self._out)
            except TimeoutError:
                raise WorkerGone("the worker does not keep the time limit") from None
            if isinstance(frame, bytes):
                yield frame
                continue
            ended = _ending(frame, number)
            if ended is not None:
                self._asked = _says_no_more(frame)
                yield ended
                return

    async def cancel(self, number: int) -> None:
        """Stop that query, and throw away what it still says; raises WorkerGone when it does not stop."""
        await self._send({"do": "cancel", "id": number})
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                while True:
                    frame = await worker_frames.read(self._out)
                    if isinstance(frame, dict) and _ending(frame, number) is not None:
                        self._asked = _says_no_more(frame)
                        return
        except TimeoutError:
            raise WorkerGone("the worker does not stop a query") from None

    async def end(self) -> None:
        """Ask it to close, kill all that is left, remove its folder. Never raises."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(WorkerGone, TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                self._in.write(worker_frames.pack({"do": "close"}))
                self._in.close()
                await self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]  # else its pipe lives on until collected
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            await self._users.give_back(self.uid)
        except UserStillBusy as error:
            _log.error("%s: it is not used again", error)

    async def _send(self, message: dict[str, object]) -> None:
        if not self.alive:
            raise WorkerGone("the worker ended")
        try:
            self._in.write(worker_frames.pack(message))
            await self._in.drain()
        except OSError:
            raise WorkerGone("the worker ended") from None


async def _spawn(*command: str, **options: Any) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(*command, **options)
    except OSError as error:
        raise WorkerGone(f"the worker cannot be run ({errno.errorcode.get(error.errno or 0)})") from None


def _ending(frame: dict[str, object], number: int) -> Finished | Refused | Failed | None:
    match frame:
        case {"is": "schema"}:
            return None
        case {"is": "end", "id": int(found), "rows": int(rows)} if found == number:
            return Finished(rows)
        case {"is": "refused", "id": int(found), "rule": str(rule), "message": str(message)} if found == number:
            return Refused(rule, message)
        case {"is": "failed", "id": int(found), "kind": str(kind), "message": str(message)} if found == number:
            return Failed(kind, message)
    raise WorkerGone("the worker gave an answer that there is not")


def _says_no_more(frame: dict[str, object]) -> bool:
    """Whether the worker ends after this answer: what it ran could not be stopped."""
    return frame.get("last") is True


def _launching(uid: int | None, settings: Settings) -> list[str]:
    """What comes before the worker's own command: no core files, no more memory than its share, its own user."""
    memory = (settings.heap_mib + settings.heap_mib // 4 + _BESIDE_HEAP_MIB) * _MIB
    user = "-" if uid is None else str(uid)
    return [sys.executable, "-I", str(_LAUNCHER), user, str(memory), str(settings.heap_mib * _MIB)]
