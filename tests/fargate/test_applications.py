"""An application on Fargate as its user has it: settings, secrets, shuffles that outlive executors, driver tasks."""

import os
import re
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from emulation.ecs import Task
from spark_constructs.fargate_sizes import FARGATE_MEMORY_MIB
from sparkvault.java import find_java
from sparkvault.plugins import run_plugin_tests
from sparkvault.project import project_root
from tests.fargate.world import EXECUTION, EXECUTOR, REGION, World, known_answer
from tests.support.local_cluster import wait_until

MODULE = project_root() / "assets" / "spark-plugins" / "fargate"


def test_the_plugins_own_tests_pass(fargate_plugin: Path) -> None:
    output = run_plugin_tests("fargate")
    ended = re.search(r"Tests: succeeded (\d+), failed (\d+)", output)
    assert ended is not None
    assert int(ended[1]) >= 20
    assert ended[2] == "0"


def test_the_sizes_are_those_that_python_knows() -> None:
    lines = (MODULE / "src/main/resources/org/sparkvault/fargate/fargate-sizes.csv").read_text().splitlines()
    read = {int(cpu) / 1024: tuple(map(int, memory.split())) for cpu, memory in (line.split(",") for line in lines[1:])}
    assert read == FARGATE_MEMORY_MIB


def test_the_table_of_settings_is_current(fargate_plugin: Path, shared_world: World) -> None:
    class_path = f"{fargate_plugin}{os.pathsep}{shared_world.spark}/jars/*"
    command = [str(find_java().program), "-cp", class_path, "org.sparkvault.fargate.Settings"]
    table = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    page = (project_root() / "docs" / "fargate-settings.md").read_text()
    assert table in page, "docs/fargate-settings.md has another table than the plugin: put what it prints there"


def test_the_secret_is_nowhere_in_clear(world: World) -> None:
    """Not in what ECS shows, not in arguments or environments of processes, not in any log."""
    secret = "c1ea7" * 12
    with world.application(
        spark_authenticate_secret=secret, spark_fargate_logs_group="/sparkvault/jobs"
    ) as application:
        application.up().job_is_right()
        application.wait_for_executors(2)
        for task in application.tasks:
            assert task.process is not None
            process = Path("/proc") / str(task.process.pid)
            assert secret.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            assert task.log is not None
            assert secret not in task.log.read_text(errors="replace")
        shown = str([*(task.described() for task in application.tasks), world.ecs.service.definitions])
        assert secret not in shown
        assert secret not in application.log()
        wanted = {"sparkvault:tenant": "default", "sparkvault:application": application.id}
        for task in application.tasks:
            assert wanted.items() <= {tag["key"]: tag["value"] for tag in task.tags}.items()
        definition = next(made for made in world.ecs.service.definitions.values() if application.id in made["family"])
        assert definition["containerDefinitions"][0]["readonlyRootFilesystem"] is True
    assert definition["status"] == "INACTIVE", "what the driver registered it takes away"


def test_executors_may_do_nothing_with_ecs(world: World) -> None:
    ecs = boto3.client(
        "ecs",
        region_name=REGION,
        endpoint_url=world.ecs.endpoint,
        aws_access_key_id="EXECUTORKEY",
        aws_secret_access_key="emulated",
    )
    with pytest.raises(ClientError, match="not authorized to perform: ecs:ListTasks"):
        ecs.list_tasks(cluster="spark")


def test_wrong_settings_are_all_told_before_anything_runs(world: World) -> None:
    wrong = world.settings(spark_fargate_executor_subnets="vpc-1", spark_fargate_reportinterval="5s")
    answer = world.driver.tell("start", conf=wrong | {"spark.network.crypto.enabled": "false"}).result()
    for words in (
        "a subnet's id expected",
        "the closest is spark.fargate.report.interval",
        "crypto.enabled=true is needed",
    ):
        assert words in answer["error"]
    large = world.settings(spark_executor_memory="200g")
    assert "the largest has 16 vCPU" in world.driver.tell("start", conf=large).result()["error"]
    showing = world.settings(spark_executorEnv_DATABASE_PASSWORD="x")
    assert "DATABASE" in world.driver.tell("start", conf=showing).result()["error"]
    assert world.ecs.service.calls["RunTask"] == 0


def test_a_shuffle_outlives_its_executors(world: World, tmp_path: Path) -> None:
    """Dynamic allocation to zero and back: the second job finds the blocks in the fallback storage; no map reruns."""
    fallback = tmp_path / "shuffle"
    fallback.mkdir()
    with world.application(
        executors=0,
        spark_dynamicAllocation_enabled="true",
        spark_dynamicAllocation_minExecutors="0",
        spark_dynamicAllocation_initialExecutors="0",
        spark_dynamicAllocation_maxExecutors="2",
        spark_dynamicAllocation_executorIdleTimeout="1s",
        spark_dynamicAllocation_shuffleTracking_enabled="false",
        spark_storage_decommission_fallbackStorage_path=f"file:{fallback}/",
        spark_storage_decommission_fallbackStorage_cleanUp="true",
    ) as application:
        application.up().job_is_right(maps=6)
        application.wait_for_executors(0, 120)
        wait_until("every task to be over", lambda: all(task.over.is_set() for task in application.tasks), 60)
        tasks_before = application.driver.state()["tasks"]
        again = application.driver.ask("again")
        assert again["answer"] == known_answer(6, 500)
        # Four reduce tasks; a recomputed map would be a fifth. The listener hears a moment later.
        wait_until("the reduce tasks to be counted", lambda: application.driver.state()["tasks"] >= tasks_before + 4)
        assert application.driver.state()["tasks"] == tasks_before + 4
        assert any(fallback.rglob("*")), "the blocks lie in the fallback storage"
    assert not any(path.is_file() for path in fallback.rglob("*")), "and are removed at the end"


def test_a_driver_that_nobody_uses_ends_itself(world: World) -> None:
    driver = world.new_driver("idle-driver")
    with world.application(0, driver, spark_fargate_driver_idleTimeout="3s") as application:
        application.up()
        assert driver.process.wait(60) == 0
        assert "Nothing has run for 3 seconds" in application.log()


def test_a_driver_is_a_task_like_its_executors(world: World) -> None:
    """Cluster mode as a submitter starts it: RunTask with spark-submit's arguments and a wrapped secret."""
    application = "spark-cluster-mode-0001"
    before = len(world.ecs.service.tasks)
    secure = {name: value for name, value in world.settings().items() if not name.startswith("spark.authenticate")}
    given = {name: value for name, value in secure.items() if not name.startswith("spark.driver.")}
    confs = [part for name, value in given.items() for part in ("--conf", f"{name}={value}")]
    main = "org.apache.spark.deploy.fargate.FargateDriver"
    classes = f"{world.spark}/jars/*:{world.plugin}"
    environment = {
        "SPARK_HOME": str(world.spark),
        "SPARK_FARGATE_REGION": REGION,
        "SPARK_FARGATE_KEY": world.key,
        "SPARK_FARGATE_TENANT": "default",
        "SPARK_FARGATE_APPLICATION": application,
        "SPARK_FARGATE_CIPHERTEXT": world.wrapped_for(application, "s" * 64),
    }
    probe = ["--class", "ClusterModeJob", str(world.program)]
    arguments = ["--master", f"spark-fargate://{REGION}/spark", *confs, *probe]
    options = subprocess.run(
        [str(find_java().program), "-cp", f"{world.spark}/jars/*:{world.program}", "ModuleOptions"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    definition = {
        "family": "driver",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "executionRoleArn": EXECUTION,
        "taskRoleArn": "arn:aws:iam::123456789012:role/driver",
        "containerDefinitions": [{"name": "driver", "image": "x", "stopTimeout": 30}],
    }
    service = world.ecs.service
    service.account.roles["launcher"] = service.account.roles["arn:aws:iam::123456789012:role/driver"].__class__(
        frozenset({"ecs:RunTask", "ecs:RegisterTaskDefinition"}),
        frozenset({EXECUTION, EXECUTOR, "arn:aws:iam::123456789012:role/driver"}),
    )
    service.call("RegisterTaskDefinition", definition, "launcher")
    service.call(
        "RunTask",
        {
            "cluster": "spark",
            "taskDefinition": "driver",
            "launchType": "FARGATE",
            "startedBy": "launcher",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0a"], "securityGroups": ["sg-0e"]}},
            "overrides": {
                "containerOverrides": [
                    {
                        "name": "driver",
                        "command": ["java", "-Xmx512m", *options, "-cp", classes, main, *arguments],
                        "environment": [{"name": name, "value": value} for name, value in environment.items()],
                    }
                ]
            },
        },
        "launcher",
    )
    driver, *_ = list(service.tasks.values())[before:]
    assert driver.over.wait(150), "the driver task did not end"
    assert driver.log is not None
    log = driver.log.read_text(errors="replace")
    assert driver.exit_code == 0, log[-4000:]
    assert f"the answer is {known_answer(8, 500)}" in log
    assert "s" * 64 not in log
    executors: list[Task] = [task for task in service.tasks.values() if task.started_by == application]
    assert len(executors) == 2
    deadline = time.monotonic() + 20
    while any(task.alive for task in executors):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_jar_runs_on_two_spark_minors(world: World, spark_of_before: Path) -> None:
    """Spark 4.1 from Maven, executors and driver, with the jar that was compiled against 4.2."""
    folder = world.folder / "spark-of-before"
    folder.mkdir()
    settings = world.settings() | {"spark.fargate.container.sparkHome": str(spark_of_before)}
    settings |= {"spark.master": f"spark-fargate://{REGION}/spark"}
    options = subprocess.run(
        [str(find_java().program), "-cp", f"{spark_of_before}/jars/*:{world.program}", "ModuleOptions"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    properties = [f"-D{name}={value}" for name, value in settings.items() if name != "spark.authenticate.secret"]
    classes = f"{spark_of_before}/jars/*:{world.plugin}:{world.program}"
    answer = subprocess.run(
        [str(find_java().program), "-Xmx512m", *options, *properties, "-cp", classes, "ClusterModeJob"],
        env=world.environment() | {"SCENARIO_SECRET": settings["spark.authenticate.secret"]},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert f"the answer is {known_answer(8, 500)}" in answer.stdout, answer.stderr[-4000:]
    assert "4.1." in answer.stdout
