"""What the launcher makes of specifications, which anybody who may submit can write as they like."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_constructs.spark_settings import refused_settings, rules_as_data
from sparkvault.targets.local.spark_conf import CORES_FOR_OPTIMISING_DRIVERS, QUICK_START
from sparkvault.targets.swarm import host_rules
from sparkvault_host.launcher import sick_hosts
from sparkvault_host.launcher.errors import RefusedSpecificationError
from sparkvault_host.launcher.job_service import (
    Reference,
    job_service,
    spark_command,
)
from sparkvault_host.launcher.rules import load_rules
from sparkvault_host.launcher.specification import MAX_BYTES, Specification, read_specification
from sparkvault_host.log_driver import awslogs, flushed_soon
from tests.swarm_jobs.specifications import AROUND, GOOD, JOB_ID, TENANTS, changed

RULES = load_rules()
METACHARACTERS = ["; id", "$(id)", "`id`", "| sh", "&& reboot", "a\nb", "'\"", "../../etc/passwd", "\u202e", "-Dx=y"]


def read(content: bytes) -> Specification:
    return read_specification(content, JOB_ID, TENANTS, RULES)


def service(spec: Specification) -> dict[str, object]:
    return job_service(
        spec,
        AROUND,
        program=Reference("c1", "driver"),
        launch=Reference("c2", "launch"),
        token=Reference("s2", "token"),
    )


def test_the_rules_in_the_bundle_are_the_products() -> None:
    assert host_rules.RULES_FILE.read_text() == host_rules.content(), (
        "run python -m sparkvault.targets.swarm.host_rules"
    )


@given(
    key=st.sampled_from(
        [*(name for names in rules_as_data().values() for name in names), "spark.x", "SPARK.MASTER", "x"]
    )
    | st.text(max_size=20).map("spark.".__add__),
    value=st.sampled_from(["true", "false", " TRUE ", "-javaagent:x", "-Dspark.master=x", ""]) | st.text(max_size=20),
)
def test_hosts_and_command_line_refuse_the_same_settings(key: str, value: str) -> None:
    assert (RULES.refusal(key, value) is not None) == any(refused_settings({key: value}))


def test_a_good_specification_runs_what_was_asked_for() -> None:
    spec = read(json.dumps(GOOD).encode())
    command = spark_command(spec, AROUND)
    assert command[0] == "submit"
    assert command[-2:] == ["/opt/spark/work-dir/files/app.py", "10"]
    assert "/opt/spark/work-dir/files/lib.zip" in command


@pytest.mark.parametrize(
    ("arguments", "quick"),
    [
        ([], True),
        (["--driver-cores", str(CORES_FOR_OPTIMISING_DRIVERS - 1)], True),
        (["--driver-cores", str(CORES_FOR_OPTIMISING_DRIVERS)], False),
    ],
)
def test_a_small_driver_starts_as_on_ones_own_machine_and_a_person_may_say_otherwise(
    arguments: list[str], quick: bool
) -> None:
    assert "-XX:TieredStopAtLevel=1" in QUICK_START
    own = ["--conf", "spark.driver.defaultJavaOptions=-XX:+UseParallelGC"]
    command = spark_command(read(changed("job.spark_arguments", [*arguments, *own])), AROUND)
    found = [word for word in command if word.startswith("spark.driver.defaultJavaOptions=")]
    assert found[-1] == own[1]
    assert found[:-1] == ([f"spark.driver.defaultJavaOptions={QUICK_START}"] if quick else [])


def test_what_sparkvault_decides_comes_after_what_a_person_says() -> None:
    command = spark_command(read(json.dumps(GOOD).encode()), AROUND)
    assert command.index("spark.eventLog.dir=s3a://jobs/eventlog") > command.index("spark.sql.shuffle.partitions=8")


@pytest.mark.parametrize("nasty", METACHARACTERS)
@pytest.mark.parametrize("path", ["job.arguments.0", "job.application", "job.spark_arguments.1"])
def test_metacharacters_stay_data_and_never_reach_the_service(path: str, nasty: str) -> None:
    value = f"spark.app.name={nasty}" if path.endswith("spark_arguments.1") else nasty
    spec = read(changed(path, value))
    assert service(spec) == service(read(json.dumps(GOOD).encode()))
    if path == "job.arguments.0":
        assert spark_command(spec, AROUND)[-1] == nasty


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("mounts", ["/:/host"]),
        ("job.image", "evil@sha256:" + "0" * 64),
        ("job.id", "20261121-130455-00000000"),
        ("job.target", "local"),
        ("job.tenant", "payroll"),
        ("job.tenant", "default; id"),
        ("kind", "sh"),
        ("main", "../app.py"),
        ("main", "other.py"),
        ("files.0.name", "../../etc/cron.d/x"),
        ("files.0.name", "a/b"),
        ("files.0.name", "$(id).py"),
        ("files.0.name", "lib.zip"),
        ("files.0.size", -1),
        ("files.0.size", 10**15),
        ("files.0.size", True),
        ("files.0.sha256", "A" * 64),
        ("supervise", "yes"),
        ("job.arguments", "10"),
        ("job.arguments", ["x"] * 1001),
        ("job.arguments", ["x\0y"]),
        ("job.arguments", ["x" * 40_000]),
        ("job.arguments", [{"a": 1}]),
        ("job.spark_arguments", ["--master", "local"]),
        ("job.spark_arguments", ["--deploy-mode=cluster"]),
        ("job.spark_arguments", ["--properties-file", "x"]),
        ("job.spark_arguments", ["--proxy-user", "root"]),
        ("job.spark_arguments", ["app.py"]),
        ("job.spark_arguments", ["--conf"]),
        ("job.spark_arguments", ["--conf", "spark.authenticate=false"]),
        ("job.spark_arguments", ["--conf= SPARK.Authenticate = false"]),
        ("job.spark_arguments", ["--conf", "spark.authenticate.secret=x"]),
        ("job.spark_arguments", ["--conf", "spark.hadoop.fs.s3a.secret.key=x"]),
        ("job.spark_arguments", ["--conf", "spark.driver.host=evil"]),
        ("job.spark_arguments", ["--conf", "spark.executor.extraJavaOptions=-javaagent:/x.jar"]),
        ("job.spark_arguments", ["--driver-java-options", "-agentlib:jdwp=transport=dt_socket"]),
        ("job.spark_arguments", ["--jars", "file:///etc/passwd"]),
        ("job.spark_arguments", ["--jars", "files/unknown.jar"]),
        ("job.spark_arguments", ["--files", "s3a://bucket/../x,files/lib.zip#../../x"]),
        ("job.spark_arguments", ["--archives", "http://evil.example/x.zip"]),
    ],
)
def test_a_specification_that_breaks_a_rule_is_refused(path: str, value: object) -> None:
    with pytest.raises(RefusedSpecificationError):
        read(changed(path, value))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b"{" * 10_000, b'{"version": 1, "version": 1}', b" " * (MAX_BYTES + 1), b"[" * 200_000],
)
def test_what_is_no_specification_at_all_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedSpecificationError):
        read(content)


@pytest.mark.parametrize("memory", ["1000000g", "0", "-1g", "1g; id", "9" * 30])
def test_no_driver_is_larger_than_a_host(memory: str) -> None:
    spec = read(changed("job.spark_arguments", ["--driver-memory", memory]))
    with pytest.raises(RefusedSpecificationError):
        service(spec)


def test_the_container_has_nothing_that_it_does_not_need() -> None:
    made = json.loads(json.dumps(service(read(json.dumps(GOOD).encode()))))
    container = made["TaskTemplate"]["ContainerSpec"]
    assert container["User"] == "185:185"
    assert container["ReadOnly"] is True
    assert container["CapabilityDrop"] == ["ALL"]
    assert all(mount["Type"] == "volume" and "Source" not in mount for mount in container["Mounts"])
    assert made["TaskTemplate"]["Placement"]["Constraints"] == [
        "node.role==worker",
        "node.labels.sparkvault.verified==true",
        "node.labels.sparkvault.runs-spark==true",
    ]
    assert "EndpointSpec" in made
    assert "Ports" not in made["EndpointSpec"]


def test_a_drivers_output_goes_to_the_jobs_stream_and_a_shells_to_its_terminal_alone() -> None:
    task: Any = service(read(json.dumps(GOOD).encode()))["TaskTemplate"]
    assert task["LogDriver"]["Options"]["awslogs-stream"] == f"jobs/{JOB_ID}"
    shell = replace(read(json.dumps(GOOD).encode()), kind="shell", language="python", main=None)
    task = service(shell)["TaskTemplate"]
    assert task["LogDriver"] == {"Name": "local"}


@pytest.mark.parametrize(
    ("version", "soon"), [("25.0.8", True), ("23.0.0", True), ("20.10.24+dfsg1", False), ("", False)]
)
def test_an_engine_that_can_sends_lines_within_a_second(version: str, soon: bool) -> None:
    options = awslogs("group", "eu-central-1", "", awslogs_stream="jobs/x", **flushed_soon(version))["Options"]
    assert ("awslogs-force-flush-interval-seconds" in options) == soon
    assert options["mode"] == "non-blocking"


@pytest.mark.parametrize(("failures", "kept"), [("1", False), ("2", False), ("3", True), ("8", True)])
def test_a_job_that_tries_tasks_too_seldom_for_another_host_is_not_refused_by_spark(failures: str, kept: bool) -> None:
    around = replace(AROUND, settings=sick_hosts.SETTINGS)
    spec = read(changed("job.spark_arguments", ["--conf", f"spark.task.maxFailures={failures}"]))
    assert ("spark.excludeOnFailure.enabled=true" in spark_command(spec, around)) == kept
