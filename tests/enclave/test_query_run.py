"""A query that is abandoned: whatever the broker does at the same time, its worker is stopped once, and to the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

from spark_enclave.protocol.messages import Query
from spark_enclave.protocol.result_chunks import ResultSealer
from spark_enclave.protocol.session_keys import SessionKeys
from spark_enclave.server.query_run import QueryRun
from spark_enclave.server.session_worker import SessionWorker


class SlowToStop:
    """A worker that never ends its query by itself, and that takes a while to stop."""

    def __init__(self) -> None:
        self.stopped = 0

    async def query(self, *_: object) -> AsyncIterator[bytes]:
        while True:
            yield b"frame"
            await asyncio.sleep(0)

    async def cancel(self, _: int) -> None:
        await asyncio.sleep(0.05)
        self.stopped += 1


async def abandoned_twice(*, giving_up: bool) -> SlowToStop:
    worker = SlowToStop()
    keys = SessionKeys(bytes(16), bytes(32), bytes(48), bytes(32))
    run = QueryRun(1, Query("SELECT 1"), ResultSealer(keys, 1, bytes(48)), b"ticket")
    run.begin(cast(SessionWorker, worker), {"seconds": 1}, None, None)
    await asyncio.sleep(0.01)
    first = asyncio.create_task(run.abandon())
    await asyncio.sleep(0.01)
    if giving_up:
        first.cancel()
    await run.abandon()
    await asyncio.wait([first])
    return worker


def test_a_query_abandoned_twice_is_stopped_once_and_to_the_end() -> None:
    assert asyncio.run(abandoned_twice(giving_up=False)).stopped == 1


def test_a_caller_that_is_cancelled_does_not_interrupt_the_stopping() -> None:
    assert asyncio.run(abandoned_twice(giving_up=True)).stopped == 1
