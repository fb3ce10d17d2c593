"""Names in a YARN cluster: who answers for a VPC's hosts, and what containers are told to ask."""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.yarn.sparkvault_yarn import hadoop_settings, node_files
from emulation.ec2.resolver import Resolver

NAME, ADDRESS = "ip-10-20-0-5.eu-central-1.compute.internal", "10.20.0.5"
A, PTR, AAAA = 1, 12, 28


@pytest.fixture
def asked() -> Iterator[socket.socket]:
    """A socket that is connected to the resolver of a VPC with one host."""
    serving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    serving.bind(("127.0.0.1", 0))
    resolver = Resolver(serving, lambda: [{"name": NAME, "address": ADDRESS}])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        asking.connect(serving.getsockname())
        yield asking
    resolver.close()


def answer(asked: socket.socket, name: str, kind: int) -> tuple[int, bytes]:
    """Code and data of the answer (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", kind, 1)
    asked.send(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question)
    said = asked.recv(512)
    identity, flags, _, answers = struct.unpack("!4H", said[:8])
    assert identity == 7
    return flags & 15, said[12 + len(question) + 12 :] if answers else b""


def test_a_hosts_name_and_address_lead_to_each_other(asked: socket.socket) -> None:
    assert answer(asked, NAME.upper(), A) == (0, ipaddress.IPv4Address(ADDRESS).packed)
    code, data = answer(asked, ipaddress.IPv4Address(ADDRESS).reverse_pointer, PTR)
    assert code == 0
    assert data.startswith(b"\x0cip-10-20-0-5")
    assert answer(asked, NAME, AAAA) == (0, b"")


def test_there_are_no_other_names(asked: socket.socket) -> None:
    asked.send(b"nonsense")
    assert answer(asked, "example.org", A) == (3, b"")


def test_containers_ask_the_vpcs_resolver_and_none_on_a_loopback_interface(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("# a stub\nnameserver 127.0.0.53\nsearch internal\n")
    real.write_text("# the VPC's\nnameserver 10.20.0.2\nsearch internal\noptions edns0\n")
    assert node_files.resolvers([tmp_path / "missing", stub, real]) == "nameserver 10.20.0.2\nsearch internal\n"


def test_a_hosts_own_name_means_one_address_however_often_that_is_written(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    for address in ("10.20.0.4", ADDRESS):
        hadoop_settings.know_own_name(NAME, address, hosts)
    lines = [line.split("#")[0].split() for line in hosts.read_text().splitlines()]
    assert lines == [[ADDRESS, NAME, "ip-10-20-0-5"], ["127.0.0.1", "localhost"]]
