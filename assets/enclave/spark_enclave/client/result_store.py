"""Where sealed chunks lie until their client comes: a folder or a bucket. Neither is trusted with anything."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from spark_enclave.client.errors import EnclaveError
from spark_enclave.protocol.limits import CHUNK_BYTES, GCM_TAG_BYTES

#: One byte says whether it is the last; the chunk authenticates it.
MOST_BYTES: Final = 1 + CHUNK_BYTES + GCM_TAG_BYTES


class StoreFailed(EnclaveError):
    """The store cannot be read or written."""


class ResultStore(Protocol):
    """Chunks by their index."""

    def put(self, index: int, end: bool, sealed: bytes) -> None:
        """Keep a chunk; raises StoreFailed."""

    def get(self, index: int) -> tuple[bool, bytes] | None:
        """Whether it says to be the last, and its sealed bytes; None where there is none. Raises StoreFailed."""


class FolderStore:
    """A file for each chunk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, index: int, end: bool, sealed: bytes) -> None:
        """Appears whole or not at all."""
        path = self._folder / chunk_name(index)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(pack_chunk(end, sealed))
            part.replace(path)
        except OSError as error:
            raise StoreFailed(f"{path} cannot be written: {error.strerror}.", "Mend that, then ask again.") from None

    def get(self, index: int) -> tuple[bool, bytes] | None:
        """Reads no more than a chunk can have."""
        path = self._folder / chunk_name(index)
        try:
            with path.open("rb") as file:
                return unpack_chunk(file.read(MOST_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(f"{path} cannot be read: {error.strerror}.", "Mend that, then fetch again.") from None


def open_store(where: str) -> ResultStore:
    """`s3://BUCKET/PREFIX` or a folder."""
    if not where.startswith("s3://"):
        return FolderStore(Path(where))
    # Only who keeps results in a bucket needs the AWS SDK.
    from spark_enclave.client.bucket_store import BucketStore

    return BucketStore.at(where)


def chunk_name(index: int) -> str:
    """Of a chunk's file or object."""
    return f"chunk-{index:08d}"


def pack_chunk(end: bool, sealed: bytes) -> bytes:
    """As it is kept."""
    return bytes([end]) + sealed


def unpack_chunk(data: bytes) -> tuple[bool, bytes]:
    """What was kept: whether it says to be the last, and its sealed bytes."""
    return data[:1] == b"\x01", data[1:]
