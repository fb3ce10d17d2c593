"""One emulated ECS, one KMS and one driver JVM for all tests of a worker; each test has an application of its own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkvault.plugins import plugin_jar
from tests.fargate import spark_before
from tests.fargate.world import World


@pytest.fixture(scope="session")
def fargate_plugin() -> Path:
    """The plugin's jar. Without Maven or a JDK it cannot be built: a hole in CI, a skip elsewhere."""
    missing = [tool for tool in ("mvn", "javac") if shutil.which(tool) is None]
    if missing:
        reason = f"building the Fargate plugin needs {' and '.join(missing)} (Debian: maven, openjdk-17-jdk-headless)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return plugin_jar("fargate")


@pytest.fixture(scope="session")
def shared_world(fargate_plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("fargate"), fargate_plugin) as world:
        yield world


@pytest.fixture(scope="session")
def spark_of_before(fargate_plugin: Path) -> Path:
    """The Spark minor before ours."""
    return spark_before.spark_of_before()


@pytest.fixture
def world(shared_world: World) -> World:
    """The world, with nothing wrong in it."""
    shared_world.heal()
    return shared_world
