"""An emulated VPC: a network namespace with a bridge, the addresses that AWS keeps for itself, and a cable per host.

A namespace of its own per VPC keeps emulations with equal address ranges apart, and this machine out of them.
Amazon VPC user guide, "Subnet CIDR blocks": of a VPC's range .1 is the router, .2 the resolver, .3 is kept; here the
AWS endpoints and the registry answer at .3.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from emulation.ec2.errors import Ec2EmulationError

METADATA_ADDRESS = "169.254.169.254"
BRIDGE = "vpc"
#: Locally administered, below any that the kernel makes up.
BRIDGE_ADDRESS = "02:00:00:00:00:01"
COMMAND_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Permission:
    """What a security group lets in: `protocol` as iptables names it (`all` for every one), ports inclusive."""

    source: str
    protocol: str
    first_port: int | None = None
    last_port: int | None = None


class VpcNetwork:
    """The network of one VPC. `create` needs root; everything in it ends with `remove`."""

    def __init__(self, name: str, cidr: str) -> None:
        self.name = name
        self.range = ipaddress.ip_network(cidr)

    @property
    def router(self) -> str:
        """Default gateway of every subnet."""
        return str(self.range[1])

    @property
    def resolver(self) -> str:
        """The Amazon-provided DNS server."""
        return str(self.range[2])

    @property
    def services(self) -> str:
        """Where AWS endpoints and the registry answer."""
        return str(self.range[3])

    def create(self) -> None:
        """Make namespace and bridge. Raises `Ec2EmulationError`."""
        run("ip", "netns", "add", self.name)
        self._inside("ip", "link", "set", "lo", "up")
        # With an address of its own: a bridge without one takes that of its lowest port, another with each cable.
        # Hosts would then send to an address that nobody has any more.
        self._inside(
            *("ip", "link", "add", BRIDGE, "address", BRIDGE_ADDRESS),
            *("type", "bridge", "stp_state", "0", "forward_delay", "0"),
        )
        for address in (self.router, self.resolver, self.services):
            self._inside("ip", "address", "add", f"{address}/{self.range.prefixlen}", "dev", BRIDGE)
        self._inside("ip", "address", "add", f"{METADATA_ADDRESS}/32", "dev", BRIDGE)
        self._inside("ip", "link", "set", BRIDGE, "up")
        # Nothing is routed: this VPC has no way out.
        self._inside("iptables", "-w", "-P", "FORWARD", "DROP")
        self._inside(
            "iptables", "-w", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"
        )
        self._inside("iptables", "-w", "-N", "security-groups")
        self._inside("iptables", "-w", "-A", "FORWARD", "-j", "security-groups")

    def remove(self) -> None:
        """Remove it with all its cables; harmless when it is gone."""
        run("ip", "netns", "delete", self.name, check=False)

    def exists(self) -> bool:
        """Whether the namespace is there."""
        listed = json.loads(run("ip", "-json", "netns", "list") or "[]")
        return any(one["name"] == self.name for one in listed)

    def plug(self, process: int, address: str, host: str, *, delegated: bool = False) -> None:
        """Give the host whose first process is `process` its network interface eth0 with this address.

        `delegated`: whether the interface has prefixes, too. A VPC routes them to it; here the host answers for them.
        """
        cable = cable_name(host)
        self.unplug(host)
        self._inside(
            *("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process)),
        )
        self._inside("ip", "link", "set", cable, "master", BRIDGE, "up")
        host_network = ("nsenter", f"--net=/proc/{process}/ns/net")
        run(*host_network, "ip", "address", "add", f"{address}/{self.range.prefixlen}", "dev", "eth0")
        run(*host_network, "ip", "link", "set", "eth0", "up")
        run(*host_network, "ip", "route", "add", "default", "via", self.router)
        if delegated:
            run(*host_network, "sysctl", "--quiet", "--write", "net.ipv4.conf.eth0.proxy_arp=1")

    def unplug(self, host: str) -> None:
        """Take the cable away; harmless when there is none."""
        self._inside("ip", "link", "delete", cable_name(host), check=False)

    def connect(self, host: str, connected: bool) -> None:
        """Pull the cable without removing it, or put it back: a network partition of one host."""
        self._inside("ip", "link", "set", cable_name(host), "up" if connected else "down")

    def is_connected(self, host: str) -> bool:
        """Whether the host's cable is in."""
        links = json.loads(self._inside("ip", "-json", "link", "show", cable_name(host), check=False) or "[]")
        return any("UP" in link["flags"] for link in links)

    def admit(self, rules: Iterable[tuple[str, Permission]]) -> None:
        """Let in what security groups allow, by destination address; all else between hosts is dropped."""
        lines = ["*filter", ":security-groups - [0:0]"]
        for destination, allowed in sorted(rules, key=str):
            line = f"-A security-groups -s {allowed.source} -d {destination}"
            if allowed.protocol != "all":
                line += f" -p {allowed.protocol}"
            if allowed.first_port is not None:
                line += f" --dport {allowed.first_port}:{allowed.last_port}"
            lines.append(f"{line} -j ACCEPT")
        self._inside("iptables-restore", "-w", "--noflush", text="\n".join([*lines, "COMMIT", ""]))

    def _inside(self, *command: str, check: bool = True, text: str | None = None) -> str:
        return run("ip", "netns", "exec", self.name, *command, check=check, text=text)


def cable_name(host: str) -> str:
    """Name of the VPC's end of a host's cable; Linux allows 15 characters."""
    return f"h{host.removeprefix('i-')[-13:]}"


def run(*command: str, check: bool = True, text: str | None = None) -> str:
    """Run a network command; raises `Ec2EmulationError` with what it said."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Ec2EmulationError(f"the emulated network needs `{command[0]}`: {error}") from error
    if check and done.returncode != 0:
        raise Ec2EmulationError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
