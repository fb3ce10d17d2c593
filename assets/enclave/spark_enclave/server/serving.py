"""Puts the broker behind TLS on a Unix socket; a relay outside of gRPC connects that to vsock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol.limits import MAX_MESSAGE_BYTES
from spark_enclave.server.attestation_device import AttestationDevice
from spark_enclave.server.boot_identity import BootIdentity
from spark_enclave.server.broker import Broker
from spark_enclave.server.key_release import KmsKeyRelease
from spark_enclave.server.parent_host import ParentHost
from spark_enclave.server.session_worker import WorkerCommand
from spark_enclave.server.settings import Settings
from spark_enclave.server.worker_pool import WorkerPool

_Message = TypeVar("_Message", bound=Message)

_log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 2.0
#: gRPC core's channel arguments, by their names in grpc/impl/channel_arg_names.h.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", 8 << 10),
    ("grpc.max_concurrent_streams", 16),
    # A peer that connects and says nothing, or stops saying anything, is let go.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 120_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
)


@asynccontextmanager
async def serving(
    address: str, device: AttestationDevice, parent: ParentHost, command: WorkerCommand, settings: Settings
) -> AsyncIterator[Broker]:
    """A broker that listens at a gRPC address (`unix:/path`) until the block ends; then nothing of it is left."""
    # Keys must not reach a disk or another process: no core files, no tracing by others.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings.scratch.mkdir(mode=0o711, parents=True, exist_ok=True)
    identity = BootIdentity.generate()
    pool = WorkerPool(command, settings)
    broker = Broker(identity, device, KmsKeyRelease(device, parent), pool, settings)
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=settings.concurrent_calls)
    server.add_generic_rpc_handlers((_handlers(broker),))
    credentials = grpc.ssl_server_credentials([(identity.tls_key_pem, identity.certificate_pem)])
    old = os.umask(0o077)
    try:
        if address.startswith("unix:"):
            Path(address.removeprefix("unix:")).unlink(missing_ok=True)
        server.add_secure_port(address, credentials)
        await server.start()
    finally:
        os.umask(old)
    pool.warm()
    watch = asyncio.create_task(broker.watch())
    _log.info("listening; %d sessions of %d MiB", settings.sessions_most, settings.heap_mib)
    try:
        yield broker
    finally:
        watch.cancel()
        await server.stop(_STOP_SECONDS)
        await broker.close()
        with contextlib.suppress(OSError):
            settings.scratch.rmdir()


def _handlers(broker: Broker) -> grpc.GenericRpcHandler[Any, Any]:
    """The broker's methods, with a reading of requests that never raises: gRPC would answer with the error's text."""
    unary, to_stream, from_stream = (
        grpc.unary_unary_rpc_method_handler,
        grpc.unary_stream_rpc_method_handler,
        grpc.stream_unary_rpc_method_handler,
    )
    methods = {
        "Attest": unary(broker.Attest, _reading(wire.AttestRequest), wire.AttestReply.SerializeToString),
        "OpenSession": unary(
            broker.OpenSession, _reading(wire.OpenSessionRequest), wire.OpenSessionReply.SerializeToString
        ),
        "PutTable": from_stream(broker.PutTable, _reading(wire.PutTableRequest), wire.PutTableReply.SerializeToString),
        "Query": unary(broker.Query, _reading(wire.QueryRequest), wire.QueryReply.SerializeToString),
        "FetchResult": to_stream(broker.FetchResult, _reading(wire.FetchResultRequest), _as_it_is),
        "Health": unary(broker.Health, _reading(wire.HealthRequest), wire.HealthReply.SerializeToString),
    }
    name = wire.DESCRIPTOR.services_by_name["Enclave"].full_name
    if methods.keys() != {method.name for method in wire.DESCRIPTOR.services_by_name["Enclave"].methods}:
        raise AssertionError("every method of the service has a handler")
    return grpc.method_handlers_generic_handler(name, methods)


def _as_it_is(data: bytes) -> bytes:
    return data


def _reading(kind: type[_Message]) -> Callable[[bytes], _Message]:
    def read(data: bytes) -> _Message:
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError:
            return kind()  # an empty message, which every method refuses
        return message

    return read
