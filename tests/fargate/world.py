"""What the tests of the Fargate plugin live in: an account with ECS and KMS, and drivers started in it."""

import base64
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from emulation.ecs import Account, EmulatedEcs, Faults, Permissions, Task
from emulation.ecs.account import DRIVER_ACTIONS, role_arn
from emulation.ecs.limits import call_paces, launch_pace
from sparkvault.targets.local.spark_home import find_spark
from tests.fargate.scenario_driver import Pending, ScenarioDriver, compile_driver
from tests.support.local_cluster import wait_until

REGION = "eu-central-1"
MASTER = f"spark-fargate://{REGION}/spark"
DRIVER, EXECUTOR, EXECUTION = role_arn("driver"), role_arn("executor"), role_arn("execution")

EXECUTOR_OPTIONS = "spark.executor.extraJavaOptions"

#: Answers in seconds where AWS takes minutes, and the JVM options that start fastest.
QUICK = {
    "spark.fargate.allocate.interval": "100ms",
    "spark.fargate.report.interval": "500ms",
    "spark.fargate.lossReason.timeout": "4s",
    "spark.fargate.kill.grace": "2s",
    "spark.fargate.missing.timeout": "5s",
    "spark.fargate.stopTimeout": "20s",
    EXECUTOR_OPTIONS: "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto",
    "spark.executor.memory": "512m",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.locality.wait": "0s",
    "spark.task.maxFailures": "8",
    "spark.shuffle.io.maxRetries": "1",
    "spark.shuffle.io.retryWait": "1s",
}


def known_answer(maps: int, records: int) -> str:
    """What the scenario driver's job answers when it is right."""
    numbers = maps * records
    return f"{min(97, numbers)}:{numbers * (numbers - 1) // 2}"


def declared_account() -> Account:
    """An account as the stack would declare it: the driver's role runs tasks, the executors' nothing of ECS."""
    return Account(
        region=REGION,
        clusters={"spark": frozenset({"FARGATE", "FARGATE_SPOT"})},
        subnets={"subnet-0a": 250, "subnet-0b": 250},
        security_groups={"sg-0e"},
        roles={
            DRIVER: Permissions(DRIVER_ACTIONS, frozenset({EXECUTOR, EXECUTION})),
            EXECUTOR: Permissions(),
            EXECUTION: Permissions(),
        },
        users={"DRIVERKEY": DRIVER, "EXECUTORKEY": EXECUTOR},
        vcpu_quota=64,
    )


class World:
    """The account, and one driver JVM that all applications share unless a test wants its own."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        self.folder = folder
        self.plugin = plugin
        self.spark = find_spark()
        self.program = compile_driver(folder, self.spark)
        self._moto = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
        self.kms_endpoint = f"http://127.0.0.1:{self._moto.server_port}"
        self.ecs = EmulatedEcs(declared_account(), endpoints={"AWS_ENDPOINT_URL_KMS": self.kms_endpoint})
        self._driver: ScenarioDriver | None = None
        self._classes = folder / "executor.jsa"

    def __enter__(self) -> Self:
        threading.Thread(target=self._moto.serve_forever, daemon=True).start()
        self.ecs.__enter__()
        self.kms = boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=self.kms_endpoint,
            aws_access_key_id="EMULATED",
            aws_secret_access_key="emulated",
        )
        self.key: str = self.kms.create_key()["KeyMetadata"]["Arn"]
        return self

    def __exit__(self, *_: object) -> None:
        if self._driver is not None:
            self._driver.close()
        self.ecs.__exit__(None, None, None)
        self._moto.shutdown()
        self._moto.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def faults(self) -> Faults:
        """What goes wrong in ECS."""
        return self.ecs.service.faults

    def heal(self, seed: int = 0) -> None:
        """Nothing goes wrong any more; limits are as if nobody had called."""
        service = self.ecs.service
        service.faults = Faults(seed)
        service.watchers.clear()
        service.calls.clear()
        service._paces = call_paces()
        service._launches = launch_pace()

    def environment(self) -> dict[str, str]:
        """A driver's environment: it acts as the driver's role."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPARK_"))}
        return kept | {
            "AWS_ENDPOINT_URL_ECS": self.ecs.endpoint,
            "AWS_ENDPOINT_URL_KMS": self.kms_endpoint,
            "AWS_ACCESS_KEY_ID": "DRIVERKEY",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_REGION": REGION,
        }

    def new_driver(self, name: str) -> ScenarioDriver:
        """A driver JVM of one's own."""
        folder = self.folder / name
        folder.mkdir()
        return ScenarioDriver(folder, MASTER, self.plugin, self.program, self.environment())

    @property
    def driver(self) -> ScenarioDriver:
        """The driver JVM that all share; started when first needed."""
        if self._driver is None:
            self._driver = self.new_driver("shared-driver")
        return self._driver

    def settings(self, executors: int = 2, **more: str) -> dict[str, str]:
        """An application's settings; ``more`` has underscores where names have points."""
        secure = {
            "spark.authenticate": "true",
            "spark.authenticate.secret": secrets.token_hex(32),
            "spark.authenticate.kms.key": self.key,
            "spark.network.crypto.enabled": "true",
            "spark.io.encryption.enabled": "true",
        }
        place = {
            "spark.app.name": "scenario",
            "spark.fargate.container.image": "registry.example/spark@sha256:" + "0" * 64,
            "spark.fargate.container.sparkHome": str(self.spark),
            "spark.fargate.container.classPath": f"{self.plugin}:{self.program}",
            "spark.fargate.executor.subnets": "subnet-0a,subnet-0b",
            "spark.fargate.executor.securityGroups": "sg-0e",
            "spark.fargate.executor.taskRole": EXECUTOR,
            "spark.fargate.executionRole": EXECUTION,
            "spark.executor.instances": str(executors),
        }
        shared = f" -XX:SharedArchiveFile={self._classes}" if self._classes.stat().st_size else ""
        quick = QUICK | {EXECUTOR_OPTIONS: QUICK[EXECUTOR_OPTIONS] + shared}
        return quick | secure | place | {name.replace("_", "."): value for name, value in more.items()}

    @contextmanager
    def application(
        self, executors: int = 2, driver: ScenarioDriver | None = None, **more: str
    ) -> Iterator["Application"]:
        """An application from start to end; afterwards nothing of it may be left."""
        driver = driver or self.driver
        if not self._classes.exists():
            self._classes.touch()
            self._share_classes()
        started = driver.tell("start", conf=self.settings(executors, **more))
        application = Application(self, driver, started)
        try:
            yield application
        finally:
            application.end()
        application.leaves_nothing()

    def _share_classes(self) -> None:
        """Leave an archive of what an executor loads, for the dozens that start here; they start without it, too."""
        fresh = self.folder / "fresh.jsa"
        options = f"{QUICK[EXECUTOR_OPTIONS]} -XX:ArchiveClassesAtExit={fresh}"
        service = self.ecs.service
        # The faults are for the test that comes first, not for this.
        service.faults, wanted = Faults(), service.faults
        try:
            with self.application(1, spark_executor_extraJavaOptions=options) as application:
                application.up().job_is_right(maps=2)
        finally:
            service.faults = wanted
        if fresh.exists():
            fresh.replace(self._classes)

    def wrapped_for(self, application: str, secret: str) -> str:
        """A secret under the key, for an application; base64."""
        context = {"tenant": "default", "application": application}
        answer = self.kms.encrypt(KeyId=self.key, Plaintext=secret.encode(), EncryptionContext=context)
        return base64.b64encode(answer["CiphertextBlob"]).decode()


@dataclass
class Application:
    """A running application."""

    world: World
    driver: ScenarioDriver
    started: Pending
    id: str = ""
    first_task: int = 0

    def __post_init__(self) -> None:
        self.first_task = len(self.world.ecs.service.tasks)

    def up(self, seconds: float = 90.0) -> Self:
        """Wait until its context is there (with four fifths of its executors, or after half a minute)."""
        answer = self.started.result(seconds)
        assert "error" not in answer, f"{answer['error']}\n{self.driver.log_text()[-4000:]}"
        self.id = answer["application"]
        return self

    def job(self, maps: int = 8, records: int = 500, pause: int = 0) -> Pending:
        """Begin a job."""
        return self.driver.tell("job", maps=maps, records=records, pause=pause)

    def job_is_right(self, maps: int = 8, records: int = 500, pause: int = 0, seconds: float = 120.0) -> None:
        """Run a job; its answer must be the known one."""
        is_right(self.job(maps, records, pause), maps, records, seconds)

    @property
    def tasks(self) -> list[Task]:
        """Its tasks so far, the first one first."""
        return list(self.world.ecs.service.tasks.values())[self.first_task :]

    def wait_for_executors(self, count: int, seconds: float = 90.0) -> None:
        """Wait until so many executors are registered."""
        wait_until(f"{count} executors", lambda: self.driver.state()["executors"] == count, seconds)

    def wait_for_removal(self, words: str, seconds: float = 60.0) -> str:
        """Wait until Spark has removed an executor for a reason with these words; returns the reason."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [why for why in self.driver.state()["removed"].values() if words in why]
            return bool(found)

        wait_until(f"an executor removed because of {words!r}: {self.driver.state()}", look, seconds)
        return found[0]

    def log(self) -> str:
        """What the driver has logged since this application began, and before."""
        return self.driver.log_text()

    def end(self) -> None:
        """Stop it, if its driver lives."""
        if self.driver.process.poll() is None:
            self.driver.tell("stop").result(180)

    def leaves_nothing(self, seconds: float = 30.0) -> None:
        """No task of it may run, or be about to."""
        left: list[Any] = []

        def look() -> bool:
            left[:] = [(task.number, task.status) for task in self.tasks if task.alive or task.desired == "RUNNING"]
            return not left

        deadline = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < deadline, f"left behind: {left}\n{self.driver.log_text()[-4000:]}"
            time.sleep(0.1)


def is_right(job: Pending, maps: int = 8, records: int = 500, seconds: float = 120.0) -> None:
    """The job's answer must be the known one."""
    answer = job.result(seconds)
    assert answer.get("answer") == known_answer(maps, records), f"{answer}\n{job.driver.log_text()[-6000:]}"
