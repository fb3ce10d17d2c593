"""The data owner's key: KMS gives what it protects to enclaves that run a listed image, and to nobody else."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from spark_constructs.kms_key import ADMINISTRATION, administration
from spark_constructs.naming import KEY_ALIAS, checked
from spark_constructs.permissions import Permission
from spark_constructs.refusal import RefusedError

#: The registers that together say what an enclave runs; each of them alone can be equal for two images.
REQUIRED_PCRS = ("PCR0", "PCR1", "PCR2")

#: What data keys are bound to; the enclave asks with exactly these, from a grant whose signature it has checked.
CONTEXT_KEYS = ("sparkvault:owner", "sparkvault:purpose", "sparkvault:table", "sparkvault:version")

#: KMS developer guide, "Resource quotas": bytes of a key policy.
MAX_POLICY_BYTES = 32_768

_PCR_NAME = re.compile(r"PCR([0-9]|[12][0-9]|3[01])")
_SHA384 = re.compile(r"[0-9a-f]{96}")

# Ways to plaintext, or to another policy, that no condition on attestation reaches: ReEncryptFrom takes no Recipient,
# grants can be bound to an encryption context only, and a replica in another region has a policy of its own.
_WAYS_ROUND = ("kms:CreateGrant", "kms:ReEncryptFrom", "kms:ReplicateKey")


class UnsafeEnclaveKeyError(RefusedError):
    """A key that would be given to code nobody has measured; the message says why, and what to do."""


@dataclass(frozen=True)
class TrustedImage:
    """One measured image of the enclave."""

    id: str
    """Its name in measurements.json: letters, digits, dots, hyphens, underscores."""
    pcrs: Mapping[str, str]
    """Registers (``PCR0`` …) → SHA-384 in 96 hexadecimal digits; PCR0, PCR1 and PCR2 are required."""


@dataclass(frozen=True)
class EnclaveKeyProps:
    """What EnclaveKey needs to know."""

    cluster: str
    """Name of the cluster whose enclaves may decrypt."""
    parent_role_arn: str
    """Role of the hosts that the enclaves run on; it need not exist yet."""
    images: tuple[TrustedImage, ...]
    """The images that may decrypt, one statement each."""
    owners: tuple[str, ...]
    """ARNs of the roles that encrypt tables. They get data keys, and cannot decrypt with this key either."""
    administrators: tuple[str, ...] = ()
    """ARNs of the roles that administer the key; default: the account. Whoever may change the policy is trusted."""
    revoked: tuple[str, ...] = ()
    """PCR0 of images that must never decrypt again, whatever else the policy says; default: none."""


class EnclaveKey(Construct):
    """A symmetric key for the data owner's account, retained when its stack goes.

    The policy holds no ``kms:*``. ``Decrypt`` is allowed per image, on all of its registers together, to the hosts'
    role alone, and denied to everybody who shows no attestation document; CreateGrant and ReEncryptFrom are denied to
    everybody. Source: AWS Nitro Enclaves user guide, "Using cryptographic attestation with AWS KMS".

    Example::

        EnclaveKey(self, "Key", EnclaveKeyProps(cluster="analytics", parent_role_arn=workers_role_arn,
                   images=(TrustedImage("2026-11", {"PCR0": "…", "PCR1": "…", "PCR2": "…"}),),
                   owners=("arn:aws:iam::111122223333:role/sales-data",)))

    Attributes:
        key: the key.
    """

    key: kms.Key

    def __init__(self, scope: Construct, construct_id: str, props: EnclaveKeyProps) -> None:
        """Raises UnsafeEnclaveKeyError for images that must not be trusted, or for a key that nobody could use."""
        super().__init__(scope, construct_id)
        _refuse_unsafe(props)
        policy = self._policy(props)
        size = len(json.dumps(Stack.of(self).resolve(policy.to_json()), separators=(",", ":")))
        if size > MAX_POLICY_BYTES:
            raise UnsafeEnclaveKeyError(
                f"a policy for {len(props.images)} images has {size} bytes, and KMS takes {MAX_POLICY_BYTES}: "
                "revoke images that no host runs any more"
            )
        self.key = kms.Key(
            self,
            "Key",
            alias=checked(KEY_ALIAS, f"alias/{props.cluster}-enclave"),
            description=f"Tables for the enclaves of {props.cluster}: only measured code decrypts",
            enable_key_rotation=True,
            policy=policy,
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _policy(self, props: EnclaveKeyProps) -> iam.PolicyDocument:
        # KMS refuses a policy that names a principal it cannot find, and the hosts' role may be made later: so its
        # account, on the condition that it is that role. Its own policy must then allow the call, too
        # (`decrypt_in_enclaves`).
        parent = {"ArnEquals": {"aws:PrincipalArn": props.parent_role_arn}}
        statements = [
            administration(*(iam.ArnPrincipal(arn) for arn in props.administrators)),
            iam.PolicyStatement(
                sid="OwnersEncrypt",
                principals=[iam.ArnPrincipal(arn) for arn in props.owners],
                actions=["kms:Encrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions=_BOUND_TO_A_TABLE,
            ),
        ]
        statements += [
            iam.PolicyStatement(
                sid=f"Image{index}",
                principals=[iam.AccountPrincipal(props.parent_role_arn.split(":")[4])],
                actions=["kms:Decrypt"],
                resources=["*"],
                conditions={
                    **_BOUND_TO_A_TABLE,
                    **parent,
                    "StringEqualsIgnoreCase": {
                        f"kms:RecipientAttestation:{name}": image.pcrs[name] for name in sorted(image.pcrs, key=_number)
                    },
                },
            )
            for index, image in enumerate(props.images)
        ]
        statements += [
            _denied("UnattestedDecrypt", ["kms:Decrypt"], {"Null": {"kms:RecipientAttestation:ImageSha384": "true"}}),
            _denied("WaysRoundAttestation", list(_WAYS_ROUND)),
            _denied("HostsAdministerNothing", [name for name in ADMINISTRATION if name != "kms:DescribeKey"], parent),
        ]
        if props.revoked:
            statements.append(
                _denied(
                    "RevokedImages",
                    ["kms:Decrypt"],
                    {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": list(props.revoked)}},
                )
            )
        return iam.PolicyDocument(statements=statements, minimize=False)


def decrypt_in_enclaves(key_arn: str) -> Permission:
    """What the hosts' role needs of its own: the key's policy lets the hosts' account decide about its roles.

    Which images may decrypt is the key's matter; from here, nothing is asked for without an attestation document.
    """
    conditions = {
        **_BOUND_TO_A_TABLE,
        "Null": {**_BOUND_TO_A_TABLE["Null"], "kms:RecipientAttestation:ImageSha384": "false"},
    }
    return Permission("TablesInEnclaves", ("kms:Decrypt",), (key_arn,), conditions=conditions)


# All keys of the encryption context must be there, and no other: a data key for one table opens no other one.
_BOUND_TO_A_TABLE: Mapping[str, Mapping[str, object]] = {
    "Null": {f"kms:EncryptionContext:{name}": "false" for name in CONTEXT_KEYS},
    "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": list(CONTEXT_KEYS)},
}


def _denied(sid: str, actions: list[str], conditions: Mapping[str, object] | None = None) -> iam.PolicyStatement:
    """For everybody, the owners and the account included."""
    return iam.PolicyStatement(
        sid=sid,
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=actions,
        resources=["*"],
        conditions=conditions,
    )


def _number(pcr: str) -> int:
    return int(pcr.removeprefix("PCR"))


def _refuse_unsafe(props: EnclaveKeyProps) -> None:
    if not props.images:
        raise UnsafeEnclaveKeyError(
            "no image is trusted yet, so nobody could ever decrypt with this key: build the image on Amazon Linux 2023 "
            "with `sparkvault enclave build --platform nitro-x86_64`, review and commit measurements.json"
        )
    if not props.owners:
        raise UnsafeEnclaveKeyError("no owner is named, so nobody could encrypt with this key: name the owners' roles")
    revoked = {pcr.lower() for pcr in props.revoked}
    for image in props.images:
        where = f"image {image.id}"
        missing = [name for name in REQUIRED_PCRS if name not in image.pcrs]
        if missing:
            raise UnsafeEnclaveKeyError(
                f"{where} lacks {', '.join(missing)}: an image is known by {', '.join(REQUIRED_PCRS)} together, "
                "and by a signing certificate (PCR8) never"
            )
        for name, value in image.pcrs.items():
            if not _PCR_NAME.fullmatch(name) or not _SHA384.fullmatch(value.lower()):
                raise UnsafeEnclaveKeyError(f"{where}: {name} is no register with 96 hexadecimal digits")
            if not int(value, 16):
                raise UnsafeEnclaveKeyError(
                    f"{where}: {name} is all zero, as in an enclave in debug mode, which anybody can look into: "
                    "measure an image that was built without debug mode"
                )
        if image.pcrs["PCR0"].lower() in revoked:
            raise UnsafeEnclaveKeyError(f"{where} is revoked: remove it, or the revocation")
