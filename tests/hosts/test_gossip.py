"""What an engine that left a swarm may keep, on real sockets, and what frees it."""

import socket
from pathlib import Path

import pytest

from sparkvault_host.agent import gossip
from sparkvault_host.agent.systemd import restart
from sparkvault_host.errors import HostError

ADDRESS = "127.77.9.46"


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody else of this machine has."""
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        monkeypatch.setattr(gossip, "PORT", free.getsockname()[1])


def test_a_listener_at_this_address_is_noticed_until_it_is_gone() -> None:
    assert not gossip.is_listened_for(ADDRESS)
    with socket.create_server((ADDRESS, gossip.PORT)):
        assert gossip.is_listened_for(ADDRESS)
        assert not gossip.is_listened_for("127.77.9.47"), "another address is another engine's"
    assert not gossip.is_listened_for(ADDRESS)


def test_connections_of_a_moment_ago_do_not_count() -> None:
    with socket.create_server((ADDRESS, gossip.PORT)) as server:
        caller = socket.create_connection((ADDRESS, gossip.PORT))
        answerer, _ = server.accept()
        # Who closes first keeps the port for a minute (TIME_WAIT).
        answerer.close()
        caller.close()
    assert not gossip.is_listened_for(ADDRESS)


def test_an_address_that_is_not_this_hosts_is_nothing_to_act_on() -> None:
    assert not gossip.is_listened_for("192.0.2.1")


@pytest.mark.parametrize(("code", "said"), [(0, ""), (5, "Unit nothing.service not found.")])
def test_systemd_is_asked_and_its_refusal_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {asked}\necho "{said}" >&2\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if code:
        with pytest.raises(HostError, match=r"nothing\.service was not started anew: Unit nothing\.service not found"):
            restart("nothing.service")
    else:
        restart("nothing.service")
    assert asked.read_text().split() == ["restart", "nothing.service"]


def test_a_machine_without_systemd_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"docker\.service was not started anew"):
        restart("docker.service")
