"""OpenSession: the client's secret and signing key, sealed to the attested key and bound to what was attested."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.hybrid_key import HybridPrivateKey, seal_to
from spark_enclave.protocol.limits import DOMAIN, KEY_BYTES, MAX_OPENING_BYTES, VERSION
from spark_enclave.protocol.refusals import MessageMalformed, SignatureRefused

_BODY: Final = {"client_key": bytes, "secret": bytes}


def opening_info(nonce: bytes, document: bytes, binding: bytes) -> bytes:
    """What an opening is bound to: the client's nonce, the very document that answered it, the keys in it.

    HPKE's `info`: CBOR of [domain, version, "open-session", nonce, SHA-384(document), SHA-384(binding)].
    """
    digests = [hashlib.sha384(document).digest(), hashlib.sha384(binding).digest()]
    return canonical_cbor.encode([DOMAIN, VERSION, "open-session", nonce, *digests])


@dataclass(frozen=True, slots=True)
class Opening:
    """What the enclave learns: 32 secret bytes, and the Ed25519 key (32 bytes) that the client proved to hold."""

    client_key: bytes
    secret: bytes


def seal(hpke_key: bytes, info: bytes, secret: bytes, signing_key: Ed25519PrivateKey) -> bytes:
    """The sealed opening, bound to `info`. `secret`: 32 random bytes, used once."""
    body = canonical_cbor.encode({"client_key": signing_key.public_key().public_bytes_raw(), "secret": secret})
    signature = signing_key.sign(_to_sign(info, body))
    return seal_to(hpke_key, canonical_cbor.encode([body, signature]), info)


def unseal(key: HybridPrivateKey, info: bytes, sealed: bytes) -> Opening:
    """What the client sealed; raises SealBroken, MessageMalformed, SignatureRefused."""
    if len(sealed) > MAX_OPENING_BYTES:
        raise MessageMalformed("The opening of the session has the wrong size.")
    match canonical_cbor.decode(key.open(sealed, info), "opening"):
        case [bytes(body), bytes(signature)]:
            fields = canonical_cbor.decode_map(body, "opening's body", _BODY)
        case _:
            raise MessageMalformed("The opening is not a body and a signature.")
    client_key, secret = fields["client_key"], fields["secret"]
    if not isinstance(client_key, bytes) or not isinstance(secret, bytes) or len(secret) != KEY_BYTES:
        raise MessageMalformed("The opening's secret does not have 32 bytes.")
    try:
        Ed25519PublicKey.from_public_bytes(client_key).verify(signature, _to_sign(info, body))
    except (InvalidSignature, ValueError):
        raise SignatureRefused("The opening is not signed by the key that it names.") from None
    return Opening(client_key=client_key, secret=secret)


def _to_sign(info: bytes, body: bytes) -> bytes:
    # `info` names the enclave's keys: an enclave cannot pass the opening on to another as if the client had meant that.
    return canonical_cbor.encode([DOMAIN, VERSION, "open-session-signature", info, body])
