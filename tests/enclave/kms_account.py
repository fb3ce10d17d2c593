"""An emulated account with a data owner's key, and the roles that would like to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3.session

from emulation.aws import EmbeddedAws
from emulation.aws.embedded import ACCOUNT_ID
from spark_constructs.enclave_key import EnclaveKey, EnclaveKeyProps, TrustedImage
from tests.support.concrete_policies import concrete
from tests.support.synth_app import synthesise_alone
from tests.support.synth_policies import statements

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
EVERYTHING = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
#: `owner` encrypts tables, `parent` is the role of the enclave's hosts, `admin` is anybody else in the account.
ROLES = {name: f"arn:aws:iam::{ACCOUNT_ID}:role/{name}" for name in ("owner", "parent", "admin")}


@dataclass
class KmsAccount:
    """A running emulated AWS, the owner's key in it, credentials of each role."""

    aws: EmbeddedAws
    key_arn: str = ""
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Names of the roles in the account."""

    def client(self, role: str, service: str = "kms") -> Any:
        given = self.credentials[role]
        session: Any = boto3.session.Session()
        return session.client(
            service,
            endpoint_url=self.aws.endpoint,
            region_name=self.aws.region,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    def assume(self, name: str, arn: str) -> None:
        """Make a role that may do everything as far as its own policy goes: what holds it back is the key's alone."""
        iam, role = self.aws.client("iam"), arn.rpartition("/")[2]
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
        self.names[name] = role
        self.give(name, EVERYTHING)
        self.credentials[name] = self.aws.client("sts").assume_role(RoleArn=arn, RoleSessionName=name)["Credentials"]

    def give(self, name: str, statement: Mapping[str, Any]) -> None:
        """Make this the one statement of a role's own policy."""
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.aws.client("iam").put_role_policy(RoleName=self.names[name], PolicyName="own", PolicyDocument=policy)


@contextmanager
def kms_account(root_pem: bytes, *images: TrustedImage) -> Iterator[KmsAccount]:
    """With a key whose policy is the construct's own for these images; `root_pem`: the simulated root that counts."""
    with EmbeddedAws() as aws:
        account = KmsAccount(aws)
        aws.trust_simulated_nsm(root_pem)
        for name, arn in ROLES.items():
            account.assume(name, arn)
        policy = json.dumps(key_policy(images))
        account.key_arn = aws.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"]
        yield account


def key_policy(images: Sequence[TrustedImage]) -> dict[str, Any]:
    props = EnclaveKeyProps("analytics", ROLES["parent"], tuple(images), (ROLES["owner"],))
    template = synthesise_alone(lambda stack: EnclaveKey(stack, "Key", props)).template("Alone")
    references = {"AWS::Partition": "aws", "AWS::AccountId": ACCOUNT_ID}
    found = [concrete(each.body, references) for each in statements({"Alone": template}, "key")]
    return {"Version": "2012-10-17", "Statement": found}
