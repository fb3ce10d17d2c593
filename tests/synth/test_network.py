"""The network: no way to the internet, endpoints that serve this account, security groups that follow the table."""

from typing import Any

import pytest
from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2

from app import create_app
from spark_constructs import endpoints, network, security_groups
from spark_constructs.config import Deployment
from spark_constructs.ports import IP_PROTOCOL, PORTS
from stacks.network import MissingKeyError, NetworkStack
from tests.support.synth_app import Synthesised, Template, synthesise, synthesise_alone, synthesised
from tests.support.synth_policies import statements
from tests.support.synth_readable import text

EXISTING = network.ExistingVpc(
    vpc_id="vpc-0a1b2c3d4e5f60718",
    cidr="10.99.0.0/16",
    availability_zones=("us-west-2a", "us-west-2b"),
    private_subnet_ids=("subnet-0a1b2c3d4e5f60711", "subnet-0a1b2c3d4e5f60712"),
)


def _alone(**props: Any) -> Synthesised:
    return synthesise_alone(
        lambda stack: network.SparkNetwork(stack, "Network", network.SparkNetworkProps(cluster="alone", **props))
    )


def _of_type(template: Template, *types: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] in types}


class TestAlone:
    """In someone else's application, with required properties only."""

    def test_it_passes_cdk_nag(self) -> None:
        assert _alone().violations == []

    def test_with_its_security_groups_it_passes_cdk_nag(self) -> None:
        def build(stack: Stack) -> None:
            made = network.SparkNetwork(stack, "Network", network.SparkNetworkProps(cluster="alone"))
            security_groups.SwarmSecurityGroups(
                stack, "Swarm", security_groups.SecurityGroupsProps(cluster="alone", network=made)
            )

        assert synthesise_alone(build).violations == []

    def test_it_spans_three_zones_that_the_region_names_at_deployment(self) -> None:
        subnets = _of_type(_alone().template("Alone"), "AWS::EC2::Subnet")
        zones = [subnet["AvailabilityZone"] for subnet in subnets.values()]
        assert zones == [{"Fn::Select": [index, {"Fn::GetAZs": ""}]} for index in range(3)]

    def test_everything_optional_can_be_left_out(self) -> None:
        template = _alone(flow_logs=False, interface_endpoints=()).template("Alone")
        assert _of_type(template, "AWS::EC2::FlowLog") == {}
        assert {each["VpcEndpointType"] for each in _of_type(template, "AWS::EC2::VPCEndpoint").values()} == {"Gateway"}


class TestInternet:
    def test_there_is_no_gateway_no_public_subnet_and_no_route(self) -> None:
        template = synthesised("default").template("Network")
        ways_out = (
            "InternetGateway",
            "NatGateway",
            "Route",
            "EgressOnlyInternetGateway",
            "EIP",
            "VPCGatewayAttachment",
        )
        assert _of_type(template, *(f"AWS::EC2::{kind}" for kind in ways_out)) == {}

    def test_nat_gateways_bring_public_subnets_that_give_no_address(self) -> None:
        template = synthesised("frankfurt").template("Network")
        assert len(_of_type(template, "AWS::EC2::NatGateway")) == 1
        public = [
            subnet
            for subnet in _of_type(template, "AWS::EC2::Subnet").values()
            if {"Key": "aws-cdk:subnet-type", "Value": "Public"} in subnet["Tags"]
        ]
        assert len(public) == 3
        assert {subnet["MapPublicIpOnLaunch"] for subnet in public} == {False}
        assert {subnet["CidrBlock"].split("/")[1] for subnet in public} == {"28"}


class TestDefaultSecurityGroup:
    def test_it_is_kept_empty_by_a_function_that_may_touch_nothing_else(self) -> None:
        template = synthesised("default").template("Network")
        assert len(_of_type(template, "Custom::VpcRestrictDefaultSG")) == 1
        allowed = [
            each for each in statements({"Network": template}, "identity") if "RestrictDefault" in each.logical_id
        ]
        assert {action.split(":")[0] for each in allowed for action in each.actions} == {"ec2", "logs"}
        assert all("DefaultSecurityGroup" in resource for each in allowed for resource in each.resources)

    def test_the_function_writes_to_an_encrypted_log_group_of_ours_and_can_create_none(self) -> None:
        template = synthesised("default").template("Network")
        (function,) = _of_type(template, "AWS::Lambda::Function").values()
        log_group = template["Resources"][function["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
        assert log_group["LogGroupName"] == "/sparkvault/sparkvault/default-security-group"
        assert "StorageKey" in text(log_group["KmsKeyId"])
        (role,) = (each for name, each in _of_type(template, "AWS::IAM::Role").items() if "RestrictDefault" in name)
        assert role["ManagedPolicyArns"] == []


class TestFlowLogs:
    def test_all_traffic_is_logged_for_as_long_as_configured(self) -> None:
        template = synthesised("default").template("Network")
        (flow_log,) = _of_type(template, "AWS::EC2::FlowLog").values()
        assert flow_log["TrafficType"] == "ALL"
        log_group = template["Resources"][flow_log["LogGroupName"]["Ref"]]["Properties"]
        assert log_group["RetentionInDays"] == 90
        assert log_group["LogGroupName"] == "/sparkvault/sparkvault/flow-logs"

    def test_a_retention_that_cloudwatch_lacks_is_refused(self) -> None:
        with pytest.raises(ValueError, match="42 days"):
            _alone(log_retention_days=42)


class TestEndpoints:
    def test_hosts_reach_every_service_they_call(self) -> None:
        made = _of_type(synthesised("default").template("Network"), "AWS::EC2::VPCEndpoint")
        services = {text(each["ServiceName"]).split("${AWS::Region}.")[1] for each in made.values()}
        called = "ssm ssmmessages ecr.api ecr.dkr logs monitoring kms sts ec2 autoscaling cloudformation"
        assert services == {*called.split(), "s3", "dynamodb"}

    def test_interface_endpoints_answer_to_the_services_ordinary_names(self) -> None:
        for endpoint in _of_type(synthesised("default").template("Network"), "AWS::EC2::VPCEndpoint").values():
            if endpoint["VpcEndpointType"] == "Interface":
                assert endpoint["PrivateDnsEnabled"] is True
                assert len(endpoint["SubnetIds"]) == 3

    def test_interface_endpoints_take_https_from_the_hosts_groups_only(self) -> None:
        template = synthesised("default").template("Network")
        (group,) = (name for name in _of_type(template, "AWS::EC2::SecurityGroup") if "Endpoint" in name)
        sources = {
            text(rule["SourceSecurityGroupId"])
            for rule in _of_type(template, "AWS::EC2::SecurityGroupIngress").values()
            if text(rule["GroupId"]) == f"${{{group}.GroupId}}"
        }
        hosts = {name for name in _of_type(template, "AWS::EC2::SecurityGroup") if "Endpoint" not in name}
        assert sources == {f"${{{name}.GroupId}}" for name in hosts}
        assert len(sources) == 2

    def test_the_s3_endpoint_serves_this_accounts_buckets_and_the_data_buckets(self) -> None:
        allowed = {
            each.body["Sid"]: each
            for each in statements({"Network": synthesised("frankfurt").template("Network")}, "endpoint")
            if "s3:GetObject" in each.actions
        }
        assert "aws:ResourceAccount" in allowed["BucketsOfThisAccount"].condition_keys()
        read, written = allowed["DataBucket0"], allowed["DataBucket1"]
        assert read.resources == [
            "arn:aws:s3:::partner-sales",
            "arn:aws:s3:::partner-sales/2026/*",
        ]
        assert "s3:PutObject" not in read.actions
        assert "s3:PutObject" in written.actions
        public = allowed["ImageLayersAndPackages"]
        assert public.actions == ["s3:GetObject"]
        assert public.resources == [
            "arn:aws:s3:::al2023-repos-eu-central-1-*/*",
            "arn:aws:s3:::prod-eu-central-1-starport-layer-bucket/*",
        ]

    def test_the_dynamodb_endpoint_serves_this_clusters_tables(self) -> None:
        (allowed,) = (
            each
            for each in statements({"Network": synthesised("default").template("Network")}, "endpoint")
            if "dynamodb:GetItem" in each.actions
        )
        table = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/sparkvault-*"
        assert allowed.resources == [table]

    def test_fargate_adds_the_endpoints_of_ecs(self) -> None:
        made = _of_type(
            _alone(interface_endpoints=endpoints.SWARM_ENDPOINTS + endpoints.FARGATE_ENDPOINTS).template("Alone"),
            "AWS::EC2::VPCEndpoint",
        )
        services = {text(each["ServiceName"]).split("${AWS::Region}.")[1] for each in made.values()}
        assert {"ecs", "ecs-agent", "ecs-telemetry", "secretsmanager"} <= services


class TestExistingVpc:
    def test_nothing_of_it_is_changed_but_endpoints_are_added(self) -> None:
        template = synthesised("existing").template("Network")
        types = {each["Type"] for each in template["Resources"].values()}
        assert types == {
            "AWS::EC2::VPCEndpoint",
            "AWS::EC2::SecurityGroup",
            "AWS::EC2::SecurityGroupIngress",
            "AWS::EC2::SecurityGroupEgress",
        }

    def test_gateway_endpoints_are_in_its_private_route_tables(self) -> None:
        made = _of_type(synthesised("existing").template("Network"), "AWS::EC2::VPCEndpoint")
        gateways = [each for each in made.values() if each["VpcEndpointType"] == "Gateway"]
        assert len(gateways) == 2
        for each in gateways:
            assert each["RouteTableIds"] == ["rtb-0a1b2c3d4e5f60711", "rtb-0a1b2c3d4e5f60712"]

    def test_without_route_tables_and_with_endpoints_of_its_own_none_are_made(self) -> None:
        def build(stack: Stack) -> None:
            made = network.SparkNetwork(
                stack,
                "Network",
                network.SparkNetworkProps(cluster="alone", existing=EXISTING, interface_endpoints=()),
            )
            security_groups.SwarmSecurityGroups(
                stack, "Swarm", security_groups.SecurityGroupsProps(cluster="alone", network=made)
            )

        template = synthesise_alone(build).template("Alone")
        assert _of_type(template, "AWS::EC2::VPCEndpoint") == {}
        egress = _of_type(template, "AWS::EC2::SecurityGroupEgress").values()
        assert [rule["FromPort"] for rule in egress if rule.get("CidrIp") == EXISTING.cidr] == [443, 443]


class TestSwarmSecurityGroups:
    def _rules(self, template: Template, side: str, peer: str) -> set[tuple[str, str, str, int | None, int | None]]:
        names = {f"${{{name}.GroupId}}": name for name in _of_type(template, "AWS::EC2::SecurityGroup")}

        def group(value: Any) -> str:
            return next(each for each in ("Managers", "Workers", "Endpoint") if each in names[text(value)]).lower()

        return {
            (group(rule[peer]), group(rule["GroupId"]), rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"))
            for rule in _of_type(template, f"AWS::EC2::SecurityGroup{side}").values()
            if peer in rule
        }

    def test_hosts_take_exactly_what_the_table_of_ports_says(self) -> None:
        template = synthesised("default").template("Network")
        expected = {
            (
                rule.source,
                rule.destination.replace("endpoints", "endpoint"),
                IP_PROTOCOL[rule.protocol],
                rule.port,
                rule.port,
            )
            for rule in PORTS
            if rule.target == "swarm" and rule.destination != "gateways"
        }
        assert self._rules(template, "Ingress", "SourceSecurityGroupId") == expected

    def test_hosts_send_exactly_what_the_table_of_ports_says(self) -> None:
        template = synthesised("default").template("Network")
        sent = self._rules(template, "Egress", "DestinationSecurityGroupId")
        expected = {
            (
                rule.destination.replace("endpoints", "endpoint"),
                rule.source,
                IP_PROTOCOL[rule.protocol],
                rule.port,
                rule.port,
            )
            for rule in PORTS
            if rule.target == "swarm" and rule.destination != "gateways"
        }
        assert sent == expected

    def test_egress_goes_to_prefix_lists_alone_where_they_are_given(self) -> None:
        def build(stack: Stack) -> None:
            made = network.SparkNetwork(stack, "Network", network.SparkNetworkProps(cluster="alone"))
            security_groups.SwarmSecurityGroups(
                stack,
                "Swarm",
                security_groups.SecurityGroupsProps(
                    cluster="alone", network=made, gateway_prefix_lists=("pl-6da54004", "pl-66a5400f")
                ),
            )

        egress = _of_type(synthesise_alone(build).template("Alone"), "AWS::EC2::SecurityGroupEgress").values()
        assert [rule for rule in egress if "CidrIp" in rule] == []
        lists = {rule["DestinationPrefixListId"] for rule in egress if "DestinationPrefixListId" in rule}
        assert lists == {"pl-6da54004", "pl-66a5400f"}

    def test_another_stack_opens_the_endpoints_to_its_group_without_changing_the_network(self) -> None:
        key_arn = "arn:aws:kms:eu-central-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000001"

        def build(app: Any) -> None:
            made = NetworkStack(app, "Network", deployment=Deployment(kms_key_arn=key_arn))
            later = Stack(app, "Later")
            group = ec2.SecurityGroup(later, "Tasks", vpc=made.network.vpc, allow_all_outbound=False)
            made.network.allow_endpoints_from(group, "Tasks")

        of = synthesise(build)
        assert len(_of_type(of.template("Later"), "AWS::EC2::SecurityGroupIngress")) == 1
        assert not any("Tasks" in name for name in of.template("Network")["Resources"])


@pytest.mark.parametrize(
    ("props", "complaint"),
    [
        ({"zones": 1}, "zones = 1: give 2 to 6"),
        ({"zones": 3, "availability_zones": ("eu-central-1a", "eu-central-1b")}, "2 are named"),
        ({"nat_gateways": 4}, "nat_gateways = 4: give at most one per zone"),
        (
            {
                "existing": network.ExistingVpc(
                    "vpc-0a1b2c3d4e5f60718", "10.0.0.0/16", ("us-west-2a", "us-west-2b"), ("subnet-0a1b2c3d4e5f60711",)
                )
            },
            "1 private subnets for 2 zones",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(props: dict[str, Any], complaint: str) -> None:
    with pytest.raises(network.InvalidNetworkError, match=complaint):
        _alone(**props)


def test_logs_without_any_key_are_refused() -> None:
    with pytest.raises(MissingKeyError, match="storage stack, or kms_key_arn"):
        NetworkStack(create_app(), "Network", deployment=Deployment())
