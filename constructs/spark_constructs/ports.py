"""Which host may talk to which, on which port and why: one table that makes the security groups and the document.

``python -m spark_constructs.ports`` prints docs/ports.md. No CDK import.
"""

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["tcp", "udp", "esp"]

#: IP protocol numbers as EC2 writes them; ESP has no name there (IANA protocol numbers, 50).
IP_PROTOCOL: dict[Protocol, str] = {"tcp": "tcp", "udp": "udp", "esp": "50"}


@dataclass(frozen=True)
class PortRule:
    """One allowed direction of traffic.

    ``source`` and ``destination`` are groups of hosts (``managers``, ``workers``) or AWS's side (``endpoints``,
    the interface endpoints; ``gateways``, S3 and DynamoDB through their gateway endpoints). ``port`` is None where
    the protocol has none.
    """

    target: Literal["swarm", "fargate", "yarn"]
    source: str
    destination: str
    protocol: Protocol
    port: int | None
    purpose: str

    @property
    def key(self) -> str:
        """A name in CamelCase for this rule, the same for both ends of it."""
        port = "" if self.port is None else str(self.port)
        return f"{self.destination.capitalize()}From{self.source.capitalize()}{self.protocol.capitalize()}{port}"


SWARM_GROUPS = ("managers", "workers")

#: Names of destinations that are AWS's, not hosts of ours.
ENDPOINTS = "endpoints"
GATEWAYS = "gateways"

# Docker's documentation, "Open protocols and ports between the hosts" (swarm) and "Encrypt traffic on an overlay
# network" (ESP). Spark's own ports are not here: they stay inside the encrypted overlay.
_CONTROL: tuple[tuple[Protocol, int | None, str], ...] = (
    ("tcp", 2377, "Cluster management: joining, certificates, tasks"),
)
_MESH: tuple[tuple[Protocol, int | None, str], ...] = (
    ("tcp", 7946, "Membership gossip between nodes"),
    ("udp", 7946, "Membership gossip between nodes"),
    ("udp", 4789, "Overlay network (VXLAN)"),
    ("esp", None, "Encryption of the overlay network (IPsec)"),
)


def _swarm() -> list[PortRule]:
    rules = [
        PortRule("swarm", source, "managers", protocol, port, purpose)
        for protocol, port, purpose in _CONTROL
        for source in SWARM_GROUPS
    ]
    rules += [
        PortRule("swarm", source, destination, protocol, port, purpose)
        for protocol, port, purpose in _MESH
        for destination in SWARM_GROUPS
        for source in SWARM_GROUPS
    ]
    for source in SWARM_GROUPS:
        rules.append(PortRule("swarm", source, ENDPOINTS, "tcp", 443, "AWS APIs through interface endpoints"))
        rules.append(PortRule("swarm", source, GATEWAYS, "tcp", 443, "S3 and DynamoDB through gateway endpoints"))
    return rules


FARGATE_GROUPS = ("drivers", "executors")

#: Ports of a Spark application on Fargate, fixed so that security groups can name them. Everything on them is
#: authenticated and encrypted by Spark itself (AES-GCM).
DRIVER_PORT = 7078
BLOCK_MANAGER_PORT = 7079


def _fargate() -> list[PortRule]:
    blocks = "Blocks of Spark: shuffle, broadcast, results"
    rules = [
        PortRule("fargate", "executors", "drivers", "tcp", DRIVER_PORT, "Spark RPC: executors register and get tasks"),
        PortRule("fargate", "executors", "drivers", "tcp", BLOCK_MANAGER_PORT, blocks),
        PortRule("fargate", "drivers", "executors", "tcp", BLOCK_MANAGER_PORT, blocks),
        PortRule("fargate", "executors", "executors", "tcp", BLOCK_MANAGER_PORT, blocks),
    ]
    for source in FARGATE_GROUPS:
        rules.append(PortRule("fargate", source, ENDPOINTS, "tcp", 443, "AWS APIs through interface endpoints"))
        rules.append(PortRule("fargate", source, GATEWAYS, "tcp", 443, "S3 through its gateway endpoint"))
    return rules


YARN_GROUPS = ("masters", "nodes")

# Hadoop's own default ports (core-default.xml, hdfs-default.xml, yarn-default.xml), Kerberos over TCP alone, and two
# ports of Spark's: each container has an address of its own, so that all of them can listen on the same two.
_YARN: tuple[tuple[str, str, int, str], ...] = (
    ("nodes", "masters", 88, "Kerberos tickets"),
    ("nodes", "masters", 8020, "HDFS: NameNode"),
    ("nodes", "masters", 8030, "YARN: application masters ask for containers"),
    ("nodes", "masters", 8031, "YARN: NodeManagers report"),
    ("nodes", "masters", 8032, "YARN: clients in containers"),
    ("masters", "nodes", 8041, "YARN: containers are started"),
    ("nodes", "nodes", 8041, "YARN: containers are started"),
    ("masters", "nodes", 9866, "HDFS: blocks"),
    ("nodes", "nodes", 9866, "HDFS: blocks"),
    ("nodes", "nodes", DRIVER_PORT, "Spark RPC between containers"),
    ("nodes", "nodes", BLOCK_MANAGER_PORT, "Blocks of Spark: shuffle, broadcast, results"),
)


def _yarn() -> list[PortRule]:
    rules = [PortRule("yarn", source, to, "tcp", port, purpose) for source, to, port, purpose in _YARN]
    for source in YARN_GROUPS:
        rules.append(PortRule("yarn", source, ENDPOINTS, "tcp", 443, "AWS APIs through interface endpoints"))
        rules.append(PortRule("yarn", source, GATEWAYS, "tcp", 443, "S3 through its gateway endpoint"))
    return rules


#: Everything that is allowed. What is not here is dropped.
PORTS: tuple[PortRule, ...] = (*_swarm(), *_fargate(), *_yarn())


def rules_of(target: str) -> list[PortRule]:
    """The rules of one target."""
    return [rule for rule in PORTS if rule.target == target]


_INTRODUCTION = """\
# Ports

<!-- Made from constructs/spark_constructs/ports.py: python -m spark_constructs.ports > docs/ports.md -->

All traffic that the security groups allow. Every rule goes from one security group to another; no port of any host is
open to an address range, let alone the internet: people come in through AWS Systems Manager, which the hosts call, not
the other way round. Each rule between hosts stands twice in AWS: as egress of its source and as ingress of its
destination.

- **endpoints** are the VPC's interface endpoints; they accept 443 from these groups only, not from the whole VPC.
- **gateways** are the gateway endpoints of S3 and DynamoDB. They have no security group; where the region's prefix
  lists are given, egress goes to those alone. Otherwise the egress rule names any address, and the route tables decide:
  without a NAT gateway, private subnets have routes to these two endpoints and nowhere else.
- DNS, time and instance metadata are served by the VPC itself and are not subject to security groups.
- On target swarm, Spark's own ports (7077, 8080, 8081, 4040, block transfer) are not open between hosts: that traffic
  stays in the overlay network, which travels as VXLAN inside ESP. No web UI has a port in this table on any target.
- On target yarn everything on these ports is authenticated by Kerberos, by YARN's tokens or by Spark's secret, and
  encrypted. Containers have addresses of their node's network interface, and so its security group.

| target | from | to | protocol | port | purpose |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The table as docs/ports.md holds it."""
    rows = [
        f"| {rule.target} | {rule.source} | {rule.destination} | {_protocol(rule)} | {_port(rule)} | {rule.purpose} |"
        for rule in PORTS
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _protocol(rule: PortRule) -> str:
    return "ESP (50)" if rule.protocol == "esp" else rule.protocol


def _port(rule: PortRule) -> str:
    return "none" if rule.port is None else str(rule.port)


if __name__ == "__main__":
    print(markdown(), end="")
