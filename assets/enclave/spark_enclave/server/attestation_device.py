"""What the broker asks of a Nitro Security Module, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import cbor2

#: Sends one CBOR request to a device and returns its CBOR response.
Exchange = Callable[[bytes], bytes]

#: NSM_RESPONSE_MAX_SIZE of the driver (aws-nitro-enclaves-nsm-api, src/driver/mod.rs).
MAX_RESPONSE_BYTES: Final = 0x3000


class DeviceFailed(Exception):
    """The security module refused or did not answer; the message names the operation and the device's error code."""


class AttestationDevice(Protocol):
    """Makes attestation documents."""

    def attest(self, *, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None = None) -> bytes:
        """The signed document with these three in it; raises DeviceFailed."""


class NsmProtocol:
    """The module's operations in its own CBOR, over any exchange of bytes with it.

    Source of the messages: aws-nitro-enclaves-nsm-api, src/api/mod.rs (externally tagged Rust enums).
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def attest(self, *, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None = None) -> bytes:
        """The signed document; raises DeviceFailed."""
        request = {"Attestation": {"user_data": user_data, "nonce": nonce, "public_key": public_key}}
        answer = self._ask(request, "Attestation")
        document = answer.get("document")
        if not isinstance(document, bytes):
            raise DeviceFailed("The security module gave no document.")
        return document

    def random(self) -> bytes:
        """Up to 256 random bytes of the module; raises DeviceFailed."""
        found = self._ask("GetRandom", "GetRandom").get("random")
        if not isinstance(found, bytes) or not found:
            raise DeviceFailed("The security module gave no random bytes.")
        return found

    def _ask(self, request: object, operation: str) -> dict[object, object]:
        try:
            response = cbor2.loads(self._exchange(cbor2.dumps(request)))
        except (OSError, cbor2.CBORError) as error:
            raise DeviceFailed(f"{operation}: the security module did not answer ({type(error).__name__}).") from None
        match response:
            case {"Error": str(code)}:
                raise DeviceFailed(f"{operation}: the security module refused ({code[:40]}).")
            case dict() if isinstance(response.get(operation), dict):
                answer: dict[object, object] = response[operation]
                return answer
        raise DeviceFailed(f"{operation}: the security module's answer is not of its protocol.")
