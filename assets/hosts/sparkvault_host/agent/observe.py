"""Looks at all that a decision rests on: the engine, the cluster's item, EC2, the parameters, the host itself."""

from __future__ import annotations

import calendar
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, TypeVar

from sparkvault_host.agent import gossip
from sparkvault_host.agent.authority import read_authority
from sparkvault_host.agent.health import Sickness
from sparkvault_host.agent.model import (
    BETWEEN,
    JOB,
    MANAGER,
    SECRET,
    SERVICE,
    SPEC_HASH,
    SPOT,
    TERMINATING,
    VERIFIED,
    WORKER,
    Action,
    Authority,
    ClaimAuthority,
    Container,
    CreateBrokerKey,
    Engine,
    Instance,
    JoinSwarm,
    LeaveSwarm,
    Membership,
    Node,
    PublishJoinData,
    Service,
    Settings,
    Snapshot,
    Swarm,
    UpdateAuthority,
    WithdrawJoinData,
)
from sparkvault_host.agent.parameters import ParameterError, read_join_data, read_wanted
from sparkvault_host.agent.records import Records
from sparkvault_host.agent.services import NETWORK
from sparkvault_host.aws_cli import AwsError, aws, other_endpoint
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity, Metadata, MetadataError, kernel_has_esp
from sparkvault_host.log_driver import LOGS

#: Seconds that an answer of AWS is good for: while the host is not settled, and once it is.
RESTLESS_SECONDS, SETTLED_SECONDS = 2.0, 10.0
#: Seconds between looks at what rarely changes: wanted settings, published images, join data.
SLOW_SECONDS = 20.0
#: On a machine that is short of time an answer is good for longer: so many times what it, and the one before it, cost
#: at least. The first ones after a start are always dear.
COST_FACTOR = 3.0
#: Seconds that all hosts get to pull a newly published image before services change to it.
IMAGE_SECONDS = 45.0
#: Seconds that a secret which a newer one replaced is kept: a job may just be starting with it.
REPLACED_SECONDS = 600.0
#: Seconds kept for the last steps of leaving, of those that Auto Scaling or EC2 gives.
SPARE_SECONDS = 20.0
SPOT_SECONDS = 120.0

_SERVICE_NAME = "com.docker.swarm.service.name"
_EXECUTOR = "CoarseGrainedExecutorBackend"
#: States of a task whose container is there: the first lasts until its health check is content.
_STARTED = ("starting", "running")

_T = TypeVar("_T")


class Observer:
    """One host's eyes; ``observe`` gives a snapshot. AWS is asked as seldom as possible: every call is a process."""

    def __init__(
        self,
        identity: HostIdentity,
        engine: EngineApi,
        records: Records,
        metadata: Metadata,
        sickness: Sickness | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._engine = engine
        self._records = records
        self._metadata = metadata
        self._sickness = sickness or Sickness()
        self._clock = clock
        self._kept: dict[str, tuple[float, Any]] = {}
        self._costs: dict[str, tuple[float, float]] = {}
        self._since: dict[str, float] = {}
        self._images: dict[str, str] | None = None
        self._images_since = 0.0
        self._ending = ""
        self._wanted: tuple[Settings, str, dict[str, str]] | None = None
        self.settled = False

    @property
    def parameter_key(self) -> str:
        """The KMS key that secret parameters are written under."""
        return self._wanted[1] if self._wanted else ""

    def forget(self, action: Action) -> None:
        """After an action that failed: what it rested on may not be true any more."""
        if isinstance(action, (ClaimAuthority, UpdateAuthority, JoinSwarm)):
            self._kept.pop("authority", None)
        elif isinstance(action, (PublishJoinData, WithdrawJoinData, CreateBrokerKey)):
            self._kept.pop("join", None)

    def learn(self, action: Action) -> None:
        """After an action that was done: what AWS would now answer, without asking."""
        now = self._clock()
        if isinstance(action, ClaimAuthority):
            self._kept["authority"] = (now, Authority(action.epoch, self._identity.instance, action.swarm_id))
        elif isinstance(action, UpdateAuthority):
            self._kept["authority"] = (now, action.authority)
        elif isinstance(action, LeaveSwarm):
            self._kept.pop("authority", None)
        elif isinstance(action, (PublishJoinData, WithdrawJoinData, CreateBrokerKey)) and "join" in self._kept:
            then, (published, has_key) = self._kept["join"]
            if isinstance(action, CreateBrokerKey):
                has_key = True
            else:
                content = action.content if isinstance(action, PublishJoinData) else None
                published = {**published, action.role: content}
            self._kept["join"] = (then, (published, has_key))

    def observe(self) -> Snapshot:
        """Everything that can be learnt now; what cannot is None or flagged."""
        identity, now = self._identity, self._clock()
        # First: which images the engine is asked for rests on it.
        wanted, _ = self._ask("wanted", now, lambda: read_wanted(identity), slow=True)
        self._wanted = wanted or self._wanted
        settings, _, images = self._wanted or (Settings(), "", {})
        self._watch_images(images, now)
        ending, ends_within = self._see_ending(now)
        engine = self._see_engine(now)
        membership = self._records.membership()
        calm = not ending and self._belongs(engine, membership)
        authority, authority_known = self._ask("authority", now, lambda: read_authority(identity), calm=calm)
        swarm = self._see_swarm(engine, now)
        instances = None
        if identity.role == MANAGER and self._needs_ec2(engine, swarm, ending):
            calm = not ending and swarm is not None and all(map(_is_known, swarm.nodes))
            instances, _ = self._ask("instances", now, self._see_instances, calm=calm)
        if swarm is not None and instances is not None:
            instances = self._notice_the_silent(instances, swarm, now)
        join_data: dict[str, str | None] = {}
        broker_key = True
        if swarm is not None:
            published, known = self._ask("join", now, lambda: read_join_data(identity), slow=True)
            if known and published is not None:
                join_data, broker_key = published
        return Snapshot(
            now=now,
            role=identity.role,
            instance=identity.instance,
            address=identity.address,
            settings=settings,
            engine=engine,
            engine_silent_seconds=self._lasts("silent", engine is None, now),
            authority=authority,
            authority_known=authority_known,
            membership=membership,
            pending_seconds=self._lasts("pending", engine is not None and engine.state in BETWEEN, now),
            leaderless_seconds=self._lasts("leaderless", engine is not None and not engine.has_leader, now),
            outside_seconds=self._lasts("outside", engine is not None and engine.state == "inactive", now),
            gossiping_on_seconds=self._lasts("gossiping on", engine is not None and engine.gossips_on, now),
            instances=instances,
            swarm=swarm,
            join_data=join_data,
            broker_key_there=broker_key,
            images=images,
            images_known=self._wanted is not None,
            images_settled=now - self._images_since > IMAGE_SECONDS,
            ending=ending,
            ends_within_seconds=ends_within,
            drain=self._records.drain(),
            sickness="" if ending else self._sickness.reason(now),
            marked_unhealthy=self._records.marked_unhealthy(),
            encrypted_overlay=kernel_has_esp(),
            log_group=identity.log_group,
            log_region=identity.region,
            log_endpoint=other_endpoint(LOGS),
            s3_endpoint=other_endpoint("S3"),
            job_bucket=identity.job_bucket,
        )

    # The engine

    def _see_engine(self, now: float) -> Engine | None:
        try:
            info = self._engine.get("/info")
            swarm = info.get("Swarm") or {}
            state = str(swarm.get("LocalNodeState") or "inactive")
            control = state == "active" and bool(swarm.get("ControlAvailable"))
            membership = self._records.membership() or Membership(0)
            has_leader, leads = True, False
            # Without a quorum the engine does not know its swarm's id; what was written down still holds.
            swarm_id = ((swarm.get("Cluster") or {}).get("ID") or membership.swarm_id) if control else ""
            if control:
                has_leader, leads = self._see_leader(str(swarm.get("NodeID")))
            return Engine(
                state=state,
                node_id=str(swarm.get("NodeID") or ""),
                control=control,
                swarm_id=swarm_id,
                has_leader=has_leader,
                leads=leads,
                containers=self._see_containers(),
                images=self._see_images(),
                gossips_on=state == "inactive" and gossip.is_listened_for(self._identity.address),
            )
        except EngineError:
            return None

    def _see_leader(self, node_id: str) -> tuple[bool, bool]:
        try:
            own = self._engine.get(f"/nodes/{node_id}")
        except EngineError as error:
            if error.status == 0:
                raise
            # 503 without a quorum; 404 for a manager that was removed: it leads nothing either way.
            return False, False
        return True, bool((own.get("ManagerStatus") or {}).get("Leader"))

    def _see_containers(self) -> tuple[Container, ...]:
        found = []
        for each in self._engine.get("/containers/json", filters={"label": [_SERVICE_NAME]}) or []:
            labels, status = each.get("Labels") or {}, str(each.get("Status"))
            service = labels.get(_SERVICE_NAME, "")
            executors = 0
            if self._ending and service.startswith("spark-worker"):
                executors = self._count_executors(each["Id"])
            found.append(
                Container(
                    id=each["Id"],
                    service=service,
                    job=labels.get(JOB, ""),
                    running=each.get("State") == "running",
                    healthy="(healthy)" in status or "(" not in status,
                    executors=executors,
                )
            )
        return tuple(found)

    def _count_executors(self, container: str) -> int:
        try:
            rows = self._engine.get(f"/containers/{container}/top", ps_args="-eo pid,args")["Processes"]
        except EngineError:
            return 0
        return sum(1 for row in rows or [] if _EXECUTOR in " ".join(row))

    def _see_images(self) -> tuple[str, ...]:
        here = []
        for image in (self._wanted[2] if self._wanted else {}).values():
            with contextlib.suppress(EngineError):
                self._engine.get(f"/images/{image}/json")
                here.append(image)
        return tuple(here)

    # The swarm

    def _see_swarm(self, engine: Engine | None, now: float) -> Swarm | None:
        if engine is None or not engine.leads:
            return None
        try:
            found = self._engine.get("/swarm")
            tokens = found["JoinTokens"]
            rpc, history = self._see_secrets("rpc"), self._see_secrets("history")
            services = tuple(self._see_services(now))
            with_spark = self._see_nodes_with_spark(services)
            return Swarm(
                id=found["ID"],
                version=found["Version"]["Index"],
                labels=dict(found["Spec"].get("Labels") or {}),
                tokens={WORKER: tokens["Worker"], MANAGER: tokens["Manager"]},
                nodes=tuple(self._see_node(each, engine, now, with_spark) for each in self._engine.get("/nodes")),
                services=services,
                network=self._see_network(),
                secrets=tuple(each[:2] for each in rpc),
                history_tokens=tuple(each[:2] for each in history),
                history_token_age=now - history[-1][2] if history else 0.0,
                replaced_secrets=self._see_replaced(rpc, now) + self._see_replaced(history, now),
            )
        except EngineError:
            return None

    def _see_nodes_with_spark(self, services: tuple[Service, ...]) -> frozenset[str]:
        """Nodes whose Spark worker has been started, healthy already or not yet: images are there."""
        names = [each.name for each in services if each.name.startswith("spark-worker")]
        if not names:
            return frozenset()
        tasks = self._engine.get("/tasks", filters={"service": names, "desired-state": ["running"]}) or []
        return frozenset(
            str(task.get("NodeID")) for task in tasks if (task.get("Status") or {}).get("State") in _STARTED
        )

    def _see_node(self, node: dict[str, Any], engine: Engine, now: float, with_spark: frozenset[str]) -> Node:
        spec, status, manager = node["Spec"], node.get("Status") or {}, node.get("ManagerStatus") or {}
        resources = (node.get("Description") or {}).get("Resources") or {}
        address = str(status.get("Addr") or "")
        if node["ID"] == engine.node_id:
            # The leader reaches itself by no address worth the name.
            address = self._identity.address
        elif address in ("", "0.0.0.0", "127.0.0.1") and manager:  # noqa: S104 - what the engine says, not a bind
            address = str(manager.get("Addr", "")).rpartition(":")[0]
        return Node(
            id=node["ID"],
            version=node["Version"]["Index"],
            address=address,
            role=spec["Role"],
            status=str(status.get("State") or "unknown"),
            availability=spec["Availability"],
            labels=dict(spec.get("Labels") or {}),
            cores=int(resources.get("NanoCPUs", 0)) // 1_000_000_000,
            memory_mib=int(resources.get("MemoryBytes", 0)) // (1024 * 1024),
            age_seconds=now - _seconds(node.get("CreatedAt", "")),
            reachable=not manager or manager.get("Reachability") == "reachable",
            runs_spark=node["ID"] in with_spark,
        )

    def _see_services(self, now: float) -> list[Service]:
        found = []
        for each in self._engine.get("/services", filters={"label": [SERVICE]}, status=True) or []:
            spec, status = each["Spec"], each.get("ServiceStatus") or {}
            running, wanted = int(status.get("RunningTasks", 0)), int(status.get("DesiredTasks", 0))
            paused = (each.get("UpdateStatus") or {}).get("State") == "paused"
            found.append(
                Service(
                    id=each["ID"],
                    name=spec["Name"],
                    version=each["Version"]["Index"],
                    spec_hash=str((spec.get("Labels") or {}).get(SPEC_HASH, "")),
                    running=running,
                    wanted=wanted,
                    trouble=self._see_trouble(spec["Name"]) if running < wanted else "",
                    paused_seconds=self._lasts(f"paused {spec['Name']}", paused and running >= wanted, now),
                )
            )
        return found

    def _see_trouble(self, service: str) -> str:
        tasks = self._engine.get("/tasks", filters={"service": [service]}) or []
        for task in sorted(tasks, key=lambda each: str(each["CreatedAt"]), reverse=True):
            error = (task.get("Status") or {}).get("Err")
            if error:
                return str(error)
        return ""

    def _see_network(self) -> str:
        for each in self._engine.get("/networks", filters={"name": [NETWORK], "driver": ["overlay"]}) or []:
            if each["Name"] == NETWORK:
                return str(each["Id"])
        return ""

    def _see_secrets(self, kind: str) -> list[tuple[str, str, float]]:
        """Name, id and time of the secrets of a kind, oldest first."""
        found = self._engine.get("/secrets", filters={"label": [f"{SECRET}={kind}"]}) or []
        ordered = sorted(found, key=lambda each: str(each["CreatedAt"]))
        return [(each["Spec"]["Name"], each["ID"], _seconds(str(each["CreatedAt"]))) for each in ordered]

    def _see_replaced(self, secrets: list[tuple[str, str, float]], now: float) -> tuple[str, ...]:
        """Those of one kind, oldest first, that may go. Whoever took one just before the newest came is let finish."""
        old = [each[1] for each in secrets[:-1]]
        if not old or now - secrets[-1][2] < REPLACED_SECONDS:
            return ()
        used: set[str] = set()
        for service in self._engine.get("/services") or []:
            container = service["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
            used.update(str(each["SecretID"]) for each in container.get("Secrets") or [])
        return tuple(each for each in old if each not in used)

    # AWS

    def _notice_the_silent(self, instances: tuple[Instance, ...], swarm: Swarm, now: float) -> tuple[Instance, ...]:
        here = {node.address for node in swarm.nodes if node.status == "ready"}
        return tuple(
            replace(
                each,
                silent_seconds=self._lasts(
                    f"silent {each.id}", each.lifecycle == "Terminating:Wait" and each.address not in here, now
                ),
            )
            for each in instances
        )

    def _belongs(self, engine: Engine | None, membership: Membership | None) -> bool:
        """Whether this host is where the cluster's item, as it was read last, says that it should be."""
        authority = self._kept.get("authority", (0.0, None))[1]
        if engine is None or engine.state != "active" or not engine.has_leader or authority is None:
            return False
        return membership == Membership(authority.epoch, authority.swarm_id)

    def _needs_ec2(self, engine: Engine | None, swarm: Swarm | None, ending: str) -> bool:
        follows = engine is not None and engine.state == "active" and engine.has_leader and swarm is None
        return not follows or bool(ending)

    def _see_instances(self) -> tuple[Instance, ...]:
        names = {self._identity.managers_group: MANAGER, self._identity.workers_group: WORKER}
        groups = aws(
            "autoscaling",
            "describe-auto-scaling-groups",
            "--auto-scaling-group-names",
            *names,
            "--query",
            "AutoScalingGroups[].Instances[].[InstanceId,LifecycleState]",
        )
        lifecycle = dict(groups or [])
        # EC2 lets nobody but Auto Scaling set this tag.
        described = aws(
            "ec2",
            "describe-instances",
            "--filters",
            "Name=tag:aws:autoscaling:groupName,Values=" + ",".join(names),
            "--query",
            "Reservations[].Instances[].[InstanceId,PrivateIpAddress,State.Name,"
            "Tags[?Key=='aws:autoscaling:groupName']|[0].Value]",
        )
        return tuple(
            Instance(
                id=instance,
                address=address or "",
                role=names[group],
                alive=state in ("pending", "running"),
                lifecycle=lifecycle.get(instance, ""),
            )
            for instance, address, state, group in described or []
        )

    def _ask(
        self, name: str, now: float, ask: Callable[[], _T], *, calm: bool = False, slow: bool = False
    ) -> tuple[_T | None, bool]:
        """An answer that is not too old, and whether there is one. ``calm``: nobody waits for it to change."""
        good_for = SETTLED_SECONDS if self.settled or calm else RESTLESS_SECONDS
        if slow:
            good_for = SLOW_SECONDS
        kept = self._kept.get(name)
        if kept is not None and now - kept[0] < max(good_for, COST_FACTOR * min(self._costs.get(name, (0.0, 0.0)))):
            return kept[1], True
        began = self._clock()
        try:
            answer = ask()
        except (AwsError, ParameterError) as error:
            print(f"agent: {error}", flush=True)
            return None, False
        ended = self._clock()
        self._costs[name] = (self._costs.get(name, (0.0, 0.0))[1], ended - began)
        self._kept[name] = (ended, answer)
        return answer, True

    def _watch_images(self, images: dict[str, str], now: float) -> None:
        if self._images != images:
            # The first ones are what runs already, as far as anybody knows.
            self._images_since = now if self._images else 0.0
            self._images = images

    # The host

    def _see_ending(self, now: float) -> tuple[str, float]:
        try:
            notice = self._metadata.spot_notice()
            if self._metadata.lifecycle_state() == "Terminated":
                self._ending = TERMINATING
            elif notice is not None:
                self._ending = SPOT
        except MetadataError as error:
            print(f"agent: {error}", flush=True)
            return self._ending, self._identity.drain_timeout_seconds - SPARE_SECONDS
        if not self._ending:
            return "", 0.0
        within = self._identity.drain_timeout_seconds - SPARE_SECONDS
        if self._ending == SPOT or notice is not None:
            taken = _seconds(str((notice or {}).get("time", ""))) or now + SPOT_SECONDS
            spot = max(SPARE_SECONDS, taken - now - SPARE_SECONDS)
            within = spot if self._ending == SPOT else min(within, spot)
        return self._ending, within

    def _lasts(self, name: str, is_so: bool, now: float) -> float:
        if not is_so:
            self._since.pop(name, None)
            return 0.0
        return now - self._since.setdefault(name, now)


def _is_known(node: Node) -> bool:
    """Whether EC2 need not be asked about a node at once: it is there, and what it is has been found out."""
    return node.status == "ready" and VERIFIED in node.labels


def _seconds(text: str) -> float:
    """Seconds since the epoch of a time as Docker and EC2 write it; 0 where it is none."""
    try:
        moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return 0.0
    return float(calendar.timegm(moment.utctimetuple()))
