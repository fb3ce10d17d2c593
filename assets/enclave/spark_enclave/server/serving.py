"""Puts the broker behind TLS on a Unix socket; a relay outside of gRPC connects that to vsock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc

from spark_enclave.protocol.enclave_pb2_grpc import add_EnclaveServicer_to_server
from spark_enclave.protocol.limits import MAX_MESSAGE_BYTES
from spark_enclave.server.attestation_device import AttestationDevice
from spark_enclave.server.boot_identity import BootIdentity
from spark_enclave.server.broker import Broker
from spark_enclave.server.session_worker import WorkerCommand
from spark_enclave.server.settings import Settings
from spark_enclave.server.worker_pool import WorkerPool

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
    address: str, device: AttestationDevice, command: WorkerCommand, settings: Settings
) -> AsyncIterator[Broker]:
    """A broker that listens at a gRPC address (`unix:/path`) until the block ends; then nothing of it is left."""
    # Keys must not reach a disk or another process: no core files, no tracing by others.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings.scratch.mkdir(mode=0o711, parents=True, exist_ok=True)
    identity = BootIdentity.generate()
    pool = WorkerPool(command, settings)
    broker = Broker(identity, device, pool, settings)
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=settings.concurrent_calls)
    add_EnclaveServicer_to_server(broker, server)  # type: ignore[no-untyped-call]
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
