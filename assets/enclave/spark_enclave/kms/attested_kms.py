"""`kms:Decrypt` with an attestation document as recipient.

The parent host carries the bytes and gives short-lived credentials: both are hostile. What counts is compiled in: the
service's name is made from a region of the right form, TLS roots come with the image, and the answer is readable only
with a key that was made in here a moment before.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spark_enclave.kms.enveloped_data import EnvelopeRefused, open_envelope
from spark_enclave.kms.request_signing import signed_headers

_ARN: Final = re.compile(
    r"arn:(?P<partition>aws|aws-us-gov):kms:(?P<region>[a-z]{2}(?:-gov)?-[a-z]{4,12}-[1-9]):[0-9]{12}:key/"
    r"(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
#: KMS API reference: a ciphertext has at most 6144 bytes, an encryption context's pairs 8192.
MAX_CIPHERTEXT_BYTES: Final = 6144
_MAX_ANSWER_BYTES: Final = 65_536
_RSA_BITS: Final = 2048
_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]{1,4096}")


class KmsRefused(Exception):
    """KMS did not give the key, or what came back is not an answer for this enclave.

    `code` is KMS's own word (`AccessDeniedException`), or ours (`Unreachable`, `AnswerRefused`).
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class AttestationDevice(Protocol):
    """What signs documents: the Nitro Security Module."""

    def attest(self, *, public_key: bytes | None, user_data: bytes | None, nonce: bytes | None) -> bytes:
        """A signed document (COSE_Sign1 bytes)."""


@dataclass(frozen=True, slots=True)
class KmsKeyArn:
    """The ARN of a key, of a form that cannot name another host or path."""

    text: str

    def __post_init__(self) -> None:
        if not _ARN.fullmatch(self.text):
            raise ValueError("a key is named by its whole ARN: arn:aws:kms:REGION:ACCOUNT:key/ID")

    @property
    def region(self) -> str:
        """The key's region."""
        match = _ARN.fullmatch(self.text)
        assert match is not None  # noqa: S101 - checked when it was made
        return match["region"]

    @property
    def host(self) -> str:
        """The only name whose certificate is accepted."""
        return f"kms.{self.region}.amazonaws.com"


@dataclass(frozen=True, slots=True, repr=False)
class KmsCredentials:
    """Short-lived credentials that the parent host gave; worth nothing without an attestation document."""

    access_key_id: str
    secret_access_key: str
    session_token: str

    def __post_init__(self) -> None:
        for value in (self.access_key_id, self.secret_access_key, self.session_token):
            if not _CREDENTIAL.fullmatch(value):
                raise ValueError("the parent's credentials are not of the form that STS gives")


#: Opens an HTTPS connection to that host of AWS, certificate checked; how it is carried is the platform's business.
Connect = Callable[[str], http.client.HTTPConnection]


class AttestedKms:
    """Decrypts data keys; one key pair for each call, so that no answer is of use twice."""

    def __init__(self, device: AttestationDevice, connect: Connect) -> None:
        self._device, self._connect = device, connect

    def decrypt(
        self, ciphertext: bytes, *, key: KmsKeyArn, context: Mapping[str, str], credentials: KmsCredentials
    ) -> bytes:
        """The data key. `context` is the encryption context, from a grant whose signature has been checked.

        Raises KmsRefused.
        """
        if not 0 < len(ciphertext) <= MAX_CIPHERTEXT_BYTES:
            raise KmsRefused("AnswerRefused", f"an encrypted data key has 1 to {MAX_CIPHERTEXT_BYTES} bytes")
        private_key = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
        public_key = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        document = self._device.attest(public_key=public_key, user_data=None, nonce=None)
        answer = self._call(
            key,
            {
                "CiphertextBlob": base64.b64encode(ciphertext).decode(),
                "EncryptionContext": dict(context),
                "KeyId": key.text,
                "Recipient": {
                    "AttestationDocument": base64.b64encode(document).decode(),
                    "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                },
            },
            credentials,
        )
        if answer.get("KeyId") != key.text or answer.get("Plaintext"):
            raise KmsRefused("AnswerRefused", "KMS answered for another key, or in the clear")
        try:
            envelope = base64.b64decode(str(answer.get("CiphertextForRecipient", "")), validate=True)
            return open_envelope(envelope, private_key)
        except (EnvelopeRefused, ValueError) as error:
            raise KmsRefused("AnswerRefused", f"KMS's answer cannot be used: {error}") from None

    def _call(self, key: KmsKeyArn, body: Mapping[str, Any], credentials: KmsCredentials) -> dict[str, Any]:
        payload = json.dumps(body, separators=(",", ":")).encode()
        headers = signed_headers(
            host=key.host,
            region=key.region,
            target="TrentService.Decrypt",
            payload=payload,
            access_key_id=credentials.access_key_id,
            secret_access_key=credentials.secret_access_key,
            session_token=credentials.session_token,
        )
        try:
            connection = self._connect(key.host)
            try:
                connection.request("POST", "/", body=payload, headers=headers)
                response = connection.getresponse()
                content = response.read(_MAX_ANSWER_BYTES + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise KmsRefused("Unreachable", f"KMS at {key.host} cannot be reached: {type(error).__name__}") from None
        return _checked(response.status, content)


def _checked(status: int, content: bytes) -> dict[str, Any]:
    if len(content) > _MAX_ANSWER_BYTES:
        raise KmsRefused("AnswerRefused", f"KMS's answer has more than {_MAX_ANSWER_BYTES} bytes")
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise KmsRefused("AnswerRefused", f"KMS's answer is no JSON object (HTTP status {status})")
    if status != http.client.OK:
        code = str(answer.get("__type", "UnknownError")).rpartition("#")[2][:64]
        reason = str(answer.get("message", answer.get("Message", "")))[:300]
        raise KmsRefused(code, f"KMS refused to decrypt: {code}: {reason}")
    return answer
