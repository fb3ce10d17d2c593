"""Bootstraps the emulated account with the real CDK CLI, as an account is bootstrapped for real."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from emulation.aws.embedded import EmbeddedAws, EmbeddedAwsError

BOOTSTRAP_TIMEOUT_SECONDS = 180


def bootstrap(aws: EmbeddedAws, cdk: Sequence[str | Path], *, region: str | None = None) -> None:
    """Run `cdk bootstrap aws://ACCOUNT/REGION` (about 5 s); raises `EmbeddedAwsError` with its output if it fails.

    `cdk` is the command to use, e.g. `["node_modules/.bin/cdk"]`. No app is needed, none is read.
    """
    command = [*map(str, cdk), "bootstrap", f"aws://{aws.account_id}/{region or aws.region}"]
    done = subprocess.run(
        command,
        cwd=aws.private_folder,  # a folder without cdk.json: bootstrap would otherwise run that app first
        env=aws.environment(),
        capture_output=True,
        text=True,
        timeout=BOOTSTRAP_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise EmbeddedAwsError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
