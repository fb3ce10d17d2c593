"""The boot script does its steps in the right order, can be run again, and ends every failure in one clear reason."""

import json
from pathlib import Path

import pytest

from tests.support.boot_sandbox import BUNDLE, BootSandbox, shellcheck

ALLOCATOR = "nitro-enclaves-allocator.service"
ENCLAVES = {"count": 2, "cpus": 2, "memory_mib": 2048}


def host_of(tmp_path: Path, role: str = "worker", enclaves: dict[str, int] | None = None) -> BootSandbox:
    """A host on which everything is as it should be; the allocator is checked as its drop-in has it checked."""
    host = BootSandbox(tmp_path)
    host.install_bundle()
    host.write("etc/sparkvault/host.json", json.dumps({"role": role, "enclaves": enclaves}))
    host.enclave_cpus("2-3,6-7", dict.fromkeys((2, 3, 6, 7), 0))
    host.huge_pages(0, {2048: 2048})
    host.stand_in("journalctl", f"cat {host.root}/journal 2>/dev/null")
    host.stand_in(
        "systemctl",
        f'case "$*" in\n'
        f'  "start {ALLOCATOR}") exec {host.bundle}/bin/check-enclave-reservation > {host.root}/journal ;;\n'
        f'  show*) echo {host.root}/etc/systemd/system/"${{@: -1}}" ;;\n'
        "esac",
    )
    return host


@pytest.fixture
def host(tmp_path: Path) -> BootSandbox:
    """A worker with enclaves."""
    return host_of(tmp_path, enclaves=ENCLAVES)


def test_a_host_is_set_up(host: BootSandbox) -> None:
    result = host.boot()
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("this worker is set up")
    assert not (host.root / "run/sparkvault/boot-failure").exists()


def test_memory_is_taken_before_docker_starts(host: BootSandbox) -> None:
    assert host.boot().returncode == 0
    steps = host.order_of(
        "systemctl daemon-reload",
        "systemctl restart systemd-sysctl.service",
        f"systemctl start {ALLOCATOR}",
        "systemctl start docker.service",
        "systemctl start chronyd.service",
        "systemctl start sparkvault-metadata-guard.service",
    )
    assert steps == sorted(steps)


def test_the_allocator_is_asked_for_what_all_enclaves_need(host: BootSandbox) -> None:
    assert host.boot().returncode == 0
    assert host.read("etc/nitro_enclaves/allocator.yaml") == "---\nmemory_mib: 4096\ncpu_count: 4\n"


def test_a_file_that_the_package_puts_in_place_of_ours_is_put_right(host: BootSandbox) -> None:
    host.stand_in(
        "dnf", f"printf -- 'memory_mib: 512\\ncpu_count: 2\\n' > {host.root}/etc/nitro_enclaves/allocator.yaml"
    )
    host.write("etc/nitro_enclaves/allocator.yaml", "---\nmemory_mib: 4096\ncpu_count: 4\n")
    assert host.boot().returncode == 0
    assert host.read("etc/nitro_enclaves/allocator.yaml").startswith("---\nmemory_mib: 4096\n")


def test_memory_that_the_allocator_did_not_get_ends_booting_with_that_reason(host: BootSandbox) -> None:
    host.huge_pages(0, {2048: 100})
    result = host.boot()
    assert result.returncode == 1
    assert host.reason() == (
        f"{ALLOCATOR} did not start: 200 MiB of enclave memory are reserved on node0 where 4096 MiB are wanted"
    )
    assert "systemctl start docker.service" not in host.calls


def test_a_host_without_enclaves_gets_no_allocator(tmp_path: Path) -> None:
    host = host_of(tmp_path, role="manager")
    assert host.boot().returncode == 0
    assert not any(ALLOCATOR in call or "enclaves" in call for call in host.calls)
    assert not (host.root / f"etc/systemd/system/{ALLOCATOR}.d").exists()


def test_every_unit_of_the_bundle_is_installed_enabled_and_started(host: BootSandbox) -> None:
    unit = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n"
    worker, manager = (host.bundle / "systemd" / role for role in ("worker", "manager"))
    for folder in (worker, manager):
        folder.mkdir(exist_ok=True)
    (worker / "probe.service").write_text(unit + "[Install]\nWantedBy=x\n")
    (worker / "probe.timer").write_text("[Timer]\nOnBootSec=1\n")
    (manager / "probe-of-managers.service").write_text(unit)
    assert host.boot().returncode == 0
    installed = {path.name for path in (host.root / "etc/systemd/system").iterdir()}
    folders = [host.bundle / "systemd", worker, host.bundle / "systemd" / "enclaves"]
    wanted = {each.name for folder in folders if folder.exists() for each in folder.iterdir()}
    # Boot itself adds how long the agent may take, which the configuration says.
    of_others = {"worker", "manager", "enclaves", "yarn", "yarn-master", "yarn-node"}
    assert installed == wanted - of_others | {"sparkvault-agent.service.d"}
    assert {
        "sparkvault-metadata-guard.service",
        "var-lib-docker.mount",
        "docker.service.d",
        f"{ALLOCATOR}.d",
    } < installed
    assert "systemctl --quiet enable probe.service" in host.calls
    assert "systemctl --quiet enable probe.timer" not in host.calls
    assert {"systemctl start probe.service", "systemctl start probe.timer"} <= set(host.calls)
    assert not any("probe-of-managers" in call for call in host.calls)


def test_a_unit_that_does_not_start_is_the_reason_with_its_last_words(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    host.stand_in("systemctl", '[ "$*" != "start docker.service" ]')
    host.stand_in("journalctl", "echo 'failed to start daemon: no space left on device'")
    assert host.boot().returncode == 1
    assert host.reason() == "docker.service did not start: failed to start daemon: no space left on device"


def test_it_can_be_run_again(host: BootSandbox) -> None:
    host.stand_in("dnf", "exit 1")
    assert host.boot().returncode == 1
    assert host.reason().startswith("dnf could not install docker")
    host.stand_in("dnf", "")
    for _ in range(2):
        result = host.boot()
        assert result.returncode == 0, result.stderr
        assert not (host.root / "run/sparkvault/boot-failure").exists()


def test_docker_gets_our_configuration_and_is_restarted_only_for_it(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    host.boot()
    host.boot()
    assert json.loads(host.read("etc/docker/daemon.json")) == json.loads((BUNDLE / "docker/daemon.json").read_text())
    assert host.calls.count("systemctl try-restart docker.service") == 1


def test_another_distribution_is_refused(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    host.write("etc/os-release", "ID=fedora\nVERSION_ID=43\n")
    assert host.boot().returncode == 1
    assert host.reason() == "fedora-43 is not supported: this bundle knows Amazon Linux 2023"
    assert not any(call.startswith("dnf") for call in host.calls)


def test_what_nobody_thought_of_has_a_reason_too(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    host.stand_in("systemctl", '[ "$*" != daemon-reload ]')
    assert host.boot().returncode == 1
    assert host.reason().startswith("boot stopped at 'systemctl daemon-reload' (boot.sh, line ")


def test_a_host_that_is_not_told_who_it_is_says_so(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    (host.root / "etc/sparkvault/host.json").unlink()
    result = host.boot()
    assert result.returncode == 1
    assert host.reason().startswith("boot stopped at ")
    assert "host.json" in result.stderr


def test_docker_is_hardened() -> None:
    daemon = json.loads((BUNDLE / "docker/daemon.json").read_text())
    assert daemon["no-new-privileges"] is True
    assert daemon["icc"] is False
    assert daemon["userland-proxy"] is False
    # An engine with live-restore refuses to join a swarm.
    assert daemon["live-restore"] is False
    # The socket alone: an engine on a port is root for whoever reaches it.
    assert "hosts" not in daemon
    # Amazon Linux sets it as a flag, and the engine refuses to start with both.
    assert "default-ulimits" not in daemon


def test_docker_does_not_start_without_the_guard_and_the_encrypted_volume() -> None:
    drop_in = (BUNDLE / "systemd/docker.service.d/10-sparkvault.conf").read_text().splitlines()
    assert "Requires=sparkvault-metadata-guard.service" in drop_in
    assert "After=sparkvault-metadata-guard.service" in drop_in
    assert "RequiresMountsFor=/var/lib/docker" in drop_in


@pytest.mark.parametrize("rule_there", [True, False])
def test_the_guard_drops_what_is_forwarded_to_the_metadata_service_once(tmp_path: Path, rule_there: bool) -> None:
    host = BootSandbox(tmp_path)
    host.stand_in("iptables", f'case "$*" in *--check*) exit {0 if rule_there else 1};; esac')
    assert host.run("bash", str(BUNDLE / "bin/metadata-guard")).returncode == 0
    rule = "PREROUTING --destination 169.254.169.254/32 --jump DROP"
    inserted = [call for call in host.calls if "--insert" in call]
    assert inserted == ([] if rule_there else [f"iptables --wait 30 --table raw --insert {rule}"])


def test_the_guard_fails_where_there_is_no_firewall(tmp_path: Path) -> None:
    host = BootSandbox(tmp_path)
    host.stand_in("iptables", "exit 3")
    assert host.run("bash", str(BUNDLE / "bin/metadata-guard")).returncode != 0


def test_the_shell_finds_nothing_to_object_to() -> None:
    programs = [each for each in BUNDLE.glob("bin/*") if "python" not in each.read_text().partition("\n")[0]]
    scripts = [*BUNDLE.glob("boot/*.sh"), *BUNDLE.glob("distribution/*.sh"), *programs]
    assert len(scripts) >= 9
    assert shellcheck("--external-sources", "--source-path=SCRIPTDIR", *map(str, scripts)) == ""
