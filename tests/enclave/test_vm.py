"""The built image boots in a virtual machine, proves what it is over real vsock, and answers a query on encrypted data.

On an emulated processor; what only Nitro can show is said in docs/evidence.md.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emulation.enclave_vm import EnclaveVm
from spark_enclave.attestation import AttestationRefused, MeasurementPolicy, TrustAnchor
from spark_enclave.client import EnclaveConnection, TableNotTaken, Trust
from spark_enclave.tables import ClientKeys
from spark_enclave_image import cpio_archive, trust_lock
from spark_enclave_image.application_part import CODE_FOLDER
from spark_enclave_image.image_build import BuiltImage
from spark_enclave_image.image_diff import compare
from spark_enclave_image.pinned_inputs import CACHE_VARIABLE, cache_folder
from spark_enclave_image.system_part import run_staged
from tests.enclave.built_image import build_test_image, require_image_tools, require_vm
from tests.enclave.running_enclave import Owner

# A first build on a fresh machine fetches and packs everything.
pytestmark = [pytest.mark.timeout(900), pytest.mark.alone]

LISTEN_SECONDS = 240
#: Spark on an emulated processor.
SESSION_SECONDS = 600.0
CODE = "usr/lib/python3/dist-packages/spark_enclave/server"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    require_image_tools()
    return build_test_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def machine(image: BuiltImage) -> Iterator[EnclaveVm]:
    require_vm()
    with EnclaveVm(image.eif, memory_mib=image.needed_memory_mib) as vm:
        vm.wait_until_listening(seconds=LISTEN_SECONDS)
        yield vm


def trust_in(vm: EnclaveVm, image: BuiltImage) -> Trust:
    policy = trust_lock.with_entry(MeasurementPolicy(()), image, "vm", "current")
    return Trust(policy, TrustAnchor.simulated(vm.root_pem.read_bytes()))


def test_a_session_opens_over_vsock_and_its_keys_are_the_machines(
    machine: EnclaveVm, image: BuiltImage, tmp_path: Path
) -> None:
    keys = ClientKeys.new()
    with (
        machine.relay(tmp_path / "s") as address,
        EnclaveConnection(address, timeout=60) as connection,
        connection.open_session(trust_in(machine, image), keys.signing_key) as session,
    ):
        # Sealed by the machine, and refused before any Spark is asked: the answer came through the session's own keys.
        other = Owner(ClientKeys.new(), tmp_path).table()
        wrong = replace(other, owner_key=keys.public_key)
        with pytest.raises(TableNotTaken):
            session.put_table("sales", wrong)


def test_the_image_is_as_small_as_promised(image: BuiltImage) -> None:
    assert image.eif_mb <= 300
    assert image.needed_memory_mib >= 4 * image.eif.stat().st_size / (1 << 20)


def test_the_images_own_python_finds_all_that_the_broker_imports(image: BuiltImage, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for ramdisk in image.ramdisks:
        if ramdisk.name not in {"system", "application"}:
            continue
        for file in cpio_archive.read(ramdisk.path.read_bytes()):
            place = root / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISLNK(file.mode):
                place.symlink_to(file.data.decode())
            elif not stat.S_ISDIR(file.mode) and not file.path.startswith("opt/"):
                place.write_bytes(file.data)
                place.chmod(file.mode & 0o777)
    packages = root / "usr/lib/python3/dist-packages"
    command = f"import sys; sys.path.append({str(packages)!r}); import spark_enclave.server.__main__"
    run_staged(root, root / "usr/bin/python3.11", ["-S", "-B", "-c", command], home=root / "usr")


@pytest.mark.campaign
def test_two_builds_that_share_nothing_but_their_inputs_are_the_same_bytes(
    image: BuiltImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    for shared in ("inputs", "tools"):
        (tmp_path / "cache" / shared).symlink_to(cache_folder() / shared)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))  # the session's jar is compiled anew, too
    again = build_test_image(tmp_path / "again")
    assert not {ramdisk.path for ramdisk in again.ramdisks} & {ramdisk.path for ramdisk in image.ramdisks}
    assert compare(image.eif, again.eif) == []
    assert again.eif.read_bytes() == image.eif.read_bytes()


def test_the_committed_measurements_are_those_of_this_code(image: BuiltImage) -> None:
    entry = trust_lock.require_listed(image, trust_lock.load(trust_lock.MEASUREMENTS_FILE))
    assert (entry.platform, entry.status) == ("vm-test", "current")


@pytest.mark.campaign
def test_a_changed_line_of_trusted_code_is_another_image_and_the_difference_names_the_file(
    image: BuiltImage, tmp_path: Path
) -> None:
    trusted = trust_lock.with_entry(MeasurementPolicy(()), image, "reviewed", "current")
    assert trust_lock.require_listed(image, trusted).id == "reviewed"
    again = build_test_image(tmp_path / "again")
    assert again.eif.read_bytes() == image.eif.read_bytes()

    shutil.copytree(CODE_FOLDER / "spark_enclave", tmp_path / "code" / "spark_enclave")
    with (tmp_path / "code" / "spark_enclave" / "server" / "settings.py").open("a", encoding="utf-8") as file:
        file.write("# one more line\n")
    changed = build_test_image(tmp_path / "changed", code=tmp_path / "code")
    with pytest.raises(trust_lock.MeasurementsDiffer, match="sparkvault enclave diff"):
        trust_lock.require_listed(changed, trusted)
    assert changed.measurements.pcr1 == image.measurements.pcr1
    assert changed.measurements.pcr2 != image.measurements.pcr2
    assert {change.path for change in compare(image.eif, changed.eif)} == {
        f"{CODE}/settings.py",
        f"{CODE}/__pycache__/settings.cpython-311.pyc",
    }


def test_the_machine_attests_over_vsock_what_was_built_and_nobody_trusts_it_without_its_simulated_root(
    machine: EnclaveVm, image: BuiltImage, tmp_path: Path
) -> None:
    assert machine.heartbeat.wait(5)
    trust = trust_in(machine, image)
    with machine.relay(tmp_path / "s") as address, EnclaveConnection(address, timeout=60) as connection:
        assert connection.attest(trust).explain().startswith("SIMULATED")
        with pytest.raises(AttestationRefused):
            connection.attest(Trust(trust.policy))
        other = trust.policy.model_dump(mode="json")
        other[0]["pcrs"]["PCR0"] = "ab" * 48
        with pytest.raises(AttestationRefused):
            connection.attest(Trust(MeasurementPolicy.model_validate(other), trust.anchor))


def test_a_query_on_an_encrypted_table_is_answered_inside_the_machine(
    machine: EnclaveVm, image: BuiltImage, tmp_path: Path
) -> None:
    keys = ClientKeys.new()
    table = Owner(keys, tmp_path).table()
    with (
        machine.relay(tmp_path / "s") as address,
        EnclaveConnection(address, timeout=60) as connection,
        connection.open_session(
            trust_in(machine, image), keys.signing_key, patience_seconds=SESSION_SECONDS
        ) as session,
    ):
        session.put_table("sales", table)
        result = session.query("SELECT region, sum(amount) AS total FROM sales GROUP BY region ORDER BY region")
        assert result.to_table().to_pylist() == [
            {"region": "north", "total": sum(n for n in range(1000) if n % 3)},
            {"region": "south", "total": sum(n for n in range(1000) if not n % 3)},
        ]
