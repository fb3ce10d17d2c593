"""The container images of Spark, built from the project's Dockerfile and pushed to ECR on deployment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from spark_constructs.naming import image_asset_parameter

#: The images of target swarm; each is a stage of the same Dockerfile.
SWARM_IMAGES = ("master", "worker", "submit")

#: The image of target fargate: driver, executor and shell in one.
FARGATE_IMAGES = ("fargate",)

#: The image of target yarn: what every container starts from.
YARN_IMAGES = ("yarn",)

#: Value of an image's parameter where there is no image.
NOT_PUBLISHED = "not-published"

#: What belongs to no image: a change there must not make a new one.
EXCLUDED = ("**/*.md", "**/.DS_Store", "**/__pycache__", "**/.git*")


@dataclass(frozen=True)
class SparkImagesProps:
    """What SparkImages needs to know."""

    cluster: str
    """Name of the cluster."""
    directory: Path
    """Build context with the Dockerfile; every image is a stage in it."""
    names: tuple[str, ...] = SWARM_IMAGES
    """Names of the images, equal to the stages; default: master, worker, submit."""
    source: Literal["build", "none"] = "build"
    """``none``: no image is built, so that a machine without a Docker engine can deploy; default: ``build``."""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    """CPU architecture; default: x86_64."""
    build_args: dict[str, str] = field(default_factory=dict)
    """Build arguments, such as ``BASE_IMAGE``; default: those in the Dockerfile."""


class UnknownImageError(KeyError):
    """An image was asked for that is not built here."""


class SparkImages(Construct):
    """Images as Docker assets, and one SSM parameter per image that says where it was pushed.

    The parameter ``/sparkvault/<cluster>/image-assets/<name>`` holds the address with a tag. Nobody runs it: the
    deploy command resolves it to ``repository@sha256:…`` in ``/sparkvault/<cluster>/images/<name>``, which is not in
    this template and all that consumers read. The images lie in the repository of the CDK's bootstrap stack.

    Example::

        props = SparkImagesProps(cluster="analytics", directory=Path("assets/spark-images"))
        images = SparkImages(self, "Images", props)
        CfnOutput(self, "Worker", value=images.uri("worker"))
    """

    def __init__(self, scope: Construct, construct_id: str, props: SparkImagesProps) -> None:
        super().__init__(scope, construct_id)
        self._uris: dict[str, str] = {}
        for name in props.names:
            uri = NOT_PUBLISHED if props.source == "none" else self._asset(name, props).image_uri
            self._uris[name] = uri
            ssm.StringParameter(
                self,
                f"{name.capitalize()}Parameter",
                parameter_name=image_asset_parameter(props.cluster, name),
                description=f"Where image {name} was pushed, by tag; images/{name} beside it has the digest",
                string_value=uri,
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names."""
        return tuple(self._uris)

    def uri(self, name: str) -> str:
        """Address of an image with its tag, or ``not-published``. Raises UnknownImageError."""
        if name not in self._uris:
            raise UnknownImageError(f"no image {name!r}; there are {', '.join(self._uris)}")
        return self._uris[name]

    def _asset(self, name: str, props: SparkImagesProps) -> ecr_assets.DockerImageAsset:
        platform = ecr_assets.Platform.LINUX_ARM64 if props.architecture == "arm64" else ecr_assets.Platform.LINUX_AMD64
        return ecr_assets.DockerImageAsset(
            self,
            name.capitalize(),
            asset_name=f"{props.cluster}-{name}",
            directory=str(props.directory),
            target=name,
            platform=platform,
            build_args=props.build_args or None,
            # The plugin and its programs: a change there makes no new image but that one.
            exclude=[
                *EXCLUDED,
                # YARN's stage comes after Fargate's, and builders without BuildKit make all stages before it.
                *(() if name in (*FARGATE_IMAGES, *YARN_IMAGES) else ("fargate",)),
                *(() if name in YARN_IMAGES else ("yarn",)),
            ],
        )
