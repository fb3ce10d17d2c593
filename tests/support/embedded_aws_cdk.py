"""The real CDK CLI on the sample app, against an embedded AWS."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from emulation.aws import EmbeddedAws

ROOT = Path(__file__).resolve().parents[2]
CDK = ROOT / "node_modules" / ".bin" / "cdk"
APP = ROOT / "tests" / "deploy" / "embedded_aws_app" / "app.py"
TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class SampleApp:
    """The sample app, synthesised in every variant to a folder of the same name under `assemblies`."""

    aws: EmbeddedAws
    assemblies: Path

    def cdk(self, variant: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the CDK CLI on one variant; output and errors come together, as a person sees them."""
        return subprocess.run(
            [str(CDK), *arguments, "--app", str(self.assemblies / variant), "--no-color"],
            cwd=self.assemblies,
            env=self.aws.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def deploy(self, variant: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`cdk deploy` without questions, every event on a line."""
        return self.cdk(variant, "deploy", *arguments, "--require-approval=never", "--progress=events")


def synthesise(aws: EmbeddedAws, folder: Path) -> SampleApp:
    """Synthesise the sample app's variants."""
    subprocess.run(
        [sys.executable, str(APP), str(folder), aws.account_id, aws.region],
        env=aws.environment(),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    return SampleApp(aws, folder)
