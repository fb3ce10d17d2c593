"""The stack of the data owner's key: deployed by the owner, before the cluster, in the owner's account."""

from pathlib import Path

from aws_cdk import Environment, Stack
from constructs import Construct

from spark_constructs.config import Deployment, OwnerKey
from spark_constructs.enclave_image import EnclaveImageError, EnclaveImageProps
from spark_constructs.enclave_key import EnclaveKey, EnclaveKeyProps, TrustedImage
from spark_constructs.naming import host_role_name
from spark_enclave.attestation.measurement_policy import NITRO_PLATFORMS, MeasurementPolicy
from spark_enclave_image.eif_reader import read
from spark_enclave_image.errors import EifError
from stacks.base import SparkvaultStack

#: The lock file of trust: which images there are, and which of them may run.
MEASUREMENTS = Path(__file__).resolve().parents[1] / "assets" / "enclave" / "measurements.json"


class EnclaveKeyStack(SparkvaultStack):
    """``<cluster>-enclave-key``: the key, its policy made from measurements.json. It needs no other stack."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        owner_key: OwnerKey,
        measurements: MeasurementPolicy,
    ) -> None:
        """Raises UnsafeEnclaveKeyError where no image is trusted."""
        super().__init__(
            scope,
            construct_id,
            deployment=deployment,
            part="enclave-key",
            description="sparkvault: the data owner's key, which only measured enclaves decrypt with",
            env=Environment(account=owner_key.account or deployment.account, region=deployment.region),
        )
        parent = Stack.of(self).format_arn(
            service="iam",
            region="",
            account=deployment.account or self.account,
            resource="role",
            resource_name=host_role_name(deployment.cluster, "worker", self.region),
        )
        key = EnclaveKey(
            self,
            "Key",
            EnclaveKeyProps(
                cluster=deployment.cluster,
                parent_role_arn=parent,
                images=trusted_images(measurements),
                owners=tuple(owner_key.owners),
                administrators=tuple(owner_key.administrators),
                revoked=tuple(entry.pcrs["PCR0"] for entry in measurements.root if entry.status == "revoked"),
            ),
        )
        self.output("EnclaveKeyArn", key.key.key_arn, "The data owner's key: give it as enclaves.key_arn")


def trusted_images(measurements: MeasurementPolicy) -> tuple[TrustedImage, ...]:
    """The images for real hardware that may run, now or next."""
    return tuple(
        TrustedImage(entry.id, entry.pcrs)
        for entry in measurements.root
        if entry.platform in NITRO_PLATFORMS and entry.status != "revoked"
    )


def committed_measurements(path: Path = MEASUREMENTS) -> MeasurementPolicy:
    """measurements.json; an empty list, which trusts nothing, where there is none. Raises MeasurementPolicyError."""
    return MeasurementPolicy.from_file(path) if path.exists() else MeasurementPolicy(())


def deployed_image(path: Path, measurements: Path = MEASUREMENTS) -> EnclaveImageProps:
    """An image file for hosts, which must be one that keys are released to. Raises EnclaveImageError."""
    if not path.is_file():
        raise EnclaveImageError(
            f"enclaves.image: {path} is not there; build it with `sparkvault enclave build --platform nitro-x86_64` on "
            "Amazon Linux 2023"
        )
    try:
        pcrs = read(path).measurements.to_json()
    except EifError as error:
        raise EnclaveImageError(f"enclaves.image: {path} is no enclave image: {error}") from None
    if not any(entry.pcrs == pcrs for entry in trusted_images(committed_measurements(measurements))):
        raise EnclaveImageError(
            f"enclaves.image: {path} measures to PCR0 {pcrs['PCR0']}, which measurements.json does not have for Nitro "
            "or has revoked; review it and add it with `sparkvault enclave measure --add ID`"
        )
    return EnclaveImageProps(path=path, pcrs=pcrs)
