"""Frames between broker and session worker: u32 length, one byte of kind, payload (JSON or bytes)."""

from __future__ import annotations

import asyncio
import json
from typing import Final

#: From the worker: one piece of an Arrow stream and its kind.
MAX_FROM_WORKER: Final = (4 << 20) + 1
_JSON, _BYTES = b"J", b"B"


class WorkerGone(Exception):
    """The worker ended, or speaks something else than the agreed frames: it is not trusted with anything more."""


def pack(message: dict[str, object]) -> bytes:
    """A JSON frame."""
    payload = _JSON + json.dumps(message, ensure_ascii=False).encode()
    return len(payload).to_bytes(4, "big") + payload


async def read(stream: asyncio.StreamReader) -> dict[str, object] | bytes:
    """The next frame; raises WorkerGone."""
    try:
        length = int.from_bytes(await stream.readexactly(4), "big")
        if not 1 <= length <= MAX_FROM_WORKER:
            raise WorkerGone("a frame of a size that there is not")
        kind, payload = (await stream.readexactly(1)), await stream.readexactly(length - 1)
    except (asyncio.IncompleteReadError, OSError):
        raise WorkerGone("the worker ended") from None
    if kind == _BYTES:
        return payload
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        message = None
    if kind != _JSON or not isinstance(message, dict):
        raise WorkerGone("a frame that is neither bytes nor an object")
    return message
