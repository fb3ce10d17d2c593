"""The account's EC2 instances for whoever boots them: what each should be, and what has become of it.

Until a booter attaches, instances are what moto makes of them: running as soon as they are asked for, gone as soon as
they are ended. From then on an instance is `pending` until its host runs, and `shutting-down` until its host has ended.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
#: What a booter may report of a host.
REPORTS = ("running", "stopped", "terminated", "impaired")


@dataclass
class _Emulated:
    """What moto's instance does not know of itself."""

    reboots: int = 0
    health: str = "ok"
    notice: dict[str, str] | None = None
    end: Callable[[], Any] = field(default=lambda: None)


class Fleet:
    """All instances of the server, by their moto objects. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.attached = False
        #: Overrides the groups' health check grace period, in seconds; None leaves what the template says.
        self.grace_seconds: float | None = None
        #: Called with (instance, report) after a report was taken in.
        self.listeners: list[Callable[[Any, str], None]] = []
        self._changed = threading.Condition(self.lock)
        self._version = 0
        self._known: dict[str, _Emulated] = {}

    # --------------------------------------------------------------- booter
    def attach(self, grace_seconds: float | None = None) -> None:
        """From now on, hosts are real: somebody boots them and reports."""
        with self.lock:
            self.attached, self.grace_seconds = True, grace_seconds
            self.touch()

    def detach(self) -> None:
        """Nobody boots hosts any more: those that were on their way have arrived."""
        with self.lock:
            self.attached = False
            for instance in self.instances():
                if instance.state in ("shutting-down", "stopping"):
                    self._settle(instance, "terminated" if instance.state == "shutting-down" else "stopped")
                elif instance.state == "pending":
                    self._settle(instance, "running")

    def wait(self, after: int, seconds: float) -> dict[str, Any]:
        """The state of everything as soon as its version differs from `after`, or after so many seconds."""
        with self.lock:
            self._changed.wait_for(lambda: self._version != after, seconds)
            return {"version": self._version, "instances": [self._described(one) for one in self.instances()]}

    def report(self, instance_id: str, what: str) -> None:
        """Take in what became of a host; raises `KeyError` for an instance that there is not."""
        if what not in REPORTS:
            raise ValueError(f"{what} is no report: {', '.join(REPORTS)}")
        with self.lock:
            instance = self.instance(instance_id)
            if what == "impaired":
                self._of(instance).health = "impaired"
                self.touch()
            else:
                self._settle(instance, what)
        for listener in self.listeners:
            listener(instance, what)

    def notify_spot(self, instance_id: str, seconds: float) -> None:
        """Announce that a Spot instance will be taken after so many seconds (AWS gives 120)."""
        with self.lock:
            instance = self.instance(instance_id)
            end = datetime.now(UTC) + timedelta(seconds=seconds)
            self._of(instance).notice = {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
            self.touch()
        timer = threading.Timer(seconds, lambda: self._take_back(instance))
        timer.daemon = True
        timer.start()

    # ---------------------------------------------------------------- moto
    def touch(self) -> None:
        """Something changed: wake the booter."""
        with self.lock:
            self._version += 1
            self._changed.notify_all()

    def instances(self) -> list[Any]:
        """Every instance of every region that is not gone."""
        from moto.ec2.models import ec2_backends

        found = []
        for account in list(ec2_backends.values()):
            for backend in list(account.values()):
                found += [one for one in backend.all_instances() if one.state != "terminated"]
        return found

    def instance(self, instance_id: str) -> Any:
        """An instance that is not gone, by id; raises `KeyError`."""
        for one in self.instances():
            if one.id == instance_id:
                return one
        raise KeyError(f"there is no instance {instance_id}")

    def launched(self, instance: Any) -> None:
        """A new instance: not running before its host does."""
        with self.lock:
            if self.attached:
                _set_state(instance, "pending")
                self.touch()

    def install(self) -> None:
        """Have moto's instances ask here before they change their state."""
        from moto.ec2.models.instances import Instance, InstanceBackend

        originals = {name: getattr(Instance, name) for name in ("terminate", "stop", "start", "reboot")}
        run_instances = InstanceBackend.run_instances

        @functools.wraps(run_instances)
        def run(backend: Any, *arguments: Any, **named: Any) -> Any:
            reservation = run_instances(backend, *arguments, **named)
            for instance in reservation.instances:
                self.launched(instance)
            return reservation

        for name, verb in (("terminate", "shutting-down"), ("stop", "stopping"), ("start", "pending")):
            setattr(Instance, name, self._deferred(originals[name], verb))

        def reboot(instance: Any) -> None:
            with self.lock:
                if self.attached and instance.state == "running":
                    self._of(instance).reboots += 1
                    self.touch()
                elif not self.attached:
                    originals["reboot"](instance)

        for kind, name, corrected in ((InstanceBackend, "run_instances", run), (Instance, "reboot", reboot)):
            setattr(kind, name, corrected)

    # ------------------------------------------------------------- internals
    def _deferred(self, original: Callable[..., Any], interim: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def changed(instance: Any) -> Any:
            with self.lock:
                before = copy.copy(instance._state)
                gone = instance.state in ("terminated", "shutting-down")
                if not self.attached:
                    return original(instance)
                if gone or instance.state == interim:
                    return before
                if interim == "shutting-down":
                    self._of(instance).end = functools.partial(original, instance)
                _set_state(instance, interim)
                self.touch()
                return before

        return changed

    def _settle(self, instance: Any, state: str) -> None:
        if state == "terminated" and instance.state != "terminated":
            self._of(instance).end()
        if state == "running" and instance.state in ("shutting-down", "terminated"):
            return
        _set_state(instance, state)
        if state == "running":
            self._of(instance).health = "ok"
        self.touch()

    def _take_back(self, instance: Any) -> None:
        if instance.state in ("pending", "running"):
            instance.ec2_backend.terminate_instances([instance.id])
            for listener in self.listeners:
                listener(instance, "taken")

    def _of(self, instance: Any) -> _Emulated:
        return self._known.setdefault(instance.id, _Emulated())

    def health_of(self, instance: Any) -> str:
        """`ok` or `impaired`, as the status checks of EC2 see it."""
        with self.lock:
            return self._of(instance).health

    def _described(self, instance: Any) -> dict[str, Any]:
        state = _scaling_state(instance)
        emulated = self._of(instance)
        backend = instance.ec2_backend
        association = backend.iam_instance_profile_associations.get(instance.id)
        profile = association.iam_instance_profile if association else None
        subnet = backend.get_subnet(instance.subnet_id)
        return {
            "id": instance.id,
            "state": instance.state,
            "health": emulated.health,
            "reboots": emulated.reboots,
            "notice": emulated.notice,
            "account": backend.account_id,
            "region": backend.region_name,
            "zone": instance.placement.zone,
            "zone_id": getattr(subnet, "_availability_zone", None) and subnet._availability_zone.zone_id,
            "vpc": instance.vpc_id,
            "subnet": instance.subnet_id,
            "subnet_cidr": subnet.cidr_block,
            "address": instance.private_ip,
            "name": instance.private_dns_name,
            "mac": next(iter(instance.nics.values())).mac_address,
            "type": instance.instance_type,
            "image": instance.image_id,
            "spot": instance.lifecycle == "spot",
            "launched": instance.launch_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "shutdown": instance.instance_initiated_shutdown_behavior,
            "user_data": str(instance.user_data or ""),
            "metadata": {
                "hop_limit": instance.metadata_options.http_put_response_hop_limit,
                "tokens": instance.metadata_options.http_tokens,
                "endpoint": instance.metadata_options.http_endpoint,
                "tags": instance.metadata_options.instance_metadata_tags,
            },
            "prefixes": list(getattr(instance, "ipv4_prefixes", [])),
            "enclaves": bool((getattr(instance, "enclave_options", None) or {}).get("Enabled")),
            "tags": {tag["key"]: tag["value"] for tag in instance.get_tags()},
            "security_groups": sorted({group.id for nic in instance.nics.values() for group in nic.group_set}),
            "profile": profile.arn if profile else None,
            "role": profile.roles[0].arn if profile and profile.roles else None,
            "group": state.auto_scaling_group_name if state else None,
            "lifecycle": state.lifecycle_state if state else None,
        }


FLEET = Fleet()


def _scaling_state(instance: Any) -> Any:
    group = getattr(instance, "autoscaling_group", None)
    states = group.instance_states if group is not None else []
    return next((one for one in states if one.instance is instance), None)


def _set_state(instance: Any, name: str) -> None:
    instance._state.name, instance._state.code = name, _CODES[name]
