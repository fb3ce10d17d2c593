"""A document that was not verified cannot be used: not by mistake, and mypy says so before it runs."""

import ast
import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from spark_enclave.attestation import (
    InspectedAttestation,
    SimulatedRootRefused,
    TrustAnchor,
    VerifiedAttestation,
    inspect,
    require_verified,
)
from tests.enclave.conftest import NONCE, NOW, USER_DATA, Enclave

REPOSITORY = Path(__file__).resolve().parents[2]
MEASURED_CODE = REPOSITORY / "assets" / "enclave" / "spark_enclave"

#: What a caller could do wrong, and what mypy says to it.
MISUSE = """
from spark_enclave.attestation import InspectedAttestation, TrustAnchor, VerifiedAttestation, inspect, require_verified

def send_keys(attestation: VerifiedAttestation) -> None: ...

seen = inspect(b"")
send_keys(seen)  # error: "InspectedAttestation"
send_keys(b"document")  # error: "bytes"
require_verified(seen)  # error: "InspectedAttestation"
VerifiedAttestation()  # error: Missing named argument
TrustAnchor(root_sha256="", is_simulated=False)  # error: Missing named argument "seal"
TrustAnchor(root_sha256="", is_simulated=False, seal=object())  # error: expected "_Seal"
class Own(VerifiedAttestation): ...  # error: Cannot inherit from final class
"""


def test_mypy_refuses_to_use_what_was_not_verified(tmp_path: Path) -> None:
    file = tmp_path / "misuse.py"
    file.write_text(MISUSE)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent"),
            *("--cache-dir", str(tmp_path / "cache"), str(file)),
        ],
        cwd=REPOSITORY,
        env={"MYPYPATH": str(MEASURED_CODE.parent), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = [line.split(": error: ") for line in run.stdout.splitlines() if ": error: " in line]
    errors = {int(place.split(":")[1]): text for place, text in found}
    wanted = {
        number: line.split("# error: ")[1]
        for number, line in enumerate(MISUSE.splitlines(), start=1)
        if "# error: " in line
    }
    assert errors.keys() == wanted.keys(), run.stdout + run.stderr
    for number, text in wanted.items():
        assert text in errors[number]


def test_nobody_but_the_verifier_makes_a_verified_attestation(enclave: Enclave) -> None:
    verified = enclave.verify(enclave.attest())
    fields = {field.name: getattr(verified, field.name) for field in dataclasses.fields(verified)}
    for seal in (None, object(), True):
        with pytest.raises(TypeError, match="made by the verifier only"):
            VerifiedAttestation(**fields, seal=seal)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        VerifiedAttestation(**fields)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(verified, simulated=False)  # type: ignore[call-arg]


def test_a_verified_attestation_cannot_be_changed_or_put_away(enclave: Enclave) -> None:
    verified = enclave.verify(enclave.attest())
    with pytest.raises(dataclasses.FrozenInstanceError):
        verified.simulated = False  # type: ignore[misc]
    with pytest.raises(TypeError):
        verified.pcrs[0] = b""  # type: ignore[index]
    with pytest.raises(TypeError, match="verify the document again"):
        pickle.dumps(verified)
    assert copy.deepcopy(verified) is verified
    assert copy.copy(verified) is verified


def test_a_verified_attestation_cannot_be_extended() -> None:
    with pytest.raises(TypeError, match="cannot be extended"):
        type("Own", (VerifiedAttestation,), {})


def test_looking_at_a_document_with_everything_given_is_still_not_verifying_it(enclave: Enclave) -> None:
    seen = inspect(
        enclave.attest(), trust=enclave.trust, at=NOW, policy=enclave.policy, nonce=NONCE, user_data=USER_DATA
    )
    assert type(seen) is InspectedAttestation
    with pytest.raises(TypeError, match="VerifiedAttestation is needed, not InspectedAttestation"):
        require_verified(seen)  # type: ignore[arg-type]
    assert require_verified(verified := enclave.verify(enclave.attest())) is verified


def test_an_anchor_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError, match=r"TrustAnchor\.aws"):
        TrustAnchor(root_sha256="ab" * 32, is_simulated=False, seal=None)  # type: ignore[arg-type]


def test_bytes_that_are_no_bytes_are_a_mistake_of_the_caller(enclave: Enclave) -> None:
    for document in (bytearray(enclave.attest()), enclave.attest().hex(), None):
        with pytest.raises(TypeError, match="a document is bytes"):
            enclave.verify(document)  # type: ignore[arg-type]


def test_without_the_module_for_simulated_roots_no_simulation_can_be_trusted(
    enclave: Enclave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measured image is built without that one file."""
    monkeypatch.setitem(sys.modules, "spark_enclave.attestation.simulated_root", None)
    with pytest.raises(SimulatedRootRefused, match="AWS root only"):
        TrustAnchor.simulated(enclave.pki.root_pem)


def test_the_enclaves_code_knows_nothing_of_the_simulator() -> None:
    for file in sorted(MEASURED_CODE.rglob("*.py")):
        imported = {
            name
            for node in ast.walk(ast.parse(file.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not {name for name in imported if name.split(".")[0] in ("emulation", "tests", "spark_enclave_image")}, (
            file
        )
        assert "spark_enclave.attestation.simulated_root" not in imported, file


def test_verifying_needs_nothing_of_the_simulator_or_the_image_builder() -> None:
    code = "import json, sys, spark_enclave.attestation; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(MEASURED_CODE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(json.loads(run.stdout))
    assert "spark_enclave.attestation.verifier" in loaded
    assert not {name for name in loaded if name.startswith(("emulation", "spark_enclave_image"))}
    assert "spark_enclave.attestation.simulated_root" not in loaded
