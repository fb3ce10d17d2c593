"""The heart of it on three hosts: a job with a known answer, a worker that dies under one, and who may not do what."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from emulation.ec2 import Host, HostError
from spark_constructs.ports import Protocol, rules_of
from sparkvault.targets.remote import log_stream
from tests.cluster.deployed import DeployedCluster
from tests.cluster.people import (
    LOG_GROUP,
    config,
    driver_container,
    other_worker,
    records,
    running,
    submit,
    wait_until,
    whole,
)

# The first test waits for the deployment of the cluster.
pytestmark = pytest.mark.timeout(1500)

METADATA = "http://169.254.169.254/latest/api/token"
BROKER_KEY = "/sparkvault/demo/swarm/worker/broker-key"

#: Tries TCP ports of an address, so many at once, and prints those that anything answers on, be it with a refusal. One
#: that drops what it gets is given time for a second attempt, which Linux makes after a second.
SCAN = """
import errno, resource, select, socket, sys, time
address, at_once, seconds = sys.argv[1], 4096, 2.5
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (at_once + 100, max(limit, at_once + 100)))
ports = [port for part in sys.argv[2].split(",") for first, _, last in [part.partition("-")]
         for port in range(int(first), int(last or first) + 1)]
for start in range(0, len(ports), at_once):
    poll, waiting = select.epoll(), {}
    for port in ports[start : start + at_once]:
        probe = socket.socket()
        probe.setblocking(False)
        code = probe.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            sys.exit(f"port {port} cannot be tried: {errno.errorcode[code]}")
        waiting[probe.fileno()] = port, probe
        poll.register(probe, select.EPOLLOUT)
    end = time.monotonic() + seconds
    while waiting and time.monotonic() < end:
        for number, _ in poll.poll(max(0.0, end - time.monotonic())):
            poll.unregister(number)
            port, probe = waiting.pop(number)
            code = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code in (0, errno.ECONNREFUSED):
                print(port)
            elif code not in (errno.ETIMEDOUT, errno.EHOSTUNREACH):
                sys.exit(f"port {port} cannot be tried: {errno.errorcode[code]}")
            probe.close()
    for _, probe in waiting.values():
        probe.close()
    poll.close()
"""
#: All ports take less than a minute on a machine that does nothing else.
SCAN_SECONDS = 300.0

#: What a cluster of Spark and Docker could have open, and what must not be: those of Spark stay in the overlay.
PORTS = "22,80,443,2181,2375-2377,4040,4789,5000,6066,7077-7079,7337,7946,8080,8081,9000,10000,15002,18080,50051"


def ports_that_answer(source: Host, address: str, ports: str = PORTS) -> set[int]:
    """TCP ports of an address that ``source`` gets any answer from. ``ports`` to try: numbers and ranges of them."""
    found = source.run(["python3", "-c", SCAN, address, ports], timeout=SCAN_SECONDS)
    return {int(port) for port in found.stdout.split()}


def documented_ports(source: Host, target: Host, protocol: Protocol = "tcp") -> set[int]:
    """Ports that hosts of one role may reach on those of another, as docs/ports.md has them."""
    ends = (f"{source.role}s", f"{target.role}s", protocol)
    rules = rules_of("swarm")
    return {rule.port for rule in rules if (rule.source, rule.destination, rule.protocol) == ends and rule.port}


def test_a_job_counts_words_over_the_overlay(cluster: DeployedCluster, text: tuple[str, Counter[str]]) -> None:
    address, words = text
    output = submit(cluster, "examples/word_count.py", address, "--top", "3")
    for word, count in words.most_common(3):
        assert f"{count:,}  {word}\n" in output
    assert f"{words.total():,} words, {len(words):,} of them different" in output
    record = records(cluster)[0]
    assert record["state"] == "succeeded"
    # Its output can be read again once it has ended.
    told = cluster.sparkvault("logs", *config(cluster), record["spec"]["id"], timeout=120)
    assert told.returncode == 0, told.stdout
    [(word, count)] = words.most_common(1)
    assert f"{count:,}  {word}\n" in told.stdout


def test_hosts_answer_each_other_on_the_documented_ports_alone(cluster: DeployedCluster) -> None:
    [manager] = cluster.managers()
    one, other = cluster.workers()
    for source, target in ((one, manager), (one, other), (manager, one)):
        assert ports_that_answer(source, target.address) == documented_ports(source, target)


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
    """No secret of the cluster or the job is, by value, where anybody looks; each place was really looked at."""
    secrets = secret_values(cluster, host, container)
    assert all(len(value) >= 20 for value in secrets.values())
    shown = {f"{each.role} {each.address}": shown_by(each) for each in cluster.ec2.hosts()}
    shown |= {"CloudWatch Logs": logged(cluster), "Run Command": commanded(cluster)}
    found = {place: [what for what, value in secrets.items() if value in text] for place, text in shown.items()}
    assert found == {place: [] for place in shown}
    of_host = shown[f"{host.role} {host.address}"]
    for sign in (container, "spark-rpc-secret", "sparkvault-credentials-token", "-m sparkvault_host.agent"):
        assert sign in of_host, f"the driver's host should show {sign}"
    assert "started\n" in shown["CloudWatch Logs"]
    assert job in shown["Run Command"]


def secret_values(cluster: DeployedCluster, host: Host, container: str) -> dict[str, str]:
    """What nobody may see, by what it is: what the job's driver has, what hosts join with, what brokers sign with."""
    files = {"RPC secret": "spark-rpc-secret", "job's token": "sparkvault-credentials-token"}
    values = {
        what: host.run(["docker", "exec", container, "cat", f"/run/secrets/{name}"]).stdout.strip()
        for what, name in files.items()
    }
    [manager] = cluster.managers()
    for role in ("worker", "manager"):
        token = manager.run(["docker", "swarm", "join-token", "--quiet", role]).stdout.strip()
        # What stands before it names the swarm's own authority, and opens nothing.
        values[f"{role}s' join token"] = token.rpartition("-")[2]
    kept = cluster.aws.client("ssm").get_parameter(Name=BROKER_KEY, WithDecryption=True)["Parameter"]["Value"]
    return values | {f"brokers' key {each['id']}": each["key"] for each in json.loads(kept)["keys"]}


def shown_by(host: Host) -> str:
    """Processes, containers and what they said, services and their configs, journal, boot, commands typed by root."""
    look = """
        ps axww -o args
        docker ps --all --quiet | xargs --no-run-if-empty docker inspect
        for each in $(docker ps --all --quiet); do docker logs "$each" 2>&1; done
        docker service ls --quiet 2>/dev/null | xargs --no-run-if-empty docker service inspect
        docker config ls --quiet 2>/dev/null | xargs --no-run-if-empty docker config inspect --pretty
        journalctl --no-pager --output cat
        cat /var/log/cloud-init-output.log /root/.bash_history 2>/dev/null || true
    """
    return host.run(["sh", "-c", look], timeout=120).stdout


def logged(cluster: DeployedCluster) -> str:
    """All that was said in the account's log groups: by boots, by services, by jobs."""
    logs = cluster.aws.client("logs")
    groups = [one["logGroupName"] for one in each_of(logs, "describe_log_groups", "logGroups")]
    streams = [
        (group, str(one["logStreamName"]))
        for group in groups
        for one in each_of(logs, "describe_log_streams", "logStreams", logGroupName=group)
    ]
    kinds = {stream.partition("/")[0] for group, stream in streams if group == LOG_GROUP}
    assert {"boot", "container", "jobs"} <= kinds
    return "".join(
        f"{line}\n" for group, stream in streams for line in log_stream.last_lines(logs, group, stream, 10_000)
    )


def commanded(cluster: DeployedCluster) -> str:
    """All that Run Command remembers: who sent what with which parameters, and what hosts answered."""
    ssm = cluster.aws.client("ssm")
    sent = list(each_of(ssm, "list_commands", "Commands"))
    answered = [
        ssm.get_command_invocation(CommandId=one["CommandId"], InstanceId=one["InstanceId"])
        for one in each_of(ssm, "list_command_invocations", "CommandInvocations", Details=True)
    ]
    return json.dumps([sent, answered], default=str)


def each_of(client: Any, call: str, key: str, **given: Any) -> Iterable[dict[str, Any]]:
    """Everything that a call lists, page by page."""
    return (one for page in client.get_paginator(call).paginate(**given) for one in page[key])


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
