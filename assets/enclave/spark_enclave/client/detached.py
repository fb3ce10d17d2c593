"""Results waited for without their client: sealed chunks in a store that nobody trusts, and what opens them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from spark_enclave.client.errors import ResultIncomplete, StateUnreadable
from spark_enclave.client.result_store import ResultStore
from spark_enclave.client.results import QueryResult, SealedChunk
from spark_enclave.protocol.result_chunks import ResultOpener

_FORM: Final = "sparkvault detached query 1"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a courier needs to carry a sealed result. It opens nothing."""

    session_id: bytes
    number: int
    ticket: bytes


@dataclass(frozen=True, slots=True)
class DetachedQuery:
    """What opens one result, and nothing else: the session's other keys cannot be had from it."""

    session_id: bytes
    number: int
    ticket: bytes
    result_key: bytes = field(repr=False)
    context: bytes
    simulated: bool
    trust: str
    """What was proven about the enclave when the query was asked, in words."""

    def for_courier(self) -> Ticket:
        """The part that a courier gets."""
        return Ticket(self.session_id, self.number, self.ticket)

    def save(self, path: Path) -> None:
        """Write it, readable by its owner only; raises FileExistsError rather than replace another state."""
        values = {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in asdict(self).items()
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"form": _FORM, **values}, file, indent=1)
            file.write("\n")

    @classmethod
    def load(cls, path: Path) -> DetachedQuery:
        """Read it back; raises StateUnreadable."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("form") != _FORM:
                raise ValueError
            for name in ("session_id", "ticket", "result_key", "context"):
                values[name] = base64.b64decode(values[name], validate=True)
            return cls(**values)
        except OSError as error:
            raise StateUnreadable(f"{path} cannot be read: {error.strerror}.", "Give the file of `--detach`.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StateUnreadable(f"{path} is no state of a detached query.", "Give the file of `--detach`.") from None

    def result(self, store: ResultStore) -> QueryResult:
        """Open the result from a store; reading it raises ResultIncomplete where chunks are missing (yet)."""
        return QueryResult(_from(store), ResultOpener(self.result_key, self.context), simulated=self.simulated)


def _from(store: ResultStore) -> Iterator[SealedChunk]:
    index, end = 0, False
    while not end:
        found = store.get(index)
        if found is None:
            raise ResultIncomplete(
                f"The store has no chunk {index}, and no end of the result before it.",
                "It may still be on its way: try again later. If it never comes, ask the query again.",
            )
        end, sealed = found
        yield index, end, sealed
        index += 1
