"""What a role needs to pull images, on hosts and in front of tasks alike."""

from collections.abc import Sequence

from aws_cdk import aws_ecr as ecr

from spark_constructs.permissions import NO_RESOURCE, Permission


def pull_images(repositories: Sequence[ecr.IRepository]) -> list[Permission]:
    """Images of these repositories and of no other; nothing where there is none."""
    if not repositories:
        return []
    return [
        Permission("RegistryToken", ("ecr:GetAuthorizationToken",), ("*",), wildcard=NO_RESOURCE),
        Permission(
            "PullImages",
            ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
            tuple(repository.repository_arn for repository in repositories),
            wildcard="Only where a repository was given by a pattern of the application that uses this.",
        ),
    ]
