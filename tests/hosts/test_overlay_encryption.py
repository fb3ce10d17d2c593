"""The overlay network is encrypted on every kernel but one that says of itself that it cannot.

Kernels of test machines may have no ESP. So that hosts can be emulated on them, those hosts' image carries a file that
says so; what these tests hold is that nothing else takes the encryption away.
"""

from pathlib import Path

import pytest

from sparkvault_host.agent.services import NETWORK
from sparkvault_host.identity import EMULATION_FILE, kernel_has_esp
from tests.support.swarm_world import World


@pytest.mark.parametrize("attachable", [False, True])
@pytest.mark.parametrize(("esp", "options"), [(True, {"encrypted": "true"}), (False, {})])
def test_the_overlay_is_encrypted_where_the_kernel_can(
    world: World, monkeypatch: pytest.MonkeyPatch, esp: bool, options: dict[str, str], attachable: bool
) -> None:
    monkeypatch.setattr("sparkvault_host.agent.observe.kernel_has_esp", lambda: esp)
    world.desire(attachable=attachable)
    world.add("i-m1", "manager")
    world.add("i-w1", "worker")
    world.run(60)
    swarm = world.swarm
    assert swarm is not None
    made = {network["Name"]: network["Spec"] for network in swarm.networks.values()}
    assert list(made) == [NETWORK]
    assert made[NETWORK]["Driver"] == "overlay"
    assert made[NETWORK]["Options"] == options
    assert made[NETWORK]["Attachable"] is attachable


@pytest.mark.parametrize("text", [None, "", "{", "null", "[]", "{}", '{"ipvs": false}', '{"esp": true}'])
def test_only_a_kernel_that_is_said_to_have_no_esp_goes_without(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / EMULATION_FILE.name
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert kernel_has_esp(file)


def test_an_emulated_hosts_kernel_is_said_to_have_none(tmp_path: Path) -> None:
    file = tmp_path / EMULATION_FILE.name
    file.write_text('{"esp": false, "ipvs": false}', encoding="utf-8")
    assert not kernel_has_esp(file)
