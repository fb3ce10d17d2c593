"""The owner's side of tables under KMS: a data key for one version of one table, asked for with the owner's role."""

from __future__ import annotations

from typing import Any

from spark_enclave.client.errors import EnclaveError
from spark_enclave.kms import KmsKeyArn
from spark_enclave.tables import ClientKeys, KeySource, TableKey, encryption_context


class DataKeyRefused(EnclaveError):
    """KMS gave no data key for the table."""


def table_key(keys: ClientKeys, table_id: str, version: int, *, kms: Any = None) -> tuple[TableKey, KeySource]:
    """The key to encrypt that version of the client's table with, and what its manifest says of where it comes from.

    Under KMS (`keys.kms_key`) it is a new data key, bound to table, version and owner; it is forgotten after use, and
    only an attested enclave gets it again, not even this client. `kms`: a boto3 client; by default one of the ordinary
    credentials, in the key's region. Raises DataKeyRefused.
    """
    if keys.kms_key is None:
        return keys.table_key(table_id), KeySource()
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        arn = KmsKeyArn(keys.kms_key)
        client = kms or boto3.client("kms", region_name=arn.region)
        context = encryption_context(table_id, version, keys.public_key)
        answer = client.generate_data_key(KeyId=arn.text, KeySpec="AES_256", EncryptionContext=context)
    except (ClientError, BotoCoreError, ValueError) as error:
        raise DataKeyRefused(
            f"KMS gave no data key for {table_id}, version {version}: {error}",
            "Use the credentials of a role that the key's policy names as owner.",
        ) from None
    return TableKey(answer["Plaintext"]), KeySource("kms", arn.text, answer["CiphertextBlob"])
