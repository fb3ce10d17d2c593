"""A session with an attested enclave: tables in, queries in, results out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from spark_enclave.client.detached import DetachedQuery
from spark_enclave.client.errors import EnclaveError, QueryFailed, QueryRefused, TableNotTaken
from spark_enclave.client.results import QueryResult, SealedChunk
from spark_enclave.client.table_folder import TableFolder
from spark_enclave.client.transport import raise_for
from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol.limits import CHUNK_BYTES
from spark_enclave.protocol.messages import Answer, EndSession, Limits, Parameter, Query, TableHeader
from spark_enclave.protocol.result_chunks import ResultOpener, TableVersion, result_context
from spark_enclave.protocol.session_keys import Purpose, SessionKeys

if TYPE_CHECKING:
    from spark_enclave.client.connection import Attested

_CALL_SECONDS: Final = 300.0
_TABLE_SECONDS: Final = 3600.0
_END_SECONDS: Final = 5.0
#: A result may begin late: the query runs first.
_RESULT_GRACE_SECONDS: Final = 180.0


class EnclaveSession:
    """Not for several threads: its messages are numbered. A `with` block ends it in the enclave too."""

    def __init__(self, stub: Any, keys: SessionKeys, attested: Attested, memory_mib: int) -> None:
        self.attested = attested
        """What was proven about the enclave."""
        self.memory_mib = memory_mib
        """Heap of this session's Spark."""
        self.tables: dict[str, TableVersion] = {}
        """Name → which state of which table the enclave has."""
        self._stub, self._keys = stub, keys
        self._number = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def simulated(self) -> bool:
        """Whether the other side is a simulation, which proves nothing about hardware."""
        return self.attested.attestation.simulated

    def put_table(self, name: str, table: TableFolder) -> None:
        """Send an encrypted table; queries call it `name`. Raises TableNotTaken, and as every call NotReachable, …"""
        header = TableHeader(
            name=name,
            manifest=table.manifest_bytes,
            owner_key=table.owner_key,
            minimum_version=table.minimum_version,
            key_source=table.key_source,
            table_key=table.table_key,
            grant=table.grant,
        )
        message = self._seal("table", header.encode())

        def parts() -> Iterator[wire.PutTableRequest]:
            yield wire.PutTableRequest(header=message)
            for path in table.files():
                with path.open("rb") as file:
                    while piece := file.read(CHUNK_BYTES):
                        yield wire.PutTableRequest(content=piece)

        try:
            reply: wire.PutTableReply = self._stub.PutTable(parts(), timeout=_TABLE_SECONDS)
        except grpc.RpcError as error:
            raise_for(error, f"sending the table {name}")
        answer = self._answer("table", message.number, reply.sealed)
        if not answer.taken:
            raise TableNotTaken(name, answer.rule, answer.message)
        self.tables[name] = table.seen

    def query(self, sql: str, limits: Limits | None = None, parameters: Sequence[Parameter] = ()) -> QueryResult:
        """Run one query; its result comes as it is read. Raises QueryRefused, and the result's reading more."""
        query = Query(sql, limits or Limits(), tuple(parameters))
        number, opener = self._ask(query)
        request = wire.FetchResultRequest(
            session_id=self._keys.session_id, number=number, ticket=self._keys.ticket(number)
        )
        stream = self._stub.FetchResult(request, timeout=query.limits.seconds + _RESULT_GRACE_SECONDS)
        return QueryResult(_chunks(stream), opener, simulated=self.simulated)

    def query_detached(
        self, sql: str, limits: Limits | None = None, parameters: Sequence[Parameter] = ()
    ) -> DetachedQuery:
        """Start a query whose result somebody else carries to a store; the session ends with it.

        The returned state opens the result and nothing else. Keep it; the courier needs only what `ticket()` gives.
        """
        query = Query(sql, limits or Limits(), tuple(parameters), last=True)
        number, _ = self._ask(query)
        self._ended = True
        return DetachedQuery(
            session_id=self._keys.session_id,
            number=number,
            ticket=self._keys.ticket(number),
            result_key=self._keys.key("result", number, "to-client"),
            context=result_context(self._keys.session_id, number, query.encode(), self.tables),
            simulated=self.simulated,
            trust=self.attested.explain(),
        )

    def end(self) -> None:
        """End the session in the enclave, which wipes it; best effort, as an idle session ends by itself."""
        if self._ended:
            return
        self._ended = True
        try:
            message = self._seal("query", EndSession().encode())
            self._stub.Query(wire.QueryRequest(message=message), timeout=_END_SECONDS)
        except (grpc.RpcError, ValueError):
            return

    def _ask(self, query: Query) -> tuple[int, ResultOpener]:
        plaintext = query.encode()
        message = self._seal("query", plaintext)
        try:
            reply: wire.QueryReply = self._stub.Query(wire.QueryRequest(message=message), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise_for(error, "asking a query")
        answer = self._answer("query", message.number, reply.sealed)
        if answer.outcome == "refused":
            raise QueryRefused(answer.rule, answer.message)
        if not answer.taken:
            raise QueryFailed(answer.rule, answer.message)
        context = result_context(self._keys.session_id, message.number, plaintext, self.tables)
        return message.number, ResultOpener(self._keys.key("result", message.number, "to-client"), context)

    def _seal(self, purpose: Purpose, plaintext: bytes) -> wire.SealedMessage:
        if self._ended and purpose == "table":
            raise EnclaveError("The session has ended.", "Open another one.")
        self._number += 1
        sealed = self._keys.seal(purpose, self._number, "to-enclave", plaintext)
        return wire.SealedMessage(session_id=self._keys.session_id, number=self._number, sealed=sealed)

    def _answer(self, purpose: Purpose, number: int, sealed: bytes) -> Answer:
        return Answer.decode(self._keys.unseal(purpose, number, "to-client", sealed))


def _chunks(stream: Any) -> Iterator[SealedChunk]:
    try:
        for chunk in stream:
            yield chunk.index, chunk.end, chunk.sealed
    except grpc.RpcError as error:
        raise_for(error, "fetching a result")
    finally:
        # Whoever stops reading has the enclave stop the query.
        stream.cancel()
