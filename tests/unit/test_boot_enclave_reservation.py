"""Memory and CPUs for enclaves: asked for in the allocator's file, and believed only when the kernel shows them."""

from pathlib import Path

import pytest

from tests.support.boot_sandbox import BootSandbox, call_function

CONFIG = "etc/nitro_enclaves/allocator.yaml"


@pytest.fixture
def host(tmp_path: Path) -> BootSandbox:
    """A host with four CPUs for enclaves and 4 GiB in huge pages on the same node."""
    sandbox = BootSandbox(tmp_path)
    sandbox.write(CONFIG, "---\nmemory_mib: 4096\ncpu_count: 4\n")
    sandbox.enclave_cpus("2-3,6-7", dict.fromkeys((2, 3, 6, 7), 0))
    sandbox.huge_pages(0, {2048: 512, 1048576: 3})
    sandbox.huge_pages(1, {2048: 0, 1048576: 0})
    return sandbox


def check(host: BootSandbox, memory_mib: int = 4096, cpus: int = 4) -> str:
    """What is missing; nothing where all is there."""
    result = call_function(host, "enclave_reservation.sh", "check_enclave_reservation", [host.root, memory_mib, cpus])
    assert (result.returncode == 0) == (result.stdout == ""), result
    assert result.stderr == ""
    return result.stdout.strip()


def test_a_reservation_that_is_there_is_accepted(host: BootSandbox) -> None:
    assert check(host) == ""


def test_memory_is_counted_over_all_page_sizes(host: BootSandbox) -> None:
    host.huge_pages(0, {2048: 511, 1048576: 3})
    assert check(host) == "4094 MiB of enclave memory are reserved on node0 where 4096 MiB are wanted"


def test_no_memory_at_all_is_seen(host: BootSandbox) -> None:
    host.huge_pages(0, {2048: 0, 1048576: 0})
    assert check(host) == "0 MiB of enclave memory are reserved on node0 where 4096 MiB are wanted"


def test_memory_on_another_node_than_the_cpus_does_not_count(host: BootSandbox) -> None:
    host.huge_pages(0, {2048: 0, 1048576: 0})
    host.huge_pages(1, {1048576: 4})
    assert check(host).startswith("0 MiB of enclave memory are reserved on node0")


@pytest.mark.parametrize("pool", ["", "(null)"])
def test_an_empty_cpu_pool_is_seen(host: BootSandbox, pool: str) -> None:
    host.enclave_cpus(pool, {})
    assert check(host) == "the enclave CPU pool has 0 CPUs where 4 are wanted"


def test_a_missing_driver_is_seen(host: BootSandbox) -> None:
    (host.root / "sys/module/nitro_enclaves/parameters/ne_cpus").unlink()
    assert check(host) == "the enclave CPU pool has 0 CPUs where 4 are wanted"


def test_a_pool_that_is_too_small_is_seen(host: BootSandbox) -> None:
    host.enclave_cpus("2-3,6", {})
    assert check(host) == "the enclave CPU pool has 3 CPUs where 4 are wanted"


def test_a_pool_over_two_nodes_is_seen(host: BootSandbox) -> None:
    host.enclave_cpus("2-3,8-9", {8: 1, 9: 1})
    assert check(host) == "the enclave CPU pool is spread over several NUMA nodes: node0, node1"


def test_a_file_without_its_first_line_is_seen(host: BootSandbox) -> None:
    host.write(CONFIG, "memory_mib: 4096\ncpu_count: 4\n")
    assert "does not start with '---', so the allocator would reserve nothing" in check(host)


def test_comments_before_the_first_line_do_not_matter(host: BootSandbox) -> None:
    host.write(CONFIG, "# Ours\n---\n# more\nmemory_mib: 4096\ncpu_count: 4\n")
    assert check(host) == ""


def test_a_missing_file_is_seen(host: BootSandbox) -> None:
    (host.root / CONFIG).unlink()
    assert check(host).endswith("allocator.yaml is missing")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("---\nmemory_mib: 512\ncpu_count: 4\n", "memory_mib: 512 where 4096 is wanted"),
        ("---\nmemory_mib: 4096\ncpu_count: 2\n", "cpu_count: 2 where 4 is wanted"),
        ("---\nmemory_mib: 4096\ncpu_pool: 2-3\n", "cpu_count: nothing where 4 is wanted"),
    ],
)
def test_a_file_of_the_package_in_place_of_ours_is_seen(host: BootSandbox, content: str, complaint: str) -> None:
    host.write(CONFIG, content)
    assert check(host).endswith(complaint)


def test_what_is_written_is_what_is_checked(tmp_path: Path) -> None:
    host = BootSandbox(tmp_path)
    written = call_function(host, "enclave_reservation.sh", "write_allocator_config", [host.root, 8192, 6])
    assert written.returncode == 0, written.stderr
    assert host.read(CONFIG) == "---\nmemory_mib: 8192\ncpu_count: 6\n"
    checked = call_function(host, "enclave_reservation.sh", "check_allocator_config", [host.root, 8192, 6])
    assert (checked.returncode, checked.stdout) == (0, "")
