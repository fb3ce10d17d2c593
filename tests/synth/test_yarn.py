"""YARN's hosts: what master, nodes and submitters may do, where containers' addresses come from, what is refused."""

import json
from typing import Any

import pytest

from emulation.aws.iam_evaluation import PolicyDocument, Request, is_allowed
from spark_constructs.host_group_guards import UnsafeHostGroupError
from spark_constructs.host_user_data import MAX_USER_DATA_BYTES
from spark_constructs.tenant_roles import TenantAccess
from spark_constructs.yarn_cluster import YarnArchive, YarnCluster, YarnClusterProps, YarnGroupProps, YarnTenant
from spark_constructs.yarn_guards import UnsafeYarnClusterError
from spark_constructs.yarn_settings import shares, user_number
from tests.support.concrete_policies import concrete
from tests.support.swarm_surroundings import (
    ACCOUNT,
    CLUSTER,
    REFERENCES,
    REGION,
    resources,
    surroundings,
)
from tests.support.synth_app import Synthesised, synthesise_alone, synthesised
from tests.support.synth_policies import statements
from tests.support.synth_readable import text

HADOOP = YarnArchive("hadoop-3.5.0.tar.gz", "a" * 128)
KATA = YarnArchive("kata-static-3.29.0-amd64.tar.zst", "b" * 128)
TENANTS = (YarnTenant(TenantAccess("sales"), percent=60), YarnTenant(TenantAccess("research")))
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{CLUSTER}/yarn/nodes/i-0a1b2c3d4e5f60718-AbCdEf"


def alone(**overrides: Any) -> Synthesised:
    def build(stack: Any) -> None:
        around = surroundings(stack)
        given: dict[str, Any] = {
            "cluster": CLUSTER,
            "masters_security_group": around.security_group,
            "nodes_security_group": around.security_group,
            "tenants": TENANTS,
            "hadoop": HADOOP,
            "runtime_archive": KATA,
            **around.of_hosts(),
        }
        YarnCluster(stack, "Yarn", YarnClusterProps(**(given | overrides)))

    return synthesise_alone(build)


@pytest.fixture(scope="module")
def kata() -> Synthesised:
    return alone()


def template_of(of: Synthesised, kind: str) -> dict[str, Any]:
    found = resources(of.template("Alone"), "AWS::EC2::LaunchTemplate").values()
    return next(
        each["Properties"]["LaunchTemplateData"]
        for each in found
        if each["Properties"]["LaunchTemplateName"] == f"{CLUSTER}-yarn-{kind}"
    )


class _References(dict[str, str]):
    """Whatever else a template refers to, by its own name."""

    def __missing__(self, key: str) -> str:
        return key

    def __contains__(self, key: object) -> bool:
        return True


def role_of(of: Synthesised, kind: str) -> list[PolicyDocument]:
    """All policies of a group's role: inline, and those that were added."""
    found = [
        each.body
        for each in statements(of.templates, "identity")
        if each.logical_id.startswith(f"Yarn{kind}Role") and each.stack == "Alone"
    ]
    assert found
    return [
        {
            "Statement": concrete(
                found,
                _References(
                    {**REFERENCES, "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/Alone/0a1b"}
                ),
            )
        }
    ]


def test_it_works_alone_and_cdk_nag_finds_nothing(kata: Synthesised) -> None:
    assert kata.violations == []


def test_user_data_stays_small(kata: Synthesised) -> None:
    for kind in ("masters", "nodes"):
        assert len(text(template_of(kata, kind)["UserData"])) < MAX_USER_DATA_BYTES


def test_virtual_machines_are_switched_on_for_kata_on_virtualised_nodes_alone(kata: Synthesised) -> None:
    assert template_of(kata, "nodes")["CpuOptions"] == {"NestedVirtualization": "enabled"}
    assert "CpuOptions" not in template_of(kata, "masters")
    plain = alone(runtime="runc", runtime_archive=None)
    assert "CpuOptions" not in template_of(plain, "nodes")
    metal = alone(nodes=YarnGroupProps(2, ("m5.metal",)))
    assert "CpuOptions" not in template_of(metal, "nodes")


def test_containers_have_addresses_of_their_nodes_interface(kata: Synthesised) -> None:
    (interface,) = template_of(kata, "nodes")["NetworkInterfaces"]
    assert interface["Ipv4PrefixCount"] == 1
    assert interface["AssociatePublicIpAddress"] is False
    assert interface["Groups"] == ["sg-0a1b2c3d4e5f60718"]
    assert "SecurityGroupIds" not in template_of(kata, "nodes")
    assert all("Ipv4PrefixCount" not in each for each in template_of(kata, "masters").get("NetworkInterfaces", []))


class TestKeytabs:
    def test_a_node_reads_the_secret_that_was_made_for_it(self, kata: Synthesised) -> None:
        policies = role_of(kata, "Nodes")
        mine = {"aws:userid": "AROAEXAMPLE:i-1", "secretsmanager:ResourceTag/sparkvault:reader": "AROAEXAMPLE:i-1"}
        assert is_allowed(policies, Request("secretsmanager:GetSecretValue", SECRET, mine))

    def test_and_not_another_nodes(self, kata: Synthesised) -> None:
        policies = role_of(kata, "Nodes")
        others = {"aws:userid": "AROAEXAMPLE:i-1", "secretsmanager:ResourceTag/sparkvault:reader": "AROAEXAMPLE:i-2"}
        assert not is_allowed(policies, Request("secretsmanager:GetSecretValue", SECRET, others))
        assert not is_allowed(policies, Request("secretsmanager:GetSecretValue", SECRET, {"aws:userid": "A:i-1"}))

    def test_the_master_makes_them_and_reads_none(self, kata: Synthesised) -> None:
        policies = role_of(kata, "Master")
        tagged = {"aws:TagKeys": ["sparkvault:reader"]}
        assert is_allowed(policies, Request("secretsmanager:CreateSecret", SECRET, tagged))
        assert not is_allowed(policies, Request("secretsmanager:GetSecretValue", SECRET, {}))

    @pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
    def test_the_realms_backup_is_the_masters_alone(self, kata: Synthesised, action: str) -> None:
        backup = "arn:aws:s3:::analytics-jobs/yarn/realm/dump"
        assert is_allowed(role_of(kata, "Master"), Request(action, backup, {}))
        assert not is_allowed(role_of(kata, "Nodes"), Request(action, backup, {}))


def test_hosts_fetch_exactly_the_pinned_archives(kata: Synthesised) -> None:
    pinned = f"arn:aws:s3:::analytics-jobs/archives/{'a' * 128}/hadoop-3.5.0.tar.gz"
    other = f"arn:aws:s3:::analytics-jobs/archives/{'c' * 128}/hadoop-3.5.0.tar.gz"
    for kind in ("Master", "Nodes"):
        assert is_allowed(role_of(kata, kind), Request("s3:GetObject", pinned, {}))
    assert not is_allowed(role_of(kata, "Nodes"), Request("s3:GetObject", other, {}))


def test_a_node_reads_no_jobs_and_only_tenants_sessions(kata: Synthesised) -> None:
    policies = role_of(kata, "Nodes")
    assert not is_allowed(policies, Request("s3:GetObject", "arn:aws:s3:::analytics-jobs/jobs/x/spec.json", {}))
    role = f"arn:aws:iam::{ACCOUNT}:role/{CLUSTER}-yarn.tenant-sales-{REGION}"
    assert is_allowed(policies, Request("sts:AssumeRole", role, {}))
    assert not is_allowed(role_of(kata, "Master"), Request("sts:AssumeRole", role, {}))


def test_the_settings_say_what_each_tenant_has(kata: Synthesised) -> None:
    parameters = resources(kata.template("Alone"), "AWS::SSM::Parameter").values()
    (desired,) = [each for each in parameters if each["Properties"]["Name"] == f"/sparkvault/{CLUSTER}/yarn/desired"]
    found = json.loads(text(desired["Properties"]["Value"]))
    assert [(one["name"], one["share"], one["uid"]) for one in found["tenants"]] == [
        ("sales", 60, user_number("sales")),
        ("research", 40, user_number("research")),
    ]
    assert found["runtime"] == "kata"
    # No more containers than a /28 has addresses for.
    assert found["node_memory_mib"] // found["container_least_mib"] <= 12


def test_submitters_run_their_own_documents_and_nobody_elses() -> None:
    template = synthesised("hadoop").template("Yarn")
    documents = {each["Properties"]["Name"] for each in resources(template, "AWS::SSM::Document").values()}
    assert {"hadoop-yarn.job.finance.submit", "hadoop-yarn.job.research.cancel", "hadoop-yarn.host.status"} <= documents
    (policy,) = [
        each["Properties"]["PolicyDocument"]
        for each in resources(template, "AWS::IAM::ManagedPolicy").values()
        if "finance-submitter" in text(each["Properties"]["ManagedPolicyName"])
    ]
    said = json.dumps(policy)
    assert "hadoop-yarn.job.finance.*" in said
    assert "research" not in said
    assert "ssm:StartSession" not in [
        action for one in policy["Statement"] if one["Effect"] == "Allow" for action in one["Action"]
    ]


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"nodes": YarnGroupProps(2, ("m5.4xlarge",))}, "Kata needs virtual machines, and m5.4xlarge runs none"),
        ({"nodes": YarnGroupProps(2, ("m5.metal", "m8i.4xlarge"))}, "metal has no such switch"),
        ({"hadoop": YarnArchive("hadoop-3.5.0.tar.gz", None)}, "has no SHA-512"),
        ({"tenants": ()}, "needs a tenant"),
        ({"tenants": (YarnTenant(TenantAccess("hdfs")),)}, "cannot be a Linux user"),
        ({"tenants": TENANTS + TENANTS[:1]}, "two tenants have the same name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsafe_cluster_is_refused_before_anything_is_made(overrides: dict[str, Any], complaint: str) -> None:
    with pytest.raises((UnsafeYarnClusterError, UnsafeHostGroupError), match=complaint):
        alone(**overrides)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ([0, 0], [50, 50]),
        ([60, 0], [60, 40]),
        ([20, 20], [50, 50]),
        ([0], [100]),
        ([0, 0, 0], [33.333, 33.333, 33.334]),
    ],
)
def test_shares_make_a_whole(asked: list[int], made: list[float]) -> None:
    assert shares(asked) == pytest.approx(made)
    assert sum(shares(asked)) == pytest.approx(100)


def test_a_tenants_user_stays_the_same_whoever_comes_and_goes() -> None:
    assert user_number("sales") == user_number("sales")
    assert 20000 <= user_number("sales") < 60000
    assert user_number("sales") != user_number("research")
