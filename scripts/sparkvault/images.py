"""After a deployment: which image, by digest, is behind each tag that was pushed."""

from botocore.exceptions import ClientError

from spark_constructs.config import Deployment
from sparkvault.account import Account
from sparkvault.errors import SparkvaultError

#: The value of an asset's parameter in stacks that were deployed without images.
NOT_PUBLISHED = "not-published"


def _parameters(account: Account, path: str) -> dict[str, str]:
    pages = account.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True)
    return {found["Name"].rsplit("/", 1)[-1]: found["Value"] for page in pages for found in page["Parameters"]}


def published_assets(account: Account, deployment: Deployment) -> dict[str, str]:
    """Image name → `repository:tag` of the deployed image assets, or `not-published`."""
    return _parameters(account, f"/sparkvault/{deployment.cluster}/image-assets")


def record_digests(account: Account, deployment: Deployment) -> dict[str, str]:
    """Write `repository@sha256:…` of each pushed image to its parameter, which is all that consumers read.

    Returns what was written; nothing for images that were not published. Raises SparkvaultError where an image
    that the stack names is not in the registry.
    """
    written: dict[str, str] = {}
    for name, uri in published_assets(account, deployment).items():
        if uri == NOT_PUBLISHED:
            continue
        repository, tag = uri.rsplit(":", 1)
        try:
            found = account.client("ecr").describe_images(
                repositoryName=repository.split("/", 1)[1], imageIds=[{"imageTag": tag}]
            )
        except ClientError as error:
            raise SparkvaultError(
                f"image {name} ({uri}) is not in the registry: {error}", "run `sparkvault deploy images` again"
            ) from error
        written[name] = f"{repository}@{found['imageDetails'][0]['imageDigest']}"
        account.client("ssm").put_parameter(
            Name=f"/sparkvault/{deployment.cluster}/images/{name}",
            Value=written[name],
            Type="String",
            Overwrite=True,
            Description=f"Image {name} of cluster {deployment.cluster}, by digest; written by sparkvault deploy",
        )
    return written


def forget_digests(account: Account, deployment: Deployment) -> None:
    """Remove the parameters that `record_digests` wrote."""
    names = [
        f"/sparkvault/{deployment.cluster}/images/{name}"
        for name in _parameters(account, f"/sparkvault/{deployment.cluster}/images")
    ]
    for start in range(0, len(names), 10):  # the most that one call takes
        account.client("ssm").delete_parameters(Names=names[start : start + 10])
