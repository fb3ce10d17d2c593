"""The table of ports: what stands in it, and that the document shows it."""

from pathlib import Path

from spark_constructs import ports

ROOT = Path(__file__).resolve().parents[2]


def test_between_swarm_hosts_exactly_dockers_ports_are_open() -> None:
    between_hosts = {
        (rule.protocol, rule.port) for rule in ports.rules_of("swarm") if rule.destination in ports.SWARM_GROUPS
    }
    assert between_hosts == {("tcp", 2377), ("tcp", 7946), ("udp", 7946), ("udp", 4789), ("esp", None)}


def test_only_managers_take_cluster_management() -> None:
    destinations = {rule.destination for rule in ports.PORTS if rule.port == 2377}
    assert destinations == {"managers"}


def test_no_rule_stands_twice() -> None:
    assert len({(rule.target, rule.key) for rule in ports.PORTS}) == len(ports.PORTS)


def test_the_document_is_current() -> None:
    document = ROOT / "docs" / "ports.md"
    assert document.read_text() == ports.markdown(), "run: python -m spark_constructs.ports > docs/ports.md"
