"""The gRPC service: attests, opens sessions, takes tables and queries, hands out sealed results. Believes nobody."""

from __future__ import annotations

import asyncio
import functools
import hmac
import logging
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar

import grpc

from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol import session_opening
from spark_enclave.protocol.limits import (
    CHUNK_BYTES,
    MAX_SEALED_BYTES,
    MAX_TABLES,
    NONCE_BYTES,
    RANDOM_BYTES,
    SESSION_ID_BYTES,
    VERSION,
)
from spark_enclave.protocol.messages import Answer, TableHeader
from spark_enclave.protocol.refusals import MessageMalformed, NumberRefused, ProtocolRefused
from spark_enclave.protocol.session_keys import SessionKeys
from spark_enclave.server.attestation_device import AttestationDevice, DeviceFailed
from spark_enclave.server.boot_identity import BootIdentity
from spark_enclave.server.chunk_wire import chunk_on_wire
from spark_enclave.server.key_release import KeyRelease
from spark_enclave.server.query_run import QueryRun, ResultDropped
from spark_enclave.server.session import Session, SessionBusy
from spark_enclave.server.settings import Settings
from spark_enclave.server.table_intake import IntakeRefused, TableIntake
from spark_enclave.server.worker_pool import NoSlot, WorkerPool

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")

#: Everything that is ever said in the clear. Nothing in it depends on a query, a key or a row.
_MALFORMED: Final = (grpc.StatusCode.INVALID_ARGUMENT, "the message is malformed")
_NOT_OURS: Final = (grpc.StatusCode.UNAUTHENTICATED, "the message cannot be opened")
_UNKNOWN: Final = (grpc.StatusCode.NOT_FOUND, "there is no such session, attestation or result")
_OUT_OF_ORDER: Final = (grpc.StatusCode.FAILED_PRECONDITION, "the message is not the next one of its session")
_TAKEN: Final = (grpc.StatusCode.FAILED_PRECONDITION, "the result was fetched already")
_BUSY: Final = (grpc.StatusCode.ABORTED, "another message of this session is being worked on")
_FULL: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, "all sessions are taken; try again later")
_TOO_SLOW: Final = (grpc.StatusCode.DEADLINE_EXCEEDED, "the peer took too long")
_NO_DEVICE: Final = (grpc.StatusCode.UNAVAILABLE, "the security module does not answer")
_INTERNAL: Final = (grpc.StatusCode.INTERNAL, "internal error")

#: How often sessions are looked at for their end.
_WATCH_SECONDS: Final = 0.5


def _guarded(
    method: Callable[[Broker, _Request, _Context], Awaitable[_Reply]],
) -> Callable[[Broker, _Request, _Context], Awaitable[_Reply]]:
    """Nothing but the fixed sentences leaves in the clear: not the text of an exception either."""

    @functools.wraps(method)
    async def call(self: Broker, request: _Request, context: _Context) -> _Reply:
        try:
            return await method(self, request, context)
        except (grpc.aio.AbortError, grpc.RpcError):
            raise
        except grpc.aio.InternalError:
            # The peer went away in the middle, or sent more than gRPC takes: there is nobody to answer.
            raise asyncio.CancelledError from None
        except MessageMalformed:
            await _stop(context, _MALFORMED)
        except NumberRefused:
            await _stop(context, _OUT_OF_ORDER)
        except ProtocolRefused:
            await _stop(context, _NOT_OURS)
        except SessionBusy:
            await _stop(context, _BUSY)
        except Exception as error:  # noqa: BLE001 (gRPC would send its text to the peer)
            _log.error("a call failed: %s", type(error).__name__)
            await _stop(context, _INTERNAL)

    return call


async def _stop(context: _Context, why: tuple[grpc.StatusCode, str]) -> NoReturn:
    await context.abort(*why)
    raise AssertionError("abort raises")


class Broker:
    """The service `Enclave` of enclave.proto. Belongs to one event loop."""

    def __init__(
        self,
        identity: BootIdentity,
        device: AttestationDevice,
        release: KeyRelease,
        pool: WorkerPool,
        settings: Settings,
    ) -> None:
        self._identity, self._device, self._pool, self._settings = identity, device, pool, settings
        self._release = release
        self._binding = identity.binding.encode()
        self._user_data = identity.binding.digest()
        self._attested: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._sessions: dict[bytes, Session] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()

    @_guarded
    async def Attest(self, request: wire.AttestRequest, context: _Context) -> wire.AttestReply:
        """A document for the nonce, and what an opening for it must be bound to is remembered."""
        if len(request.nonce) != NONCE_BYTES:
            await _stop(context, _MALFORMED)
        try:
            document = await asyncio.to_thread(self._device.attest, user_data=self._user_data, nonce=request.nonce)
        except DeviceFailed as error:
            _log.error("no attestation: %s", error)
            await _stop(context, _NO_DEVICE)
        info = session_opening.opening_info(request.nonce, document, self._binding)
        self._attested[request.nonce] = (time.monotonic(), info)
        while len(self._attested) > self._settings.attested_most:
            self._attested.popitem(last=False)
        return wire.AttestReply(document=document, binding=self._binding)

    @_guarded
    async def OpenSession(self, request: wire.OpenSessionRequest, context: _Context) -> wire.OpenSessionReply:
        """Keys from both sides' randomness; a slot and a worker."""
        when, info = self._attested.get(request.nonce, (0.0, b""))
        if not info or time.monotonic() - when > self._settings.attested_seconds:
            await _stop(context, _UNKNOWN)
        opening = session_opening.unseal(self._identity.hpke_key, info, request.sealed)
        # Once only, and only for an opening that was right: others must not use it up for the client.
        if self._attested.pop(request.nonce, None) is None:
            await _stop(context, _UNKNOWN)
        try:
            await self._pool.take_slot()
        except NoSlot:
            await _stop(context, _FULL)
        keys = SessionKeys.agree(
            secret=opening.secret,
            opening_info=info,
            sealed_opening=request.sealed,
            server_random=os.urandom(RANDOM_BYTES),
            session_id=os.urandom(SESSION_ID_BYTES),
        )
        session = Session(keys, opening.client_key, self._pool, self._settings, self._release)
        self._sessions[keys.session_id] = session
        _log.info("a session begins; %d run", len(self._sessions))
        return wire.OpenSessionReply(
            session_id=keys.session_id, server_random=keys.server_random, sealed=session.acceptance()
        )

    @_guarded
    async def PutTable(self, requests: AsyncIterator[wire.PutTableRequest], context: _Context) -> wire.PutTableReply:
        """A sealed header, then the files; the manifest is verified before a byte of them is taken."""
        first = await self._next(requests, context)
        if first is None or first.WhichOneof("part") != "header":
            await _stop(context, _MALFORMED)
        message = first.header
        session = await self._session(message.session_id, context)
        number, plaintext = message.number, self._unseal(session, "table", message)
        session.busy = True
        intake: TableIntake | None = None
        try:
            try:
                header = TableHeader.decode(plaintext)
                if header.name in session.tables or len(session.tables) >= MAX_TABLES:
                    raise IntakeRefused("table-name", "The session has a table of that name, or has too many.")
                intake = TableIntake(header, session.client_key, self._settings.scratch, session.room)
                deadline = time.monotonic() + self._settings.table_seconds
                while (part := await self._next(requests, context)) is not None:
                    if part.WhichOneof("part") != "content" or not 1 <= len(part.content) <= CHUNK_BYTES:
                        await _stop(context, _MALFORMED)
                    if time.monotonic() > deadline:
                        await _stop(context, _TOO_SLOW)
                    intake.take(part.content)
                table = intake.finish()
                intake = None
            except IntakeRefused as error:
                answer = Answer("refused", error.rule, error.what)
            else:
                answer = await session.add_table(table)
        finally:
            if intake is not None:
                intake.discard()
            session.busy = False
            session.touch()
        return wire.PutTableReply(sealed=session.answer("table", number, answer))

    @_guarded
    async def Query(self, request: wire.QueryRequest, context: _Context) -> wire.QueryReply:
        """Start a query, or end the session."""
        message = request.message
        session = await self._session(message.session_id, context)
        plaintext = self._unseal(session, "query", message)
        session.busy = True
        try:
            answer, over = await session.start_query(message.number, plaintext)
        finally:
            session.busy = False
            session.touch()
        sealed = session.answer("query", message.number, answer)
        if over:
            self._end(session)
        elif session.run is not None:
            self._watch_fetch(session, session.run)
        return wire.QueryReply(sealed=sealed)

    @_guarded
    async def FetchResult(self, request: wire.FetchResultRequest, context: _Context) -> None:
        """The chunks as they come; whoever goes away in the middle ends the query."""
        session = self._sessions.get(request.session_id)
        run = session.run if session is not None else None
        if session is None or run is None or run.number != request.number:
            await _stop(context, _UNKNOWN)
        if not hmac.compare_digest(run.ticket, request.ticket):
            await _stop(context, _NOT_OURS)
        if run.fetched:
            await _stop(context, _TAKEN)
        run.fetched = True
        whole = False
        try:
            while not whole:
                try:
                    index, whole, sealed = await run.next_chunk()
                except ResultDropped:
                    await _stop(context, _UNKNOWN)
                session.touch()
                try:
                    async with asyncio.timeout(self._settings.stall_seconds):
                        await context.write(chunk_on_wire(index, whole, sealed))
                except TimeoutError:
                    whole = False
                    await _stop(context, _TOO_SLOW)
        finally:
            if not whole or run.last:
                _keep(self._done_with(session, run), self._waiting)

    @_guarded
    async def Health(self, request: wire.HealthRequest, context: _Context) -> wire.HealthReply:
        """Counts only."""
        return wire.HealthReply(
            ready=True,
            sessions=self._pool.taken,
            sessions_most=self._settings.sessions_most,
            waiting=self._pool.waiting,
            protocol_version=VERSION,
        )

    async def watch(self) -> None:
        """Ends sessions that are idle or old, until cancelled."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for session in [one for one in self._sessions.values() if one.over]:
                self._end(session)
            oldest = time.monotonic() - self._settings.attested_seconds
            while self._attested and next(iter(self._attested.values()))[0] < oldest:
                self._attested.popitem(last=False)

    async def close(self) -> None:
        """End all sessions."""
        for task in set(self._waiting):
            task.cancel()
        for session in list(self._sessions.values()):
            self._end(session)
        if self._ending:
            await asyncio.wait(set(self._ending))
        await self._pool.close()

    async def _session(self, session_id: bytes, context: _Context) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            await _stop(context, _UNKNOWN)
        return session

    @staticmethod
    def _unseal(session: Session, purpose: Any, message: wire.SealedMessage) -> bytes:
        if len(message.sealed) > MAX_SEALED_BYTES:
            raise MessageMalformed("A sealed message is too large.")
        return session.unseal(purpose, message.number, message.sealed)

    async def _next(
        self, requests: AsyncIterator[wire.PutTableRequest], context: _Context
    ) -> wire.PutTableRequest | None:
        try:
            async with asyncio.timeout(self._settings.stall_seconds):
                return await anext(requests, None)
        except TimeoutError:
            await _stop(context, _TOO_SLOW)

    def _watch_fetch(self, session: Session, run: QueryRun) -> None:
        async def wait() -> None:
            await asyncio.sleep(self._settings.fetch_seconds)
            if not run.fetched:
                await self._done_with(session, run)

        _keep(wait(), self._waiting)

    async def _done_with(self, session: Session, run: QueryRun) -> None:
        await run.abandon()
        if run.last:
            self._end(session)

    def _end(self, session: Session) -> None:
        if self._sessions.pop(session.keys.session_id, None) is not None:
            _keep(self._finish(session), self._ending)

    async def _finish(self, session: Session) -> None:
        try:
            await session.end()
        finally:
            self._pool.release_slot()
            _log.info("a session ended; %d run", len(self._sessions))


def _keep(work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
    """In the background, referred to until it is done, as the loop itself would let it be collected."""
    task = asyncio.create_task(work)
    among.add(task)
    task.add_done_callback(among.discard)
