"""The enclave's image on its way to hosts: one file, named by its digest and by what it measures to."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from spark_constructs.permissions import Permission
from spark_constructs.refusal import RefusedError

#: Where user data writes the pin, and bin/fetch-enclave-image and bin/run-enclave of the bundle read it.
PIN_FILE = "/etc/sparkvault/enclave-image.json"

_PIECE = 1 << 20
_REGISTERS = ("PCR0", "PCR1", "PCR2")


class EnclaveImageError(RefusedError):
    """The image cannot be given to hosts; the message says why and what to do."""


@dataclass(frozen=True)
class EnclaveImageProps:
    """The file, and its registers as the lock file of trust has them."""

    path: Path
    """An enclave image file, made by ``sparkvault enclave build``."""
    pcrs: Mapping[str, str]
    """Register → 96 hexadecimal digits; PCR0, PCR1 and PCR2 at least."""


class EnclaveImage(Construct):
    """The image as an asset, which hosts fetch at boot and hold against the digest in their user data.

    A host that was given another file, or whose hypervisor measures something else, runs no enclave. This protects the
    service, not the data: keys go by the measurements alone, whatever a host runs.

    Example::

        image = EnclaveImage(self, "EnclaveImage", EnclaveImageProps(path=eif, pcrs=entry.pcrs))
        HostGroup(self, "Workers", HostGroupProps(..., enclave_image=image))
    """

    def __init__(self, scope: Construct, construct_id: str, props: EnclaveImageProps) -> None:
        """Raises EnclaveImageError."""
        super().__init__(scope, construct_id)
        missing = [register for register in _REGISTERS if not props.pcrs.get(register, "").strip("0")]
        if missing:
            raise EnclaveImageError(
                f"{props.path} has no value for {', '.join(missing)}: an image in debug mode, or one that was not "
                "measured, runs on no host; add it with `sparkvault enclave measure --add ID`"
            )
        try:
            self.sha384 = _sha384(props.path)
        except OSError as error:
            raise EnclaveImageError(
                f"the enclave image {props.path} cannot be read ({error.strerror}); build it with `sparkvault enclave "
                "build --platform nitro-x86_64` on Amazon Linux 2023"
            ) from None
        # PCR0 is of kernel, command line and all ramdisks: user data stays short.
        self._pcrs = {"PCR0": props.pcrs["PCR0"].lower()}
        self.asset = s3_assets.Asset(self, "File", path=str(props.path))

    def pin(self) -> str:
        """What a host is told: JSON with address, SHA-384 and the register that covers all of the image."""
        return json.dumps({"url": self.asset.s3_object_url, "sha384": self.sha384, "pcrs": self._pcrs})

    def read(self) -> Permission:
        """To fetch exactly this file."""
        objects = (self.asset.bucket.arn_for_objects(self.asset.s3_object_key),)
        return Permission("EnclaveImage", ("s3:GetObject",), objects)


def _sha384(path: Path) -> str:
    digest = hashlib.sha384()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
