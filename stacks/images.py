"""The stack of the container images."""

from pathlib import Path

from constructs import Construct

from spark_constructs.config import Deployment
from spark_constructs.images import SparkImages, SparkImagesProps
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
