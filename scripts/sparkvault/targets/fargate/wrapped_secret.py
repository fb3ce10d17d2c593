"""The secret that a job's driver and executors share: made here, and gone from here once it is wrapped."""

import base64
import secrets
from typing import Any

from botocore.exceptions import ClientError

from sparkvault.errors import SparkvaultError

#: Random bytes of a secret.
SECRET_BYTES = 32


def wrapped_secret(kms: Any, key_arn: str, tenant: str, application: str) -> str:
    """A new secret under the key, for that tenant's application alone; base64. Raises SparkvaultError."""
    try:
        answer = kms.encrypt(
            KeyId=key_arn,
            Plaintext=secrets.token_hex(SECRET_BYTES).encode(),
            EncryptionContext={"tenant": tenant, "application": application},
        )
    except ClientError as error:
        raise SparkvaultError(
            f"the job's secret cannot be wrapped under {key_arn}: {error.response['Error']['Message']}",
            f"use a role with the submitter policy of tenant {tenant}",
        ) from error
    return base64.b64encode(answer["CiphertextBlob"]).decode()
