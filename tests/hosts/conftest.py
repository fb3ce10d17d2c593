"""Gives tests of the hosts' programs a world in which they run."""

from pathlib import Path

import pytest

from tests.support.swarm_world import World

#: Modules of the agent that call the ``aws`` program.
CALLERS = ("agent.act", "agent.authority", "agent.observe", "agent.parameters", "agent.registry", "lifecycle")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty account: no host, no swarm."""
    made = World(tmp_path)
    for module in CALLERS:
        monkeypatch.setattr(f"sparkvault_host.{module}.aws", made.aws)
    monkeypatch.setattr("sparkvault_host.agent.gossip.is_listened_for", made.is_listened_for)
    monkeypatch.setattr("sparkvault_host.agent.act.restart", made.restart)
    monkeypatch.setattr("sparkvault_host.agent.act.issue", lambda job, tenant: f"token of {job}")
    return made
