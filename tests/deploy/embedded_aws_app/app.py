"""A small CDK app with one of each kind that the embedded AWS must honour: `Ground` (network, data), `Fleet` (hosts).

`python app.py FOLDER` synthesises every variant into FOLDER/NAME in one process: starting the CDK library takes longer
than using it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_ssm as ssm
from constructs import Construct

ON_DEMAND_BASE = 1


class Ground(cdk.Stack):
    """Network, key, bucket, logs, table, secret."""

    def __init__(self, scope: Construct, name: str, **options: object) -> None:
        super().__init__(scope, name, **options)  # type: ignore[arg-type]
        self.key = kms.Key(
            self, "Key", enable_key_rotation=True, alias="alias/sample", removal_policy=cdk.RemovalPolicy.DESTROY
        )
        self.logs = logs.LogGroup(
            self,
            "Logs",
            encryption_key=self.key,
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            max_azs=2,
            nat_gateways=0,
            restrict_default_security_group=True,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24)
            ],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        self.vpc.add_interface_endpoint("Ssm", service=ec2.InterfaceVpcEndpointAwsService.SSM)
        self.vpc.add_flow_log(
            "Flow",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(self.logs),
            traffic_type=ec2.FlowLogTrafficType.ALL,
        )
        self.bucket = s3.Bucket(
            self,
            "Jobs",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="old", noncurrent_version_expiration=cdk.Duration.days(30), expiration=cdk.Duration.days(90)
                )
            ],
            removal_policy=cdk.RemovalPolicy.DESTROY,
            auto_delete_objects=True,
        )
        self.table = dynamodb.Table(
            self,
            "Authority",
            partition_key=dynamodb.Attribute(name="cluster", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires",
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        secretsmanager.Secret(self, "Secret", encryption_key=self.key, removal_policy=cdk.RemovalPolicy.DESTROY)
        ssm.StringParameter(self, "Location", parameter_name="/sample/bucket", string_value=self.bucket.bucket_name)
        ssm.CfnDocument(
            self,
            "RunJob",
            name="sample-run-job",
            document_type="Command",
            content={
                "schemaVersion": "2.2",
                "description": "runs a job",
                "mainSteps": [
                    {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["/usr/bin/true"]}}
                ],
            },
        )


class Fleet(cdk.Stack):
    """Two security groups, a role, a launch template and a group whose hosts must signal."""

    def __init__(self, scope: Construct, name: str, *, ground: Ground, **options: object) -> None:
        super().__init__(scope, name, **options)  # type: ignore[arg-type]
        workers = int(self.node.try_get_context("workers") or 2)
        managers, hosts = (
            ec2.SecurityGroup(self, who, vpc=ground.vpc, allow_all_outbound=False) for who in ("Managers", "Hosts")
        )
        managers.add_ingress_rule(hosts, ec2.Port.tcp(2377), "join")
        hosts.add_egress_rule(managers, ec2.Port.tcp(2377), "join")
        hosts.add_ingress_rule(hosts, ec2.Port.udp(4789), "overlay")
        bundle = assets.Asset(self, "Bundle", path=__file__)
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name("AmazonSSMManagedInstanceCore")],
        )
        iam.ManagedPolicy(
            self,
            "Submitter",
            roles=[role],
            statements=[
                iam.PolicyStatement(actions=["s3:GetObject"], resources=[ground.bucket.arn_for_objects("jobs/*")])
            ],
        )
        ground.table.grant_read_data(role)
        bundle.grant_read(role)
        user_data = ec2.UserData.for_linux()
        user_data.add_commands(f"echo {self.node.try_get_context('boot') or 'first'}")
        template = ec2.LaunchTemplate(
            self,
            "Template",
            machine_image=ec2.MachineImage.latest_amazon_linux2023(),
            instance_type=ec2.InstanceType("m5.xlarge"),
            role=role,
            security_group=hosts,
            user_data=user_data,
            require_imdsv2=True,
            http_put_response_hop_limit=1,
            nitro_enclave_enabled=True,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(30, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3),
                )
            ],
        )
        group = autoscaling.AutoScalingGroup(
            self,
            "Workers",
            vpc=ground.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            mixed_instances_policy=autoscaling.MixedInstancesPolicy(
                launch_template=template,
                launch_template_overrides=[
                    autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType(kind))
                    for kind in ("m5.xlarge", "c5.xlarge")
                ],
                instances_distribution=autoscaling.InstancesDistribution(
                    on_demand_base_capacity=ON_DEMAND_BASE,
                    on_demand_percentage_above_base_capacity=0,
                    spot_allocation_strategy=autoscaling.SpotAllocationStrategy.CAPACITY_OPTIMIZED,
                ),
            ),
            min_capacity=1,
            max_capacity=9,
            desired_capacity=workers,
            max_instance_lifetime=cdk.Duration.days(30),
            capacity_rebalance=True,
            signals=autoscaling.Signals.wait_for_count(
                workers, timeout=cdk.Duration.seconds(int(self.node.try_get_context("timeout") or 900))
            ),
            update_policy=autoscaling.UpdatePolicy.rolling_update(max_batch_size=1),
        )
        group.add_lifecycle_hook(
            "Drain",
            lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_TERMINATING,
            heartbeat_timeout=cdk.Duration.minutes(5),
            default_result=autoscaling.DefaultResult.CONTINUE,
        )
        cdk.CfnOutput(self, "Group", value=group.auto_scaling_group_name, description="The workers")


class Broken(cdk.Stack):
    """Needs a type that the embedded AWS does not have, until it is mended."""

    def __init__(self, scope: Construct, name: str, **options: object) -> None:
        super().__init__(scope, name, **options)  # type: ignore[arg-type]
        ssm.StringParameter(self, "Note", parameter_name="/sample/note", string_value="kept only by a whole stack")
        if not self.node.try_get_context("mended"):
            cdk.CfnResource(self, "Odd", type="AWS::EFS::FileSystem", properties={"Encrypted": True})


VARIANTS: dict[str, dict[str, object]] = {
    "first": {},
    "second": {"workers": 3, "boot": "second", "mended": True},
}


def synthesise(folder: Path, variant: str, account: str, region: str) -> None:
    """Write the cloud assembly of one variant to `folder`."""
    zones = {f"availability-zones:account={account}:region={region}": [f"{region}{letter}" for letter in "abc"]}
    app = cdk.App(outdir=str(folder), analytics_reporting=False, context={**VARIANTS[variant], **zones})
    place = cdk.Environment(account=account, region=region)
    ground = Ground(app, "Ground", env=place)
    fleet = Fleet(app, "Fleet", ground=ground, env=place)
    fleet.add_stack_dependency(ground)
    Broken(app, "Broken", env=place)
    cdk.Tags.of(app).add("project", "sample")
    app.synth()


if __name__ == "__main__":
    for name in VARIANTS:
        synthesise(Path(sys.argv[1]) / name, name, sys.argv[2], sys.argv[3])
