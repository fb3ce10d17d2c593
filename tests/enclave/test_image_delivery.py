"""The image goes from a reviewed file to the hosts' boot: pinned by digest and registers, readable by workers only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from spark_constructs.enclave_image import PIN_FILE, EnclaveImage, EnclaveImageError, EnclaveImageProps
from spark_constructs.host_group import HostGroup
from spark_constructs.host_group_guards import EnclaveReservation
from spark_constructs.host_user_data import MAX_USER_DATA_BYTES
from spark_enclave_image import BuildMetadata, build
from stacks.enclave_key import deployed_image
from tests.support.synth_app import Synthesised, synthesise_alone
from tests.synth.test_host_group import launch_template, props

ZERO = "0" * 96


@pytest.fixture(scope="module")
def eif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eif")
    (folder / "kernel").write_bytes(b"kernel")
    for name in ("first", "second"):
        (folder / name).write_bytes(name.encode())
    metadata = BuildMetadata(image_name="test", image_version="1", kernel_version="1")
    path = folder / "image.eif"
    ramdisks = [folder / "first", folder / "second"]
    build(path, kernel=folder / "kernel", cmdline="reboot=k", ramdisks=ramdisks, metadata=metadata)
    return path


@pytest.fixture
def lock(tmp_path: Path, eif: Path) -> Path:
    return listing(tmp_path / "measurements.json", eif)


def listing(path: Path, eif: Path, *, platform: str = "nitro-x86_64", status: str = "current") -> Path:
    from spark_enclave_image import read

    entry = {"id": "now", "platform": platform, "status": status, "pcrs": read(eif).measurements.to_json()}
    path.write_text(json.dumps([entry]))
    return path


def workers(image: EnclaveImageProps | None) -> Synthesised:
    def make(stack: Any) -> HostGroup:
        given = EnclaveImage(stack, "Image", image) if image else None
        return HostGroup(stack, "Hosts", props(stack, enclaves=EnclaveReservation(1, 2, 4096), enclave_image=given))

    return synthesise_alone(make)


def test_hosts_are_told_which_file_and_which_registers_and_may_read_that_file_only(eif: Path, lock: Path) -> None:
    given = deployed_image(eif, lock)
    made = workers(given)
    script = launch_template(made)["UserData"]["Fn::Base64"]
    text = "".join(part if isinstance(part, str) else part.get("Fn::Sub", "TOKEN") for part in script["Fn::Join"][1])
    pin = json.loads(text.split(f"cat > {PIN_FILE} <<'END'\n", 1)[1].split("\nEND", 1)[0])
    assert pin["sha384"] == hashlib.sha384(eif.read_bytes()).hexdigest()
    assert pin["pcrs"] == {"PCR0": given.pcrs["PCR0"]}
    assert pin["url"].startswith("s3://")
    assert pin["url"].endswith(".eif")
    assert len(text.encode()) < MAX_USER_DATA_BYTES
    policies = json.dumps(made.template("Alone"))
    key = pin["url"].rpartition("/")[2]
    assert policies.count(f"/{key}") == 2, "in user data, and as the resource of one statement"
    assert made.violations == []


def test_without_an_image_nothing_is_said_of_one() -> None:
    assert PIN_FILE not in json.dumps(workers(None).template("Alone"))


@pytest.mark.parametrize("how", [{"status": "revoked"}, {"platform": "vm-test"}])
def test_an_image_that_no_key_is_released_to_goes_to_no_host(tmp_path: Path, eif: Path, how: dict[str, str]) -> None:
    with pytest.raises(EnclaveImageError, match=r"which measurements\.json does not have for Nitro or has revoked"):
        deployed_image(eif, listing(tmp_path / "measurements.json", eif, **how))


def test_what_is_missing_or_no_image_is_refused_with_what_to_do(tmp_path: Path, lock: Path) -> None:
    with pytest.raises(EnclaveImageError, match=r"enclaves\.image: .* is not there.*sparkvault enclave build"):
        deployed_image(tmp_path / "absent.eif", lock)
    (tmp_path / "text.eif").write_text("no image")
    with pytest.raises(EnclaveImageError, match="is no enclave image"):
        deployed_image(tmp_path / "text.eif", lock)


def test_registers_of_debug_mode_are_refused(eif: Path) -> None:
    with pytest.raises(EnclaveImageError, match="no value for PCR0, PCR1, PCR2"):
        workers(EnclaveImageProps(path=eif, pcrs={"PCR0": ZERO, "PCR1": ZERO, "PCR2": ZERO}))
