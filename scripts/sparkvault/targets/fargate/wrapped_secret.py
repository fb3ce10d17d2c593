"""The secret that a job's driver and executors share: made here, and gone from here once it is wrapped."""

import base64
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from sparkvault.errors import SparkvaultError

#: Random bytes of a secret.
SECRET_BYTES = 32


@dataclass(frozen=True)
class WrappedSecret:
    """A job's secret on its way."""

    ciphertext: str
    """Base64; opened by the tenant's tasks alone."""
    connect_token: str = field(repr=False)
    """What a Spark Connect server that has this secret asks its clients for; the secret cannot be told from it."""


def wrapped_secret(kms: Any, key_arn: str, tenant: str, application: str) -> WrappedSecret:
    """A new secret under the key, for that tenant's application alone. Raises SparkvaultError."""
    secret = secrets.token_hex(SECRET_BYTES).encode()
    try:
        answer = kms.encrypt(
            KeyId=key_arn, Plaintext=secret, EncryptionContext={"tenant": tenant, "application": application}
        )
    except ClientError as error:
        raise SparkvaultError(
            f"the job's secret cannot be wrapped under {key_arn}: {error.response['Error']['Message']}",
            f"use a role with the submitter policy of tenant {tenant}",
        ) from error
    return WrappedSecret(base64.b64encode(answer["CiphertextBlob"]).decode(), connect_token(secret))


def connect_token(secret: bytes) -> str:
    """As the plugin's ``AuthSecret.connectToken`` makes it: HMAC-SHA-256 (RFC 2104), in hexadecimal digits."""
    return hmac.digest(secret, b"spark-connect", "sha256").hex()
