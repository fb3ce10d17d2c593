"""The device behind `/dev/nsm`: registers with their locks, random bytes, signed attestation documents.

Sources: aws-nitro-enclaves-nsm-api, src/api/mod.rs (operations, error codes), nsm-test/src/bin/nsm-check.rs (32
registers, 0 to 15 locked from the start, a locked one can be neither extended nor locked), docs/attestation_process.md
(sizes); where these are silent, QEMU's device for Nitro Enclaves (which error, 256 random bytes).
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from emulation.nsm.attestation_pki import Clock, SimulatedPki, now

MAX_PCRS: Final = 32
LOCKED_AT_BOOT: Final = 16
PCR_BYTES: Final = 48
RANDOM_BYTES: Final = 256
MAX_PUBLIC_KEY_BYTES: Final = 1024
MAX_USER_DATA_BYTES: Final = 512
MAX_NONCE_BYTES: Final = 512
VERSION: Final = (1, 0, 0)

#: A new leaf is issued this long before the old one ends, as no document should expire on its way.
_LEAF_RENEWAL: Final = timedelta(hours=1)
_PROTECTED_ES384: Final = b"\xa1\x01\x38\x22"


class ErrorCode(StrEnum):
    """Errors of the device, by their names on the wire."""

    INVALID_ARGUMENT = "InvalidArgument"
    INVALID_INDEX = "InvalidIndex"
    READ_ONLY_INDEX = "ReadOnlyIndex"
    INVALID_OPERATION = "InvalidOperation"
    BUFFER_TOO_SMALL = "BufferTooSmall"
    INPUT_TOO_LARGE = "InputTooLarge"


class NsmError(Exception):
    """An operation that the device refuses."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.value)
        self.code = code


@dataclass(frozen=True, slots=True)
class Registers:
    """What the hypervisor measures before an enclave starts: index (0 to 15) → 48 bytes; the others are zero."""

    values: Mapping[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, value in self.values.items():
            if not 0 <= index < LOCKED_AT_BOOT or len(value) != PCR_BYTES:
                raise ValueError(f"PCR{index}: the hypervisor sets PCR0 to PCR15, 48 bytes each")

    @classmethod
    def measured(
        cls,
        *,
        pcr0: bytes,
        pcr1: bytes,
        pcr2: bytes,
        pcr8: bytes | None = None,
        role_arn: str | None = None,
        instance_id: str | None = None,
    ) -> Registers:
        """Of an image, and of the instance's role (PCR3) and id (PCR4): SHA-384(48 zero bytes ‖ text)."""
        values = {0: pcr0, 1: pcr1, 2: pcr2}
        values |= {8: pcr8} if pcr8 else {}
        values |= {3: _extend(bytes(PCR_BYTES), role_arn.encode())} if role_arn else {}
        values |= {4: _extend(bytes(PCR_BYTES), instance_id.encode())} if instance_id else {}
        return cls(values)

    @classmethod
    def debug_mode(cls) -> Registers:
        """Of an enclave in debug mode: all zero."""
        return cls()


class SimulatedNsm:
    """One enclave's device. Thread-safe; lives as long as its enclave: registers are never reset."""

    def __init__(
        self, pki: SimulatedPki, registers: Registers, *, module_id: str | None = None, clock: Clock = now
    ) -> None:
        self.module_id = module_id or f"i-{secrets.token_hex(8)}1-enc{secrets.token_hex(8)}"
        self._pki, self._clock = pki, clock
        self._values = [registers.values.get(index, bytes(PCR_BYTES)) for index in range(MAX_PCRS)]
        self._locked = [index < LOCKED_AT_BOOT for index in range(MAX_PCRS)]
        self._lock = threading.Lock()
        self._leaf = pki.issue_leaf(self.module_id)

    def describe_pcr(self, index: int) -> tuple[bool, bytes]:
        """Whether the register is locked, and its 48 bytes; raises NsmError InvalidIndex."""
        with self._lock:
            self._require_index(index)
            return self._locked[index], self._values[index]

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        """SHA-384(old ‖ data), which the register holds from now on; raises NsmError InvalidIndex or ReadOnlyIndex."""
        with self._lock:
            self._require_unlocked(index)
            self._values[index] = _extend(self._values[index], data)
            return self._values[index]

    def lock_pcr(self, index: int) -> None:
        """Nothing changes this register any more; raises NsmError InvalidIndex, or ReadOnlyIndex when it is locked."""
        with self._lock:
            self._require_unlocked(index)
            self._locked[index] = True

    def lock_pcrs(self, count: int) -> None:
        """Lock registers 0 to `count` - 1, those that are locked already included; raises NsmError InvalidIndex."""
        with self._lock:
            if not 0 <= count <= MAX_PCRS:
                raise NsmError(ErrorCode.INVALID_INDEX)
            self._locked[:count] = [True] * count

    def locked_pcrs(self) -> list[int]:
        """Indexes of the locked registers, ascending."""
        with self._lock:
            return [index for index in range(MAX_PCRS) if self._locked[index]]

    def random(self) -> bytes:
        """256 random bytes."""
        return secrets.token_bytes(RANDOM_BYTES)

    def attest(
        self, *, public_key: bytes | None = None, user_data: bytes | None = None, nonce: bytes | None = None
    ) -> bytes:
        """A signed document (untagged COSE_Sign1) with all locked registers.

        Up to 1024 bytes of public key and 512 each of user data and nonce; raises NsmError InputTooLarge, or
        InvalidArgument for an empty public key, which the specification does not allow.
        """
        limits = ((public_key, MAX_PUBLIC_KEY_BYTES), (user_data, MAX_USER_DATA_BYTES), (nonce, MAX_NONCE_BYTES))
        if any(value is not None and len(value) > limit for value, limit in limits):
            raise NsmError(ErrorCode.INPUT_TOO_LARGE)
        if public_key == b"":
            raise NsmError(ErrorCode.INVALID_ARGUMENT)
        with self._lock:
            made = self._clock()
            if self._leaf.not_after - made < _LEAF_RENEWAL:
                self._leaf = self._pki.issue_leaf(self.module_id)
            leaf = self._leaf
            pcrs = {index: self._values[index] for index in range(MAX_PCRS) if self._locked[index]}
        payload = cbor2.dumps(
            {
                "module_id": self.module_id,
                "digest": "SHA384",
                "timestamp": int(made.timestamp() * 1000),
                "pcrs": pcrs,
                "certificate": leaf.certificate,
                "cabundle": list(leaf.cabundle),
                "public_key": public_key,
                "user_data": user_data,
                "nonce": nonce,
            }
        )
        return sign_document(payload, leaf.key)

    def _require_index(self, index: int) -> None:
        if not 0 <= index < MAX_PCRS:
            raise NsmError(ErrorCode.INVALID_INDEX)

    def _require_unlocked(self, index: int) -> None:
        self._require_index(index)
        if self._locked[index]:
            raise NsmError(ErrorCode.READ_ONLY_INDEX)


def sign_document(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Untagged COSE_Sign1 over `payload` with ES384, signature as r‖s."""
    to_sign = cbor2.dumps(["Signature1", _PROTECTED_ES384, b"", payload])
    r, s = decode_dss_signature(key.sign(to_sign, ec.ECDSA(hashes.SHA384())))
    return cbor2.dumps([_PROTECTED_ES384, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


def _extend(old: bytes, data: bytes) -> bytes:
    return hashlib.sha384(old + data).digest()
