"""Small images from recipes instead of big binaries, and how AWS's own tool measured them.

`python -m tests.enclave.eif_recipes NITRO_CLI` builds every recipe, asks `nitro-cli describe-eif`, and writes
eif_vectors.json again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spark_enclave_image import BuildMetadata, ImageSigner, Measurements, build

VECTORS_FILE = Path(__file__).with_name("eif_vectors.json")

#: name → sizes in bytes of kernel and ramdisks, command line, whether signed, architecture.
RECIPES: dict[str, dict[str, Any]] = {
    "one-ramdisk": {"kernel": 4096, "ramdisks": [8192], "cmdline": "reboot=k panic=30"},
    "two-ramdisks-odd-sizes": {"kernel": 4097, "ramdisks": [1, 8191], "cmdline": "reboot=k panic=30 pci=off"},
    "three-ramdisks": {"kernel": 65_537, "ramdisks": [333, 4444, 55_555], "cmdline": "console=ttyS0"},
    "one-byte-of-everything": {"kernel": 1, "ramdisks": [1], "cmdline": "x"},
    "three-ramdisks-signed": {"kernel": 10_001, "ramdisks": [777, 13, 4099], "cmdline": "a=1 b=2", "signed": True},
    "two-ramdisks-signed-aarch64": {
        "kernel": 2049,
        "ramdisks": [1023, 1025],
        "cmdline": "reboot=k",
        "signed": True,
        "architecture": "aarch64",
    },
    "large": {"kernel": 3_000_001, "ramdisks": [2_000_003, 1_500_007], "cmdline": "q" * 2047, "signed": True},
}


def signer() -> ImageSigner:
    """A key and certificate that are the same every time; they sign nothing but these tests' images."""
    key = ec.derive_private_key(0x5EED, ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sparkvault test image signer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2056, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA384(), ecdsa_deterministic=True)
    )
    return ImageSigner(
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
    )


def cook(name: str, folder: Path) -> tuple[Path, Measurements]:
    """Build the recipe `name` in `folder`: the image, and what the builder measured."""
    recipe = RECIPES[name]
    kernel = _filled(folder / f"{name}-kernel", recipe["kernel"])
    ramdisks = [_filled(folder / f"{name}-ramdisk-{index}", size) for index, size in enumerate(recipe["ramdisks"])]
    out = folder / f"{name}.eif"
    measurements = build(
        out,
        kernel=kernel,
        cmdline=recipe["cmdline"],
        ramdisks=ramdisks,
        metadata=BuildMetadata(image_name=name, image_version="1", custom={"recipe": name}),
        signer=signer() if recipe.get("signed") else None,
        architecture=recipe.get("architecture", "x86_64"),
    )
    return out, measurements


def _filled(path: Path, size: int) -> Path:
    """Bytes that look random and are the same everywhere: SHAKE-256 of the file's name."""
    path.write_bytes(hashlib.shake_256(path.name.encode()).digest(size))
    return path


def main(nitro_cli: str) -> None:
    """Measure every recipe with AWS's tool and write the vectors."""

    def run(*arguments: str) -> str:
        return subprocess.run([nitro_cli, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout

    images: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in RECIPES:
            path, _ = cook(name, Path(folder))
            described = json.loads(run("describe-eif", "--eif-path", str(path)))
            images[name] = {
                "eif_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "crc_check": described["CheckCRC"],
                "is_signed": described["IsSigned"],
                "signature_check": described.get("SignatureCheck"),
                "measurements": {
                    key: value for key, value in described["Measurements"].items() if key.startswith("PCR")
                },
            }
    tool = run("--version").strip()
    vectors = {"measured_by": f"{tool}, describe-eif", "images": images}
    VECTORS_FILE.write_text(json.dumps(vectors, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
