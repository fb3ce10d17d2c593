"""The programs of the image for Fargate: how a driver ends, when a shell's container ends, which spark-submit runs."""

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from sparkvault.project import project_root
from tests.support.local_cluster import wait_until

PROGRAMS = project_root() / "assets" / "spark-images" / "fargate"


def run(program: str, *arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "SPARK_WORK_DIR": str(folder), **variables}
    return subprocess.run(
        [str(PROGRAMS / program), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_drivers_last_line_is_its_exit_code(tmp_path: Path) -> None:
    answer = run("driver", "sh", "-c", "echo working; exit 7", folder=tmp_path)
    assert answer.returncode == 7
    assert answer.stdout.splitlines() == ["working", "sparkvault: the driver ended with exit code 7"]


def test_a_driver_hands_sigterm_on_and_waits(tmp_path: Path) -> None:
    script = "trap 'echo handing over; sleep 0.3; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [str(PROGRAMS / "driver"), "bash", "-c", script],
        env={"PATH": os.environ["PATH"], "SPARK_WORK_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "handing over\nsparkvault: the driver ended with exit code 5\n"
    assert process.returncode == 5


@pytest.mark.parametrize(
    ("arguments", "variables", "reason"),
    [
        (["java", "-Dspark.authenticate.secret=s"], {}, "an argument holds the RPC secret"),
        (["java"], {"_SPARK_AUTH_SECRET": "s"}, "_SPARK_AUTH_SECRET holds a secret"),
        ([], {}, "nothing to run"),
    ],
)
def test_no_secret_in_clear_reaches_a_task(
    arguments: list[str], variables: dict[str, str], reason: str, tmp_path: Path
) -> None:
    answer = run("entrypoint.sh", *arguments, folder=tmp_path, **variables)
    assert answer.returncode in (64, 78)
    assert reason in answer.stderr


@pytest.fixture
def spark_home(tmp_path: Path) -> Path:
    """A Spark whose programs print what they were given, one argument a line."""
    home = tmp_path / "spark"
    (home / "bin").mkdir(parents=True)
    for program in (home / "bin" / "spark-submit-stock", home / "bin" / "java"):
        program.write_text(f"#!/bin/sh\necho {program.name}\nprintf '%s\\n' \"$@\"\necho key=$SPARK_FARGATE_KEY\n")
        program.chmod(0o755)
    return home


def submitted(home: Path, *arguments: str, **variables: str) -> list[str]:
    answer = run("spark-submit", *arguments, folder=home, SPARK_HOME=str(home), JAVA_HOME=str(home), **variables)
    return answer.stdout.splitlines()


def test_other_masters_go_to_sparks_own_program(spark_home: Path) -> None:
    given = ["--master", "local[2]", "--deploy-mode", "client", "--conf", "spark.a=b", "app.py", "--master", "x"]
    assert submitted(spark_home, *given) == ["spark-submit-stock", *given, "key="]


def test_cluster_mode_goes_to_the_submitter_without_the_mode(spark_home: Path) -> None:
    master = "spark-fargate://eu-central-1/analytics-fargate"
    lines = submitted(spark_home, "--master", master, "--deploy-mode", "cluster", "--class", "Main", "a.jar", "-v")
    assert lines[0] == "java"
    submitter = lines.index("org.apache.spark.deploy.fargate.FargateSubmit")
    assert lines[submitter + 1 :] == [
        "--master",
        master,
        "--class",
        "Main",
        "a.jar",
        "-v",
        "key=alias/analytics-fargate",
    ]


def test_run_example_stays_the_first_word(spark_home: Path) -> None:
    master = "spark-fargate://eu-central-1/spark"
    lines = submitted(spark_home, "run-example", f"--master={master}", "--deploy-mode=cluster", "SparkPi", "20")
    submitter = lines.index("org.apache.spark.deploy.fargate.FargateSubmit")
    assert lines[submitter + 1 : -1] == ["run-example", "--master", master, "SparkPi", "20"]


def test_the_old_credentials_class_becomes_the_tasks_role(spark_home: Path) -> None:
    setting = "spark.hadoop.fs.s3a.aws.credentials.provider"
    lines = submitted(
        spark_home,
        *("--master", "spark-fargate://eu-central-1/spark", "--deploy-mode", "cluster", "--conf"),
        f"{setting}=com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
        "a.jar",
    )
    assert f"{setting}=software.amazon.awssdk.auth.credentials.ContainerCredentialsProvider" in lines


def waiting(folder: Path, seconds: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(PROGRAMS / "wait-for-shell"), str(seconds)],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder), "SPARKVAULT_SHELL_POLL": "0.1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_shells_container_ends_with_the_shell(tmp_path: Path) -> None:
    ended = tmp_path / "sparkvault-shell-ended"
    ended.touch()  # what an earlier shell left behind is removed first, and then the new one is waited for
    with waiting(tmp_path, 300) as process:
        wait_until("the old mark to go", lambda: not ended.exists(), 30)
        shell = run("shell", "sh", "-c", "exit 4", folder=tmp_path, TMPDIR=str(tmp_path))
        assert shell.returncode == 4
        assert process.wait(30) == 4


def test_a_shell_that_nobody_uses_ends(tmp_path: Path) -> None:
    terminal, other_end = pty.openpty()
    name = os.ttyname(other_end)
    (tmp_path / "sparkvault-shell-terminal").write_text(name)
    with waiting(tmp_path, 3) as process:
        began = time.monotonic()
        while time.monotonic() - began < 5:
            os.utime(name)  # what the kernel does at use, every eight seconds
            assert process.poll() is None, "a shell in use was ended"
            time.sleep(0.2)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert "nobody has used this shell for 3 seconds" in process.stdout.read()
    os.close(terminal)
    os.close(other_end)
