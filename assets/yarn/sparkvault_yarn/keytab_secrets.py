"""Keytabs on their way from the master to the one node that each is for, as secrets that this node alone may read."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path

from sparkvault_host.aws_cli import AwsError, aws

from .errors import YarnHostError
from .host_settings import Wanted
from .realm import Realm

#: Tag that the nodes' role compares with who asks (spark_constructs/yarn_settings.py).
READER_TAG = "sparkvault:reader"
#: File → service of its principal.
SERVICES = {"dn.keytab": "dn", "nm.keytab": "nm", "http.keytab": "HTTP"}


def secret_name(given: Wanted, instance: str) -> str:
    """Name of a node's secret."""
    return given.keytabs + instance


def are_there(given: Wanted, realm: Realm, instance: str, host: str) -> bool:
    """Whether that node has a secret, and its principals are in the realm. Raises YarnHostError, AwsError."""
    if not {f"{service}/{host}" for service in SERVICES.values()} <= realm.principals():
        return False
    try:
        aws("secretsmanager", "describe-secret", "--secret-id", secret_name(given, instance))
    except AwsError as error:
        if error.code != "ResourceNotFoundException":
            raise
        return False
    return True


def publish(given: Wanted, realm: Realm, instance: str, host: str) -> None:
    """New keys for that node, in its secret. Raises YarnHostError, AwsError."""
    with tempfile.TemporaryDirectory(prefix="sparkvault-", dir="/run") as folder:
        held = {}
        for file, service in SERVICES.items():
            path = Path(folder) / file
            realm.keytab(path, [f"{service}/{host}"])
            held[file] = base64.b64encode(path.read_bytes()).decode()
    content = json.dumps({"host": host, "keytabs": held})
    name = secret_name(given, instance)
    try:
        aws(
            "secretsmanager",
            "create-secret",
            secret_input={
                "Name": name,
                "SecretString": content,
                "KmsKeyId": given.key,
                "Description": f"Keytabs of YARN node {instance}",
                # IAM user guide, "aws:userid": of an instance's role it is ROLE-ID:INSTANCE-ID.
                "Tags": [{"Key": READER_TAG, "Value": f"{given.nodes_role_id}:{instance}"}],
            },
        )
    except AwsError as error:
        if error.code != "ResourceExistsException":
            raise
        aws("secretsmanager", "put-secret-value", secret_input={"SecretId": name, "SecretString": content})


def forget(realm: Realm, host: str) -> None:
    """No principals of a node that is gone. Raises YarnHostError."""
    realm.forget([f"{service}/{host}" for service in SERVICES.values()])


def withdraw(given: Wanted, instance: str) -> None:
    """No secret of a node that is gone. Raises AwsError."""
    try:
        name = secret_name(given, instance)
        aws("secretsmanager", "delete-secret", "--secret-id", name, "--force-delete-without-recovery")
    except AwsError as error:
        if error.code != "ResourceNotFoundException":
            raise


def read(given: Wanted, instance: str) -> dict[str, bytes] | None:
    """This node's keytabs by file; None as long as the master has made none. Raises YarnHostError, AwsError."""
    try:
        found = aws("secretsmanager", "get-secret-value", "--secret-id", secret_name(given, instance))
    except AwsError as error:
        # What is not there yet has no tag either: it is denied.
        if error.code in ("ResourceNotFoundException", "AccessDeniedException", "AccessDenied"):
            return None
        raise
    try:
        held = json.loads(found["SecretString"])["keytabs"]
        return {file: base64.b64decode(held[file], validate=True) for file in SERVICES}
    except (ValueError, KeyError, TypeError) as error:
        raise YarnHostError("this node's secret does not hold its keytabs; the master makes them anew") from error
