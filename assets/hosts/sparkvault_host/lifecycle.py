"""Tells Auto Scaling that a host has nothing left to do before it ends."""

from __future__ import annotations

from sparkvault_host.aws_cli import aws
from sparkvault_host.identity import HostIdentity


def complete_hook(identity: HostIdentity, group: str, instance: str) -> None:
    """Complete the drain hook of an instance of that group, be it this host or one that has died. Raises AwsError."""
    # Hooks are named after their groups (spark_constructs.host_group).
    hook = identity.drain_hook.replace(identity.group, group)
    which = ("--lifecycle-hook-name", hook, "--auto-scaling-group-name", group, "--instance-id", instance)
    aws("autoscaling", "complete-lifecycle-action", *which, "--lifecycle-action-result", "CONTINUE")
