"""What an attacker reaches from inside a container, under each runtime: what we expect, probed for real."""

from collections.abc import Generator

import pytest

from benchmarks.security import probes
from benchmarks.security.run import as_markdown, judged, probe
from emulation.engine import Engine
from emulation.yarn.cluster import Runtime
from tests.support.docker_engine import leased_engine

#: The first one waits for the image, some minutes where nothing is cached.
pytestmark = pytest.mark.timeout(1800)

NAMES = {each.__name__ for each in probes.PROBES}

#: Everything else is blocked.
OPEN: dict[Runtime, dict[str, str]] = {
    # Plain containers share the host's kernel, and Docker 20.10's filter of system calls lets io_uring through.
    "runc": {"kernel_identity": "possible", "io_uring": "possible", "neighbours_ports": "possible"},
    "runsc": {
        "user_namespaces": "own kernel",
        "kernel_log": "own kernel",
        # Whoever listens in a container must ask who it is: Spark does, by a secret of each application.
        "neighbours_ports": "possible",
        "processes_without_end": "not shown here",
        "memory_without_end": "not shown here",
    },
}


@pytest.fixture(scope="module")
def engine() -> Generator[Engine, None, None]:
    """Where the image comes from."""
    yield from leased_engine()


@pytest.mark.parametrize("runtime", ["runc", "runsc"])
def test_probes_find_what_we_expect_of_the_runtime(engine: Engine, runtime: Runtime) -> None:
    found = probe(engine, runtime)
    assert set(found) == NAMES
    assert {name: outcome for name, (outcome, _) in found.items() if outcome != "blocked"} == OPEN[runtime]


def test_a_door_of_the_containers_own_kernel_is_told_from_the_hosts() -> None:
    said = [{"probe": "io_uring", "outcome": "possible", "evidence": "EFAULT"}]
    host = {"probe": "kernel_identity", "outcome": "possible", "evidence": "the host's"}
    own = host | {"outcome": "blocked"}
    assert judged("runc", [host, *said])["io_uring"][0] == "possible"
    assert judged("runsc", [own, *said])["io_uring"][0] == "own kernel"
    # A neighbour's port is no door of a kernel.
    port = {"probe": "neighbours_ports", "outcome": "possible", "evidence": "connected"}
    assert judged("runsc", [own, port])["neighbours_ports"][0] == "possible"


def test_the_report_has_a_row_for_each_probe_and_says_what_each_is() -> None:
    table = as_markdown({"runc": dict.fromkeys(NAMES, ("blocked", "EPERM"))})
    rows = [line for line in table.splitlines() if line.startswith("| ") and "blocked" in line]
    assert len(rows) == len(NAMES)
    assert all(each.__doc__ for each in probes.PROBES)
    assert all("CWE-" in (each.__doc__ or "") or "CVE-" in (each.__doc__ or "") for each in probes.PROBES)
