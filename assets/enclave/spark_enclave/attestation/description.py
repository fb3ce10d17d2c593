"""A verified document for people and for programs: what was proven, and what was not looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spark_enclave.attestation.verified import InspectedAttestation

SIMULATED = "SIMULATED: signed by a simulator's own root, not by AWS. This proves nothing about hardware."


def describe(attestation: InspectedAttestation) -> str:
    """A line for each fact; those that were not checked come last and say so."""
    root = attestation.chain[0]
    signer = "a simulated root" if attestation.simulated else "the AWS Nitro Enclaves root"
    age = (attestation.verified_at - attestation.made).total_seconds()
    lines = [SIMULATED] if attestation.simulated else []
    lines += [
        f"Signed (ES384) under {signer} {root.sha256[:16]}…, through {len(attestation.chain) - 1} valid certificates.",
        f"Enclave {printable(attestation.module_id)}, not in debug mode.",
        f"Document of {attestation.made:%Y-%m-%d %H:%M:%S} UTC, {abs(age):.0f} s {'before' if age >= 0 else 'after'} "
        f"the time of checking, {attestation.verified_at:%Y-%m-%d %H:%M:%S} UTC.",
    ]
    if attestation.measurement:
        entry = attestation.measurement
        lines.append(
            f"Runs the image {entry.id} ({entry.platform}, {entry.status}): {', '.join(sorted(entry.pcrs))} are equal; "
            f"PCR0 {entry.pcrs['PCR0'][:16]}…"
        )
    if attestation.nonce_compared:
        lines.append("Answers the nonce that was sent.")
    if attestation.user_data_compared:
        lines.append("Binds the session data that were offered.")
    if attestation.freshness_checked:
        lines.append("Is as fresh as was asked for.")
    return "\n".join(lines + [f"NOT CHECKED: {what}" for what in not_checked(attestation)])


def not_checked(attestation: InspectedAttestation) -> list[str]:
    """What nobody asked to have compared, in plain words."""
    missing = []
    if attestation.measurement is None:
        pcr0 = attestation.pcrs[0].hex()
        missing.append(f"whether this image may run (no measurements were given); its PCR0 is {pcr0}")
    if not attestation.nonce_compared:
        missing.append("whether it answers a question of ours (no nonce was given); it may be an old one replayed")
    if not attestation.user_data_compared:
        missing.append("whose session it binds (no user data were given)")
    if not attestation.freshness_checked:
        missing.append("its age")
    return missing


def to_json(attestation: InspectedAttestation) -> dict[str, object]:
    """Bytes as hexadecimal, times in ISO 8601 (UTC), `pcrs` by name, `not_checked` as sentences."""
    entry = attestation.measurement
    return {
        "verified": type(attestation).__name__ == "VerifiedAttestation",
        "simulated": attestation.simulated,
        "module_id": attestation.module_id,
        "made": attestation.made.isoformat(),
        "verified_at": attestation.verified_at.isoformat(),
        "statement_sha384": attestation.statement_sha384.hex(),
        "pcrs": {f"PCR{index}": value.hex() for index, value in attestation.pcrs.items()},
        "measurement": entry and {"id": entry.id, "platform": entry.platform, "status": entry.status},
        "public_key": _hex(attestation.public_key),
        "user_data": _hex(attestation.user_data),
        "nonce": _hex(attestation.nonce),
        "certificates": [
            {
                "subject": certificate.subject,
                "not_before": certificate.not_before.isoformat(),
                "not_after": certificate.not_after.isoformat(),
                "sha256": certificate.sha256,
            }
            for certificate in attestation.chain
        ],
        "checked": {
            "measurement": entry is not None,
            "nonce": attestation.nonce_compared,
            "user_data": attestation.user_data_compared,
            "freshness": attestation.freshness_checked,
        },
        "not_checked": not_checked(attestation),
    }


def printable(text: str) -> str:
    """Text from a document for a terminal: all but printable ASCII is escaped, at most 128 characters shown."""
    escaped = "".join(char if char.isascii() and char.isprintable() else ascii(char)[1:-1] for char in text[:128])
    return escaped + ("…" if len(text) > 128 else "")


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
