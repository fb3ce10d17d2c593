"""The stack of the container images."""

from pathlib import Path

from aws_cdk import DefaultStackSynthesizer
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from spark_constructs.config import Deployment
from spark_constructs.images import FARGATE_IMAGES, SWARM_IMAGES, YARN_IMAGES, SparkImages, SparkImagesProps
from stacks.base import SparkvaultStack

#: Build context of Spark's images.
SPARK_IMAGES_DIRECTORY = Path(__file__).resolve().parent.parent / "assets" / "spark-images"


class ImagesStack(SparkvaultStack):
    """``<cluster>-images``: Spark's images, and where they were pushed."""

    images: SparkImages

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        super().__init__(
            scope,
            construct_id,
            deployment=deployment,
            part="images",
            description="sparkvault: container images of Spark",
        )
        base_image = deployment.images.base_image
        self.images = SparkImages(
            self,
            "Images",
            SparkImagesProps(
                cluster=deployment.cluster,
                directory=SPARK_IMAGES_DIRECTORY,
                names=image_names(deployment),
                source=deployment.images.source,
                architecture=deployment.architecture,
                build_args={} if base_image is None else {"BASE_IMAGE": base_image},
            ),
        )
        for name in self.images.names:
            self.output(
                f"{name.capitalize()}ImageUri",
                self.images.uri(name),
                f"Image {name} by tag; the parameter images/{name} has its digest",
            )


def image_names(deployment: Deployment) -> tuple[str, ...]:
    """The images that the targets run."""
    return (
        *(SWARM_IMAGES if "swarm" in deployment.targets else ()),
        *(FARGATE_IMAGES if "fargate" in deployment.targets else ()),
        *(YARN_IMAGES if "yarn" in deployment.targets else ()),
    )


def asset_repositories(stack: SparkvaultStack) -> tuple[ecr.IRepository, ...]:
    """The repository of the CDK's bootstrap stack, where image assets are pushed; none where no image is built."""
    if stack.deployment.images.source == "none":
        return ()
    qualifier = stack.synthesizer.bootstrap_qualifier or DefaultStackSynthesizer.DEFAULT_QUALIFIER
    name = f"cdk-{qualifier}-container-assets-{stack.account}-{stack.region}"
    return (ecr.Repository.from_repository_name(stack, "ImageAssets", name),)
