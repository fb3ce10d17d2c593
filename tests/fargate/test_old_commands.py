"""The commands that people know from the design this one follows, with another master address and jar path only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.ecs import EmulatedEcs, Permissions
from emulation.ecs.account import role_arn
from emulation.ecs.image_folder import ImageFolder
from tests.fargate.world import DRIVER, EXECUTION, EXECUTOR, MASTER, World, declared_account

COMMAND = Path(__file__).parent / "old_commands" / "cluster_mode.sh"
LAUNCHER = role_arn("launcher")

#: The options that were to be added for encryption, and for a shuffle that outlives executors.
ENCRYPTION = (
    "--conf spark.authenticate=true --conf spark.authenticate.kms.key={key} "
    "--conf spark.network.crypto.enabled=true --conf spark.io.encryption.enabled=true"
)
SHUFFLE = (
    "--conf spark.shuffle.s3.bucket=shuffle --conf spark.shuffle.s3.enabled=true "
    "--conf spark.shuffle.s3.prefix=staging "
    "--conf spark.dynamicAllocation.enabled=true --conf spark.dynamicAllocation.initialExecutors=0 "
    "--conf spark.dynamicAllocation.maxExecutors=8 --conf spark.dynamicAllocation.minExecutors=0"
)


class Old:
    """An image as a folder, an ECS whose tasks run from it, and a launcher who may do what the old guide asked for."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.image = ImageFolder(folder)
        self.jar = self.image.spark / "pi.jar"
        shutil.copy(world.program, self.jar)
        self.account = declared_account()
        actions = self.account.roles[DRIVER].actions
        self.account.roles[LAUNCHER] = Permissions(actions, frozenset({DRIVER, EXECUTION, EXECUTOR}))
        self.account.users["LAUNCHERKEY"] = LAUNCHER
        endpoints = {"AWS_ENDPOINT_URL_KMS": world.kms_endpoint, **self.image.environment}
        self.ecs = EmulatedEcs(self.account, endpoints=endpoints, image=self.image.paths)

    def run(self, options: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command as it stands."""
        variables = {
            "master": MASTER,
            "executor_image": "registry.example/spark@sha256:" + "0" * 64,
            "driver_sgs": "sg-0e",
            "executor_sgs": "sg-0e",
            "driver_subnets": "subnet-0a",
            "executor_subnets": "subnet-0a,subnet-0b",
            "execution_role": EXECUTION,
            "driver_task_role": DRIVER,
            "jar": "local:///opt/spark/pi.jar",
            "options": options,
        }
        environment = {
            **self.image.environment,
            **variables,
            "AWS_ENDPOINT_URL_ECS": self.ecs.endpoint,
            "AWS_ENDPOINT_URL_KMS": self.world.kms_endpoint,
            "AWS_ACCESS_KEY_ID": "LAUNCHERKEY",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "LANG": os.environ.get("LANG", "C.UTF-8"),
        }
        return subprocess.run(
            ["bash", "-euo", "pipefail", str(COMMAND)],
            cwd=self.image.spark,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def driver_log(self) -> str:
        """What the first task printed."""
        driver = next(iter(self.ecs.service.tasks.values()))
        assert driver.log is not None
        return driver.log.read_text(errors="replace")


@pytest.fixture
def old(world: World, tmp_path: Path) -> Iterator[Old]:
    made = Old(world, tmp_path / "image")
    with made.ecs:
        yield made


@pytest.mark.timeout(700)
def test_cluster_mode_works_as_it_stood(old: Old, world: World) -> None:
    """No key was named then: the one that has the cluster's name as its alias is taken."""
    world.kms.create_alias(AliasName="alias/spark", TargetKeyId=world.key)
    try:
        answer = old.run()
    finally:
        world.kms.delete_alias(AliasName="alias/spark")
    assert answer.returncode == 0, answer.stdout + answer.stderr + old.driver_log()[-4000:]
    assert "Pi is roughly 3.1415" in old.driver_log()
    tasks = list(old.ecs.service.tasks.values())
    assert [task.family.startswith("sparkvault-driver-") for task in tasks] == [True, False, False]
    assert {(task.cpu, task.memory) for task in tasks} == {("4096", "9216")}
    assert old.ecs.service.running() == []


@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    "options",
    [pytest.param(ENCRYPTION, marks=pytest.mark.campaign), ENCRYPTION + " " + SHUFFLE],
    ids=["encryption", "shuffle"],
)
def test_cluster_mode_works_with_what_could_be_added(old: Old, world: World, options: str) -> None:
    answer = old.run(options.format(key=world.key))
    assert answer.returncode == 0, answer.stdout + answer.stderr + old.driver_log()[-4000:]
    assert "Pi is roughly 3.1415" in old.driver_log()
    assert old.ecs.service.running() == []


def test_what_is_missing_is_said_at_once_and_nothing_starts(old: Old) -> None:
    answer = old.run("--conf spark.fargate.driver.subnets= --conf spark.fargate.pendingmax=3")
    assert answer.returncode == 1
    assert "spark.fargate.pendingmax is no setting" in answer.stderr
    assert "spark.fargate.driver.subnets" in answer.stderr
    assert "\tat " not in answer.stderr
    assert old.ecs.service.calls["RunTask"] == 0
