"""The image for Fargate, built by its Dockerfile: driver and executors as containers with a task's restrictions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.ecs import EmulatedEcs, Permissions
from emulation.ecs.account import role_arn
from emulation.ecs.containers import Containers
from emulation.engine import Engine
from sparkvault.image_inputs import put_plugin
from sparkvault.spark_images import BUILD_TIMEOUT_SECONDS
from tests.fargate.world import DRIVER, EXECUTION, EXECUTOR, MASTER, QUICK, REGION, World, declared_account
from tests.support.docker_engine import leased_engine

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(BUILD_TIMEOUT_SECONDS + 400)]

APPLICATIONS = Path(__file__).parent / "applications"
LAUNCHER = role_arn("launcher")
APPLICATION = "20261121-130455-9f3a01bc"
SECRET = "5ec2e7" * 10


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    yield from leased_engine()


@pytest.fixture(scope="module")
def image(engine: Engine, fargate_plugin: Path) -> str:
    """Stage `fargate`, with the plugin in it."""
    put_plugin()
    return engine.spark_image("fargate", print)


@pytest.fixture
def ecs(world: World, engine: Engine, image: str, tmp_path: Path) -> Iterator[EmulatedEcs]:
    account = declared_account()
    account.roles[LAUNCHER] = Permissions(account.roles[DRIVER].actions, frozenset({DRIVER, EXECUTION, EXECUTOR}))
    environment = engine.environment()
    tmp_path.chmod(0o755)
    application = tmp_path / "sums.py"
    application.write_bytes((APPLICATIONS / "sums.py").read_bytes())
    containers = Containers(environment["CDK_DOCKER"], environment, image, {"/opt/application/sums.py": application})
    endpoints = {"AWS_ENDPOINT_URL_KMS": world.kms_endpoint}
    with EmulatedEcs(account, endpoints=endpoints, containers=containers) as made:
        yield made


def test_a_job_runs_in_the_image_as_a_task_would(world: World, ecs: EmulatedEcs, image: str) -> None:
    """Not root, no capability, a root file system that is read-only, the secret unwrapped by KMS in each container."""
    quick = {name: value for name, value in QUICK.items() if not name.startswith("spark.driver.")}
    settings = quick | {
        "spark.fargate.container.image": "registry.example/spark@sha256:" + "0" * 64,
        "spark.fargate.executor.subnets": "subnet-0a",
        "spark.fargate.executor.securityGroups": "sg-0e",
        "spark.fargate.executor.taskRole": EXECUTOR,
        "spark.fargate.executionRole": EXECUTION,
        "spark.executor.instances": "2",
    }
    confs = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    spark = ["/opt/spark/bin/spark-submit", "--master", MASTER, *confs, "/opt/application/sums.py"]
    variables = {
        "SPARK_FARGATE_REGION": REGION,
        "SPARK_FARGATE_KEY": world.key,
        "SPARK_FARGATE_TENANT": "default",
        "SPARK_FARGATE_APPLICATION": APPLICATION,
        "SPARK_FARGATE_CIPHERTEXT": world.wrapped_for(APPLICATION, SECRET),
    }
    definition = {
        "family": "driver",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "executionRoleArn": EXECUTION,
        "taskRoleArn": DRIVER,
        "containerDefinitions": [{"name": "spark-driver", "image": image, "readonlyRootFilesystem": True}],
    }
    ecs.service.call("RegisterTaskDefinition", definition, LAUNCHER)
    inside = {
        "name": "spark-driver",
        "command": ["/opt/fargate/driver", *spark],
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
    }
    network = {"subnets": ["subnet-0a"], "securityGroups": ["sg-0e"]}
    ecs.service.call(
        "RunTask",
        {
            "cluster": "spark",
            "taskDefinition": "driver",
            "launchType": "FARGATE",
            "startedBy": "launcher",
            "networkConfiguration": {"awsvpcConfiguration": network},
            "overrides": {"containerOverrides": [inside]},
        },
        LAUNCHER,
    )
    driver = next(iter(ecs.service.tasks.values()))
    assert driver.over.wait(300), "the driver did not end"
    assert driver.log is not None
    log = driver.log.read_text(errors="replace")
    assert driver.exit_code == 0, log[-6000:]
    assert "the sum is 49995000" in log
    assert SECRET not in log
    executors = [task for task in ecs.service.tasks.values() if task is not driver]
    assert len(executors) == 2
    assert all(task.over.wait(60) for task in executors)
