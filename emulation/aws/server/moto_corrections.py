"""Where moto forgets or simplifies what our templates say, its backends are corrected here, each with the reason."""

from __future__ import annotations

import functools
import ipaddress
import json
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from emulation.aws.server import scaling
from emulation.aws.server.fleet import FLEET

# Parameters of a group that moto drops, and the attribute by which its answer would show them.
_REMEMBERED = {
    "DefaultInstanceWarmup": "default_instance_warmup",
    "DesiredCapacityType": "desired_capacity_type",
    "InstanceMaintenancePolicy": "instance_maintenance_policy",
    "MaxInstanceLifetime": "max_instance_lifetime",
}
_REMEMBERED_ON_UPDATE = _REMEMBERED | {
    "CapacityRebalance": "capacity_rebalance",
    "DefaultCooldown": "default_cooldown",
    "TerminationPolicies": "termination_policies",
}
_REMEMBERED_OF_HOOK = {
    "NotificationMetadata": "notification_metadata",
    "NotificationTargetARN": "notification_target_arn",
    "RoleARN": "role_arn",
}


#: What the registry of emulated hosts asks for; of this server only.
_REGISTRY_PASSWORD = secrets.token_urlsafe(24)

#: PEM of the simulated root whose attestation documents KMS takes; the server puts it into its own folder.
simulated_nsm_root = Path("no-simulated-root")


def install(service: str) -> None:
    """Correct one service, before its first request; moto's modules are imported only when they are needed."""
    if service == "autoscaling":
        from moto.autoscaling.models import FakeAutoScalingGroup
        from moto.autoscaling.responses import AutoScalingResponse

        FakeAutoScalingGroup.replace_autoscaling_group_instances = _launch_instances  # type: ignore[method-assign,assignment]
        _after(AutoScalingResponse, "create_auto_scaling_group", functools.partial(_remember_group, _REMEMBERED))
        updated = functools.partial(_remember_group, _REMEMBERED_ON_UPDATE)
        _after(AutoScalingResponse, "update_auto_scaling_group", updated)
        _after(AutoScalingResponse, "put_lifecycle_hook", _remember_hook)
        for name, action in _NOTIFICATION_ACTIONS.items():
            setattr(AutoScalingResponse, name, action)
        scaling.install()
    elif service == "ec2":
        from moto.ec2.models.security_groups import SecurityGroupRule
        from moto.ec2.responses.launch_templates import LaunchTemplates

        _after(LaunchTemplates, "create_launch_template_version", _type_user_data)
        SecurityGroupRule.__init__ = _rule_without_ports(SecurityGroupRule.__init__)  # type: ignore[method-assign]
        FLEET.install()
    elif service == "kms":
        from emulation.kms import installation

        installation.install(simulated_nsm_root)
    elif service == "ecr":
        from moto.ecr.responses import ECRResponse

        ECRResponse.get_authorization_token = _registry_token  # type: ignore[method-assign,assignment]
    elif service == "cloudtrail":
        from moto.cloudtrail.responses import CloudTrailResponse

        CloudTrailResponse.lookup_events = _no_events  # type: ignore[attr-defined]
    elif service == "sts":
        from moto.sts.models import AssumedRole
        from moto.sts.responses import TokenResponse

        TokenResponse.assume_role = _with_session_tags(TokenResponse.assume_role)  # type: ignore[method-assign,assignment]
        AssumedRole.__init__ = _remembering_session_tags(AssumedRole.__init__)  # type: ignore[method-assign]
    elif service == "s3":
        from moto.s3.models import FakeBucket

        FakeBucket.get_permission = _bucket_permission  # type: ignore[method-assign,assignment]


#: Tags of the session that this thread's request asks for.
_SESSION_TAGS: ContextVar[dict[str, str]] = ContextVar("session tags")


def session_tags(session: Any) -> dict[str, str]:
    """The tags that a session of a role was given (STS API reference, AssumeRole, `Tags`)."""
    return dict(getattr(session, "sparkvault_tags", {}))


def _with_session_tags(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """moto forgets them; policies speak of them as `aws:PrincipalTag/…`."""

    @functools.wraps(original)
    def assume_role(self: Any) -> Any:
        tags = {tag["Key"]: tag.get("Value", "") for tag in self._get_param("Tags") or []}
        before = _SESSION_TAGS.set(tags)
        try:
            return original(self)
        finally:
            _SESSION_TAGS.reset(before)

    return assume_role


def _remembering_session_tags(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def initialise(self: Any, *given: Any, **named: Any) -> None:
        original(self, *given, **named)
        self.sparkvault_tags = _SESSION_TAGS.get({})

    return initialise


def _after(kind: type, name: str, correction: Callable[[Any], None]) -> None:
    original = getattr(kind, name)

    @functools.wraps(original)
    def corrected(self: Any) -> Any:
        answer = original(self)
        correction(self)
        return answer

    setattr(kind, name, corrected)


def _remember_group(names: dict[str, str], request: Any) -> None:
    """moto ignores these parameters, and describes the group without them."""
    group = _group_of(request)
    for parameter, attribute in names.items():
        value = request._get_param(parameter)
        if value is not None:
            setattr(group, attribute, value)


def _remember_hook(request: Any) -> None:
    """moto describes every hook with an invented role and queue."""
    key = f"{request._get_param('AutoScalingGroupName')}_{request._get_param('LifecycleHookName')}"
    hook = request.autoscaling_backend.lifecycle_hooks[key]
    for parameter, attribute in _REMEMBERED_OF_HOOK.items():
        setattr(hook, attribute, request._get_param(parameter))


def _put_notifications(request: Any) -> Any:
    """moto has no notifications of groups: they are kept with the group here, and nothing is sent."""
    from moto.core.responses import EmptyResult

    group = _group_of(request)
    topic = request._get_param("TopicARN")
    kept = [one for one in _notifications(group) if one[0] != topic]
    group.notifications = [*kept, *((topic, kind) for kind in request._get_param("NotificationTypes", []))]
    return EmptyResult()


def _delete_notifications(request: Any) -> Any:
    from moto.core.responses import EmptyResult

    group = _group_of(request)
    group.notifications = [one for one in _notifications(group) if one[0] != request._get_param("TopicARN")]
    return EmptyResult()


def _describe_notifications(request: Any) -> Any:
    from moto.core.responses import ActionResult

    wanted = request._get_param("AutoScalingGroupNames", [])
    groups = request.autoscaling_backend.describe_auto_scaling_groups(wanted)
    return ActionResult(
        {
            "NotificationConfigurations": [
                {"AutoScalingGroupName": group.name, "TopicARN": topic, "NotificationType": kind}
                for group in groups
                for topic, kind in _notifications(group)
            ]
        }
    )


_NOTIFICATION_ACTIONS = {
    "put_notification_configuration": _put_notifications,
    "delete_notification_configuration": _delete_notifications,
    "describe_notification_configurations": _describe_notifications,
}


def _notifications(group: Any) -> list[tuple[str, str]]:
    return list(getattr(group, "notifications", []))


def _group_of(request: Any) -> Any:
    return request.autoscaling_backend.autoscaling_groups[request._get_param("AutoScalingGroupName")]


def _type_user_data(request: Any) -> None:
    """moto types the user data of a template's first version only, and asserts that type when instances start."""
    from moto.ec2.utils import parse_user_data

    backend = request.ec2_backend
    name, template_id = request._get_param("LaunchTemplateName"), request._get_param("LaunchTemplateId")
    template = backend.get_launch_template_by_name(name) if name else backend.get_launch_template(template_id)
    data = template.versions[-1].data
    if "UserData" in data:
        data["UserData"] = parse_user_data(data["UserData"])


def _rule_without_ports(original: Callable[..., None]) -> Callable[..., None]:
    """moto fails on a rule of a protocol that has no ports, such as ESP (50)."""

    @functools.wraps(original)
    def corrected(self: Any, backend: Any, protocol: str, group: str, *ports_and_peers: Any, **named: Any) -> None:
        positional = list(ports_and_peers)
        for index in range(min(2, len(positional))):
            positional[index] = -1 if positional[index] is None else positional[index]
        for name in ("from_port", "to_port"):
            if name in named and named[name] is None:
                named[name] = -1
        original(self, backend, protocol, group, *positional, **named)

    return corrected


def _registry_token(request: Any) -> Any:
    """moto's token is the same everywhere, and has expired in 2015."""
    from moto.core.responses import ActionResult

    token = b64encode(f"AWS:{_REGISTRY_PASSWORD}".encode()).decode()
    expires = datetime.now(UTC) + timedelta(hours=12)
    return ActionResult(
        {
            "authorizationData": [
                {
                    "authorizationToken": token,
                    "expiresAt": expires,
                    "proxyEndpoint": f"https://{account}.dkr.ecr.{request.region}.amazonaws.com",
                }
                for account in request._get_param("registryIds") or [request.current_account]
            ]
        }
    )


def _no_events(request: Any) -> str:
    """moto has no LookupEvents, which the CDK CLI asks for the cause of a failure; here it finds none."""
    return json.dumps({"Events": []})


def _launch_instances(group: Any, count_needed: int, propagated_tags: dict[str, str]) -> None:
    """moto starts all in the first subnet, from the template's default version, of one type, without its options."""
    from moto.autoscaling.models import InstanceState

    backend = group.autoscaling_backend.ec2_backend
    template = group.ec2_launch_template
    version = template.get_version(group.launch_template_version) if template else None
    data = version.data if version else {}
    interface = (data.get("NetworkInterfaces") or [{}])[0]
    tags = {"aws:autoscaling:groupName": group.name} | propagated_tags
    for _ in range(count_needed):
        reservation = backend.run_instances(
            group.image_id,
            1,
            group.user_data,
            [] if version else group.security_groups,
            security_group_ids=list(data.get("SecurityGroupIds") or interface.get("Groups") or []),
            instance_type=_instance_type(group),
            tags={"instance": tags | (version.instance_tags if version else {})},
            launch_config=group.launch_config,
            launch_template={"LaunchTemplateId": template.id, "Version": str(version.number)} if version else None,
            is_instance_type_default=False,
            associate_public_ip=interface.get("AssociatePublicIpAddress", False),
            metadata_options=data.get("MetadataOptions") or {},
            ebs_optimized=data.get("EbsOptimized", False),
            monitoring_state="enabled" if (data.get("Monitoring") or {}).get("Enabled") else "disabled",
            lifecycle="spot" if _is_spot(group, data) else None,
            **_disks(data),
            **_place(group),
        )
        instance = reservation.instances[0]
        for nic in instance.nics.values():
            nic.delete_on_termination = interface.get("DeleteOnTermination", True)
        instance.autoscaling_group = group
        instance.enclave_options = data.get("EnclaveOptions") or {"Enabled": False}
        instance.ipv4_prefixes = _prefixes(backend, instance, int(interface.get("Ipv4PrefixCount") or 0))
        _attach_profile(group, backend, instance, data.get("IamInstanceProfile") or {})
        group.instance_states.append(
            InstanceState(instance, protected_from_scale_in=group.new_instances_protected_from_scale_in)
        )


def _prefixes(backend: Any, instance: Any, count: int) -> list[str]:
    """Free /28s of the instance's subnet (EC2 user guide, "Prefix delegation for EC2 network interfaces")."""
    subnet = ipaddress.ip_network(backend.get_subnet(instance.subnet_id).cidr_block)
    others = [one for one in backend.all_instances() if one.state != "terminated"]
    taken = {prefix for one in others for prefix in getattr(one, "ipv4_prefixes", [])}
    addresses = [ipaddress.ip_address(one.private_ip) for one in others if one.private_ip]
    found: list[str] = []
    # From the end: addresses of instances are given from the beginning; the very last one is the broadcast's.
    first = int(subnet.network_address)
    for start in range(int(subnet.broadcast_address) - 31, first, -16):
        prefix = ipaddress.ip_network((start, 28))
        if len(found) == count:
            break
        if str(prefix) not in taken and not any(address in prefix for address in addresses):
            found.append(str(prefix))
    return found


def _disks(data: dict[str, Any]) -> dict[str, Any]:
    """The template's disks, which end with their instance unless it says otherwise; without any, moto's default."""
    disks = [
        disk | {"Ebs": {"DeleteOnTermination": True} | disk["Ebs"]}
        for disk in data.get("BlockDeviceMappings") or []
        if "Ebs" in disk
    ]
    return {"block_device_mappings": disks} if disks else {}


def _place(group: Any) -> dict[str, Any]:
    """The subnet, or zone, that has the fewest of the group's instances: Auto Scaling balances over zones."""
    subnets = group.vpc_zone_identifier.split(",") if group.vpc_zone_identifier else []
    if subnets:
        used = Counter(state.instance.subnet_id for state in group.instance_states)
        return {"subnet_id": min(subnets, key=lambda subnet: used[subnet])}
    used = Counter(state.availability_zone for state in group.instance_states)
    return {"placement": min(group.availability_zones, key=lambda zone: used[zone])}


def _instance_type(group: Any) -> str:
    overrides = ((group.mixed_instances_policy or {}).get("LaunchTemplate") or {}).get("Overrides") or []
    return str(next((one["InstanceType"] for one in overrides if "InstanceType" in one), group.instance_type))


def _is_spot(group: Any, data: dict[str, Any]) -> bool:
    if (data.get("InstanceMarketOptions") or {}).get("MarketType") == "spot":
        return True
    distribution = (group.mixed_instances_policy or {}).get("InstancesDistribution")
    if not distribution:
        return False
    base = int(distribution.get("OnDemandBaseCapacity") or 0)
    percent = int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100))
    above = len(group.instance_states) - base
    on_demand = sum(state.instance.lifecycle != "spot" for state in group.instance_states) - base
    return above >= 0 and on_demand >= -(-(above + 1) * percent // 100)


def _attach_profile(group: Any, backend: Any, instance: Any, profile: dict[str, str]) -> None:
    if profile:
        backend.associate_iam_instance_profile(
            instance.id, iam_instance_profile_name=profile.get("Name"), iam_instance_profile_arn=profile.get("Arn")
        )


def _bucket_permission(bucket: Any, action: str, resource: str) -> Any:
    """moto takes every condition of a bucket policy as unmet and then denies, even the usual "deny without TLS".

    Statements with a condition are kept and described, but have no effect here: loopback stands for TLS, and the values
    that other conditions need (principal, endpoint, encryption header) do not reach this check.
    """
    from moto.iam.access_control import IAMPolicy, PermissionResult

    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy.decode())
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    policy["Statement"] = [statement for statement in statements if not statement.get("Condition")]
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)
