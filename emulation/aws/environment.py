"""Environment variables for child processes that may talk to the embedded AWS and to no other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from emulation.aws.absent_engine import NOT_PUSHED

ACCESS_KEY_ID = "EMULATEDNOTAREALKEY0"
SECRET_ACCESS_KEY = "emulated-not-a-real-secret"  # noqa: S105 - names itself

# Everything an AWS SDK, the AWS CLI, the CDK CLI or an old boto reads from the caller.
_CALLER_SETTINGS = re.compile(r"^(AWS|CDK|BOTO|AMAZON)_", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def sealed_environment(base: Mapping[str, str], endpoint: str, region: str, private: Path) -> dict[str, str]:
    """A copy of `base` whose AWS settings all lead to `endpoint`.

    Every `AWS_*`, `CDK_*`, `BOTO_*` and `AMAZON_*` variable of the caller is dropped: a profile, a token or a
    service-specific endpoint such as `AWS_ENDPOINT_URL_S3` would otherwise win over ours. `private` is a folder of the
    server's own; configuration and credential files are pointed at files there that do not exist.
    """
    kept = {name: value for name, value in base.items() if not _CALLER_SETTINGS.match(name)}
    bypass = [part for part in re.split(r"[,\s]+", kept.get("no_proxy") or kept.get("NO_PROXY") or "") if part]
    no_proxy = ",".join(dict.fromkeys([*bypass, *_LOOPBACK]))
    return kept | {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": str(private / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(private / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        # The CDK CLI: its cache of accounts and notices stays with this server; nothing is fetched or reported.
        "CDK_HOME": str(private / "cdk-home"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_NOTICES": "false",
        "CDK_DOCKER": str(private / "absent-engine"),
        NOT_PUSHED: str(private / "images-not-pushed"),
        "CDK_VERSION_REPORTING": "false",
        "JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
    }
