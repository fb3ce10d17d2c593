"""Does what was decided: one function for each action, each safe to be done again by an agent that was killed in it."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sparkvault_host.agent import authority as item
from sparkvault_host.agent import gossip, last_words, model
from sparkvault_host.agent.model import Action, Drain, Membership
from sparkvault_host.agent.parameters import (
    broker_key_parameter,
    join_parameter,
    new_broker_key,
    publish_secret,
    read_own_join_data,
    withdraw,
)
from sparkvault_host.agent.records import Records
from sparkvault_host.agent.registry import pull
from sparkvault_host.agent.services import EVENT_LOGS, NETWORK, OVERLAY_POOL, OVERLAY_SUBNET_BITS
from sparkvault_host.agent.systemd import restart
from sparkvault_host.aws_cli import aws
from sparkvault_host.broker.client import issue
from sparkvault_host.broker.sources import HISTORY_JOB, HISTORY_TENANT
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.errors import HostError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.lifecycle import complete_hook

_PORT = 2377

#: The engine's own service.
ENGINE_UNIT = "docker.service"

#: Bytes of the RPC secret; Spark derives its keys from it.
SECRET_BYTES = 32


class WaitingError(HostError):
    """What the action needs is not there yet; it will be tried again."""


class Actor:
    """One host's hands. ``do`` raises HostError where an action fails."""

    def __init__(
        self,
        identity: HostIdentity,
        engine: EngineApi,
        records: Records,
        parameter_key: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._engine = engine
        self._records = records
        self._parameter_key = parameter_key
        self._clock = clock
        self._how: dict[type[Any], Callable[[Any], None]] = {
            model.ClaimAuthority: self._claim_authority,
            model.InitSwarm: self._init_swarm,
            model.UpdateAuthority: self._update_authority,
            model.RecordMembership: self._record_membership,
            model.JoinSwarm: self._join_swarm,
            model.LeaveSwarm: self._leave_swarm,
            model.RestartEngine: self._restart_engine,
            model.UpdateNode: self._update_node,
            model.RemoveNode: self._remove_node,
            model.PublishJoinData: self._publish_join_data,
            model.WithdrawJoinData: self._withdraw_join_data,
            model.RotateTokens: self._rotate_tokens,
            model.CreateNetwork: self._create_network,
            model.CreateSecret: self._create_secret,
            model.RemoveSecret: self._remove_secret,
            model.CreateBrokerKey: self._create_broker_key,
            model.CreateHistoryToken: self._create_history_token,
            model.CreateService: self._create_service,
            model.UpdateService: self._update_service,
            model.RemoveService: self._remove_service,
            model.PullImage: self._pull_image,
            model.StartDrain: self._start_drain,
            model.Decommission: self._decommission,
            model.CompleteLifecycle: self._complete_lifecycle,
            model.MarkUnhealthy: self._mark_unhealthy,
        }

    def do(self, action: Action) -> None:
        """Do it. Raises HostError."""
        self._how[type(action)](action)

    # Which swarm

    def _claim_authority(self, action: model.ClaimAuthority) -> None:
        item.claim(self._identity, action.epoch, action.after, action.swarm_id)

    def _init_swarm(self, action: model.InitSwarm) -> None:
        if not action.force:
            # Before the swarm is there: a swarm without this record counts as one of an older epoch.
            self._records.write_membership(Membership(action.epoch))
        self._engine.post(
            "/swarm/init",
            {
                "ListenAddr": f"{self._identity.address}:{_PORT}",
                "AdvertiseAddr": self._identity.address,
                "DataPathAddr": self._identity.address,
                "DefaultAddrPool": [OVERLAY_POOL],
                "SubnetSize": OVERLAY_SUBNET_BITS,
                "ForceNewCluster": action.force,
                "Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 3}},
            },
        )

    def _update_authority(self, action: model.UpdateAuthority) -> None:
        item.update(self._identity, action.authority)

    def _record_membership(self, action: model.RecordMembership) -> None:
        self._records.write_membership(action.membership)

    def _join_swarm(self, action: model.JoinSwarm) -> None:
        content = read_own_join_data(self._identity)
        if content.get("epoch") != action.epoch or content.get("swarm_id") != action.swarm_id:
            raise WaitingError(f"what is published to join with is not of epoch {action.epoch}")
        self._records.write_membership(Membership(action.epoch, action.swarm_id))
        self._engine.post(
            "/swarm/join",
            {
                "ListenAddr": f"{self._identity.address}:{_PORT}",
                "AdvertiseAddr": self._identity.address,
                "DataPathAddr": self._identity.address,
                "RemoteAddrs": content["managers"],
                "JoinToken": content["token"],
            },
        )

    def _leave_swarm(self, action: model.LeaveSwarm) -> None:
        try:
            self._engine.post("/swarm/leave", force=True)
        except EngineError as error:
            # 503: it is in none, which is what was wanted.
            if error.status != 503:
                raise

    def _restart_engine(self, action: model.RestartEngine) -> None:
        del action
        restart(ENGINE_UNIT)
        if gossip.is_listened_for(self._identity.address):
            raise HostError(f"the engine was started anew, and port {gossip.PORT} is taken all the same")

    # Members

    def _update_node(self, action: model.UpdateNode) -> None:
        body = {"Role": action.role, "Availability": action.availability, "Labels": dict(action.labels)}
        self._engine.post(f"/nodes/{action.node}/update", body, version=action.version)

    def _remove_node(self, action: model.RemoveNode) -> None:
        try:
            self._engine.delete(f"/nodes/{action.node}", force=True)
        except EngineError as error:
            if error.status != 404:
                raise

    def _publish_join_data(self, action: model.PublishJoinData) -> None:
        publish_secret(join_parameter(self._identity, action.role), action.content, self._parameter_key())

    def _withdraw_join_data(self, action: model.WithdrawJoinData) -> None:
        withdraw(join_parameter(self._identity, action.role))

    def _rotate_tokens(self, action: model.RotateTokens) -> None:
        spec = self._engine.get("/swarm")["Spec"]
        spec["Labels"] = dict(action.labels)
        self._engine.post(
            "/swarm/update", spec, version=action.version, rotateWorkerToken=True, rotateManagerToken=True
        )

    # What services need

    def _create_network(self, action: model.CreateNetwork) -> None:
        options = {"encrypted": "true"} if action.encrypted else {}
        body = {
            "Name": NETWORK,
            "Driver": "overlay",
            "Attachable": action.attachable,
            "CheckDuplicate": True,
            "Options": options,
        }
        self._unless_there("/networks/create", body)

    def _create_secret(self, action: model.CreateSecret) -> None:
        data = base64.b64encode(secrets.token_hex(SECRET_BYTES).encode()).decode()
        body = {"Name": action.name, "Labels": {model.SECRET: "rpc"}, "Data": data}
        self._unless_there("/secrets/create", body)

    def _remove_secret(self, action: model.RemoveSecret) -> None:
        self._engine.delete(f"/secrets/{action.secret}")

    def _create_broker_key(self, action: model.CreateBrokerKey) -> None:
        del action
        publish_secret(broker_key_parameter(self._identity), new_broker_key(), self._parameter_key())

    def _create_history_token(self, action: model.CreateHistoryToken) -> None:
        # The server does not start on a folder that is not there, and no job may have run yet.
        aws("s3api", "put-object", "--bucket", self._identity.job_bucket, "--key", f"{EVENT_LOGS}/")
        token = issue(HISTORY_JOB, HISTORY_TENANT)
        data = base64.b64encode(token.encode()).decode()
        self._unless_there("/secrets/create", {"Name": action.name, "Labels": {model.SECRET: "history"}, "Data": data})

    def _unless_there(self, path: str, body: dict[str, Any]) -> None:
        try:
            self._engine.post(path, body)
        except EngineError as error:
            if error.status != 409:
                raise

    # Services

    def _create_service(self, action: model.CreateService) -> None:
        self._unless_there("/services/create", dict(action.spec))

    def _update_service(self, action: model.UpdateService) -> None:
        self._engine.post(f"/services/{action.id}/update", dict(action.spec), version=action.version)

    def _remove_service(self, action: model.RemoveService) -> None:
        self._engine.delete(f"/services/{action.id}")

    def _pull_image(self, action: model.PullImage) -> None:
        pull(self._engine, self._identity, action.image)

    # Going

    def _start_drain(self, action: model.StartDrain) -> None:
        self._records.write_drain(Drain(self._clock(), action.deadline))

    def _decommission(self, action: model.Decommission) -> None:
        drain = self._records.drain()
        if drain is None:
            return
        # Written down first: a worker that is told twice would stop at once.
        self._records.write_drain(replace(drain, signalled=(*drain.signalled, action.container)))
        self._engine.post(f"/containers/{action.container}/kill", signal="SIGPWR")

    def _complete_lifecycle(self, action: model.CompleteLifecycle) -> None:
        identity = self._identity
        group = identity.managers_group if action.role == model.MANAGER else identity.workers_group
        complete_hook(identity, group, action.instance)
        drain = self._records.drain()
        if drain is not None and action.instance == identity.instance:
            self._records.write_drain(replace(drain, completed=True))

    def _mark_unhealthy(self, action: model.MarkUnhealthy) -> None:
        aws(
            "autoscaling",
            "set-instance-health",
            "--instance-id",
            self._identity.instance,
            "--health-status",
            "Unhealthy",
            "--no-should-respect-grace-period",
        )
        self._records.mark_unhealthy(action.reason)
        last_words.leave(self._identity, action.reason)
