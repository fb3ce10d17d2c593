"""What the agent sees, and what it may do about it: plain data between observing, deciding and acting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

MANAGER = "manager"
WORKER = "worker"

#: States of an engine that is neither in a swarm nor out of it, as the Engine API names them.
BETWEEN = ("pending", "error", "locked")

#: Why a host must go.
TERMINATING = "terminating"
SPOT = "spot"

#: Node labels. Only managers can set them, and services are constrained to the first.
VERIFIED = "sparkvault.verified"
INSTANCE = "sparkvault.instance"
SIZE = "sparkvault.size"
ORDINAL = "sparkvault.ordinal"
#: A node on which the Spark worker has been started: its host has the images, and drivers may go there.
RUNS_SPARK = "sparkvault.runs-spark"

#: Labels of the swarm itself.
ROTATED_FOR = "sparkvault.rotated-for"
ROTATED_AT = "sparkvault.rotated-at"
ROTATION_WANTED = "sparkvault.rotation-wanted"
ROTATION_DONE = "sparkvault.rotation-done"

#: Labels of services, secrets and containers.
SERVICE = "sparkvault.service"
SPEC_HASH = "sparkvault.spec"
MASTER_URL = "sparkvault.master-url"
SECRET = "sparkvault.secret"  # noqa: S105 - the name of a label
JOB = "sparkvault.job"
TENANT = "sparkvault.tenant"


@dataclass(frozen=True)
class Authority:
    """The cluster's one item: which swarm is the cluster's, and who answers for it."""

    epoch: int
    leader: str
    """Instance id."""
    swarm_id: str = ""
    """Empty while the leader is still forming the swarm."""
    members: tuple[str, ...] = ()
    """Instance ids of the swarm's managers."""


@dataclass(frozen=True)
class Membership:
    """What this host wrote down before it joined or formed a swarm."""

    epoch: int
    swarm_id: str = ""


@dataclass(frozen=True)
class Instance:
    """An EC2 instance of one of the two groups, as EC2 and Auto Scaling say."""

    id: str
    address: str
    role: str
    alive: bool
    """Pending or running, as EC2 says."""
    lifecycle: str = ""
    """State in its Auto Scaling group (``InService``, ``Terminating:Wait``, …); empty where it is in none."""
    silent_seconds: float = 0.0
    """How long its hook has waited for it to drain while nothing of it was in the swarm; leaders only."""

    @property
    def stays(self) -> bool:
        """Whether it is a member of its group, alive and not about to end."""
        return self.alive and self.lifecycle in ("InService", "Pending", "Pending:Wait", "Pending:Proceed")


@dataclass(frozen=True)
class Node:
    """A node of the swarm, as a manager sees it."""

    id: str
    version: int
    address: str
    role: str
    status: str
    """``ready``, ``down``, ``unknown``, ``disconnected``."""
    availability: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cores: int = 0
    memory_mib: int = 0
    age_seconds: float = 0.0
    reachable: bool = True
    """For managers: whether Raft reaches it."""
    runs_spark: bool = False
    """Whether its Spark worker has been started, healthy already or not yet."""


@dataclass(frozen=True)
class Service:
    """A service of ours that is there."""

    id: str
    name: str
    version: int
    spec_hash: str
    running: int = 0
    wanted: int = 0
    trouble: str = ""
    """Why its newest task does not run, in the engine's words."""
    paused_seconds: float = 0.0
    """How long its rolling update has been paused while all of its tasks run."""


@dataclass(frozen=True)
class Container:
    """A container of a swarm service on this host."""

    id: str
    service: str
    job: str = ""
    running: bool = True
    healthy: bool = True
    executors: int = 0
    """Executors that live in it."""


@dataclass(frozen=True)
class Swarm:
    """The swarm as its leader sees it."""

    id: str
    version: int
    labels: Mapping[str, str]
    tokens: Mapping[str, str] = field(repr=False)
    """Join tokens by role."""
    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    network: str = ""
    """Id of the overlay network, empty where it is missing."""
    secrets: tuple[tuple[str, str], ...] = ()
    """The RPC secrets, oldest first: name and id."""
    history_tokens: tuple[tuple[str, str], ...] = ()
    """Tokens with which the history server gets its credentials, oldest first: name and id."""
    history_token_age: float = 0.0
    """Of the newest one, in seconds."""
    replaced_secrets: tuple[str, ...] = ()
    """Ids of secrets that newer ones replaced a while ago and that no service has."""


@dataclass(frozen=True)
class Engine:
    """This host's engine."""

    state: str
    """``inactive``, ``pending``, ``active``, ``error`` or ``locked``."""
    node_id: str = ""
    control: bool = False
    """Whether this node is a manager of its swarm."""
    swarm_id: str = ""
    """Known to managers only."""
    has_leader: bool = True
    """Managers only: whether Raft has a leader, so that the swarm can be read and changed."""
    leads: bool = False
    containers: tuple[Container, ...] = ()
    images: tuple[str, ...] = ()
    """Those of the published images that are here, by digest."""
    gossips_on: bool = False
    """Whether it is in no swarm and still listens for the members of the one that it left (``gossip``)."""


@dataclass(frozen=True)
class Drain:
    """How far this host is in leaving; written down, so that a new agent goes on where the old one was."""

    started: float
    """Seconds since the epoch."""
    deadline: float
    signalled: tuple[str, ...] = ()
    """Containers that were told to decommission."""
    completed: bool = False


@dataclass(frozen=True)
class Settings:
    """What a deployment wants of the swarm, from the parameter ``swarm/desired``."""

    managers: int = 1
    attachable: bool = False
    worker_memory_mib: int | None = None
    worker_cores: int | None = None
    enclave_memory_mib: int = 0
    """Of all enclaves of a worker together."""
    default_cores_per_application: int = 4
    log_level: str = "WARN"
    tenants: tuple[str, ...] = ("default",)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a decision rests on. None stands for what could not be learnt just now."""

    now: float
    role: str
    instance: str
    address: str
    settings: Settings
    engine: Engine | None = None
    engine_silent_seconds: float = 0.0
    authority: Authority | None = None
    authority_known: bool = True
    membership: Membership | None = None
    pending_seconds: float = 0.0
    """How long the engine has been neither in a swarm nor out of it: it joins, or wants to get back."""
    leaderless_seconds: float = 0.0
    outside_seconds: float = 0.0
    """How long the engine has been in no swarm."""
    gossiping_on_seconds: float = 0.0
    """How long it has listened all the same."""
    instances: tuple[Instance, ...] | None = None
    """Both groups; managers only."""
    swarm: Swarm | None = None
    """Only on the node that leads."""
    join_data: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    """By role, what is published; a role is missing where it is not known."""
    broker_key_there: bool = True
    images: Mapping[str, str] = field(default_factory=dict)
    """Published images by name: ``repository@sha256:…``."""
    images_known: bool = True
    images_settled: bool = True
    """Whether every host has had time to pull the published images."""
    ending: str = ""
    """Why this host must go: ``terminating`` or ``spot``; empty otherwise."""
    ends_within_seconds: float = 0.0
    drain: Drain | None = None
    sickness: str = ""
    """What has been wrong with this host for a while."""
    marked_unhealthy: bool = False
    encrypted_overlay: bool = True
    log_group: str = ""
    log_region: str = ""
    log_endpoint: str = ""
    """Other addresses than AWS's own, where the host was given some."""
    s3_endpoint: str = ""
    job_bucket: str = ""


@dataclass(frozen=True)
class ClaimAuthority:
    """Become the one who forms the cluster's swarm: ``epoch`` follows ``after`` (None: there was none)."""

    epoch: int
    after: int | None
    swarm_id: str = ""
    """The swarm that goes on under the new epoch; empty for a new one."""


@dataclass(frozen=True)
class InitSwarm:
    """Form a new swarm under the epoch."""

    epoch: int
    force: bool = False
    """Keep what this manager knows of the old swarm, whose other managers are gone."""


@dataclass(frozen=True)
class UpdateAuthority:
    """Write down which swarm was formed, who leads it, and who its managers are."""

    authority: Authority


@dataclass(frozen=True)
class RecordMembership:
    """Write down which swarm this host is in."""

    membership: Membership


@dataclass(frozen=True)
class JoinSwarm:
    """Join the swarm of the authority."""

    epoch: int
    swarm_id: str


@dataclass(frozen=True)
class LeaveSwarm:
    """Leave whatever swarm this host is in."""

    reason: str


@dataclass(frozen=True)
class RestartEngine:
    """Start this host's engine anew."""

    reason: str


@dataclass(frozen=True)
class UpdateNode:
    """Give a node its role, availability and labels."""

    node: str
    version: int
    role: str
    availability: str
    labels: Mapping[str, str]
    reason: str


@dataclass(frozen=True)
class RemoveNode:
    """Take a node out of the swarm, for good: its certificate is worth nothing afterwards."""

    node: str
    reason: str


@dataclass(frozen=True)
class PublishJoinData:
    """Let hosts of a role join."""

    role: str
    content: str = field(repr=False)


@dataclass(frozen=True)
class WithdrawJoinData:
    """No host of this role is missing: nobody needs to join."""

    role: str


@dataclass(frozen=True)
class RotateTokens:
    """Make the join tokens that were out worthless."""

    version: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class CreateNetwork:
    """Make the overlay network."""

    encrypted: bool
    attachable: bool


@dataclass(frozen=True)
class CreateSecret:
    """Make the next RPC secret."""

    name: str


@dataclass(frozen=True)
class RemoveSecret:
    """Remove a secret that no service uses any more."""

    secret: str


@dataclass(frozen=True)
class CreateBrokerKey:
    """Make the key that signs the tokens of jobs."""


@dataclass(frozen=True)
class CreateHistoryToken:
    """Give the history server a token for the credentials broker, and a folder to read."""

    name: str


@dataclass(frozen=True)
class CreateService:
    """Make a service."""

    name: str
    spec: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class UpdateService:
    """Change a service to what is wanted."""

    name: str
    id: str
    version: int
    spec: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RemoveService:
    """Remove a service of ours that is wanted no more."""

    name: str
    id: str


@dataclass(frozen=True)
class PullImage:
    """Fetch a published image by its digest."""

    image: str


@dataclass(frozen=True)
class StartDrain:
    """Begin to leave."""

    deadline: float


@dataclass(frozen=True)
class Decommission:
    """Tell a Spark worker to move its blocks away and take nothing new."""

    container: str


@dataclass(frozen=True)
class CompleteLifecycle:
    """Let Auto Scaling go on with ending a host: this one, or one that can no longer say so itself."""

    instance: str
    role: str


@dataclass(frozen=True)
class MarkUnhealthy:
    """Have this host replaced."""

    reason: str


Action = Union[
    ClaimAuthority,
    InitSwarm,
    UpdateAuthority,
    RecordMembership,
    JoinSwarm,
    LeaveSwarm,
    RestartEngine,
    UpdateNode,
    RemoveNode,
    PublishJoinData,
    WithdrawJoinData,
    RotateTokens,
    CreateNetwork,
    CreateSecret,
    RemoveSecret,
    CreateBrokerKey,
    CreateHistoryToken,
    CreateService,
    UpdateService,
    RemoveService,
    PullImage,
    StartDrain,
    Decommission,
    CompleteLifecycle,
    MarkUnhealthy,
]
