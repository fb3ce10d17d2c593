"""Auto Scaling as its user guide tells it, for groups whose hosts somebody boots: capacity, lifecycle hooks, health.

Source: EC2 Auto Scaling user guide, "Amazon EC2 Auto Scaling instance lifecycle", "How lifecycle hooks work",
"Control which Auto Scaling instances terminate", "Health checks for instances in an Auto Scaling group".
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from emulation.aws.server.fleet import FLEET

_log = logging.getLogger("emulation.aws.scaling")
LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


@dataclass
class LifecycleAction:
    """One hook that waits for one instance."""

    hook: Any
    state: Any
    token: str
    deadline: float


class Scaling:
    """Lifecycle actions that are under way, and what happens when they end."""

    def __init__(self) -> None:
        self._actions: list[LifecycleAction] = []
        self._wake = threading.Condition(FLEET.lock)
        self._clock: threading.Thread | None = None

    # ------------------------------------------------------------- capacity
    def meet(self, group: Any) -> None:
        """Launch or end instances until the group has as many as it wants."""
        with FLEET.lock:
            suspended = set(group._suspended_processes) if hasattr(group, "_suspended_processes") else set()
            here = [state for state in group.instance_states if counts(state)]
            missing = (group.desired_capacity or 0) - len(here)
            if missing > 0 and "Launch" not in suspended:
                known = set(map(id, group.instance_states))
                group.replace_autoscaling_group_instances(missing, group.get_propagated_tags())
                for state in group.instance_states:
                    if id(state) not in known:
                        state.lifecycle_state = "Pending"
                FLEET.touch()
            elif missing < 0 and "Terminate" not in suspended:
                for state in surplus(here, -missing):
                    self.end(state)

    def end(self, state: Any) -> None:
        """Take an instance out of its group: its hooks are waited for, then it is terminated."""
        with FLEET.lock:
            if state.lifecycle_state.startswith("Terminating"):
                return
            self._actions = [action for action in self._actions if action.state is not state]
            hooks = hooks_of(state.auto_scaling_group, TERMINATING)
            alive = state.instance.state in ("pending", "running")
            if not hooks or not alive or state.lifecycle_state.startswith("Pending"):
                self.let_go(state)
                return
            state.lifecycle_state = "Terminating:Wait"
            self._begin(hooks, state)

    def running(self, state: Any) -> None:
        """An instance has started: its launch hooks are waited for, then it is in service."""
        with FLEET.lock:
            if state.lifecycle_state != "Pending":
                return
            hooks = hooks_of(state.auto_scaling_group, LAUNCHING)
            state.lifecycle_state = "Pending:Wait" if hooks else "InService"
            self._begin(hooks, state)

    def gone(self, instance: Any) -> None:
        """An instance has ended: it leaves its group, which fills the gap."""
        with FLEET.lock:
            group = getattr(instance, "autoscaling_group", None)
            if group is None:
                return
            self._actions = [action for action in self._actions if action.state.instance is not instance]
            group.instance_states = [one for one in group.instance_states if one.instance is not instance]
            if is_live(group):
                self.meet(group)
            elif not group.instance_states:
                group.autoscaling_backend.autoscaling_groups.pop(group.name, None)
            FLEET.touch()

    # --------------------------------------------------------------- health
    def unhealthy(self, state: Any, *, respect_grace: bool = False) -> None:
        """Mark an instance, and replace it unless the group's processes are suspended or its grace period runs."""
        with FLEET.lock:
            group = state.auto_scaling_group
            grace = group.health_check_grace_period or 0
            if FLEET.grace_seconds is not None:
                grace = min(grace, FLEET.grace_seconds)
            age = time.time() - state.instance.launch_time.timestamp()
            if respect_grace and age < grace:
                _log.warning("%s is unhealthy within its grace period of %s s: left alone", state.instance_id, grace)
                return
            state.health_status = "Unhealthy"
            suspended = set(getattr(group, "_suspended_processes", ()))
            if not suspended & {"ReplaceUnhealthy", "Terminate"}:
                self.end(state)
                self.meet(group)

    # -------------------------------------------------------------- actions
    def complete(self, group: str, hook: str, result: str, *, instance: str | None, token: str | None) -> None:
        """CompleteLifecycleAction; raises `LookupError` where no such action waits."""
        with FLEET.lock:
            self._finish(self._find(group, hook, instance, token), result)

    def heartbeat(self, group: str, hook: str, *, instance: str | None, token: str | None) -> None:
        """RecordLifecycleActionHeartbeat; raises `LookupError` where no such action waits."""
        with FLEET.lock:
            action = self._find(group, hook, instance, token)
            action.deadline = time.monotonic() + float(action.hook.heartbeat_timeout)
            self._wake.notify_all()

    def _begin(self, hooks: list[Any], state: Any) -> None:
        for hook in hooks:
            deadline = time.monotonic() + float(hook.heartbeat_timeout)
            self._actions.append(LifecycleAction(hook, state, str(uuid.uuid4()), deadline))
        if hooks and self._clock is None:
            self._clock = threading.Thread(target=self._watch_deadlines, name="lifecycle hooks", daemon=True)
            self._clock.start()
        self._wake.notify_all()
        FLEET.touch()

    def _find(self, group: str, hook: str, instance: str | None, token: str | None) -> LifecycleAction:
        for action in self._actions:
            same = action.hook.auto_scaling_group_name == group and action.hook.name == hook
            if same and (action.token == token if token else action.state.instance_id == instance):
                return action
        which = f"token {token}" if token else f"instance ID {instance}"
        raise LookupError(f"No active Lifecycle Action found with {which}")

    def _finish(self, action: LifecycleAction, result: str) -> None:
        state = action.state
        self._actions.remove(action)
        if result == "ABANDON":  # ends the other hooks too
            self._actions = [one for one in self._actions if one.state is not state]
        elif any(one.state is state for one in self._actions):
            return
        if state.lifecycle_state == "Terminating:Wait" or result == "ABANDON":
            self.let_go(state)
            self.meet(state.auto_scaling_group)
        else:
            state.lifecycle_state = "InService"
        FLEET.touch()

    def let_go(self, state: Any) -> None:
        """Terminate an instance for good, without waiting for hooks."""
        state.lifecycle_state = "Terminating:Proceed"
        instance = state.instance
        if instance.state == "terminated":
            self.gone(instance)
        elif instance.state != "shutting-down":
            instance.ec2_backend.terminate_instances([instance.id])
            if instance.state == "terminated":
                self.gone(instance)
        FLEET.touch()

    def _watch_deadlines(self) -> None:
        while True:
            with FLEET.lock:
                now = time.monotonic()
                for action in [one for one in self._actions if one.deadline <= now]:
                    if action in self._actions:
                        result = action.hook.default_result
                        _log.warning("hook %s of %s timed out: %s", action.hook.name, action.state.instance_id, result)
                        self._finish(action, result)
                pause = min((one.deadline for one in self._actions), default=now + 3600) - now
                self._wake.wait(max(0.01, pause))


SCALING = Scaling()


def counts(state: Any) -> bool:
    """Whether an instance is part of its group's capacity."""
    return bool(state.lifecycle_state == "InService" or state.lifecycle_state.startswith("Pending"))


def is_live(group: Any) -> bool:
    """Whether the group has not been deleted."""
    groups = group.autoscaling_backend.autoscaling_groups
    return groups.get(group.name) is group and not getattr(group, "ending", False)


def hooks_of(group: Any, transition: str) -> list[Any]:
    """The group's hooks for a transition."""
    hooks = group.autoscaling_backend.lifecycle_hooks.values()
    return [
        one for one in hooks if one.auto_scaling_group_name == group.name and one.lifecycle_transition == transition
    ]


def surplus(states: list[Any], count: int) -> list[Any]:
    """Which to end at scale-in: of the zone with most, of the oldest launch template version, the oldest."""
    left = [state for state in states if not state.protected_from_scale_in]
    chosen: list[Any] = []
    while left and len(chosen) < count:
        zones = Counter(state.availability_zone for state in left)
        most = max(zones.values())
        candidates = [state for state in left if zones[state.availability_zone] == most]
        first = min(
            candidates, key=lambda state: (_template_version(state), state.instance.launch_time, state.instance_id)
        )
        chosen.append(first)
        left.remove(first)
    return chosen


def _template_version(state: Any) -> int:
    tags = {tag["key"]: tag["value"] for tag in state.instance.get_tags()}
    return int(tags.get("aws:ec2launchtemplate:version", "0"))


def _on_report(instance: Any, what: str) -> None:
    group = getattr(instance, "autoscaling_group", None)
    states = group.instance_states if group is not None else []
    state = next((one for one in states if one.instance is instance), None)
    if what == "terminated":
        SCALING.gone(instance)
    elif state is None:
        return
    elif what == "running":
        SCALING.running(state)
    elif what == "stopped" or what == "taken":
        # An instance that does not run is replaced whatever the grace period.
        SCALING.unhealthy(state)
    elif what == "impaired":
        SCALING.unhealthy(state, respect_grace=True)


def install() -> None:
    """Have moto's groups do so while a booter is attached."""
    from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, TerminateInstanceActivity
    from moto.autoscaling.responses import AutoScalingResponse

    set_capacity = FakeAutoScalingGroup.set_desired_capacity
    terminate = AutoScalingBackend.terminate_instance
    notified = AutoScalingBackend.notify_terminate_instances
    set_health = AutoScalingBackend.set_instance_health
    delete = AutoScalingBackend.delete_auto_scaling_group

    @functools.wraps(set_capacity)
    def set_desired_capacity(group: Any, capacity: int | None) -> None:
        if not FLEET.attached:
            set_capacity(group, capacity)
            return
        group.desired_capacity = group.min_size if capacity is None else capacity
        SCALING.meet(group)

    @functools.wraps(terminate)
    def terminate_instance(backend: Any, instance_id: str, should_decrement: bool) -> Any:
        if not FLEET.attached:
            return terminate(backend, instance_id, should_decrement)
        with FLEET.lock:
            state = _state_of(backend, instance_id)
            group = state.auto_scaling_group
            before = group.desired_capacity
            if should_decrement:
                group.desired_capacity = max(group.min_size or 0, before - 1)
            SCALING.end(state)
            SCALING.meet(group)
            return TerminateInstanceActivity(state.instance, before)

    @functools.wraps(notified)
    def notify_terminate_instances(backend: Any, instance_ids: list[str]) -> None:
        if not FLEET.attached:
            notified(backend, instance_ids)
            return
        with FLEET.lock:
            for group in list(backend.autoscaling_groups.values()):
                for state in [one for one in group.instance_states if one.instance_id in instance_ids]:
                    SCALING.unhealthy(state)

    @functools.wraps(set_health)
    def set_instance_health(backend: Any, instance_id: str, health_status: str) -> None:
        if not FLEET.attached or health_status == "Healthy":
            set_health(backend, instance_id, health_status)
            return
        SCALING.unhealthy(_state_of(backend, instance_id))

    @functools.wraps(delete)
    def delete_auto_scaling_group(backend: Any, group_name: str) -> None:
        group = backend.autoscaling_groups.get(group_name)
        if not FLEET.attached or group is None:
            delete(backend, group_name)
            return
        with FLEET.lock:
            group.desired_capacity, group.ending = 0, True
            # Deleted by force: without waiting for hooks. The group goes with its last instance.
            for state in list(group.instance_states):
                SCALING.let_go(state)
            if not group.instance_states:
                backend.autoscaling_groups.pop(group_name, None)

    def set_health_of(request: Any) -> Any:
        from moto.core.responses import EmptyResult

        status, instance_id = request._get_param("HealthStatus"), request._get_param("InstanceId")
        if FLEET.attached and status == "Unhealthy" and request._get_bool_param("ShouldRespectGracePeriod", True):
            SCALING.unhealthy(_state_of(request.autoscaling_backend, instance_id), respect_grace=True)
        else:
            request.autoscaling_backend.set_instance_health(instance_id, status)
        return EmptyResult()

    corrections: dict[type, dict[str, Any]] = {
        FakeAutoScalingGroup: {"set_desired_capacity": set_desired_capacity},
        AutoScalingBackend: {
            "delete_auto_scaling_group": delete_auto_scaling_group,
            "notify_terminate_instances": notify_terminate_instances,
            "set_instance_health": set_instance_health,
            "terminate_instance": terminate_instance,
        },
        AutoScalingResponse: {
            "complete_lifecycle_action": _complete,
            "record_lifecycle_action_heartbeat": _heartbeat,
            "set_instance_health": set_health_of,
        },
    }
    for kind, methods in corrections.items():
        for name, corrected in methods.items():
            setattr(kind, name, corrected)
    FLEET.listeners.append(_on_report)


def _state_of(backend: Any, instance_id: str) -> Any:
    from moto.autoscaling.exceptions import ValidationError

    for group in backend.autoscaling_groups.values():
        for state in group.instance_states:
            if state.instance_id == instance_id:
                return state
    raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")


def _complete(request: Any) -> Any:
    return _act(request, lambda **which: SCALING.complete(result=request._get_param("LifecycleActionResult"), **which))


def _heartbeat(request: Any) -> Any:
    return _act(request, SCALING.heartbeat)


def _act(request: Any, act: Any) -> Any:
    from moto.autoscaling.exceptions import ValidationError
    from moto.core.responses import EmptyResult

    try:
        act(
            group=request._get_param("AutoScalingGroupName"),
            hook=request._get_param("LifecycleHookName"),
            instance=request._get_param("InstanceId"),
            token=request._get_param("LifecycleActionToken"),
        )
    except LookupError as missing:
        raise ValidationError(missing.args[0]) from missing
    return EmptyResult()
