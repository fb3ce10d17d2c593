"""What to do next, from what is seen: one pure function, so that every state of a cluster can be tried in a test.

One action is done, then everything is seen anew. So an agent that is killed at any point goes on where it was: there
is no plan to lose.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from sparkvault_host.agent.gossip import PORT as GOSSIP_PORT
from sparkvault_host.agent.model import (
    BETWEEN,
    INSTANCE,
    MANAGER,
    ORDINAL,
    ROTATED_AT,
    ROTATED_FOR,
    ROTATION_DONE,
    ROTATION_WANTED,
    RUNS_SPARK,
    SIZE,
    SPOT,
    TERMINATING,
    VERIFIED,
    WORKER,
    Action,
    Authority,
    ClaimAuthority,
    CompleteLifecycle,
    CreateBrokerKey,
    CreateHistoryToken,
    CreateNetwork,
    CreateSecret,
    CreateService,
    Decommission,
    Drain,
    Engine,
    InitSwarm,
    Instance,
    JoinSwarm,
    LeaveSwarm,
    MarkUnhealthy,
    Membership,
    Node,
    PublishJoinData,
    PullImage,
    RecordMembership,
    RemoveNode,
    RemoveSecret,
    RemoveService,
    RestartEngine,
    RotateTokens,
    Snapshot,
    StartDrain,
    Swarm,
    UpdateAuthority,
    UpdateNode,
    UpdateService,
    WithdrawJoinData,
)
from sparkvault_host.agent.services import RPC_SECRET, wanted_services, worker_size
from sparkvault_host.broker.tokens import LIFETIME_SECONDS

#: Seconds after which an engine that does not answer makes the host a sick one.
ENGINE_PATIENCE = 120.0
#: Seconds that joining may take before it is begun again.
JOIN_PATIENCE = 60.0
#: Seconds in which a manager of several must get back to the others after its engine was started anew.
RETURN_PATIENCE = 600.0
#: Seconds without a leader after which a manager asks whether the others are gone for good.
QUORUM_PATIENCE = 45.0
#: Seconds that a node without an instance is left alone: EC2's answers lag behind.
STRANGER_PATIENCE = 120.0
#: Seconds after which the history server gets a new token: half of what one is good for.
HISTORY_TOKEN_AGE = LIFETIME_SECONDS / 2
#: Seconds after a swarm's beginning in which the history server is not started: workers and first jobs start then.
HISTORY_PATIENCE = 90.0
#: Seconds that the last manager waits for the instance that will replace it to appear.
SUCCESSOR_PATIENCE = 60.0
#: Seconds after which a host that is to drain and is not in the swarm counts as dead: its hook need not wait for it.
DEAD_PATIENCE = 60.0
#: Seconds that a new manager tries to join those that are about to end before it no longer waits for them.
SUCCESSOR_LIMIT = 240.0
#: Seconds without an engine after which a host that must go has nothing left to hand over.
SILENCE_WHEN_GOING = 30.0
#: Seconds that all tasks of a service must have run before its paused update goes on: what failed has been mended.
PAUSE_PATIENCE = 30.0
#: Seconds after which tokens are rotated even though somebody is still missing.
ROTATION_PATIENCE = 600.0


def decide(snapshot: Snapshot) -> tuple[Action, ...]:
    """What should be done, most urgent first; empty where there is nothing to do but wait.

    The first one is done and all is seen anew; the others are there for when it has just failed and rests.
    """
    if snapshot.ending:
        return _go(snapshot)
    return _stay(snapshot)


def _stay(snapshot: Snapshot) -> tuple[Action, ...]:
    if snapshot.engine is None:
        reason = "the Docker engine does not answer"
        return _some(_sick(snapshot, reason, snapshot.engine_silent_seconds > ENGINE_PATIENCE))
    sick = _sick(snapshot, snapshot.sickness, bool(snapshot.sickness))
    joined = _membership(snapshot, snapshot.engine)
    # Images do not wait for the swarm: they are most of the time that a host takes to be of use.
    pull = _images(snapshot, snapshot.engine)
    if sick is not None or joined is not None or snapshot.engine.state != "active":
        return _some(sick, joined, pull)
    if snapshot.swarm is not None and _leads_the_right_swarm(snapshot):
        return (*_lead(snapshot, snapshot.swarm), *_some(pull))
    return _some(pull)


def _some(*actions: Action | None) -> tuple[Action, ...]:
    return tuple(action for action in actions if action is not None)


def wanted_images(snapshot: Snapshot) -> tuple[str, ...]:
    """Names of the images that this host runs."""
    # The worker's last: where Spark's worker runs, a driver finds its image too.
    return ("master",) if snapshot.role == MANAGER else ("submit", "worker")


def _sick(snapshot: Snapshot, reason: str, is_sick: bool) -> Action | None:
    if is_sick and not snapshot.marked_unhealthy:
        return MarkUnhealthy(reason)
    return None


# Which swarm this host belongs to


def _membership(snapshot: Snapshot, engine: Engine) -> Action | None:
    authority = snapshot.authority
    if not snapshot.authority_known:
        return None
    if engine.state in BETWEEN:
        return _return_or_leave(snapshot, engine, authority)
    if engine.state == "active":
        return _stay_or_leave(snapshot, engine, authority)
    if engine.gossips_on:
        return _silence(snapshot)
    if snapshot.role == WORKER:
        return JoinSwarm(authority.epoch, authority.swarm_id) if authority and authority.swarm_id else None
    return _form_or_join(snapshot, authority)


def _silence(snapshot: Snapshot) -> Action | None:
    """The engine is in no swarm and listens as if it were: in the next one it would hear nobody."""
    reason = f"something listens on port {GOSSIP_PORT} although the engine is in no swarm"
    if snapshot.gossiping_on_seconds > ENGINE_PATIENCE:
        return _sick(snapshot, reason, is_sick=True)
    return RestartEngine(reason)


def _return_or_leave(snapshot: Snapshot, engine: Engine, authority: Authority | None) -> Action | None:
    """The engine is neither in a swarm nor out of it: it joins one, is on its way back, or cannot get back.

    A manager that leaves throws its copy of the swarm's state away. Where others have one and live, it waits for them
    as long as that takes: hosts that lost power boot one after the other. If it does not get back then, it is replaced.
    """
    seconds = snapshot.pending_seconds
    peers = _peers(snapshot, authority)
    if peers > 1:
        reason = f"its engine's swarm state is {engine.state}, and has been for {seconds:.0f} s"
        return _sick(snapshot, reason, seconds > RETURN_PATIENCE)
    # "error" is what an engine also says between two attempts; who has nothing to lose begins anew at once.
    if seconds <= (JOIN_PATIENCE if engine.state == "pending" or peers else 0.0):
        return None
    return LeaveSwarm(f"the engine's swarm state has been {engine.state} for {seconds:.0f} s")


def _peers(snapshot: Snapshot, authority: Authority | None) -> int:
    """How many managers hold the state of the swarm that this one was in, itself included; 0 without a majority.

    Without one there is nothing to get back to: the swarm is formed anew.
    """
    if snapshot.role != MANAGER or authority is None or not authority.swarm_id:
        return 0
    if snapshot.membership != Membership(authority.epoch, authority.swarm_id):
        return 0
    members = set(authority.members or (authority.leader,))
    alive = [each for each in members if _is_alive(snapshot, each)]
    return len(members) if snapshot.instance in members and len(alive) * 2 > len(members) else 0


def _stay_or_leave(snapshot: Snapshot, engine: Engine, authority: Authority | None) -> Action | None:
    own = engine.swarm_id if engine.control else (snapshot.membership.swarm_id if snapshot.membership else "")
    if authority is None:
        # The item was lost, not the swarm: who leads it writes it anew.
        return ClaimAuthority(1, None, own) if engine.control and engine.leads else None
    if not authority.swarm_id:
        return _finish_forming(snapshot, engine, authority)
    if own != authority.swarm_id:
        return LeaveSwarm(f"its swarm is not that of epoch {authority.epoch}")
    membership = Membership(authority.epoch, authority.swarm_id)
    if snapshot.membership != membership:
        return RecordMembership(membership)
    if engine.control and not engine.has_leader:
        return _restore_quorum(snapshot, authority)
    return None


def _finish_forming(snapshot: Snapshot, engine: Engine, authority: Authority) -> Action | None:
    """Somebody has claimed the authority and not yet said which swarm it is."""
    if authority.leader != snapshot.instance:
        return _take_over(snapshot, authority)
    formed_for_this = snapshot.membership is not None and snapshot.membership.epoch == authority.epoch
    if engine.control and formed_for_this:
        return UpdateAuthority(
            Authority(authority.epoch, snapshot.instance, engine.swarm_id, members=(snapshot.instance,))
        )
    return LeaveSwarm(f"its swarm is older than epoch {authority.epoch}")


def _form_or_join(snapshot: Snapshot, authority: Authority | None) -> Action | None:
    if not _is_member_of_its_group(snapshot):
        # EC2 does not know this host, or says that it is gone: it may neither form a swarm nor join one.
        return None
    if authority is None:
        return ClaimAuthority(1, None)
    if not authority.swarm_id:
        if authority.leader == snapshot.instance:
            return InitSwarm(authority.epoch)
        return _take_over(snapshot, authority)
    others = [each for each in authority.members or (authority.leader,) if each != snapshot.instance]
    alive = [each for each in others if _is_alive(snapshot, each)]
    if alive:
        dying = [each for each in snapshot.instances or () if each.id in alive and each.lifecycle == "Terminating:Wait"]
        if len(dying) == len(alive) and snapshot.outside_seconds > SUCCESSOR_LIMIT:
            # All that could let this one in are about to end, and none of them has: they are dead already.
            return CompleteLifecycle(dying[0].id, dying[0].role)
        return JoinSwarm(authority.epoch, authority.swarm_id)
    return ClaimAuthority(authority.epoch + 1, authority.epoch)


def _take_over(snapshot: Snapshot, authority: Authority) -> Action | None:
    """From a leader that is gone before it had formed anything."""
    if snapshot.role != MANAGER or not _is_member_of_its_group(snapshot) or _is_alive(snapshot, authority.leader):
        return None
    return ClaimAuthority(authority.epoch + 1, authority.epoch)


def _restore_quorum(snapshot: Snapshot, authority: Authority) -> Action | None:
    """The managers that are left go on alone only once EC2 says that most of the others are gone for good."""
    if snapshot.leaderless_seconds < QUORUM_PATIENCE or not _is_member_of_its_group(snapshot):
        return None
    alive = sorted(each for each in authority.members if _is_alive(snapshot, each))
    if len(alive) * 2 > len(authority.members) or not alive or alive[0] != snapshot.instance:
        return None
    return InitSwarm(authority.epoch, force=True)


def _is_member_of_its_group(snapshot: Snapshot) -> bool:
    return any(each.id == snapshot.instance and each.stays for each in snapshot.instances or ())


def _is_alive(snapshot: Snapshot, instance: str) -> bool:
    """Unknown counts as alive: nobody takes over because EC2 did not answer."""
    if snapshot.instances is None:
        return True
    return any(each.id == instance and each.alive for each in snapshot.instances)


def _leads_the_right_swarm(snapshot: Snapshot) -> bool:
    authority, swarm = snapshot.authority, snapshot.swarm
    return bool(snapshot.authority_known and authority and swarm and authority.swarm_id == swarm.id)


# What the leader does for the swarm


def _lead(snapshot: Snapshot, swarm: Swarm) -> tuple[Action, ...]:
    if snapshot.instances is None:
        # Without EC2's word no node can be told from a stranger; what runs goes on running.
        return ()
    return (
        *_remove_nodes(snapshot, swarm),
        *_let_the_dead_go(snapshot),
        *_mark_nodes(snapshot, swarm),
        *_keep_authority(snapshot, swarm),
        *_admit(snapshot, swarm),
        *_provide(snapshot, swarm),
        *_run_services(snapshot, swarm),
        *_rotate(snapshot, swarm),
        *_admit_history(snapshot, swarm),
        *map(RemoveSecret, swarm.replaced_secrets),
    )


def instance_of(node: Node, snapshot: Snapshot, swarm: Swarm) -> Instance | None:
    """The instance that a node is, None for a stranger.

    The address is that which the node's own connection comes from. Of several nodes with one address the ready one
    counts; where two are ready, neither can be told from the other, and neither counts.
    """
    if node.status != "ready":
        label = node.labels.get(INSTANCE)
        return next((each for each in snapshot.instances or () if each.id == label), None)
    if sum(1 for each in swarm.nodes if each.address == node.address and each.status == "ready") != 1:
        return None
    found = [each for each in snapshot.instances or () if each.address == node.address and each.alive]
    if len(found) != 1 or not found[0].lifecycle:
        return None
    # A manager may be a worker of the swarm for a moment, when it is about to go; a worker is never a manager.
    return found[0] if found[0].role == node.role or found[0].role == MANAGER else None


def _remove_nodes(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    for node in swarm.nodes:
        reason = _why_remove(node, snapshot, swarm)
        if not reason:
            continue
        if node.role == MANAGER:
            # Raft forgets a member first; a removal alone would leave it counting for the quorum.
            yield UpdateNode(node.id, node.version, WORKER, "drain", dict(node.labels), reason)
        else:
            yield RemoveNode(node.id, reason)


def _let_the_dead_go(snapshot: Snapshot) -> Iterator[Action]:
    """A host that has died cannot complete its own hook, and until that is over nothing replaces what it held."""
    for each in snapshot.instances or ():
        if each.lifecycle == "Terminating:Wait" and each.silent_seconds > DEAD_PATIENCE:
            yield CompleteLifecycle(each.id, each.role)


def _why_remove(node: Node, snapshot: Snapshot, swarm: Swarm) -> str:
    instance = instance_of(node, snapshot, swarm)
    label = node.labels.get(INSTANCE)
    if node.id == (snapshot.engine.node_id if snapshot.engine else ""):
        return ""
    if label and not _is_alive(snapshot, label):
        return f"its instance {label} is gone"
    if node.status == "ready":
        if instance is None and node.age_seconds > STRANGER_PATIENCE and not _shares_address(node, swarm):
            return "it belongs to no instance of the cluster"
        return ""
    newer = [each for each in swarm.nodes if each.address == node.address and each.status == "ready"]
    if newer and node.status == "down":
        return "its host has joined anew"
    if not label and node.status == "down" and node.age_seconds > STRANGER_PATIENCE:
        return "it left before it was verified"
    return ""


def _shares_address(node: Node, swarm: Swarm) -> bool:
    return any(each.id != node.id and each.address == node.address and each.status == "ready" for each in swarm.nodes)


def _mark_nodes(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    for node in swarm.nodes:
        if node.status != "ready":
            continue
        instance = instance_of(node, snapshot, swarm)
        labels = _labels(node, instance, snapshot, swarm)
        role, availability = node.role, "active"
        if instance is None:
            # A stranger runs nothing at all.
            availability = "drain"
        elif not instance.stays:
            # Nothing new; what runs there may finish while the host drains itself.
            availability = "pause"
            if node.role == MANAGER and can_spare(node, snapshot, swarm):
                role = WORKER
            if instance.role == MANAGER and role == WORKER:
                # What it runs is for a manager to run.
                availability = "drain"
        elif instance.role == MANAGER:
            role = MANAGER
        if (labels, role, availability) != (dict(node.labels), node.role, node.availability):
            reason = f"it is {instance.id}" if instance else "it belongs to no instance of the cluster"
            yield UpdateNode(node.id, node.version, role, availability, labels, reason)


def can_spare(node: Node, snapshot: Snapshot, swarm: Swarm) -> bool:
    """Whether the other managers keep a quorum without this one, and one of them stays."""
    others = [each for each in swarm.nodes if each.role == MANAGER and each.id != node.id]
    ready = [each for each in others if each.status == "ready" and each.reachable]
    staying = [each for each in ready if (found := instance_of(each, snapshot, swarm)) is not None and found.stays]
    return bool(staying) and len(ready) * 2 > len(others)


def _labels(node: Node, instance: Instance | None, snapshot: Snapshot, swarm: Swarm) -> dict[str, str]:
    ours = (VERIFIED, INSTANCE, SIZE, ORDINAL, RUNS_SPARK)
    labels = {key: value for key, value in node.labels.items() if key not in ours}
    if instance is None:
        return labels
    labels.update({VERIFIED: "true", INSTANCE: instance.id})
    if instance.role == WORKER:
        labels[SIZE] = worker_size(node, snapshot.settings).label
        # Never taken away: the swarm ends what runs where a constraint no longer holds, and a worker may start anew
        # beside a driver.
        if node.runs_spark or node.labels.get(RUNS_SPARK):
            labels[RUNS_SPARK] = "true"
    elif snapshot.settings.managers > 1:
        ordinal = node.labels.get(ORDINAL) or _free_ordinal(snapshot, swarm)
        if ordinal:
            labels[ORDINAL] = ordinal
    return labels


def _free_ordinal(snapshot: Snapshot, swarm: Swarm) -> str:
    taken = {node.labels.get(ORDINAL) for node in swarm.nodes if node.role == MANAGER}
    free = [str(each) for each in range(1, snapshot.settings.managers + 1) if str(each) not in taken]
    return free[0] if free else ""


def _keep_authority(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    authority = snapshot.authority
    if authority is None:
        return
    members = sorted(
        {node.labels[INSTANCE] for node in swarm.nodes if node.role == MANAGER and node.labels.get(INSTANCE)}
    )
    if members and (authority.leader != snapshot.instance or list(authority.members) != members):
        yield UpdateAuthority(Authority(authority.epoch, snapshot.instance, swarm.id, tuple(members)))


def missing(role: str, snapshot: Snapshot, swarm: Swarm) -> list[Instance]:
    """Instances of a group that should be in the swarm and are not."""
    joined = {node.address for node in swarm.nodes if node.status == "ready" and node.role == role}
    return [
        each for each in snapshot.instances or () if each.role == role and each.stays and each.address not in joined
    ]


def join_data(role: str, snapshot: Snapshot, swarm: Swarm) -> str:
    """What a host needs to join, as JSON."""
    managers = sorted(
        f"{node.address}:2377"
        for node in swarm.nodes
        if node.role == MANAGER and node.status == "ready" and node.labels.get(VERIFIED)
    )
    epoch = snapshot.authority.epoch if snapshot.authority else 0
    content = {"epoch": epoch, "swarm_id": swarm.id, "managers": managers, "token": swarm.tokens[role]}
    return json.dumps(content, sort_keys=True)


def _admit(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    for role in (WORKER, MANAGER):
        if role not in snapshot.join_data:
            continue
        published = snapshot.join_data[role]
        if role == MANAGER and not missing(MANAGER, snapshot, swarm):
            if published is not None:
                yield WithdrawJoinData(MANAGER)
            continue
        content = join_data(role, snapshot, swarm)
        if published != content:
            yield PublishJoinData(role, content)


def members_mark(swarm: Swarm) -> str:
    """Changes whenever a node comes or goes."""
    return hashlib.sha256(" ".join(sorted(node.id for node in swarm.nodes)).encode()).hexdigest()[:16]


def _rotate(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    """After every change of members, once nobody is on the way with the old token; and when an operator asks."""
    wanted = swarm.labels.get(ROTATION_WANTED, "")
    asked = wanted != swarm.labels.get(ROTATION_DONE, "")
    mark = members_mark(swarm)
    changed = swarm.labels.get(ROTATED_FOR) != mark
    if not asked and not changed:
        return
    if not asked:
        # The first hosts are on the way with the very first token.
        rotated_at = swarm.labels.get(ROTATED_AT)
        age = snapshot.now - float(rotated_at) if rotated_at else _age(swarm)
        if any(missing(role, snapshot, swarm) for role in (MANAGER, WORKER)) and age < ROTATION_PATIENCE:
            return
    labels = {**swarm.labels, ROTATED_FOR: mark, ROTATED_AT: str(int(snapshot.now))}
    if asked and wanted.startswith("rpc"):
        # The tokens with it, for whoever asks for everything to be new; the secret's own number tells when it is done.
        name = f"{RPC_SECRET}-{wanted.partition(':')[2]}"
        if name not in [each for each, _ in swarm.secrets]:
            yield CreateSecret(name)
    yield RotateTokens(swarm.version, {**labels, ROTATION_DONE: wanted})


def _age(swarm: Swarm) -> float:
    """Seconds since the first of its nodes came."""
    return max((node.age_seconds for node in swarm.nodes), default=0.0)


def _provide(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    if not swarm.network:
        yield CreateNetwork(encrypted=snapshot.encrypted_overlay, attachable=snapshot.settings.attachable)
    if not swarm.secrets:
        yield CreateSecret(f"{RPC_SECRET}-1")
    if not snapshot.broker_key_there:
        yield CreateBrokerKey()


# What runs


def _run_services(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    wanted = wanted_services(snapshot)
    there = {service.name: service for service in swarm.services}
    for name, spec in wanted.items():
        service = there.get(name)
        if service is None:
            yield CreateService(name, spec)
        elif service.spec_hash != _hash_in(spec) and snapshot.images_settled:
            yield UpdateService(name, service.id, service.version, spec)
        elif service.paused_seconds > PAUSE_PATIENCE:
            # The same again lets it go on where it paused: a host had no image yet, say.
            yield UpdateService(name, service.id, service.version, spec)
    if wanted:
        for name, service in there.items():
            if name not in wanted:
                yield RemoveService(name, service.id)


def _admit_history(snapshot: Snapshot, swarm: Swarm) -> Iterator[Action]:
    """Last, for it needs the broker and the bucket, and Spark runs without it."""
    first = not swarm.history_tokens and _age(swarm) > HISTORY_PATIENCE
    if snapshot.broker_key_there and (first or (swarm.history_tokens and swarm.history_token_age > HISTORY_TOKEN_AGE)):
        # Named by the hour: an attempt that failed rests, and is not another one a second later.
        yield CreateHistoryToken(f"spark-history-token-{int(snapshot.now) // 3600}")


def _hash_in(spec: dict[str, object]) -> str:
    labels = spec["Labels"]
    return str(labels["sparkvault.spec"]) if isinstance(labels, dict) else ""


def _images(snapshot: Snapshot, engine: Engine) -> Action | None:
    for name in wanted_images(snapshot):
        image = snapshot.images.get(name)
        if image and image not in engine.images:
            return PullImage(image)
    return None


# Going


def _go(snapshot: Snapshot) -> tuple[Action, ...]:
    engine, drain = snapshot.engine, snapshot.drain
    if drain is None:
        return (StartDrain(snapshot.now + snapshot.ends_within_seconds),)
    if drain.completed:
        return ()
    own = CompleteLifecycle(snapshot.instance, snapshot.role)
    done: tuple[Action, ...] = (own,) if snapshot.ending == TERMINATING else ()
    late = snapshot.now >= drain.deadline
    if snapshot.ending == SPOT and not snapshot.marked_unhealthy:
        # Its group starts a successor at once, and says to who leads that nothing more is to run here.
        return (MarkUnhealthy("EC2 takes this host back"), *_drain(snapshot, engine, drain, done, late=late))
    return _drain(snapshot, engine, drain, done, late=late)


def _drain(
    snapshot: Snapshot, engine: Engine | None, drain: Drain, done: tuple[Action, ...], *, late: bool
) -> tuple[Action, ...]:
    if engine is None:
        return done if late or snapshot.engine_silent_seconds > SILENCE_WHEN_GOING else ()
    if engine.state == "inactive":
        return done
    if not engine.control:
        return _leave_as_worker(engine, drain, done, late=late)
    return done if late else _leave_as_manager(snapshot, engine, drain, done)


def _leave_as_worker(engine: Engine, drain: Drain, done: tuple[Action, ...], *, late: bool) -> tuple[Action, ...]:
    workers = [each for each in engine.containers if each.service.startswith("spark-worker") and each.running]
    if not late:
        for container in workers:
            if container.id not in drain.signalled:
                return (Decommission(container.id),)
        if any(each.executors for each in workers) or any(each.job and each.running for each in engine.containers):
            return ()
    # An engine that cannot even leave, on a full disk say, keeps nobody waiting: its node is removed with its instance.
    return (LeaveSwarm("this host is about to end"), *done)


def _leave_as_manager(snapshot: Snapshot, engine: Engine, drain: Drain, done: tuple[Action, ...]) -> tuple[Action, ...]:
    """Hands over to the others; the last one waits for the manager that replaces it, if one is on its way.

    Until then it leads on: somebody must let the new one in.
    """
    others = [each for each in snapshot.instances or () if each.role == MANAGER and each.stays]
    if not others and snapshot.now - drain.started > SUCCESSOR_PATIENCE:
        return done
    if not engine.leads or snapshot.swarm is None or not _leads_the_right_swarm(snapshot):
        # The one that leads demotes this one.
        return ()
    own = next((each for each in snapshot.swarm.nodes if each.id == engine.node_id), None)
    if own is not None and can_spare(own, snapshot, snapshot.swarm):
        return (UpdateNode(own.id, own.version, WORKER, "drain", dict(own.labels), "this host is about to end"),)
    return _lead(snapshot, snapshot.swarm)


# What to tell systemd


def readiness(snapshot: Snapshot) -> tuple[bool, str]:
    """Whether this host does its work, and what it does or waits for, in one line."""
    engine, authority = snapshot.engine, snapshot.authority
    if snapshot.ending:
        return True, "leaving: " + snapshot.ending
    if engine is None:
        return False, "waiting for the Docker engine"
    if not snapshot.authority_known:
        return False, "waiting for DynamoDB to say which swarm is the cluster's"
    if authority is None or not authority.swarm_id:
        return False, "waiting for the managers to form a swarm"
    if engine.state != "active":
        return False, f"waiting to join the swarm of epoch {authority.epoch}"
    if snapshot.membership != Membership(authority.epoch, authority.swarm_id):
        return False, "in a swarm that is not the cluster's"
    if not snapshot.images_known:
        return False, "waiting for Parameter Store to say which images are published"
    return _manager_ready(snapshot, engine) if snapshot.role == MANAGER else _worker_ready(snapshot, engine)


def _manager_ready(snapshot: Snapshot, engine: Engine) -> tuple[bool, str]:
    if not engine.control:
        return False, "waiting to be made a manager"
    if not engine.has_leader:
        return False, "waiting for a quorum of managers"
    if snapshot.swarm is None:
        return True, "manager of the swarm"
    if "master" not in snapshot.images:
        return True, "leads the swarm; no image of Spark is published, so nothing runs"
    there = {service.name: service for service in snapshot.swarm.services}
    for name in wanted_services(snapshot):
        service = there.get(name)
        if service is None:
            return False, f"waiting for {name} to be made"
        # Servers of other managers wait for those managers; this host is of use without them.
        if name == "spark-master" and snapshot.settings.managers == 1 and service.running < 1:
            return False, f"waiting for {name} to run" + (f": {service.trouble}" if service.trouble else "")
    if not wanted_services(snapshot):
        return False, "waiting for network and secret of the services"
    return True, "leads the swarm"


def _worker_ready(snapshot: Snapshot, engine: Engine) -> tuple[bool, str]:
    if "worker" not in snapshot.images:
        return True, "joined; no image of Spark is published, so nothing runs"
    for name in wanted_images(snapshot):
        if name in snapshot.images and snapshot.images[name] not in engine.images:
            return False, f"waiting for the image of Spark's {name}"
    workers = [each for each in engine.containers if each.service.startswith("spark-worker") and each.running]
    if not workers:
        return False, "joined; waiting for a manager to verify this host and start its Spark worker"
    if not any(each.healthy for each in workers):
        return False, "waiting for the Spark worker to be healthy"
    return True, "runs a Spark worker"
