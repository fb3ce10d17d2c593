"""`CiphertextForRecipient` as KMS makes it: CMS EnvelopedData in BER of indefinite length.

Source: KMS API reference, "Decrypt", and RFC 5652: RSA-OAEP with SHA-256 carries the content key, AES-256-CBC the
content; version 2, the recipient known by its subject key identifier.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from asn1crypto import algos, cms, core
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CONTENT_KEY_BYTES: Final = 32
_IV_BYTES: Final = 16
_END: Final = b"\x00\x00"


def seal(plaintext: bytes, recipient: rsa.RSAPublicKey) -> bytes:
    """The plaintext for whoever holds the private key."""
    content_key, iv = os.urandom(_CONTENT_KEY_BYTES), os.urandom(_IV_BYTES)
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    oaep = rsa_padding.OAEP(mgf=rsa_padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    sha256 = {"algorithm": "sha256"}
    transport = cms.KeyTransRecipientInfo(
        {
            "version": "v2",
            "rid": cms.RecipientIdentifier(name="subject_key_identifier", value=_identifier(recipient)),
            "key_encryption_algorithm": {
                "algorithm": "rsaes_oaep",
                "parameters": algos.RSAESOAEPParams(
                    {"hash_algorithm": sha256, "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256}}
                ),
            },
            "encrypted_key": recipient.encrypt(content_key, oaep),
        }
    )
    recipients = cms.RecipientInfos([cms.RecipientInfo(name="ktri", value=transport)]).dump()
    cipher = cms.EncryptionAlgorithm({"algorithm": "aes256_cbc", "parameters": core.OctetString(iv)}).dump()
    content = b"\x30\x80" + cms.ContentType("data").dump() + cipher
    content += b"\xa0\x80" + core.OctetString(encrypted).dump() + _END + _END
    enveloped: bytes = b"\x30\x80" + cms.CMSVersion("v2").dump() + recipients + content + _END
    kind: bytes = cms.ContentType("enveloped_data").dump()
    return b"\x30\x80" + kind + b"\xa0\x80" + enveloped + _END + _END


def _identifier(key: rsa.RSAPublicKey) -> bytes:
    """RFC 5280, 4.2.1.2, method 1."""
    return hashlib.sha1(key.public_bytes(Encoding.DER, PublicFormat.PKCS1), usedforsecurity=False).digest()
