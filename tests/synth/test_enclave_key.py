"""The data owner's key: what its policy says to whom, and which images it refuses to trust."""

from typing import Any

import pytest

from emulation.aws.iam_evaluation import Decision, PolicyDocument, Request, evaluate, evaluate_resource_policy
from spark_constructs.config_source import load_mapping
from spark_constructs.enclave_key import (
    EnclaveKey,
    EnclaveKeyProps,
    TrustedImage,
    UnsafeEnclaveKeyError,
    decrypt_in_enclaves,
)
from spark_enclave.attestation import MeasurementPolicy
from spark_enclave.tables import encryption_context
from stacks.enclave_key import EnclaveKeyStack, trusted_images
from tests.support.concrete_policies import concrete
from tests.support.swarm_surroundings import ACCOUNT, KEY_ARN, REFERENCES
from tests.support.synth_app import Synthesised, synthesise, synthesise_alone
from tests.support.synth_policies import statements

OWNER = f"arn:aws:iam::{ACCOUNT}:role/sales"
PARENT = f"arn:aws:iam::{ACCOUNT}:role/analytics-workers-eu-central-1"
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/admin"
CONTEXT = {
    **{f"kms:EncryptionContext:{key}": value for key, value in encryption_context("sales", 1, b"k" * 32).items()},
    "kms:EncryptionContextKeys": sorted(encryption_context("sales", 1, b"k" * 32)),
}
IMAGE = TrustedImage("2026-11", {"PCR0": "a1" * 48, "PCR1": "B2" * 48, "PCR2": "c3" * 48})
ATTESTED = {
    "kms:RecipientAttestation:ImageSha384": "a1" * 48,
    "kms:RecipientAttestation:PCR0": "a1" * 48,
    "kms:RecipientAttestation:PCR1": "b2" * 48,
    "kms:RecipientAttestation:PCR2": "c3" * 48,
}


def alone(**changes: Any) -> Synthesised:
    given = {"cluster": "analytics", "parent_role_arn": PARENT, "images": (IMAGE,), "owners": (OWNER,), **changes}
    return synthesise_alone(lambda stack: EnclaveKey(stack, "Key", EnclaveKeyProps(**given)))


@pytest.fixture(scope="module")
def policy() -> PolicyDocument:
    template = alone(revoked=("dd" * 48,)).template("Alone")
    found = [each.body for each in statements({"Alone": template}, "key")]
    return {"Statement": concrete(found, REFERENCES)}


def decide(policy: PolicyDocument, who: str, action: str, **context: Any) -> Decision:
    given = {key: value for key, value in {**CONTEXT, **context}.items() if value is not None}
    return evaluate_resource_policy(policy, who, Request(action, KEY_ARN, given))


class TestDecrypt:
    def test_an_enclave_with_a_listed_image_may(self, policy: PolicyDocument) -> None:
        assert decide(policy, PARENT, "kms:Decrypt", **ATTESTED) is Decision.ALLOWED

    @pytest.mark.parametrize("register", ["PCR0", "PCR1", "PCR2"])
    @pytest.mark.parametrize("value", ["00" * 48, "ff" * 48, None])
    def test_any_other_register_is_not_enough(self, policy: PolicyDocument, register: str, value: str | None) -> None:
        changed = {**ATTESTED, f"kms:RecipientAttestation:{register}": value}
        assert decide(policy, PARENT, "kms:Decrypt", **changed) is Decision.IMPLICITLY_DENIED

    @pytest.mark.parametrize("who", [PARENT, OWNER, ADMINISTRATOR, f"arn:aws:iam::{ACCOUNT}:root"])
    def test_nobody_may_without_a_document(self, policy: PolicyDocument, who: str) -> None:
        assert decide(policy, who, "kms:Decrypt") is Decision.EXPLICITLY_DENIED

    def test_a_listed_image_on_another_role_may_not(self, policy: PolicyDocument) -> None:
        for who in (OWNER, ADMINISTRATOR, PARENT.replace("workers", "managers")):
            assert decide(policy, who, "kms:Decrypt", **ATTESTED) is Decision.IMPLICITLY_DENIED

    def test_a_revoked_image_may_not_whatever_else_it_shows(self, policy: PolicyDocument) -> None:
        revoked = {**ATTESTED, "kms:RecipientAttestation:PCR0": "dd" * 48}
        assert decide(policy, PARENT, "kms:Decrypt", **revoked) is Decision.EXPLICITLY_DENIED

    def test_the_key_opens_nothing_that_is_bound_to_no_table(self, policy: PolicyDocument) -> None:
        unbound = {"kms:EncryptionContext:sparkvault:table": None, "kms:EncryptionContextKeys": ["sparkvault:owner"]}
        assert decide(policy, PARENT, "kms:Decrypt", **ATTESTED, **unbound) is Decision.IMPLICITLY_DENIED
        more = {"kms:EncryptionContextKeys": ["other", *CONTEXT["kms:EncryptionContextKeys"]]}
        assert decide(policy, PARENT, "kms:Decrypt", **ATTESTED, **more) is Decision.IMPLICITLY_DENIED


class TestTheHostsOwnPolicy:
    """KMS asks it, too: the key's policy only lets the hosts' account decide."""

    def own(self, action: str = "kms:Decrypt", key: str = KEY_ARN, **context: Any) -> Decision:
        policy = {"Statement": [decrypt_in_enclaves(KEY_ARN).statement().to_statement_json()]}
        given = {name: value for name, value in {**CONTEXT, **context}.items() if value is not None}
        return evaluate([policy], Request(action, key, given))

    def test_an_enclave_may_decrypt_a_table(self) -> None:
        assert self.own(**ATTESTED) is Decision.ALLOWED

    def test_nothing_without_a_document_or_for_another_key_or_purpose(self) -> None:
        assert self.own() is Decision.IMPLICITLY_DENIED
        assert self.own(key=KEY_ARN[:-1] + "2", **ATTESTED) is Decision.IMPLICITLY_DENIED
        assert self.own("kms:Encrypt", **ATTESTED) is Decision.IMPLICITLY_DENIED
        for name in encryption_context("sales", 1, b"k" * 32):
            unbound: dict[str, Any] = {f"kms:EncryptionContext:{name}": None}
            assert self.own(**ATTESTED, **unbound) is Decision.IMPLICITLY_DENIED


class TestWaysRound:
    @pytest.mark.parametrize("action", ["kms:CreateGrant", "kms:ReEncryptFrom", "kms:ReplicateKey"])
    @pytest.mark.parametrize("who", [PARENT, OWNER, ADMINISTRATOR])
    def test_they_are_denied_to_everybody(self, policy: PolicyDocument, who: str, action: str) -> None:
        assert decide(policy, who, action, **ATTESTED) is Decision.EXPLICITLY_DENIED

    @pytest.mark.parametrize("action", ["kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey"])
    def test_the_hosts_administer_nothing(self, policy: PolicyDocument, action: str) -> None:
        assert decide(policy, PARENT, action) is Decision.EXPLICITLY_DENIED
        assert decide(policy, ADMINISTRATOR, action) is Decision.ALLOWED

    def test_no_statement_gives_everything(self, policy: PolicyDocument) -> None:
        allowed = [each for each in policy["Statement"] if each["Effect"] == "Allow"]
        assert "*" not in str([each["Action"] for each in allowed])
        administration = next(each for each in allowed if each["Sid"] == "Administration")
        assert not {"kms:Decrypt", "kms:CreateGrant", "kms:ReEncryptFrom"} & set(administration["Action"])


class TestOwners:
    def test_they_encrypt_for_a_table(self, policy: PolicyDocument) -> None:
        assert decide(policy, OWNER, "kms:GenerateDataKey") is Decision.ALLOWED
        assert decide(policy, ADMINISTRATOR, "kms:GenerateDataKey") is Decision.IMPLICITLY_DENIED

    def test_they_encrypt_nothing_that_is_bound_to_no_table(self, policy: PolicyDocument) -> None:
        unbound = dict.fromkeys(CONTEXT)
        assert decide(policy, OWNER, "kms:GenerateDataKey", **unbound) is Decision.IMPLICITLY_DENIED


class TestTheConstruct:
    def test_alone_it_passes_cdk_nag_and_stays_when_its_stack_goes(self) -> None:
        answer = alone()
        assert answer.violations == []
        (key,) = (each for each in answer.template("Alone")["Resources"].values() if each["Type"] == "AWS::KMS::Key")
        assert (key["DeletionPolicy"], key["Properties"]["EnableKeyRotation"]) == ("Retain", True)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"images": ()}, "sparkvault enclave build --platform nitro-x86_64"),
            ({"owners": ()}, "no owner"),
            ({"images": (TrustedImage("x", {"PCR8": "a1" * 48}),)}, "lacks PCR0, PCR1, PCR2"),
            ({"images": (TrustedImage("x", {**IMAGE.pcrs, "PCR0": "00" * 48}),)}, "debug mode"),
            ({"images": (TrustedImage("x", {**IMAGE.pcrs, "PCR1": "a1"}),)}, "96 hexadecimal digits"),
            ({"revoked": ("A1" * 48,)}, "is revoked"),
            ({"images": tuple(TrustedImage(str(index), IMAGE.pcrs) for index in range(60))}, "KMS takes 32768"),
        ],
    )
    def test_it_refuses_what_would_trust_the_wrong_code(self, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(UnsafeEnclaveKeyError, match=reason):
            alone(**changes)


class TestTheStack:
    MEASUREMENTS = MeasurementPolicy.model_validate(
        [
            {"id": "now", "platform": "nitro-x86_64", "status": "current", "pcrs": IMAGE.pcrs},
            {"id": "vm", "platform": "vm-test", "status": "current", "pcrs": {**IMAGE.pcrs, "PCR0": "e1" * 48}},
            {"id": "old", "platform": "nitro-x86_64", "status": "revoked", "pcrs": {**IMAGE.pcrs, "PCR0": "e2" * 48}},
        ]
    )

    def test_only_images_for_real_hardware_that_are_not_revoked_are_trusted(self) -> None:
        assert [image.id for image in trusted_images(self.MEASUREMENTS)] == ["now"]

    def test_it_is_deployed_in_the_owners_account_and_names_the_clusters_hosts(self) -> None:
        deployment = load_mapping(
            {
                "cluster": "analytics",
                "account": ACCOUNT,
                "region": "eu-central-1",
                "enclaves": {"enabled": True, "owner_key": {"owners": [OWNER], "account": "444455556666"}},
            },
            "test",
        )
        owner_key = deployment.enclaves.owner_key
        assert owner_key is not None
        answer = synthesise(
            lambda app: EnclaveKeyStack(
                app, "EnclaveKey", deployment=deployment, owner_key=owner_key, measurements=self.MEASUREMENTS
            )
        )
        assert answer.manifest["artifacts"]["EnclaveKey"]["environment"] == "aws://444455556666/eu-central-1"
        image = next(each.body for each in statements(answer.templates, "key") if each.body["Sid"] == "Image0")
        assert concrete(image["Condition"]["ArnEquals"], REFERENCES) == {"aws:PrincipalArn": PARENT}
        assert answer.violations == []
