"""Gets the keys of tables under KMS. Whoever asks here has enforced the owner's grant before, for this very query."""

from __future__ import annotations

from typing import Protocol

from spark_enclave.kms import AttestedKms, KmsKeyArn, KmsRefused
from spark_enclave.server.attestation_device import AttestationDevice, DeviceFailed
from spark_enclave.server.parent_host import ParentHost
from spark_enclave.tables import TableKey, VerifiedManifest, encryption_context


class KeyNotReleased(Exception):
    """KMS does not give the key to this enclave; the message is for the client alone."""


class KeyRelease(Protocol):
    """Where keys under KMS come from."""

    def table_key(self, manifest: VerifiedManifest) -> TableKey:
        """The key of that version of that table of that owner; blocks. Raises KeyNotReleased."""


class KmsKeyRelease:
    """From AWS KMS, by an attestation document with a key pair that is used once. Nothing is kept between calls."""

    def __init__(self, device: AttestationDevice, parent: ParentHost) -> None:
        self._kms, self._parent = AttestedKms(device, parent.connect), parent

    def table_key(self, manifest: VerifiedManifest) -> TableKey:
        """The owner whose signature was verified is in the encryption context: another one's name opens nothing."""
        source = manifest.manifest.key
        try:
            arn = KmsKeyArn(source.key_arn or "")
            secret = self._kms.decrypt(
                source.wrapped or b"",
                key=arn,
                context=encryption_context(manifest.table_id, manifest.version, manifest.manifest.owner),
                credentials=self._parent.credentials(),
            )
            return TableKey(secret)
        except (KmsRefused, DeviceFailed) as error:
            raise KeyNotReleased(str(error)) from None
        except ValueError as error:
            raise KeyNotReleased(f"the table's key cannot be used: {error}") from None
