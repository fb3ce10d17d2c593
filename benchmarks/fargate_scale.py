"""From 0 to 1,000 executors on Fargate: how close to AWS's own launch limit, and with how few calls."""

import argparse
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.report import Goal, Report
from emulation.ecs import Account, EmulatedEcs, Permissions, Task
from emulation.ecs.account import DRIVER_ACTIONS, role_arn
from sparkvault.errors import NotAvailable, WaitTimeout
from sparkvault.java import find_java
from sparkvault.plugins import plugin_jar
from sparkvault.targets.local.spark_home import find_spark

SOURCES = Path(__file__).parent / "fargate"
REAL_EXECUTORS = 20
BURST, RATE = 100, 20
REPORT_INTERVAL_SECONDS = 5.0
ARCHIVE_SECONDS = 120.0
EXECUTOR_OPTIONS = "spark.executor.extraJavaOptions"
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
NO_EXECUTORS = {"spark.executor.instances": "0"}


def main(arguments: list[str]) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fargate_scale", description=__doc__)
    parser.add_argument("--executors", type=int, default=1000)
    parser.add_argument(
        "--real", type=int, default=REAL_EXECUTORS, help="executors that are real JVMs; the rest register only"
    )
    options = parser.parse_args(arguments)
    report = Report(
        "fargate_scale",
        goals=[
            Goal("time_over_limit", "at_most", 1.2),
            Goal("runtask_calls_over_least", "at_most", 1.1),
            Goal("describe_calls_over_most", "at_most", 1.0),
        ],
    )
    report.notes.append(
        f"ECS is emulated with AWS's limits; {options.real} executors are real JVMs, the others only register."
    )
    with tempfile.TemporaryDirectory(prefix="fargate-scale-") as folder:
        _measure(report, Path(folder), options.executors, options.real)
    return 0 if report.publish() else 1


def _measure(report: Report, folder: Path, executors: int, real: int) -> None:
    registering = folder / "registering"
    registering.touch()
    archive = class_archive(folder)
    with EmulatedEcs(account(4.0 * executors), simulate=lambda number: number > real) as ecs:

        def register(task: Task) -> None:
            if task.status == "RUNNING" and task.number > real:
                with registering.open("a") as lines:
                    lines.write(f"{task.arn}\n")

        def launched(task: Task) -> None:
            if task.number == executors and task.status == "PENDING":
                report.figures["launch_seconds"] = time.monotonic()  # made a duration by `_follow`

        ecs.service.watchers += [register, launched]
        options = {EXECUTOR_OPTIONS: f"{QUICK} -XX:SharedArchiveFile={archive}"}
        driver = start_driver(folder, ecs, NO_EXECUTORS | options, "ScaleDriver", str(executors), str(registering))
        try:
            _follow(report, driver, folder, ecs, executors)
        finally:
            driver.kill()
            driver.wait(10)


def class_archive(folder: Path) -> Path:
    """What an executor loads, as JVMs share it: 20 of them start on a few cores here, not on hosts of their own.

    Raises NotAvailable where the executor that should leave it does not.
    """
    archive = folder / "executor.jsa"
    nobody = folder / "nobody"
    nobody.touch()
    with EmulatedEcs(account(4.0)) as ecs:
        options = {EXECUTOR_OPTIONS: f"{QUICK} -XX:ArchiveClassesAtExit={archive}"}
        driver = start_driver(folder, ecs, NO_EXECUTORS | options, "ScaleDriver", "1", str(nobody))
        try:
            assert driver.stdout is not None  # noqa: S101 - a pipe was asked for
            for line in driver.stdout:
                if line.strip() == "registered":
                    break
        finally:
            driver.kill()
            driver.wait(10)
        for task in list(ecs.service.tasks.values()):
            task.over.wait(ARCHIVE_SECONDS)
    if not archive.is_file():
        raise NotAvailable("no executor left an archive of its classes:\n" + _end_of(folder / "driver.log"))
    return archive


def account(vcpu_quota: float) -> Account:
    """An account in which a driver may run executors."""
    driver = role_arn("driver")
    passed = frozenset({role_arn("execution")})
    return Account(
        clusters={"spark": frozenset({"FARGATE"})},
        subnets={"subnet-0a": 4000},
        security_groups={"sg-0e"},
        roles={driver: Permissions(DRIVER_ACTIONS, passed), role_arn("execution"): Permissions()},
        users={"DRIVERKEY": driver},
        vcpu_quota=vcpu_quota,
    )


def start_driver(
    folder: Path, ecs: EmulatedEcs, more: Mapping[str, str], main_class: str, *arguments: str
) -> "subprocess.Popen[str]":
    """A driver of `benchmarks/fargate` in that account; its words come on standard output, its log is `driver.log`."""
    plugin, spark = plugin_jar("fargate"), find_spark()
    program = _compiled(folder)
    region = ecs.service.account.region
    settings = {
        "spark.master": f"spark-fargate://{region}/spark",
        "spark.app.name": main_class,
        # Launches and times are what is measured, on loopback, with numbers that everybody may read.
        "spark.fargate.insecure": "true",
        "spark.fargate.container.image": "registry.example/spark@sha256:" + "0" * 64,
        "spark.fargate.container.sparkHome": str(spark),
        "spark.fargate.container.classPath": f"{plugin}:{program}",
        "spark.fargate.executor.subnets": "subnet-0a",
        "spark.fargate.executor.securityGroups": "sg-0e",
        "spark.fargate.executionRole": role_arn("execution"),
        "spark.executor.memory": "512m",
        EXECUTOR_OPTIONS: QUICK,
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.network.timeout": "900s",
        **more,
    }
    properties = [f"-D{name}={value}" for name, value in settings.items()]
    java = [str(find_java().program), "-Xmx2g"]
    path = ["-cp", f"{spark}/jars/*:{plugin}:{program}"]
    flags = subprocess.run([*java, *path, "ModuleFlags"], capture_output=True, text=True, timeout=120, check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPARK_"))}
    environment = kept | {
        "AWS_ENDPOINT_URL_ECS": ecs.endpoint,
        "AWS_ACCESS_KEY_ID": "DRIVERKEY",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_REGION": region,
    }
    with (folder / "driver.log").open("wb") as log:
        return subprocess.Popen(
            [*java, *flags.stdout.split(), *properties, *path, main_class, *arguments],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _follow(report: Report, driver: "subprocess.Popen[str]", folder: Path, ecs: EmulatedEcs, executors: int) -> None:
    assert driver.stdout is not None  # noqa: S101 - a pipe was asked for
    process = psutil.Process(driver.pid)
    moments: dict[str, float] = {}
    deadline = time.monotonic() + 600
    for line in driver.stdout:
        word = line.strip()
        moments[word] = time.monotonic()
        if word == "asked":
            busy = sum(process.cpu_times()[:2])
            calls = ecs.service.calls.copy()
        if word == "registered":
            break
        if time.monotonic() > deadline:
            raise WaitTimeout(f"{executors} executors", 600)
    if "registered" not in moments:
        raise NotAvailable("the driver ended:\n" + _end_of(folder / "driver.log"))
    seconds = moments["registered"] - moments["asked"]
    launch_seconds = report.figures.pop("launch_seconds") - moments["asked"]
    least_seconds = max(1.0, (executors - BURST) / RATE)
    during = ecs.service.calls - calls
    report.figures |= {
        "executors": executors,
        "seconds": round(seconds, 2),
        "limit_seconds": least_seconds,
        "time_over_limit": round(seconds / least_seconds, 3),
        # Until ECS had taken the last one; what follows is the start of JVMs on this machine's cores.
        "launch_seconds": round(launch_seconds, 2),
        "launch_time_over_limit": round(launch_seconds / least_seconds, 3),
        "runtask_calls": during["RunTask"],
        "runtask_calls_over_least": round(during["RunTask"] / math.ceil(executors / 10), 3),
        "describe_calls": during["DescribeTasks"],
        # At most a call for each hundred tasks, in each report interval that was begun.
        "describe_calls_over_most": round(
            during["DescribeTasks"] / (math.ceil(executors / 100) * math.ceil(seconds / REPORT_INTERVAL_SECONDS)), 3
        ),
        "throttled_calls": during["throttled"],
        "driver_cpu_seconds": round(sum(process.cpu_times()[:2]) - busy, 2),
    }


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _compiled(folder: Path) -> Path:
    compiler = shutil.which("javac")
    if compiler is None:
        raise NotAvailable("this benchmark needs a JDK", "Debian: apt-get install openjdk-17-jdk-headless")
    classes = folder / "classes"
    classes.mkdir(exist_ok=True)
    sources = [str(path) for path in SOURCES.glob("*.java")]
    path = f"{find_spark()}/jars/*:{plugin_jar('fargate')}"
    command = [compiler, "-proc:none", "-nowarn", "--release", "17", "-cp", path, "-d", str(classes), *sources]
    subprocess.run(command, check=True, timeout=120)
    return classes
