"""Takes an enclave image apart and puts it together again with anything changed and a right CRC."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

_HEAD = struct.Struct(">4sHHQQHH")
_HEADER_BYTES, _CRC_AT, _SLOTS = 548, 544, 32


@dataclass
class SectionParts:
    kind: int
    data: bytes
    flags: int = 0
    said_size: int | None = None


@dataclass
class Eif:
    """Fields of the header that are None, and table entries that are not given, come out right."""

    magic: bytes
    version: int
    flags: int
    sections: list[SectionParts]
    reserved: int = 0
    unused: int = 0
    count: int | None = None
    table_offsets: dict[int, int] = field(default_factory=dict)
    table_sizes: dict[int, int] = field(default_factory=dict)
    rest: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> Eif:
        magic, version, flags, _, _, _, count = _HEAD.unpack_from(data)
        position, sections = _HEADER_BYTES, []
        for _ in range(count):
            kind, _, size = struct.unpack_from(">HHQ", data, position)
            sections.append(SectionParts(kind, data[position + 12 : position + 12 + size]))
            position += 12 + size
        return cls(magic, version, flags, sections)

    def begin(self, index: int) -> int:
        """Where the data of a section begin."""
        return _HEADER_BYTES + 12 + sum(12 + len(section.data) for section in self.sections[:index])

    def pack(self) -> bytes:
        offsets = [self.begin(index) - 12 for index in range(len(self.sections))]
        sizes = [len(section.data) for section in self.sections]
        tables = (self._table(offsets, self.table_offsets), self._table(sizes, self.table_sizes))
        count = len(self.sections) if self.count is None else self.count
        head = _HEAD.pack(self.magic, self.version, self.flags, 1 << 30, 2, self.reserved, count)
        header = head + b"".join(struct.pack(f">{_SLOTS}Q", *table) for table in tables)
        body = b"".join(
            struct.pack(
                ">HHQ",
                section.kind,
                section.flags,
                len(section.data) if section.said_size is None else section.said_size,
            )
            + section.data
            for section in self.sections
        )
        return self.with_crc(header + struct.pack(">II", self.unused, 0) + body + self.rest)

    @staticmethod
    def _table(values: list[int], changes: dict[int, int]) -> list[int]:
        table = values + [0] * (_SLOTS - len(values))
        for index, value in changes.items():
            table[index] = value
        return table

    @staticmethod
    def with_crc(data: bytes) -> bytes:
        """The same image with the CRC that it should have."""
        crc = zlib.crc32(data[_HEADER_BYTES:], zlib.crc32(data[:_CRC_AT]))
        return data[:_CRC_AT] + crc.to_bytes(4, "big") + data[_HEADER_BYTES:]
