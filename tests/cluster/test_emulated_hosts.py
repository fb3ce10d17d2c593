"""A deployed cluster's hosts are what EC2 hosts are: they signal, know who they are, and may do what their role may."""

from __future__ import annotations

import json

import pytest

from emulation.ec2 import Host, HostError
from tests.cluster.deployed import DeployedCluster

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]

METADATA = "http://169.254.169.254/latest"


@pytest.fixture(scope="module")
def manager(cluster: DeployedCluster) -> Host:
    [found] = cluster.managers()
    return found


@pytest.fixture(scope="module")
def worker(cluster: DeployedCluster) -> Host:
    return cluster.workers()[0]


def metadata(host: Host, path: str) -> str:
    """A category of the metadata service, as a program on the host reads it."""
    token = host.run(
        ["curl", "-sSf", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", f"{METADATA}/api/token"]
    ).stdout
    return host.run(["curl", "-sSf", "-H", f"X-aws-ec2-metadata-token: {token}", f"{METADATA}/{path}"]).stdout


def aws_refuses(host: Host, *command: str) -> str:
    with pytest.raises(HostError) as refused:
        host.run(["aws", "--region", "eu-central-1", *command])
    return refused.value.output


def test_the_deployment_has_waited_for_the_hosts_own_signals(cluster: DeployedCluster) -> None:
    api = cluster.aws.client("cloudformation")
    events = api.describe_stack_events(StackName="demo-swarm")["StackEvents"]
    signals = [event["ResourceStatusReason"] for event in events if "signal" in event.get("ResourceStatusReason", "")]
    for host in cluster.ec2.hosts():
        assert f"Received SUCCESS signal with UniqueId {host.instance_id}" in signals
    pages = cluster.aws.client("logs").filter_log_events(
        logGroupName="/sparkvault/demo/swarm", logStreamNamePrefix="boot/"
    )
    said = {report["instance"]: report["boot"] for report in (json.loads(one["message"]) for one in pages["events"])}
    assert said == {host.instance_id: "SUCCESS" for host in cluster.ec2.hosts()}


def test_a_host_has_the_address_and_the_identity_that_ec2_says_it_has(cluster: DeployedCluster, worker: Host) -> None:
    [found] = cluster.aws.client("ec2").describe_instances(InstanceIds=[worker.instance_id])["Reservations"]
    [instance] = found["Instances"]
    assert instance["State"]["Name"] == "running"
    assert instance["PrivateIpAddress"] == worker.address == metadata(worker, "meta-data/local-ipv4")
    assert worker.address in worker.run(["ip", "-brief", "address", "show", "eth0"]).stdout
    assert metadata(worker, "meta-data/placement/availability-zone") == instance["Placement"]["AvailabilityZone"]
    assert metadata(worker, "meta-data/autoscaling/target-lifecycle-state") == "InService"
    document = json.loads(metadata(worker, "dynamic/instance-identity/document"))
    assert (document["instanceId"], document["privateIp"]) == (worker.instance_id, worker.address)


def test_the_metadata_service_wants_a_token_and_its_answer_does_not_reach_containers(worker: Host) -> None:
    code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5"]
    assert worker.run([*code, f"{METADATA}/meta-data/instance-id"]).stdout == "401"
    # What a container is for the network: another namespace behind the host, without the guard's rule.
    script = f"""
    ip netns add container && ip link add cable type veth peer name eth0 netns container
    ip address add 198.51.100.1/24 dev cable && ip link set cable up
    ip netns exec container ip address add 198.51.100.2/24 dev eth0
    ip netns exec container ip link set eth0 up && ip netns exec container ip route add default via 198.51.100.1
    iptables -w -t nat -I POSTROUTING -s 198.51.100.0/24 -j MASQUERADE; iptables -w -I FORWARD -j ACCEPT
    iptables -w -t raw -I PREROUTING -i cable -j ACCEPT
    ip netns exec container {" ".join(code)} -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {METADATA}/api/token
    echo " $?"
    iptables -w -t raw -D PREROUTING -i cable -j ACCEPT
    iptables -w -t nat -D POSTROUTING -s 198.51.100.0/24 -j MASQUERADE; iptables -w -D FORWARD -j ACCEPT
    ip netns delete container
    """
    assert worker.run(["sh", "-c", script]).stdout.split() == ["000", "28"]


def test_a_worker_may_not_do_what_is_a_managers(manager: Host, worker: Host, cluster: DeployedCluster) -> None:
    name = "/sparkvault/demo/swarm/manager/test-token"
    cluster.aws.client("ssm").put_parameter(Name=name, Value="x", Type="String")
    read = ("ssm", "get-parameter", "--name", name, "--query", "Parameter.Value", "--output", "text")
    assert manager.run(["aws", "--region", "eu-central-1", *read]).stdout.strip() == "x"
    assert "AccessDenied" in aws_refuses(worker, *read)
    assert "UnauthorizedOperation" in aws_refuses(
        worker, "ec2", "terminate-instances", "--instance-ids", manager.instance_id
    )
    cluster.aws.client("ssm").delete_parameter(Name=name)


def test_the_deployers_credentials_are_worth_nothing_on_a_host(worker: Host, cluster: DeployedCluster) -> None:
    stolen = cluster.aws.environment({})
    keys = {name: stolen[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    with pytest.raises(HostError, match=r"(?s)UnrecognizedClient|InvalidClientToken|is invalid"):
        worker.run(["aws", "--region", "eu-central-1", "s3", "ls"], environment=keys)
    answer = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        f"{worker.environment['AWS_ENDPOINT_URL']}/emulation/fleet",
    ]
    assert worker.run(answer).stdout == "404"


def test_hosts_reach_each_other_where_their_security_groups_say_so(manager: Host, worker: Host) -> None:
    connect = (
        "import socket, sys; s = socket.socket(); s.settimeout(3); print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
    )

    def reached(source: Host, target: Host, port: int) -> bool:
        """Whether anything came back, be it that nobody listens there (errno 111)."""
        return source.run(["python3", "-c", connect, target.address, str(port)]).stdout.strip() in ("0", "111")

    assert reached(worker, manager, 2377)
    assert reached(worker, manager, 7946)
    assert not reached(worker, manager, 22)
    assert not reached(worker, manager, 8080)
    assert not reached(manager, worker, 2377)


def test_packages_that_amazon_linux_does_not_have_cannot_be_installed(worker: Host) -> None:
    worker.run(["dnf", "install", "--assumeyes", "docker", "chrony"])
    with pytest.raises(HostError, match="No match for argument: docker-ce"):
        worker.run(["dnf", "install", "--assumeyes", "docker-ce"])


def test_a_reboot_brings_a_host_back_and_user_data_is_not_run_again(worker: Host) -> None:
    before = worker.boot_log()
    worker.reboot()
    assert worker.boot_log() == before
    assert worker.run(["systemctl", "is-active", "docker.service"]).stdout.strip() == "active"
    assert worker.address in worker.run(["ip", "-brief", "address", "show", "eth0"]).stdout
