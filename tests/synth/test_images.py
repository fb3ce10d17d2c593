"""Images: one asset per stage, a parameter that says where each was pushed, and none without an engine."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spark_constructs.images import NOT_PUBLISHED, SWARM_IMAGES, SparkImages, SparkImagesProps, UnknownImageError
from stacks.images import SPARK_IMAGES_DIRECTORY
from tests.support.synth_app import Synthesised, synthesise_alone, synthesised

DOCKERFILE = (SPARK_IMAGES_DIRECTORY / "Dockerfile").read_text()


def _alone(directory: Path = SPARK_IMAGES_DIRECTORY, **props: Any) -> Synthesised:
    return synthesise_alone(
        lambda stack: SparkImages(stack, "Images", SparkImagesProps(cluster="alone", directory=directory, **props))
    )


def _assets(of: Synthesised, stack: str) -> dict[str, dict[str, Any]]:
    """Source of each image by its stage."""
    assets = json.loads((of.directory / f"{stack}.assets.json").read_text())["dockerImages"]
    return {each["source"]["dockerBuildTarget"]: each["source"] for each in assets.values()}


def _parameters(of: Synthesised, stack: str) -> dict[str, Any]:
    return {
        each["Properties"]["Name"]: each["Properties"]["Value"]
        for each in of.template(stack)["Resources"].values()
        if each["Type"] == "AWS::SSM::Parameter"
    }


def test_alone_it_passes_cdk_nag() -> None:
    assert _alone().violations == []


def test_each_image_is_a_stage_of_the_dockerfile() -> None:
    assert set(_assets(synthesised("default"), "Images")) == set(SWARM_IMAGES)
    stages = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE))
    assert set(SWARM_IMAGES) <= stages


def test_parameters_name_where_each_image_was_pushed() -> None:
    parameters = _parameters(synthesised("default"), "Images")
    assert set(parameters) == {f"/sparkvault/sparkvault/image-assets/{name}" for name in SWARM_IMAGES}
    assert all("container-assets" in json.dumps(value) for value in parameters.values())


def test_the_digests_that_consumers_read_are_not_in_the_template() -> None:
    assert not any("/images/" in name for name in _parameters(synthesised("default"), "Images"))


def test_without_an_engine_there_are_parameters_and_no_images() -> None:
    of = synthesised("existing")
    assert set(_parameters(of, "Images").values()) == {NOT_PUBLISHED}
    assert _assets(of, "Images") == {}


@pytest.mark.parametrize(("architecture", "platform"), [("x86_64", "linux/amd64"), ("arm64", "linux/arm64")])
def test_images_are_built_for_the_hosts_architecture(architecture: str, platform: str) -> None:
    of = _alone(architecture=architecture)
    assert {source["platform"] for source in _assets(of, "Alone").values()} == {platform}


def test_another_base_image_is_a_build_argument() -> None:
    of = _alone(build_args={"BASE_IMAGE": "registry.example/debian@sha256:" + "0" * 64})
    arguments = {source["dockerBuildArgs"]["BASE_IMAGE"] for source in _assets(of, "Alone").values()}
    assert arguments == {"registry.example/debian@sha256:" + "0" * 64}


def test_a_changed_note_makes_no_new_image_and_a_changed_entrypoint_does(tmp_path: Path) -> None:
    directory = tmp_path / "images"
    shutil.copytree(SPARK_IMAGES_DIRECTORY, directory)

    def hashes() -> set[str]:
        return {str(value) for value in map(json.dumps, _parameters(_alone(directory), "Alone").values())}

    before = hashes()
    (directory / "README.md").write_text("A note.")
    assert hashes() == before
    (directory / "base" / "entrypoint.sh").write_text("#!/bin/sh\n")
    assert not hashes() & before


def test_an_unknown_image_is_refused() -> None:
    def build(stack: Any) -> None:
        images = SparkImages(stack, "Images", SparkImagesProps(cluster="alone", directory=SPARK_IMAGES_DIRECTORY))
        with pytest.raises(UnknownImageError, match="no image 'driver'; there are master, worker, submit"):
            images.uri("driver")

    synthesise_alone(build)


def test_what_pip_installs_is_pinned_by_hash() -> None:
    for line in (
        line
        for file in (SPARK_IMAGES_DIRECTORY / "base").glob("requirements*.txt")
        for line in file.read_text().split("\n")
    ):
        if line and not line.startswith(("#", " ")):
            assert re.fullmatch(r"[a-z0-9_-]+==[0-9.]+ \\", line), line
    fetched = DOCKERFILE.count("pip install") + DOCKERFILE.count("pip download")
    assert fetched == DOCKERFILE.count("--require-hashes") == 3


def test_images_run_as_an_ordinary_user() -> None:
    of_base, *of_others = DOCKERFILE.partition(" AS base\n")[2].split("\nFROM base AS ")
    assert of_base.count("\nUSER ") == 1
    assert "\nUSER 185:185\n" in of_base
    for stage in of_others:
        users = [line for line in stage.splitlines() if line.startswith("USER ")]
        assert users[-1:] in ([], ["USER 185:185"]), stage.splitlines()[0]


def test_the_entrypoint_refuses_to_start_without_the_secret(tmp_path: Path) -> None:
    result = subprocess.run(
        [str(SPARK_IMAGES_DIRECTORY / "base" / "entrypoint.sh"), "master"],
        env={"PATH": "/usr/bin:/bin", "SPARK_SECRET_FILE": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 78
    assert "no RPC secret" in result.stderr
