"""boto3 clients bound to one endpoint, deaf to the caller's profile, configuration files and proxies."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.configprovider import ConstantProvider

from emulation.aws.environment import ACCESS_KEY_ID, SECRET_ACCESS_KEY

_SILENCED = ("profile", "config_file", "credentials_file", "ca_bundle", "defaults_mode")


def session(region: str) -> boto3.session.Session:
    """A boto3 session with the emulated credentials that reads nothing from the caller's environment or files."""
    inner = botocore.session.Session()
    store = inner.get_component("config_store")
    for variable in _SILENCED:
        value = "/dev/null" if variable.endswith("_file") else "legacy" if variable == "defaults_mode" else None
        store.set_config_provider(variable, ConstantProvider(value=value))
    inner.set_credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    return boto3.session.Session(botocore_session=inner, region_name=region)


def client(boto: boto3.session.Session, service: str, endpoint: str, region: str, **options: Any) -> Any:
    """A client of `service` (a boto3 name such as `ec2`) for `endpoint`; `options` go to botocore's `Config`."""
    settings: dict[str, Any] = {
        "proxies": {},
        "use_fips_endpoint": False,
        "use_dualstack_endpoint": False,
        "retries": {"total_max_attempts": 1},
        "parameter_validation": True,
    }
    if service == "s3":
        settings["s3"] = {"addressing_style": "path"}
    config = Config(**(settings | options))
    return boto.client(service, endpoint_url=endpoint, region_name=region, config=config)  # type: ignore[call-overload]
