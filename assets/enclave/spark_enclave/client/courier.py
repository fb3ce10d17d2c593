"""Carries one sealed result from an enclave to a store. It has no key: `python -m spark_enclave.client.courier`.

Reads one line of JSON from standard input (address, store, session_id, number, ticket), so that the ticket is in no
list of processes.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Final

import grpc

from spark_enclave.client.detached import Ticket
from spark_enclave.client.errors import EnclaveError
from spark_enclave.client.result_store import ResultStore, open_store
from spark_enclave.client.transport import Address, fetch_certificate, open_channel, raise_for
from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol.enclave_pb2_grpc import EnclaveStub
from spark_enclave.protocol.limits import MAX_QUERY_SECONDS

_CONNECT_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 300.0


def carry(address: str, ticket: Ticket, store: ResultStore) -> int:
    """All chunks of the result, into the store; returns how many. Trusts nobody and needs not to.

    Raises NotReachable, EnclaveRefused, StoreFailed.
    """
    place = Address(address)
    with open_channel(place, fetch_certificate(place, _CONNECT_SECONDS)) as channel:
        request = wire.FetchResultRequest(session_id=ticket.session_id, number=ticket.number, ticket=ticket.ticket)
        stub = EnclaveStub(channel)  # type: ignore[no-untyped-call]
        stream = stub.FetchResult(request, timeout=MAX_QUERY_SECONDS + _GRACE_SECONDS)
        count = 0
        try:
            for chunk in stream:
                store.put(chunk.index, chunk.end, chunk.sealed)
                count += 1
        except grpc.RpcError as error:
            raise_for(error, "carrying a result")
    return count


def order(address: str, store: str, ticket: Ticket) -> str:
    """The line that a courier's process reads."""
    values = {"session_id": ticket.session_id, "ticket": ticket.ticket}
    packed = {name: base64.b64encode(value).decode() for name, value in values.items()}
    return json.dumps({"address": address, "store": store, "number": ticket.number, **packed}) + "\n"


def main() -> int:
    """0 when the whole result was carried, 1 when not, 2 for an order that cannot be read."""
    try:
        given = json.loads(sys.stdin.readline())
        ticket = Ticket(base64.b64decode(given["session_id"]), given["number"], base64.b64decode(given["ticket"]))
        address, where = given["address"], given["store"]
    except (ValueError, KeyError, TypeError):
        print("The order cannot be read: one line of JSON is expected.", file=sys.stderr)
        return 2
    try:
        carry(address, ticket, open_store(where))
    except EnclaveError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
