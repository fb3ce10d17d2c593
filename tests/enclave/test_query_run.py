"""A query that is abandoned: whatever the broker does at the same time, its worker is stopped once, and to the end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from spark_enclave.protocol.messages import Query
from spark_enclave.protocol.result_chunks import ResultSealer
from spark_enclave.protocol.session_keys import SessionKeys
from spark_enclave.server import worker_frames
from spark_enclave.server.query_run import QueryRun
from spark_enclave.server.session_user import SessionUsers
from spark_enclave.server.session_worker import Failed, SessionWorker


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


class LastWords:
    """A worker process whose query could not be stopped: it says so with the query's answer."""

    def __init__(self, *, last: bool) -> None:
        frame = worker_frames.pack({"is": "failed", "id": 1, "kind": "timeout", "message": "", "last": last})
        self.returncode = None
        self.stdin, self.stdout = Pipe(), asyncio.StreamReader()
        self.stdout.feed_data(frame)


class Pipe:
    def write(self, _: bytes) -> None: ...

    async def drain(self) -> None: ...


@pytest.mark.parametrize("last", [True, False])
def test_a_worker_that_ends_after_its_answer_is_not_asked_again(tmp_path: Path, last: bool) -> None:
    async def asked() -> SessionWorker:
        process = cast(asyncio.subprocess.Process, LastWords(last=last))
        worker = SessionWorker(process, tmp_path, None, cast(SessionUsers, None))
        answers = [answer async for answer in worker.query(1, "SELECT 1", {"seconds": 1}, None, None)]
        assert answers == [Failed("timeout", "")]
        return worker

    assert asyncio.run(asked()).idle is not last
