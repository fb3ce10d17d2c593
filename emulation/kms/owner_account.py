"""A data owner in the emulated account: the real key stack, deployed for one simulated enclave, and its roles."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emulation.aws import EmbeddedAws
from spark_constructs.config_source import load_mapping
from spark_constructs.naming import host_role_name

CLUSTER: Final = "clinic"
OWNER_ROLE: Final = "data-owner"
_STACK: Final = f"{CLUSTER}-enclave-key"
_DEPLOY_SECONDS: Final = 120.0


class OwnerAccountError(Exception):
    """The key stack was not deployed; the message says in which state it is."""


@dataclass(frozen=True)
class OwnerAccount:
    """The key's ARN, and short-lived credentials of the owner's role and of the role of the enclave's hosts."""

    key_arn: str
    owner: Mapping[str, str]
    hosts: Mapping[str, str]

    def owner_environment(self) -> dict[str, str]:
        """Where the owner's own commands run: their role, and no other."""
        return {
            "AWS_ACCESS_KEY_ID": self.owner["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": self.owner["SecretAccessKey"],
            "AWS_SESSION_TOKEN": self.owner["SessionToken"],
        }


def open_owner_account(aws: EmbeddedAws, measurements: Path, simulated_root: bytes) -> OwnerAccount:
    """Deploy the key stack for the image that `measurements` lists. Raises OwnerAccountError.

    KMS then answers documents that the (simulated) maker `simulated_root` signed, of that image and no other.
    """
    aws.trust_simulated_nsm(simulated_root)
    # The key names this role itself, so it needs no policy of its own.
    owner = _role(aws, OWNER_ROLE)
    formation = aws.client("cloudformation")
    template = json.dumps(_template(aws, measurements))
    formation.create_stack(StackName=_STACK, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
    deadline = time.monotonic() + _DEPLOY_SECONDS
    while True:
        (found,) = formation.describe_stacks(StackName=_STACK)["Stacks"]
        if found["StackStatus"] == "CREATE_COMPLETE":
            break
        if not found["StackStatus"].endswith("IN_PROGRESS") or time.monotonic() > deadline:
            raise OwnerAccountError(f"the stack {_STACK} is {found['StackStatus']}")
        time.sleep(0.2)
    arn = next(one["OutputValue"] for one in found["Outputs"] if one["OutputKey"] == "EnclaveKeyArn")
    hosts = _role(aws, host_role_name(CLUSTER, "worker", aws.region), _hosts_policy(arn))
    return OwnerAccount(arn, owner, hosts)


def _template(aws: EmbeddedAws, measurements: Path) -> dict[str, Any]:
    # The CDK takes seconds to load, which only this function needs.
    from app import create_app
    from spark_enclave.attestation import MeasurementPolicy
    from stacks.enclave_key import EnclaveKeyStack

    owner_key = {"owners": [f"arn:aws:iam::{aws.account_id}:role/{OWNER_ROLE}"]}
    deployment = load_mapping(
        {
            "cluster": CLUSTER,
            "account": aws.account_id,
            "region": aws.region,
            "enclaves": {"enabled": True, "owner_key": owner_key},
        },
        "the data owner's configuration",
    )
    if deployment.enclaves.owner_key is None:
        raise OwnerAccountError("the configuration has no owner of the key")
    # The stack trusts images for hardware only: here, and nowhere else, the simulated one is listed as one.
    listed = json.loads(measurements.read_text(encoding="utf-8"))
    policy = MeasurementPolicy.model_validate([{**entry, "platform": "nitro-x86_64"} for entry in listed])
    with tempfile.TemporaryDirectory(prefix="owner-key-") as folder:
        app = create_app(outdir=folder)
        EnclaveKeyStack(
            app, "EnclaveKey", deployment=deployment, owner_key=deployment.enclaves.owner_key, measurements=policy
        )
        app.synth()
        template: dict[str, Any] = json.loads((Path(folder) / "EnclaveKey.template.json").read_text(encoding="utf-8"))
    # Asks for a bootstrapped account, of which this stack uses nothing.
    template.pop("Rules", None)
    template.get("Parameters", {}).pop("BootstrapVersion", None)
    return template


def _hosts_policy(key_arn: str) -> list[object]:
    """What the swarm's stack gives the workers' role about this key, and nothing else of it."""
    from spark_constructs.enclave_key import decrypt_in_enclaves

    return [decrypt_in_enclaves(key_arn).statement().to_statement_json()]


def _role(aws: EmbeddedAws, name: str, statements: list[object] | None = None) -> Mapping[str, str]:
    """Credentials of a role with that policy of its own."""
    everyone = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    iam = aws.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy([everyone]))
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="keys", PolicyDocument=_policy(statements))
    arn = f"arn:aws:iam::{aws.account_id}:role/{name}"
    given: Mapping[str, str] = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName=name)["Credentials"]
    return given


def _policy(statements: list[object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
