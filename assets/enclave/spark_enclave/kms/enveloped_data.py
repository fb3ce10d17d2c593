"""Opens `CiphertextForRecipient`: CMS EnvelopedData (RFC 5652) of exactly the form that KMS sends, and no other."""

from __future__ import annotations

from typing import Final

from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

#: Far above any data key's envelope (about 500 bytes), far below what would trouble the parser.
MAX_BYTES: Final = 16_384
_CONTENT_KEY_BYTES: Final = 32
_IV_BYTES: Final = 16


class EnvelopeRefused(Exception):
    """The envelope is not of KMS's form, or not for this key. The message names the rule, no content."""


def open_envelope(envelope: bytes, private_key: rsa.RSAPrivateKey) -> bytes:
    """The plaintext; raises EnvelopeRefused.

    The content has no authentication of its own (CBC): what vouches for it is the TLS connection to KMS.
    """
    if len(envelope) > MAX_BYTES:
        raise EnvelopeRefused(f"the envelope has {len(envelope)} bytes, more than {MAX_BYTES}")
    try:
        encrypted_key, iv, content = _parts(envelope)
    except EnvelopeRefused:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        raise EnvelopeRefused("the envelope is no CMS structure") from None
    oaep = rsa_padding.OAEP(mgf=rsa_padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    try:
        content_key = private_key.decrypt(encrypted_key, oaep)
        if len(content_key) != _CONTENT_KEY_BYTES:
            raise ValueError
        decryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(algorithms.AES.block_size).unpadder()
        padded = decryptor.update(content) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise EnvelopeRefused("the envelope does not open with this enclave's key") from None


def _parts(envelope: bytes) -> tuple[bytes, bytes, bytes]:
    """The encrypted content key, the IV and the encrypted content."""
    info = cms.ContentInfo.load(envelope, strict=True)
    _require(info["content_type"].native == "enveloped_data", "it is not enveloped data")
    data = info["content"]
    _require(data["version"].native == "v2", "its version is not 2")
    recipients = data["recipient_infos"]
    _require(len(recipients) == 1 and recipients[0].name == "ktri", "it has not exactly one key transport recipient")
    transport = recipients[0].chosen
    algorithm = transport["key_encryption_algorithm"]
    _require(algorithm["algorithm"].native == "rsaes_oaep", "its key is not encrypted by RSA-OAEP")
    oaep = algorithm["parameters"].native
    mask = oaep["mask_gen_algorithm"]
    _require(
        oaep["hash_algorithm"]["algorithm"] == "sha256"
        and mask["algorithm"] == "mgf1"
        and mask["parameters"]["algorithm"] == "sha256",
        "its RSA-OAEP is not with SHA-256",
    )
    content = data["encrypted_content_info"]
    cipher = content["content_encryption_algorithm"]
    _require(content["content_type"].native == "data", "its content is not data")
    _require(cipher["algorithm"].native == "aes256_cbc", "its content is not encrypted by AES-256-CBC")
    iv = cipher["parameters"].native
    _require(isinstance(iv, bytes) and len(iv) == _IV_BYTES, "its initialisation vector has not 16 bytes")
    return transport["encrypted_key"].native, iv, content["encrypted_content"].native


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise EnvelopeRefused(f"the envelope is refused: {otherwise}")
