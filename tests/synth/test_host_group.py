"""A group of hosts is what it promises to be, alone in someone else's application."""

from functools import cache
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam

from spark_constructs.host_group import HostDisks, HostGroup, HostGroupProps, SpotShare
from spark_constructs.host_group_guards import EnclaveReservation, UnsafeHostGroupError
from tests.support.swarm_surroundings import CLUSTER, KEY_ARN, only, resources, surroundings
from tests.support.synth_app import Synthesised, synthesise_alone

ENCLAVES = EnclaveReservation(count=2, cpus=2, memory_mib=4096)


def props(stack: Stack, kind: str = "worker", zones: int = 3, **overrides: Any) -> HostGroupProps:
    around = surroundings(stack, zones)
    given: dict[str, Any] = {
        "cluster": CLUSTER,
        "kind": kind,
        "security_group": around.security_group,
        "instance_types": ("m5.2xlarge", "c5.4xlarge"),
        "count": 1 if kind == "manager" else 4,
        **around.of_hosts(),
    }
    return HostGroupProps(**(given | overrides))


def group_of(**overrides: Any) -> Synthesised:
    return synthesise_alone(lambda stack: HostGroup(stack, "Hosts", props(stack, **overrides)))


@cache
def workers() -> Synthesised:
    return group_of(enclaves=ENCLAVES, spot=SpotShare(on_demand_base=1, on_demand_percent_above_base=20))


@cache
def manager() -> Synthesised:
    return group_of(kind="manager", instance_types=("m5.large",))


@cache
def three_managers() -> Synthesised:
    return group_of(kind="manager", count=3, instance_types=("m5.large",))


def launch_template(of: Synthesised) -> dict[str, Any]:
    data: dict[str, Any] = only(of.template("Alone"), "AWS::EC2::LaunchTemplate")["Properties"]["LaunchTemplateData"]
    return data


def auto_scaling_group(of: Synthesised) -> dict[str, Any]:
    return only(of.template("Alone"), "AWS::AutoScaling::AutoScalingGroup")


@pytest.mark.parametrize("group", [workers, manager, three_managers])
def test_cdk_nag_finds_nothing(group: Any) -> None:
    assert group().violations == []


@pytest.mark.parametrize("group", [workers, manager])
def test_the_metadata_service_answers_only_the_host_and_only_with_a_token(group: Any) -> None:
    assert launch_template(group())["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "disabled",
    }


@pytest.mark.parametrize("group", [workers, manager])
def test_every_volume_is_encrypted_gp3_under_the_given_key_and_goes_with_its_host(group: Any) -> None:
    mappings = launch_template(group())["BlockDeviceMappings"]
    assert [mapping["DeviceName"] for mapping in mappings] == ["/dev/xvda", "/dev/xvdb"]
    for mapping in mappings:
        volume = mapping["Ebs"]
        assert volume["Encrypted"] is True
        assert volume["KmsKeyId"] == KEY_ARN
        assert volume["VolumeType"] == "gp3"
        assert volume["DeleteOnTermination"] is True


def test_the_data_volume_is_as_large_and_fast_as_asked_for() -> None:
    disks = HostDisks(root_gib=40, data_gib=500, data_iops=6000, data_throughput_mib=500)
    root, data = (mapping["Ebs"] for mapping in launch_template(group_of(disks=disks))["BlockDeviceMappings"])
    assert root["VolumeSize"] == 40
    assert (data["VolumeSize"], data["Iops"], data["Throughput"]) == (500, 6000, 500)


@pytest.mark.parametrize("group", [workers, manager])
def test_hosts_have_no_public_address_no_key_pair_and_detailed_monitoring(group: Any) -> None:
    data = launch_template(group())
    assert [interface["AssociatePublicIpAddress"] for interface in data["NetworkInterfaces"]] == [False]
    assert [interface["Groups"] for interface in data["NetworkInterfaces"]] == [["sg-0a1b2c3d4e5f60718"]]
    assert "KeyName" not in data
    assert data["Monitoring"] == {"Enabled": True}


def test_enclaves_are_enabled_exactly_where_memory_is_set_aside_for_them() -> None:
    assert launch_template(workers())["EnclaveOptions"] == {"Enabled": True}
    assert launch_template(manager()).get("EnclaveOptions") in (None, {"Enabled": False})


@pytest.mark.parametrize(("architecture", "types"), [("x86_64", ("m5.large",)), ("arm64", ("m7g.large",))])
def test_the_image_is_amazon_linux_2023_as_it_is_at_deployment(architecture: str, types: tuple[str, ...]) -> None:
    of = group_of(architecture=architecture, instance_types=types)
    reference = launch_template(of)["ImageId"]["Ref"]
    parameter = of.template("Alone")["Parameters"][reference]
    assert parameter["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
    assert parameter["Default"].startswith("/aws/service/ami-amazon-linux-latest/al2023-ami-")
    assert parameter["Default"].endswith(architecture)
    assert not of.manifest.get("missing")


def test_several_types_are_offered_in_order_of_preference() -> None:
    policy = auto_scaling_group(workers())["Properties"]["MixedInstancesPolicy"]
    overrides = policy["LaunchTemplate"]["Overrides"]
    assert [override["InstanceType"] for override in overrides] == ["m5.2xlarge", "c5.4xlarge"]


def test_spot_takes_the_pools_least_likely_to_be_taken_back_and_replaces_hosts_at_risk() -> None:
    properties = auto_scaling_group(workers())["Properties"]
    assert properties["CapacityRebalance"] is True
    assert properties["MixedInstancesPolicy"]["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 20,
        "SpotAllocationStrategy": "capacity-optimized-prioritized",
    }


def test_without_spot_every_host_is_on_demand() -> None:
    properties = auto_scaling_group(manager())["Properties"]
    assert properties["CapacityRebalance"] is False
    distribution = properties["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == 100
    assert "SpotAllocationStrategy" not in distribution


def test_a_terminating_host_has_its_time_to_drain_and_goes_all_the_same() -> None:
    hook = only(group_of(drain_timeout_seconds=1234).template("Alone"), "AWS::AutoScaling::LifecycleHook")["Properties"]
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["HeartbeatTimeout"] == 1234
    assert hook["DefaultResult"] == "CONTINUE"
    assert hook["LifecycleHookName"] == "analytics-workers-drain"


@pytest.mark.parametrize(("group", "count"), [(workers, 4), (manager, 1), (three_managers, 3)])
def test_the_stack_waits_for_the_signal_of_every_host(group: Any, count: int) -> None:
    assert auto_scaling_group(group())["CreationPolicy"] == {"ResourceSignal": {"Count": count, "Timeout": "PT15M"}}
    assert auto_scaling_group(group())["Properties"]["DesiredCapacity"] == str(count)


def test_the_timeout_of_signals_is_that_of_booting() -> None:
    group = auto_scaling_group(group_of(boot_timeout_seconds=1800))
    assert group["CreationPolicy"]["ResourceSignal"]["Timeout"] == "PT30M"
    assert group["UpdatePolicy"]["AutoScalingRollingUpdate"]["PauseTime"] == "PT30M"
    assert group["Properties"]["HealthCheckGracePeriod"] == 1800


def test_a_group_without_hosts_waits_for_none() -> None:
    group = auto_scaling_group(group_of(count=0))
    assert "CreationPolicy" not in group
    assert group["UpdatePolicy"]["AutoScalingRollingUpdate"]["WaitOnResourceSignals"] is True


@pytest.mark.parametrize(
    ("group", "batch", "in_service", "most"),
    [(workers, 1, 3, "10"), (manager, 1, 1, "2"), (three_managers, 1, 3, "4")],
)
def test_updates_replace_few_hosts_at_a_time_and_wait_for_the_new_ones(
    group: Any, batch: int, in_service: int, most: str
) -> None:
    of = auto_scaling_group(group())
    update = of["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert (update["MaxBatchSize"], update["MinInstancesInService"]) == (batch, in_service)
    assert of["Properties"]["MaxSize"] == most
    assert update["WaitOnResourceSignals"] is True
    # Suspended, these two would keep CloudFormation itself from updating.
    assert not {"Launch", "Terminate"} & set(update["SuspendProcesses"])
    assert {"ReplaceUnhealthy", "AZRebalance"} <= set(update["SuspendProcesses"])


@pytest.mark.parametrize(("count", "most", "batch", "in_service"), [(0, 10, 1, 0), (1, 1, 1, 0), (8, 8, 2, 6)])
def test_updates_keep_below_the_largest_size(count: int, most: int, batch: int, in_service: int) -> None:
    of = group_of(count=count, max_count=most)
    update = auto_scaling_group(of)["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert (update["MaxBatchSize"], update["MinInstancesInService"]) == (batch, in_service)
    assert update["MinInstancesInService"] < most


def test_a_deployment_leaves_alone_what_scaling_has_changed() -> None:
    policy = auto_scaling_group(workers())["UpdatePolicy"]["AutoScalingScheduledAction"]
    assert policy == {"IgnoreUnmodifiedGroupSizeProperties": True}


def test_three_managers_stand_in_three_zones_and_never_two_in_one() -> None:
    properties = auto_scaling_group(three_managers())["Properties"]
    assert len(properties["VPCZoneIdentifier"]) == 3
    assert properties["AvailabilityZoneDistribution"] == {"CapacityDistributionStrategy": "balanced-only"}
    assert (properties["MinSize"], properties["DesiredCapacity"]) == ("3", "3")


@pytest.mark.parametrize("group", [workers, manager])
def test_impaired_volumes_are_unhealthy_and_everything_is_measured_and_told(group: Any) -> None:
    properties = auto_scaling_group(group())["Properties"]
    assert properties["HealthCheckType"] == "EBS"
    assert properties["MetricsCollection"] == [{"Granularity": "1Minute"}]
    assert len(properties["NotificationConfigurations"][0]["NotificationTypes"]) == 4


def test_hosts_of_an_old_template_go_first() -> None:
    assert auto_scaling_group(workers())["Properties"]["TerminationPolicies"] == [
        "OldestLaunchTemplate",
        "AllocationStrategy",
        "Default",
    ]


@pytest.mark.parametrize(("group", "role"), [(workers, "worker"), (manager, "manager")])
def test_hosts_and_volumes_carry_the_tags_that_policies_ask_for(group: Any, role: str) -> None:
    tags = {tag["Key"]: tag for tag in auto_scaling_group(group())["Properties"]["Tags"]}
    assert tags["sparkvault:cluster"]["Value"] == CLUSTER
    assert tags["sparkvault:role"]["Value"] == role
    assert all(tag["PropagateAtLaunch"] for tag in tags.values())
    for specification in launch_template(group())["TagSpecifications"]:
        assert {"Key": "sparkvault:cluster", "Value": CLUSTER} in specification["Tags"]


def test_a_host_never_starts_before_its_permissions_are_there() -> None:
    template = workers().template("Alone")
    (role,) = resources(template, "AWS::IAM::Role")
    assert role in auto_scaling_group(workers())["DependsOn"]


def test_a_boundary_bounds_the_role() -> None:
    arn = "arn:aws:iam::111122223333:policy/platform/Boundary"
    of = synthesise_alone(
        lambda stack: HostGroup(
            stack,
            "Hosts",
            props(stack, permissions_boundary=iam.ManagedPolicy.from_managed_policy_arn(stack, "Boundary", arn)),
        )
    )
    assert only(of.template("Alone"), "AWS::IAM::Role")["Properties"]["PermissionsBoundary"] == arn


def test_no_host_has_a_policy_of_aws() -> None:
    assert "ManagedPolicyArns" not in only(workers().template("Alone"), "AWS::IAM::Role")["Properties"]


def test_hosts_may_be_kept_to_some_subnets() -> None:
    of = synthesise_alone(
        lambda stack: HostGroup(
            stack,
            "Hosts",
            props(stack, subnets=ec2.SubnetSelection(availability_zones=["eu-central-1b"])),
        )
    )
    assert auto_scaling_group(of)["Properties"]["VPCZoneIdentifier"] == ["subnet-0a1b2c3d4e5f60711"]


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"instance_types": ()}, "at least one instance type"),
        ({"instance_types": ("m5.huge",)}, "m5.huge is not on record"),
        ({"instance_types": ("t3.large",)}, "t3.large is not on record"),
        ({"instance_types": ("m7g.large",)}, "m7g.large is arm64, and the group is x86_64"),
        ({"instance_types": ("m5.large", "m5.large")}, "given twice"),
        ({"enclaves": ENCLAVES, "instance_types": ("m5.metal",)}, "bare metal has no hypervisor"),
        ({"enclaves": ENCLAVES, "instance_types": ("m5.large",)}, "cannot run Nitro Enclaves"),
        ({"enclaves": EnclaveReservation(1, 1, 4096)}, "whole cores, which are 2 vCPU on m5.2xlarge: use 2"),
        ({"enclaves": EnclaveReservation(4, 2, 1024)}, "8 vCPU do not fit m5.2xlarge, which has 6"),
        ({"enclaves": EnclaveReservation(1, 2, 31000)}, "31000 MiB do not fit m5.2xlarge, which has 30720"),
        ({"enclaves": EnclaveReservation(5, 2, 1024)}, "Nitro runs 1 to 4"),
        ({"enclaves": EnclaveReservation(0, 2, 1024)}, "Nitro runs 1 to 4"),
        ({"kind": "manager", "enclaves": ENCLAVES}, "reserve enclaves on workers"),
        ({"kind": "manager", "spot": SpotShare()}, "use Spot for workers only"),
        ({"kind": "manager", "count": 2}, "2 managers: use 1, or 3"),
        ({"kind": "manager", "count": 3, "zones": 2}, "3 managers over 2 zones lose their quorum"),
        ({"boot_timeout_seconds": 3601}, "CloudFormation waits 1 to 3600"),
        ({"drain_timeout_seconds": 10}, "a hook waits 30 to 7200"),
        ({"count": 11, "max_count": 10}, "11 hosts are not between"),
        ({"count": 1, "min_count": 2}, "1 hosts are not between"),
    ],
)
def test_an_unsafe_group_is_refused_before_anything_is_made(overrides: dict[str, Any], complaint: str) -> None:
    stack = Stack(App(analytics_reporting=False), "Alone")
    given = props(stack, **overrides)
    with pytest.raises(UnsafeHostGroupError, match=complaint):
        HostGroup(stack, "Hosts", given)
    assert stack.node.try_find_child("Hosts") is None
