"""`sparkvault enclave promote|revoke`: from one trusted image to the next, with a canary that shows the way is open."""

from pathlib import Path
from typing import Annotated

import typer

from sparkvault.cli.enclave_errors import enclave_errors
from sparkvault.cli.encrypt import DEFAULT_KEY_FILE, KeyFileOption
from sparkvault.cli.options import ConfigOption
from sparkvault.cli.query import DEFAULT_ENCLAVE, SIMULATED, EnclaveOption, way_to
from sparkvault.cli.trust_options import MeasurementsOption, SimulatedOption, anchor_of, policy_of
from sparkvault.console import result, say
from sparkvault.errors import SparkvaultError, UsageError
from sparkvault.project import project_root

_ImageArgument = Annotated[str, typer.Argument(metavar="ID", help="Name of the image in measurements.json.")]


def promote(
    image: _ImageArgument,
    canary: Annotated[
        Path, typer.Option("--canary", metavar="DIR", help="A table of yours under KMS, by `sparkvault encrypt`.")
    ],
    enclave: EnclaveOption = DEFAULT_ENCLAVE,
    key: KeyFileOption = DEFAULT_KEY_FILE,
    measurements: MeasurementsOption = None,
    simulated: SimulatedOption = None,
    config: ConfigOption = None,
) -> None:
    """Make an image that is `next` the current one, after an enclave with it has opened a table under KMS."""
    from spark_enclave.client import EnclaveConnection, TableFolder, Trust
    from spark_enclave.tables import read_key_file
    from spark_enclave_image import rotation, trust_lock

    path = _list_at(measurements)
    with enclave_errors():
        keys = read_key_file(key.expanduser())
        policy = policy_of(measurements)
        table = TableFolder.of_client(canary, keys, owner_key=keys.public_key, pinned=lambda *_: 1)
        if table.manifest.manifest.key.kind != "kms":
            raise UsageError(
                f"the table {canary} is not under KMS, so opening it proves nothing about the key's policy",
                "encrypt one with a key file of `sparkvault keys new --kms ARN`",
            )
        trust = Trust(policy, anchor_of(simulated))
        with (
            way_to(enclave, config) as address,
            EnclaveConnection(address) as connection,
            connection.open_session(trust, keys.signing_key) as session,
        ):
            attestation = session.attested.attestation
            if session.simulated:
                say(SIMULATED)
            if attestation.measurement.id != image:
                raise SparkvaultError(
                    f"the enclave at {enclave} runs {attestation.measurement.id}, not {image}",
                    "name an enclave on a host that was replaced already",
                )
            session.put_table("canary", table)
            rows = session.query("SELECT count(*) AS n FROM canary").to_table().to_pylist()[0]["n"]
    try:
        changed = rotation.promoted(policy, attestation)
    except rotation.RotationRefused as refused:
        raise _refusal(refused) from None
    path.write_text(trust_lock.to_text(changed), encoding="utf-8")
    result(f"{image} opened the canary ({rows} rows) and is current in {path.name}; commit it after review.")


def revoke(image: _ImageArgument, measurements: MeasurementsOption = None) -> None:
    """Revoke an image: clients refuse it at once, KMS when the key stack is deployed again."""
    from spark_enclave_image import rotation, trust_lock

    path = _list_at(measurements)
    with enclave_errors():
        policy = policy_of(measurements)
    try:
        changed = rotation.revoked(policy, image)
    except rotation.RotationRefused as refused:
        raise _refusal(refused) from None
    path.write_text(trust_lock.to_text(changed), encoding="utf-8")
    result(f"{image} is revoked in {path.name}; commit it, then `sparkvault deploy` with the key stack.")


def _list_at(measurements: Path | None) -> Path:
    return measurements or project_root() / "assets" / "enclave" / "measurements.json"


def _refusal(refused: Exception) -> SparkvaultError:
    what, _, remedy = str(refused).partition("\n")
    return SparkvaultError(what, remedy or None)
