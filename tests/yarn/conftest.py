"""Hadoop's own jars, and a cluster of real daemons for each runtime, shared by all tests that need one."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from emulation.engine import Engine
from emulation.yarn import YarnCluster, YarnEmulationError, downloads
from tests.support.docker_engine import leased_engine


@pytest.fixture(scope="session")
def hadoop_jars() -> Path:
    """Fetched from Maven once, then kept."""
    try:
        return downloads.hadoop_jars(print)
    except YarnEmulationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run this: {error}")
        pytest.skip(f"needs Hadoop's jars from a Maven repository: {error}")


@pytest.fixture(scope="session")
def engine() -> Generator[Engine, None, None]:
    """Where the image of YARN's containers is built."""
    yield from leased_engine()


@pytest.fixture(scope="module")
def secured(engine: Engine, hadoop_jars: Path) -> Generator[YarnCluster, None, None]:
    """A cluster whose containers are all gVisor's."""
    with YarnCluster("runsc", engine, progress=print) as cluster:
        yield cluster
