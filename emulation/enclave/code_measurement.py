"""Stands in for an image's measurements where there is no image: hashes of the very code that the process runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import spark_enclave
from emulation.nsm import Registers

#: What the broker runs; the client's part and the attestation verifier are not inside an enclave.
_PARTS = ("kms", "protocol", "server", "tables")


def measure_code(others: Iterable[Path] = ()) -> Registers:
    """PCR0 over everything, PCR1 over Python's part, PCR2 over the `others` (jars): other code, other values."""
    package = Path(spark_enclave.__file__).parent
    sources = sorted(path for part in _PARTS for path in (package / part).glob("*.py"))
    python = _digest((str(path.relative_to(package)), path) for path in sources)
    rest = _digest((path.name, path) for path in sorted(others))
    return Registers.measured(pcr0=hashlib.sha384(python + rest).digest(), pcr1=python, pcr2=rest)


def policy_for(registers: Registers) -> list[dict[str, object]]:
    """Its entry of a measurements.json. The platform is one that the AWS root never vouches for."""
    pcrs = {f"PCR{index}": registers.values[index].hex() for index in (0, 1, 2)}
    return [{"id": "simulated", "platform": "vm-test", "status": "current", "pcrs": pcrs}]


def _digest(files: Iterable[tuple[str, Path]]) -> bytes:
    total = hashlib.sha384()
    for name, path in files:
        total.update(f"{name}\0".encode() + hashlib.sha384(path.read_bytes()).digest())
    return total.digest()
