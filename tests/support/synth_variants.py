"""Configurations under which the whole application is synthesised: what people really change, in a few of them."""

from typing import Any

ACCOUNT = "111122223333"

KEY_ARN = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/0a1b2c3d-0000-4000-8000-000000000001"
ENCLAVE_KEY_ARN = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/0a1b2c3d-0000-4000-8000-000000000003"
TENANT_KEY_ARN = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/0a1b2c3d-0000-4000-8000-000000000002"
BOUNDARY_ARN = f"arn:aws:iam::{ACCOUNT}:policy/platform/Boundary"

#: By name; each is what a configuration file would hold.
VARIANTS: dict[str, dict[str, Any]] = {
    # Nothing configured: environment-agnostic, account and region are those of whoever deploys.
    "default": {},
    # An explicit environment, with everything that makes templates larger.
    "frankfurt": {
        "cluster": "analytics",
        "account": ACCOUNT,
        "region": "eu-central-1",
        "network": {"nat_gateways": 1, "zones": 3, "cidr": "10.40.0.0/20"},
        "hosts": {
            "managers": {"count": 3},
            "workers": {"count": 3, "max": 20, "spot": {"enabled": True, "on_demand_base": 1}},
        },
        "enclaves": {"enabled": True, "cpus": 2, "memory_mib": 4096, "key_arn": ENCLAVE_KEY_ARN},
        "data": [
            {"bucket": "partner-sales", "prefix": "2026/"},
            {"bucket": "analytics-results", "mode": "read-write"},
        ],
        "tenants": [{"name": "finance", "key": TENANT_KEY_ARN}, {"name": "research"}],
        "tags": {"cost-center": "4711"},
    },
    # No host at all: two tenants on Fargate.
    "serverless": {
        "cluster": "serverless",
        "targets": ["fargate"],
        "tenants": [{"name": "finance"}, {"name": "research"}],
        "data": [
            {"bucket": "partner-sales", "prefix": "2026/", "tenants": ["finance"]},
            {"bucket": "research-results", "mode": "read-write", "tenants": ["research"]},
        ],
        "glue": {"enabled": True, "databases": ["sales"]},
        "fargate": {"monthly_budget_usd": 500, "budget_email": "platform@example.org"},
    },
    # YARN alone, a virtual machine for each container, two tenants of which one has images of its own.
    "hadoop": {
        "cluster": "hadoop",
        "targets": ["yarn"],
        "tenants": [
            {
                "name": "finance",
                "queue_percent": 60,
                "images": [f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/finance@sha256:{'1' * 64}"],
            },
            {"name": "research", "queue_max_percent": 80},
        ],
        "data": [{"bucket": "partner-sales", "prefix": "2026/", "tenants": ["finance"]}],
        "yarn": {
            "hadoop": {"version": "3.5.0", "sha512": "a" * 128},
            "kata": {"version": "3.29.0", "sha512": "b" * 128},
        },
    },
    # Another account and region, everything that a platform team may have already; data may be deleted.
    "existing": {
        "cluster": "existing",
        "account": "444455556666",
        "region": "us-west-2",
        "kms_key_arn": KEY_ARN.replace(ACCOUNT, "444455556666").replace("eu-central-1", "us-west-2"),
        "permissions_boundary": BOUNDARY_ARN.replace(ACCOUNT, "444455556666"),
        "architecture": "arm64",
        "hosts": {
            "managers": {"instance_types": ["m7g.large"]},
            "workers": {"instance_types": ["m7g.2xlarge", "c7g.4xlarge"]},
        },
        "images": {"source": "none"},
        "network": {
            "vpc_id": "vpc-0a1b2c3d4e5f60718",
            "vpc_cidr": "10.99.0.0/16",
            "availability_zones": ["us-west-2a", "us-west-2b"],
            "private_subnet_ids": ["subnet-0a1b2c3d4e5f60711", "subnet-0a1b2c3d4e5f60712"],
            "private_route_table_ids": ["rtb-0a1b2c3d4e5f60711", "rtb-0a1b2c3d4e5f60712"],
        },
        "storage": {"on_destroy": "delete", "delete_data_of": "existing"},
    },
}
