"""The heart of it on three hosts: a job with a known answer, a worker that dies under one, and who may not do what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from emulation.ec2 import Host, HostError
from tests.cluster.deployed import DeployedCluster
from tests.cluster.people import (
    driver_container,
    other_worker,
    output_so_far,
    records,
    running,
    submit,
    wait_until,
    whole,
)

# The first test waits for the deployment of the cluster.
pytestmark = pytest.mark.timeout(1500)

WORKER_PORTS, MANAGER_PORTS = {7946}, {2377, 7946}
METADATA = "http://169.254.169.254/latest/api/token"

#: Tries TCP ports of an address and prints those that anything answers on, be it with a refusal.
SCAN = """
import concurrent.futures, socket, sys
def answers(port):
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((sys.argv[1], port)) in (0, 111)
ports = [int(port) for port in sys.argv[2].split(",")]
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(*[port for port, open_ in zip(ports, pool.map(answers, ports)) if open_])
"""

#: What a cluster of Spark and Docker could have open, and what must not be: those of Spark stay in the overlay.
PORTS = [22, 80, 443, 2375, 2376, 2377, 4040, 4789, 5000, 6066, 7077, 7078, 7079, 7337, 7946, 8080, 8081, 9000]
PORTS += [2181, 10000, 15002, 18080, 50051]


def ports_that_answer(source: Host, target: Host) -> set[int]:
    """TCP ports of ``target`` that ``source`` gets any answer from."""
    command = ["python3", "-c", SCAN, target.address, ",".join(map(str, PORTS))]
    return {int(port) for port in source.run(command).stdout.split()}


def test_a_job_counts_words_over_the_overlay(cluster: DeployedCluster, text: tuple[str, Counter[str]]) -> None:
    address, words = text
    output = submit(cluster, "examples/word_count.py", address, "--top", "3")
    for word, count in words.most_common(3):
        assert f"{count:,}  {word}\n" in output
    assert f"{words.total():,} words, {len(words):,} of them different" in output
    assert records(cluster)[0]["state"] == "succeeded"


def test_hosts_answer_each_other_on_the_documented_ports_alone(cluster: DeployedCluster) -> None:
    [manager] = cluster.managers()
    one, other = cluster.workers()
    assert ports_that_answer(one, manager) == MANAGER_PORTS
    assert ports_that_answer(one, other) == WORKER_PORTS
    assert ports_that_answer(manager, one) == WORKER_PORTS


def test_a_worker_may_not_read_what_managers_join_with(cluster: DeployedCluster) -> None:
    [manager], worker = cluster.managers(), cluster.workers()[0]
    name = "/sparkvault/demo/swarm/manager/test-token"
    cluster.aws.client("ssm").put_parameter(Name=name, Value="x", Type="String")
    read = ["aws", "--region", "eu-central-1", "ssm", "get-parameter", "--name", name, "--query", "Parameter.Value"]
    assert manager.run(read).stdout.strip() == '"x"'
    with pytest.raises(HostError, match="AccessDenied"):
        worker.run(read)
    cluster.aws.client("ssm").delete_parameter(Name=name)


def test_a_job_survives_the_death_of_a_worker_and_shows_no_secret(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job, "4") as job:
        host, container = driver_container(cluster, job)
        secrets_are_nowhere(cluster, job, host, container)
        metadata_is_out_of_reach(host, container)
        victim = other_worker(cluster, job)
        victim.kill()
        cluster.ec2.impair(victim)
        # Nobody but the leader can complete a dead host's hook.
        wait_until("the dead host to be let go", lambda: cluster.ec2.state_of(victim.instance_id) == "terminated")
    print(f"whole after {whole(cluster, 2):.0f} s more")


def secrets_are_nowhere(cluster: DeployedCluster, job: str, host: Host, container: str) -> None:
    """The RPC secret and the job's token are, by value, in no process list, inspection, journal or output."""
    files = ("spark-rpc-secret", "sparkvault-credentials-token")
    values = [host.run(["docker", "exec", container, "cat", f"/run/secrets/{name}"]).stdout.strip() for name in files]
    assert all(len(value) >= 32 for value in values)
    look = (
        "ps axww -o args; docker ps -aq | xargs -r docker inspect; journalctl --no-pager -o cat; "
        "docker service ls -q 2>/dev/null | xargs -r docker service inspect; cat /root/.bash_history || true"
    )
    found = "\n".join(each.run(["sh", "-c", look], timeout=120).stdout for each in cluster.ec2.hosts())
    output = "\n".join(output_so_far(cluster, job))
    for value in values:
        assert value not in found
        assert value not in output
    assert files[0] in found  # by name it is there: the right places were looked at


def metadata_is_out_of_reach(host: Host, container: str) -> None:
    """A container gets its tenant's credentials from the broker, and nothing from the metadata service."""
    ask = (
        "import urllib.request, sys\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
        "url, method, header = sys.argv[1:]\n"
        "request = urllib.request.Request(url, method=method, headers=dict([header.split('=', 1)]))\n"
        "try:\n    print(opener.open(request, timeout=5).status)\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)\n"
        "except OSError as error:\n    print('unreachable')\n"
    )

    def asked(url: str, method: str, header: str) -> str:
        return host.run(["docker", "exec", container, "python3", "-c", ask, url, method, header]).stdout.strip()

    broker = "http://169.254.170.23/v1/credentials"
    token = host.run(["docker", "exec", container, "cat", "/run/secrets/sparkvault-credentials-token"]).stdout.strip()
    assert asked(METADATA, "PUT", "X-aws-ec2-metadata-token-ttl-seconds=60") == "unreachable"
    assert asked(broker, "GET", f"Authorization={token}") == "200"
    assert asked(broker, "GET", "Authorization=sv1.x.y.z") == "401"
