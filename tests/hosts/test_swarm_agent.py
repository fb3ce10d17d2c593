"""The swarm agent against a world that enforces swarm's, DynamoDB's and Parameter Store's rules."""

import json
from itertools import pairwise

import pytest

from sparkvault_host.agent.decide import HISTORY_PATIENCE
from sparkvault_host.agent.model import ROTATION_WANTED
from tests.support.swarm_world import PREFIX, World

MANAGER_JOIN = f"{PREFIX}/swarm/manager/join"
WORKER_JOIN = f"{PREFIX}/swarm/worker/join"


def one_manager_two_workers(world: World) -> None:
    world.add("i-m1", "manager")
    world.add("i-w1", "worker")
    world.add("i-w2", "worker")


def three_managers_two_workers(world: World) -> None:
    world.desire(managers=3)
    for name in ("i-m1", "i-m2", "i-m3"):
        world.add(name, "manager")
    for name in ("i-w1", "i-w2"):
        world.add(name, "worker")


def assert_one_swarm_per_epoch(world: World) -> None:
    epochs = [epoch for epoch, _ in world.epochs]
    assert len(epochs) == len(set(epochs)), world.epochs
    assert all(earlier < later for earlier, later in pairwise(epochs))


def test_a_manager_and_two_workers_become_a_cluster(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    assert_one_swarm_per_epoch(world)


def test_three_managers_that_boot_at_once_form_one_swarm_and_keep_their_ordinals(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    swarm = world.swarm
    assert swarm is not None
    assert len([each for each in world.swarms.values() if len(each.nodes) == 5]) == 1
    ordinals = [node["Spec"]["Labels"].get("sparkvault.ordinal") for node in swarm.nodes.values()]
    assert sorted(filter(None, ordinals)) == ["1", "2", "3"]
    assert {"spark-master", "spark-master-2", "spark-master-3", "spark-zookeeper-3"} <= {
        service["Spec"]["Name"] for service in swarm.services.values()
    }


def test_the_managers_join_data_is_there_only_while_one_is_missing(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(lambda: MANAGER_JOIN in world.parameters, 60)
    assert world.parameters[MANAGER_JOIN][0] == "SecureString"
    assert world.runs_until(world.is_whole, 120)
    assert MANAGER_JOIN not in world.parameters


def test_a_token_that_was_out_is_worthless_once_everybody_has_joined(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(lambda: WORKER_JOIN in world.parameters, 60)
    first = json.loads(world.parameters[WORKER_JOIN][1])["token"]
    assert world.runs_until(world.is_whole, 60)
    world.run(60)
    swarm = world.swarm
    assert swarm is not None
    assert first not in swarm.tokens.values()
    assert json.loads(world.parameters[WORKER_JOIN][1])["token"] == swarm.tokens["Worker"]


def test_a_settled_cluster_changes_nothing_any_more(world: World) -> None:
    one_manager_two_workers(world)
    world.runs_until(world.is_whole, 60)
    world.run(int(2 * HISTORY_PATIENCE))
    effects = world.effects
    world.run(120)
    assert world.effects == effects


def test_the_history_server_is_no_rival_of_what_starts_first(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)

    def is_made() -> bool:
        return world.swarm is not None and any(
            service["Spec"]["Name"] == "spark-history" for service in world.swarm.services.values()
        )

    assert not world.runs_until(is_made, int(HISTORY_PATIENCE / 2))
    assert world.runs_until(is_made, int(HISTORY_PATIENCE))


def test_a_rogue_host_with_a_stolen_token_gets_nothing_and_is_thrown_out(world: World) -> None:
    one_manager_two_workers(world)
    world.runs_until(world.is_whole, 60)
    world.run(60)
    rogue = world.add("i-rogue", "worker")
    rogue.lifecycle = rogue.state = ""
    rogue.images.update(world.hosts["i-w1"].images)
    assert world.runs_until(lambda: bool(rogue.swarm), 60)
    for _ in range(400):
        world.step()
        assert world.containers(rogue) == []
        swarm = world.swarm
        assert swarm is not None
        if rogue.node not in swarm.nodes:
            break
    else:
        pytest.fail("the rogue is still a node")


def test_the_only_manager_is_replaced_and_the_swarm_made_anew(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.terminate(world.hosts["i-m1"])
    world.add("i-m2", "manager")
    assert world.runs_until(world.is_whole, 180)
    assert [epoch for epoch, _ in world.epochs] == [1, 2]


def test_engines_that_leave_at_once_and_go_on_listening_are_started_anew_before_they_join(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    workers = [world.hosts[name] for name in ("i-w1", "i-w2")]
    for worker in workers:
        worker.forgets_to_hang_up = True
    world.terminate(world.hosts["i-m1"])
    world.add("i-m2", "manager")
    assert world.runs_until(world.is_whole, 120)
    assert [worker.restarts for worker in workers] == [1, 1]
    assert world.hosts["i-m2"].restarts == 0


def test_a_host_whose_port_another_program_has_joins_nothing_and_is_replaced(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("i-m1", "manager")
    worker = world.add("i-w1", "worker")
    worker.gossips = worker.has_rival = True
    assert world.runs_until(lambda: worker.lifecycle != "InService", 200)
    assert 1 < worker.restarts < 20, "it tries again, and less and less often"
    assert not worker.swarm
    assert "something listens on port 7946 although the engine is in no swarm" in capsys.readouterr().out


def test_a_manager_that_goes_in_order_hands_its_swarm_over(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.add("i-m2", "manager")
    world.end(world.hosts["i-m1"])
    assert world.runs_until(lambda: world.completed == ["i-m1"], 180)
    assert world.runs_until(world.is_whole, 180)
    assert [epoch for epoch, _ in world.epochs] == [1], "the same swarm goes on"


def test_the_last_manager_does_not_keep_a_cluster_from_being_destroyed(world: World) -> None:
    world.add("i-m1", "manager")
    world.run(30)
    world.end(world.hosts["i-m1"])
    assert world.runs_until(lambda: world.completed == ["i-m1"], 90)


def test_one_of_three_managers_dies_and_nothing_is_noticed(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    swarm = world.swarm
    world.terminate(world.hosts["i-m1"])
    for _ in range(30):
        world.step()
        assert all("spark-worker" in world.containers(world.hosts[name]) for name in ("i-w1", "i-w2"))
    world.add("i-m4", "manager")
    assert world.runs_until(world.is_whole, 180)
    assert world.swarm is swarm
    ordinals = [node["Spec"]["Labels"].get("sparkvault.ordinal") for node in swarm.nodes.values()] if swarm else []
    assert sorted(filter(None, ordinals)) == ["1", "2", "3"]


def test_two_of_three_managers_die_and_the_third_goes_on(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    before = world.swarm
    for name in ("i-m1", "i-m2"):
        world.terminate(world.hosts[name])
    for name in ("i-m4", "i-m5"):
        world.add(name, "manager")
    assert world.runs_until(world.is_whole, 300)
    assert world.swarm is before


def test_an_old_manager_that_comes_back_leaves_its_swarm_and_joins_no_other(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    old = world.hosts["i-m1"]
    # Cut off, and given up by Auto Scaling; the machine itself still runs.
    old.is_connected = False
    old.state, old.lifecycle = "terminated", ""
    world.add("i-m2", "manager")
    assert world.runs_until(world.is_whole, 240)
    old.is_connected = True
    world.run(60)
    assert old.swarm == ""
    assert world.is_whole()
    assert_one_swarm_per_epoch(world)


def test_a_worker_that_was_cut_off_comes_back_without_being_made_anew(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    worker = world.hosts["i-w1"]
    node = worker.node
    worker.is_connected = False
    world.run(60)
    worker.is_connected = True
    assert world.runs_until(world.is_whole, 60)
    assert worker.node == node


def test_a_worker_that_must_go_leaves_and_then_lets_auto_scaling_go_on(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.end(world.hosts["i-w2"])
    assert world.runs_until(lambda: world.completed == ["i-w2"], 120)
    assert world.runs_until(world.is_whole, 120)


def test_a_worker_that_spot_takes_back_is_out_of_the_swarm_before_its_time(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    taken = world.hosts["i-w2"]
    world.spot_notice(taken, 120)
    assert world.runs_until(lambda: not taken.swarm, 100)
    assert not taken.healthy, "its group starts another one at once"
    world.add("i-w3", "worker")
    assert world.runs_until(lambda: world.completed == ["i-w2"], 60)
    assert world.runs_until(world.is_whole, 120)


def test_a_worker_whose_engine_cannot_leave_keeps_nobody_waiting(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    full = world.hosts["i-w2"]
    full.can_write = False
    world.end(full)
    assert world.runs_until(lambda: world.completed == ["i-w2"], 60)
    assert world.runs_until(world.is_whole, 60)


def test_a_worker_that_has_died_does_not_keep_its_hook_waiting(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    dead = world.hosts["i-w2"]
    dead.is_up = False
    world.end(dead)
    assert world.runs_until(lambda: world.completed == ["i-w2"], 120)
    assert world.runs_until(world.is_whole, 60)


def test_a_new_manager_does_not_wait_for_the_hook_of_one_that_has_died(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    dead = world.hosts["i-m1"]
    dead.is_up = False
    world.end(dead)
    world.add("i-m2", "manager")
    assert world.runs_until(lambda: world.completed == ["i-m1"], 360)
    assert world.runs_until(world.is_whole, 180)


def test_a_new_image_reaches_running_services(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.run(60)
    image = "registry.test/worker@sha256:" + "b" * 64
    world.parameters[f"{PREFIX}/images/worker"] = ("String", image)
    assert world.runs_until(lambda: world.is_whole() and image in _image_of(world, "spark-worker"), 180)


def test_a_replaced_secret_goes_once_nothing_has_it(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.run(60)
    swarm = world.swarm
    assert swarm is not None

    def names() -> set[str]:
        return {secret["Spec"]["Name"] for secret in swarm.secrets.values() if "rpc" in secret["Spec"]["Name"]}

    (first,) = (each for each, secret in swarm.secrets.items() if "rpc" in secret["Spec"]["Name"])
    container = {"Image": "submit", "Secrets": [{"SecretID": first}]}
    job = {
        "Name": "a-job",
        "Labels": {},
        "TaskTemplate": {"ContainerSpec": container, "Placement": {"Constraints": []}},
    }
    swarm.services["job"] = {"ID": "job", "Name": "a-job", "Version": {"Index": 1}, "Spec": job}
    swarm.labels[ROTATION_WANTED] = "rpc:2"
    assert world.runs_until(lambda: names() == {"spark-rpc-secret-1", "spark-rpc-secret-2"}, 60)
    world.run(660)
    assert len(names()) == 2, "a job still had it"
    del swarm.services["job"]
    assert world.runs_until(lambda: names() == {"spark-rpc-secret-2"}, 60)


def test_an_image_without_a_digest_is_not_run(world: World) -> None:
    world.parameters[f"{PREFIX}/images/worker"] = ("String", "registry.test/worker:latest")
    one_manager_two_workers(world)
    world.run(60)
    swarm = world.swarm
    assert swarm is not None
    assert "spark-worker" not in {service["Spec"]["Name"] for service in swarm.services.values()}


def test_everything_reboots_at_once(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    before = world.swarm
    for host in world.hosts.values():
        world.start_agent(host)
    assert world.runs_until(world.is_whole, 60)
    assert world.swarm is before


def test_agents_that_wait_for_images_alone_ask_aws_seldom_and_still_see_who_comes(world: World) -> None:
    world.registry_is_up = False
    one_manager_two_workers(world)
    world.run(60)
    world.asked.clear()
    world.run(60)
    assert 0 < world.asked["get-item"] <= 3 * 7
    assert 0 < world.asked["describe-instances"] <= 7
    world.add("i-w3", "worker")
    swarm = world.swarm
    assert swarm is not None
    verified = "sparkvault.verified"
    assert world.runs_until(lambda: sum(verified in node["Spec"]["Labels"] for node in swarm.nodes.values()) == 4, 8)


def test_images_that_are_there_are_not_pulled_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.run(30)
    assert "PullImage" in capsys.readouterr().out
    for host in world.hosts.values():
        world.power_off(host)
    for host in world.hosts.values():
        world.power_on(host)
    world.run(60)
    assert world.is_whole()
    assert "PullImage" not in capsys.readouterr().out


def test_three_managers_that_boot_one_after_the_other_keep_their_swarm(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    before = world.swarm
    for host in world.hosts.values():
        world.power_off(host)
    for name in ("i-m1", "i-m2", "i-m3", "i-w1", "i-w2"):
        world.power_on(world.hosts[name])
        # Longer than joining a swarm may take.
        world.run(100)
    assert world.runs_until(world.is_whole, 120)
    assert world.swarm is before


def test_the_only_manager_reboots_and_keeps_its_swarm(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    before, manager = world.swarm, world.hosts["i-m1"]
    world.power_off(manager)
    world.run(30)
    world.power_on(manager)
    assert world.runs_until(world.is_whole, 120)
    assert world.swarm is before


def test_the_only_manager_whose_state_is_lost_forms_a_new_swarm(world: World) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    before, manager = world.swarm, world.hosts["i-m1"]
    manager.is_broken = True
    world.run(30)
    assert manager.swarm, "an engine says so between two attempts, too"
    assert world.runs_until(lambda: world.swarm is not before and world.is_whole(), 240)
    assert_one_swarm_per_epoch(world)


def test_one_of_three_managers_that_does_not_get_back_is_replaced(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    before, lost = world.swarm, world.hosts["i-m2"]
    lost.is_broken = True
    world.run(500)
    assert (lost.healthy, bool(lost.swarm)) == (True, True)
    assert world.runs_until(lambda: not lost.healthy, 200)
    world.add("i-m4", "manager")
    assert world.runs_until(world.is_whole, 300)
    assert world.swarm is before


def test_a_manager_that_reboots_when_the_others_are_gone_forms_a_new_swarm(world: World) -> None:
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 120)
    world.power_off(world.hosts["i-m3"])
    for name in ("i-m1", "i-m2"):
        world.terminate(world.hosts[name])
    world.power_on(world.hosts["i-m3"])
    for name in ("i-m4", "i-m5"):
        world.add(name, "manager")
    assert world.runs_until(world.is_whole, 300)
    assert_one_swarm_per_epoch(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("effect", range(1, 25))
def test_an_agent_killed_around_any_effect_leaves_nothing_that_the_next_one_cannot_mend(
    world: World, effect: int, after: bool
) -> None:
    world.kill_at = (effect, after)
    three_managers_two_workers(world)
    assert world.runs_until(world.is_whole, 240)
    assert world.effects >= effect, "the kill point was passed"
    assert_one_swarm_per_epoch(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("effect", range(1, 13))
def test_an_agent_killed_while_the_manager_is_replaced(world: World, effect: int, after: bool) -> None:
    one_manager_two_workers(world)
    assert world.runs_until(world.is_whole, 60)
    world.hosts["i-w1"].forgets_to_hang_up = True
    world.kill_at = (world.effects + effect, after)
    world.terminate(world.hosts["i-m1"])
    world.add("i-m2", "manager")
    assert world.runs_until(world.is_whole, 240)
    assert_one_swarm_per_epoch(world)


def _image_of(world: World, service: str) -> str:
    swarm = world.swarm
    assert swarm is not None
    found = [each for each in swarm.services.values() if each["Spec"]["Name"] == service]
    return str(found[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]) if found else ""
