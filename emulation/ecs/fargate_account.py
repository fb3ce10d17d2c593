"""An emulated account with the stacks of target fargate in it, deployed by the real CDK CLI, and ECS over them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emulation.aws import EmbeddedAws, EmbeddedAwsError, bootstrap
from emulation.ecs.deployed import DeployedEcs, deployed_ecs
from sparkvault.project import WORK_FOLDER_VARIABLE, project_root
from sparkvault.toolchain import tool_environment

SPARKVAULT = str(Path(sys.executable).parent / "sparkvault")
DEPLOY_SECONDS = 600.0


@dataclass
class FargateAccount:
    """The account, its ECS, and the environment of commands that may do everything there."""

    aws: EmbeddedAws
    deployed: DeployedEcs
    environment: dict[str, str]

    def sign_in(self, role: str, name: str) -> dict[str, str]:
        """The environment of commands with a session of that role."""
        session = self.deployed.account.sign_in(role, name)
        return self.environment | {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["Token"],
        }


@contextmanager
def fargate_account(folder: Path, configuration: str) -> Iterator[FargateAccount]:
    """Deploy that configuration; at the end the account is gone with all that ran in it. Raises EmbeddedAwsError.

    ``folder``: an empty one, for the image's place and for what the command line keeps.
    """
    with EmbeddedAws() as aws:
        bootstrap(aws, [project_root() / "node_modules" / ".bin" / "cdk"])
        home = folder / "home"
        home.mkdir(parents=True)
        environment = aws.environment(tool_environment(dict(os.environ))) | {WORK_FOLDER_VARIABLE: str(home)}
        done = subprocess.run(
            [SPARKVAULT, "deploy", "--config", configuration, "--yes"],
            cwd=project_root(),
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEPLOY_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedAwsError(f"the stacks were not deployed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        with deployed_ecs(aws, folder / "image") as deployed:
            yield FargateAccount(aws, deployed, environment | {"AWS_ENDPOINT_URL_ECS": deployed.emulated.endpoint})
