"""What may never be decided, whatever an agent sees: found by trying states that nobody would think of."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sparkvault_host.agent import model
from sparkvault_host.agent.decide import decide, instance_of, readiness
from sparkvault_host.agent.model import (
    INSTANCE,
    MANAGER,
    VERIFIED,
    WORKER,
    Authority,
    Container,
    Drain,
    Engine,
    Instance,
    Membership,
    Node,
    Service,
    Settings,
    Snapshot,
    Swarm,
)
from sparkvault_host.agent.services import Size, wanted_services, worker_size

IMAGE = "registry.test/spark@sha256:" + "a" * 64
INSTANCES = ("i-m1", "i-m2", "i-m3", "i-w1", "i-w2")
ADDRESSES = tuple(f"10.0.0.{number}" for number in range(1, 7))
#: What the one manager of a swarm sees that it leads.
SWARM = Swarm("s", 1, {}, {}, network="net", secrets=(("spark-rpc-secret-1", "id"),))
LEADER = Snapshot(
    now=0,
    role=MANAGER,
    instance="i-m1",
    address="10.0.0.1",
    settings=Settings(),
    engine=Engine("active", "n1", control=True, swarm_id="s", leads=True),
    authority=Authority(1, "i-m1", "s"),
    membership=Membership(1, "s"),
    instances=(Instance("i-m1", "10.0.0.1", MANAGER, True, "InService"),),
    swarm=SWARM,
)

instances = st.builds(
    Instance,
    id=st.sampled_from(INSTANCES),
    address=st.sampled_from(ADDRESSES),
    role=st.sampled_from((MANAGER, WORKER)),
    alive=st.booleans(),
    lifecycle=st.sampled_from(("", "Pending", "InService", "Terminating:Wait", "Terminated")),
    silent_seconds=st.floats(0, 200),
)
nodes = st.builds(
    Node,
    id=st.sampled_from(("n1", "n2", "n3", "n4", "n5", "n6")),
    version=st.integers(1, 9),
    address=st.sampled_from(ADDRESSES),
    role=st.sampled_from((MANAGER, WORKER)),
    status=st.sampled_from(("ready", "down", "unknown")),
    availability=st.sampled_from(("active", "pause", "drain")),
    labels=st.fixed_dictionaries(
        {}, optional={VERIFIED: st.just("true"), INSTANCE: st.sampled_from(INSTANCES), "other": st.just("kept")}
    ),
    cores=st.integers(1, 16),
    memory_mib=st.integers(512, 65536),
    age_seconds=st.floats(0, 1000),
    reachable=st.booleans(),
    runs_spark=st.booleans(),
)
services = st.builds(
    Service,
    id=st.just("s1"),
    name=st.sampled_from(("spark-master", "spark-worker", "spark-worker-2c-512m")),
    version=st.integers(1, 9),
    spec_hash=st.sampled_from(("", "old")),
    running=st.integers(0, 2),
    paused_seconds=st.floats(0, 60),
)
swarms = st.builds(
    Swarm,
    id=st.sampled_from(("swarm-1", "swarm-2")),
    version=st.integers(1, 9),
    labels=st.dictionaries(
        st.sampled_from((model.ROTATED_FOR, model.ROTATION_WANTED)), st.sampled_from(("", "tokens:1"))
    ),
    tokens=st.just({WORKER: "worker-token", MANAGER: "manager-token"}),
    nodes=st.lists(nodes, max_size=6, unique_by=lambda node: node.id).map(tuple),
    services=st.lists(services, max_size=2, unique_by=lambda service: service.name).map(tuple),
    network=st.sampled_from(("", "net")),
    secrets=st.sampled_from(((), (("spark-rpc-secret-1", "id"),))),
)
engines = st.builds(
    Engine,
    state=st.sampled_from(("inactive", "pending", "active", "error", "locked")),
    node_id=st.sampled_from(("n1", "n2")),
    control=st.booleans(),
    swarm_id=st.sampled_from(("", "swarm-1", "swarm-2")),
    has_leader=st.booleans(),
    leads=st.booleans(),
    containers=st.lists(
        st.builds(
            Container,
            id=st.sampled_from(("c1", "c2")),
            service=st.sampled_from(("spark-worker", "sparkvault-job-1")),
            job=st.sampled_from(("", "1")),
            executors=st.integers(0, 2),
        ),
        max_size=2,
    ).map(tuple),
    images=st.sampled_from(((), (IMAGE,))),
    gossips_on=st.booleans(),
)
authorities = st.builds(
    Authority,
    epoch=st.integers(1, 3),
    leader=st.sampled_from(INSTANCES),
    swarm_id=st.sampled_from(("", "swarm-1", "swarm-2")),
    members=st.lists(st.sampled_from(INSTANCES), max_size=3, unique=True).map(tuple),
)
snapshots = st.builds(
    Snapshot,
    now=st.just(1_800_000_000.0),
    role=st.sampled_from((MANAGER, WORKER)),
    instance=st.sampled_from(INSTANCES),
    address=st.sampled_from(ADDRESSES),
    settings=st.builds(
        Settings,
        managers=st.sampled_from((1, 3)),
        worker_memory_mib=st.sampled_from((None, 1024)),
        worker_cores=st.sampled_from((None, 2)),
    ),
    engine=st.none() | engines,
    engine_silent_seconds=st.floats(0, 500),
    authority=st.none() | authorities,
    authority_known=st.booleans(),
    membership=st.none() | st.builds(Membership, st.integers(1, 3), st.sampled_from(("", "swarm-1", "swarm-2"))),
    pending_seconds=st.floats(0, 100),
    leaderless_seconds=st.floats(0, 100),
    outside_seconds=st.floats(0, 300),
    gossiping_on_seconds=st.floats(0, 300),
    instances=st.none() | st.lists(instances, max_size=5, unique_by=lambda each: each.id).map(tuple),
    swarm=st.none() | swarms,
    join_data=st.dictionaries(st.sampled_from((MANAGER, WORKER)), st.none() | st.just("old")),
    images=st.sampled_from(({}, {"master": IMAGE, "worker": IMAGE, "submit": IMAGE})),
    ending=st.sampled_from(("", model.TERMINATING, model.SPOT)),
    ends_within_seconds=st.floats(0, 100),
    drain=st.none() | st.builds(Drain, st.just(1_799_999_950.0), st.floats(1_799_999_000.0, 1_800_001_000.0)),
    sickness=st.sampled_from(("", "the disk is full")),
    marked_unhealthy=st.booleans(),
)


@settings(max_examples=600, deadline=None)
@given(snapshots)
def test_no_state_leads_to_an_unsafe_action(snapshot: Snapshot) -> None:
    ready, words = readiness(snapshot)
    assert words, "there is always something to say"
    del ready
    for action in decide(snapshot):
        check(action, snapshot)


def check(action: Any, snapshot: Snapshot) -> None:
    swarm, engine = snapshot.swarm, snapshot.engine
    if isinstance(action, model.ClaimAuthority):
        # An epoch is only ever left for the next one, and never while its leader may still be alive.
        before = snapshot.authority
        assert snapshot.role == MANAGER or (engine is not None and engine.control)
        assert action.epoch == (before.epoch + 1 if before else 1)
        if before is not None and before.leader != snapshot.instance:
            assert snapshot.instances is not None
            assert not any(each.id == before.leader and each.alive for each in snapshot.instances)
    if isinstance(action, model.InitSwarm):
        assert snapshot.authority is not None
        assert snapshot.role == MANAGER or action.force
    if isinstance(action, (model.JoinSwarm, model.InitSwarm)) and engine is not None and engine.state == "inactive":
        assert not engine.gossips_on, "it would hear nobody in the new swarm"
    if isinstance(action, model.RestartEngine):
        assert engine is not None
        assert (engine.state, engine.gossips_on) == ("inactive", True), "what runs in a swarm is left alone"
    if isinstance(action, model.UpdateNode) and swarm is not None:
        # Nobody is verified whose address is not that of an instance of its group.
        node = next(each for each in swarm.nodes if each.id == action.node)
        if action.labels.get(VERIFIED) and not node.labels.get(VERIFIED):
            instance = instance_of(node, snapshot, swarm)
            assert instance is not None
            assert instance.alive
            assert instance.address == node.address
            assert action.role == WORKER or instance.role == MANAGER
        assert action.labels.get("other") == node.labels.get("other"), "labels of others are left alone"
    if isinstance(action, model.RemoveNode) and swarm is not None and engine is not None:
        assert action.node != engine.node_id, "no manager removes itself"
    if isinstance(action, (model.PublishJoinData, model.RotateTokens, model.CreateService, model.UpdateNode)):
        # Only who leads the cluster's own swarm changes it; a host that goes may demote itself.
        assert swarm is not None
        assert (
            snapshot.authority is None
            or not snapshot.authority.swarm_id
            or action_is_own(action, snapshot)
            or (snapshot.authority.swarm_id == swarm.id)
        )
    if isinstance(action, model.PublishJoinData) and action.role == WORKER:
        assert "manager-token" not in action.content
    if isinstance(action, model.CompleteLifecycle):
        if action.instance == snapshot.instance and snapshot.ending:
            assert snapshot.ending == model.TERMINATING
        else:
            # Of others only the hooks that wait already, and wait in vain.
            assert snapshot.instances is not None
            assert any(
                each.id == action.instance and each.lifecycle == "Terminating:Wait" for each in snapshot.instances
            )


def action_is_own(action: Any, snapshot: Snapshot) -> bool:
    return snapshot.engine is not None and getattr(action, "node", None) == snapshot.engine.node_id


@given(st.integers(2048, 1_048_576), st.integers(1, 192), st.integers(0, 65536))
def test_a_worker_never_takes_more_than_its_host_has(memory: int, cores: int, enclaves: int) -> None:
    node = Node("n", 1, "10.0.0.1", WORKER, "ready", "active", cores=cores, memory_mib=memory + enclaves)
    size = worker_size(node, Settings(enclave_memory_mib=enclaves))
    assert size.cores == cores
    if memory >= 6144:
        assert size.limit_mib + 1024 <= memory


def test_three_managers_have_one_master_and_one_zookeeper_each() -> None:
    snapshot = replace(
        LEADER,
        settings=Settings(managers=3, worker_memory_mib=1024, worker_cores=1),
        images={"master": IMAGE, "worker": IMAGE},
    )
    wanted = wanted_services(snapshot)
    for index, name in enumerate(("spark-master", "spark-master-2", "spark-master-3"), start=1):
        for service in (name, f"spark-zookeeper-{index}"):
            constraints = wanted[service]["TaskTemplate"]["Placement"]["Constraints"]
            assert f"node.labels.sparkvault.ordinal=={index}" in constraints
    url = "spark://spark-master:7077,spark-master-2:7077,spark-master-3:7077"
    assert f"SPARK_MASTER_URL={url}" in wanted["spark-worker"]["TaskTemplate"]["ContainerSpec"]["Env"]


def test_every_service_runs_on_verified_nodes_only_and_names_no_secret() -> None:
    snapshot = replace(
        LEADER,
        settings=Settings(managers=3),
        swarm=Swarm(
            "s",
            1,
            {},
            {WORKER: "SWMTKN-worker", MANAGER: "SWMTKN-manager"},
            nodes=(Node("n", 1, "10.0.0.4", WORKER, "ready", "active", {VERIFIED: "true"}, 8, 32000),),
            network="net",
            secrets=(("spark-rpc-secret-1", "id"),),
        ),
        images={"master": IMAGE, "worker": IMAGE},
    )
    wanted = wanted_services(snapshot)
    assert "spark-worker-8c-26624m" in wanted
    for spec in wanted.values():
        task = spec["TaskTemplate"]
        assert f"node.labels.{VERIFIED}==true" in task["Placement"]["Constraints"]
        container = task["ContainerSpec"]
        assert container["ReadOnly"]
        assert container["CapabilityDrop"] == ["ALL"]
        assert container["User"] == "185:185"
        assert task["Resources"]["Limits"]["MemoryBytes"] > 0
        assert "SWMTKN" not in str(spec)


def test_sizes_have_labels_that_docker_takes() -> None:
    assert Size(1024, 2).label == "2c-1024m"


def test_a_paused_update_goes_on_once_all_its_tasks_run_again() -> None:
    snapshot = replace(LEADER, images={"master": IMAGE})
    up_to_date = wanted_services(snapshot)["spark-master"]["Labels"][model.SPEC_HASH]

    def updated(paused_seconds: float) -> list[str]:
        service = Service("s1", "spark-master", 1, up_to_date, paused_seconds=paused_seconds)
        seen = replace(snapshot, swarm=replace(SWARM, services=(service,)))
        return [action.name for action in decide(seen) if isinstance(action, model.UpdateService)]

    assert updated(0.0) == updated(20.0) == []
    assert updated(40.0) == ["spark-master"]


def test_the_first_token_stays_until_the_first_hosts_are_there() -> None:
    """A host on the way with a token that was replaced is refused by Docker after ten seconds only."""
    [manager] = LEADER.instances or ()
    worker = Instance("i-w1", "10.0.0.2", WORKER, True, "InService")

    def rotates(age_seconds: float, *joined: Instance) -> bool:
        members = tuple(
            Node(f"n{number}", 1, one.address, one.role, "ready", "active", {}, 2, 8192, age_seconds)
            for number, one in enumerate(joined, start=1)
        )
        swarm = replace(SWARM, nodes=members)
        snapshot = replace(LEADER, now=1_000_000, instances=(manager, worker), swarm=swarm)
        return any(isinstance(action, model.RotateTokens) for action in decide(snapshot))

    assert not rotates(5.0, manager)
    assert rotates(5.0, manager, worker)
    # One that never comes does not keep it.
    assert rotates(700.0, manager)
