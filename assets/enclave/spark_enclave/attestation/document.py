"""What an attestation document says, read by the rules of the AWS specification; nothing in it is verified yet.

Source: aws-nitro-enclaves-nsm-api, docs/attestation_process.md, sections 2.2 and 3.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from spark_enclave.attestation import strict_cbor
from spark_enclave.attestation.refusals import (
    CabundleRefused,
    CertificateFieldRefused,
    DigestRefused,
    FieldMissing,
    FieldRefused,
    FieldUnknown,
    ModuleIdRefused,
    NonceRefused,
    PayloadMalformed,
    PcrsRefused,
    PublicKeyRefused,
    TimestampRefused,
    UserDataRefused,
)

MAX_PCRS: Final = 32
PCR_BYTES: Final = (32, 48, 64)
MAX_CERTIFICATE_BYTES: Final = 1024
MAX_PUBLIC_KEY_BYTES: Final = 1024
MAX_USER_DATA_BYTES: Final = 512
MAX_NONCE_BYTES: Final = 512
#: 9999-12-31T23:59:59.999Z: the last millisecond that a calendar with four digits for the year has.
MAX_TIMESTAMP_MS: Final = 253_402_300_799_999

_MANDATORY: Final = ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
#: Absent ones are left out or null: hypervisors send null, the specification says absent.
_OPTIONAL: Final = ("public_key", "user_data", "nonce")


@dataclass(frozen=True, slots=True)
class UnverifiedDocument:
    """The fields of a payload. `timestamp_ms` in milliseconds since 1970 UTC; `pcrs` index → 32, 48 or 64 bytes."""

    module_id: str
    timestamp_ms: int
    pcrs: MappingProxyType[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None


def parse(payload: bytes) -> UnverifiedDocument:
    """Read a payload; raises PayloadMalformed and its kin, or the FieldRefused that names the field."""
    fields = strict_cbor.decode(payload, "The document's payload")
    if not isinstance(fields, dict):
        raise PayloadMalformed("The document's payload is not a map.")
    for name in fields:
        if not isinstance(name, str) or name not in (*_MANDATORY, *_OPTIONAL):
            raise FieldUnknown(f"The document has a field {ascii(name)[:40]} that AWS does not define.")
    for name in _MANDATORY:
        if fields.get(name) is None:
            raise FieldMissing(f"The document has no {name}.")
    if fields["digest"] != "SHA384":
        raise DigestRefused(f"The document's digest is {ascii(fields['digest'])[:40]}, not SHA384.")
    return UnverifiedDocument(
        module_id=_module_id(fields["module_id"]),
        timestamp_ms=_timestamp(fields["timestamp"]),
        pcrs=_pcrs(fields["pcrs"]),
        certificate=_bytes(fields["certificate"], 1, MAX_CERTIFICATE_BYTES, "certificate", CertificateFieldRefused),
        cabundle=_cabundle(fields["cabundle"]),
        public_key=_optional(fields, "public_key", 1, MAX_PUBLIC_KEY_BYTES, PublicKeyRefused),
        user_data=_optional(fields, "user_data", 0, MAX_USER_DATA_BYTES, UserDataRefused),
        nonce=_optional(fields, "nonce", 0, MAX_NONCE_BYTES, NonceRefused),
    )


def _module_id(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ModuleIdRefused("The document's module_id is not a non-empty text.")
    return value


def _timestamp(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_TIMESTAMP_MS:
        raise TimestampRefused("The document's timestamp is not a positive number of milliseconds.")
    return value


def _pcrs(value: object) -> MappingProxyType[int, bytes]:
    if not isinstance(value, dict) or not 1 <= len(value) <= MAX_PCRS:
        raise PcrsRefused(f"The document's pcrs are not a map of 1 to {MAX_PCRS} registers.")
    pcrs: dict[int, bytes] = {}
    for index, content in value.items():
        if type(index) is not int or not 0 <= index < MAX_PCRS:
            raise PcrsRefused(f"The document has a PCR {ascii(index)[:20]}; indexes are 0 to {MAX_PCRS - 1}.")
        if not isinstance(content, bytes) or len(content) not in PCR_BYTES:
            raise PcrsRefused(f"The document's PCR{index} is not 32, 48 or 64 bytes.")
        pcrs[index] = content
    return MappingProxyType(dict(sorted(pcrs.items())))


def _cabundle(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not value:
        raise CabundleRefused("The document's cabundle is not a non-empty list.")
    return tuple(
        _bytes(entry, 1, MAX_CERTIFICATE_BYTES, f"cabundle[{index}]", CabundleRefused)
        for index, entry in enumerate(value)
    )


def _optional(fields: dict[str, object], name: str, least: int, most: int, refusal: type[FieldRefused]) -> bytes | None:
    return None if fields.get(name) is None else _bytes(fields[name], least, most, name, refusal)


def _bytes(value: object, least: int, most: int, name: str, refusal: type[FieldRefused]) -> bytes:
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise refusal(f"The document's {name} is not {least} to {most} bytes.")
    return value
