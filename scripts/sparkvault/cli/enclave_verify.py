"""`sparkvault enclave verify`: an attestation document checked by hand."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sparkvault.cli.enclave_errors import enclave_errors
from sparkvault.cli.options import JsonOption
from sparkvault.cli.trust_options import SimulatedOption, anchor_of
from sparkvault.console import print_json, result
from sparkvault.errors import UsageError

#: No document is larger (16 KiB of payload and its envelope); more is not read.
_MOST_BYTES = 1 << 20


def verify(
    document: Annotated[Path, typer.Argument(metavar="DOCUMENT", help="The raw bytes of the document (COSE_Sign1).")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="When it was looked at (ISO 8601, UTC); now by default."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Measurements that it must be one of.")
    ] = None,
    nonce: Annotated[str | None, typer.Option("--nonce", metavar="HEX", help="The nonce that it must answer.")] = None,
    simulated: SimulatedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a document: form, certificates up to the root, signature, debug mode; and what else is given.

    Says what was proven and what was not looked at. Exit code 1 when it is refused.
    """
    from spark_enclave.attestation import MeasurementPolicy, inspect

    with enclave_errors():
        verified = inspect(
            _read(document),
            policy=None if policy is None else MeasurementPolicy.from_file(policy),
            nonce=None if nonce is None else _hex(nonce),
            trust=anchor_of(simulated),
            at=None if at is None else _moment(at),
        )
    if as_json:
        print_json(verified.to_json())
    else:
        result(verified.describe())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", "give a file with an attestation document"
        ) from None


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(
            f"--nonce {text[:80]}: not hexadecimal", "give the nonce that was sent, two digits a byte"
        ) from None


def _moment(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--at {text}: not a time", "write it as in 2026-11-21T12:00:00Z") from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)
