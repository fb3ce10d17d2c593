"""Composition root: reads the configuration, makes the stacks, has them checked; nothing else."""

import sys
from pathlib import Path

from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks

from spark_constructs.config import Deployment
from spark_constructs.config_errors import ConfigError, Problem, shown
from spark_constructs.config_source import CONTEXT_KEY, load_context, load_file
from spark_constructs.refusal import RefusedError
from stacks.images import ImagesStack
from stacks.network import NetworkStack
from stacks.storage import StorageStack

#: Context key with the path of a configuration file to read in place of cdk.json's own configuration.
CONFIG_FILE_KEY = "sparkvault_config"

#: Targets that this version can deploy.
DEPLOYABLE_TARGETS = ("swarm", "fargate", "yarn")

#: Behaviour of the CDK that is wanted although an application without flags gets an older one. Set here and not in
#: cdk.json, so that tests and every way to start the application see the same.
FEATURE_FLAGS: dict[str, object] = {
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:enablePartitionLiterals": True,
    "@aws-cdk/aws-kms:aliasNameRef": True,
    # A stack that others use cannot be destroyed before them.
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
}


def create_app(context: dict[str, object] | None = None, outdir: str | None = None) -> App:
    """The CDK application; ``context`` and ``outdir`` are the command line's unless given.

    No analytics: synthesis is the same everywhere and says nothing to anyone.
    """
    return App(context={**FEATURE_FLAGS, **(context or {})}, outdir=outdir, analytics_reporting=False)


def read_deployment(app: App) -> Deployment:
    """The configuration: of the file that context ``sparkvault_config`` names, or context ``sparkvault`` itself.

    Raises ConfigError.
    """
    path = app.node.try_get_context(CONFIG_FILE_KEY)
    if path is not None:
        return load_file(Path(str(path)))
    return load_context(app.node.try_get_context(CONTEXT_KEY), source="cdk.json")


def build(app: App, deployment: Deployment) -> list[Stack]:
    """All stacks of a deployment, in the order in which they are deployed, to be checked at synthesis.

    Raises ConfigError where a target has no stack.
    """
    for index, target in enumerate(deployment.targets):
        if target not in DEPLOYABLE_TARGETS:
            raise ConfigError(
                "configuration",
                [
                    Problem(
                        f"targets[{index}]",
                        shown(target),
                        "this version has no stack for it",
                        f"use {' or '.join(DEPLOYABLE_TARGETS)}",
                    )
                ],
            )
    storage = StorageStack(app, "Storage", deployment=deployment)
    network = NetworkStack(app, "Network", deployment=deployment, storage=storage)
    images = ImagesStack(app, "Images", deployment=deployment)
    stacks: list[Stack] = [storage, network, images]
    if "swarm" in deployment.targets:
        # Loaded only where it is deployed: each CDK module takes part of a second.
        from stacks.swarm import SwarmStack

        stacks.append(SwarmStack(app, "Swarm", deployment=deployment, network=network, storage=storage, images=images))
    if "fargate" in deployment.targets:
        from stacks.fargate import FargateStack

        stacks.append(
            FargateStack(app, "Fargate", deployment=deployment, network=network, storage=storage, images=images)
        )
    if "yarn" in deployment.targets:
        from stacks.yarn import YarnStack

        stacks.append(YarnStack(app, "Yarn", deployment=deployment, network=network, storage=storage, images=images))
    if deployment.enclaves.owner_key is not None:
        from stacks.enclave_key import EnclaveKeyStack, committed_measurements

        stacks.append(
            EnclaveKeyStack(
                app,
                "EnclaveKey",
                deployment=deployment,
                owner_key=deployment.enclaves.owner_key,
                measurements=committed_measurements(),
            )
        )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return stacks


def main() -> int:
    """Synthesise. Exit code 0, 1 for templates that fail a check, 2 for a configuration that is refused."""
    app = create_app()
    try:
        build(app, read_deployment(app))
    except (ConfigError, RefusedError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        app.synth()
    except RuntimeError as error:
        # The only way in which jsii hands on that a check failed; the report has been printed by then.
        if "ValidationFailed" not in str(error):
            raise
        print("the templates fail the checks above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
