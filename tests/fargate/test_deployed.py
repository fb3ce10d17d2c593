"""Jobs and shells on the stacks as deployed, with a submitter's credentials and the roles that the stacks gave."""

import contextlib
import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sparkvault.java import find_java
from sparkvault.targets.local.spark_home import find_spark
from tests.fargate.deployed_cluster import DeployedCluster, deployed_cluster
from tests.support.local_cluster import wait_until
from tests.support.session_plugin import plugin_folder

LONG = pytest.mark.campaign
APPLICATIONS = Path(__file__).parent / "applications"


@pytest.fixture(scope="module")
def cluster(fargate_plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedCluster]:
    with deployed_cluster(tmp_path_factory.mktemp("deployed")) as made:
        yield made


@pytest.fixture
def terminals(cluster: DeployedCluster) -> DeployedCluster:
    """The same, for somebody who has AWS's plugin for terminals; it is built where it is not installed."""
    folder = str(plugin_folder())
    cluster.environment["PATH"] = f"{folder}:{cluster.environment['PATH'].removeprefix(f'{folder}:')}"
    return cluster


@pytest.mark.timeout(600)
def test_a_job_that_fails_gives_its_exit_code(cluster: DeployedCluster) -> None:
    shown = cluster.run("submit", str(APPLICATIONS / "fails.py"), "7", code=7)
    assert "about to fail" in shown
    assert "sparkvault: the driver ended with exit code 7" in shown
    assert cluster.ecs.service.running() == []
    (newest, *_) = json.loads(cluster.run("jobs", "--json"))
    assert (newest["state"], newest["exit_code"]) == ("failed", 7)
    assert "about to fail" in cluster.run("logs", newest["spec"]["id"])


@pytest.mark.timeout(600)
def test_a_detached_job_is_seen_and_cancelled(cluster: DeployedCluster) -> None:
    job = cluster.run("submit", "--detach", str(APPLICATIONS / "fails.py"), "0").strip()
    assert cluster.job(job)["state"] in ("submitted", "running")
    assert f"{job}: cancelled" in cluster.run("cancel", job)
    assert cluster.job(job)["state"] == "cancelled"
    assert cluster.ecs.service.running() == []


@pytest.mark.timeout(600)
def test_executors_of_a_driver_that_is_killed_are_stopped_by_the_stacks_function(cluster: DeployedCluster) -> None:
    job = cluster.run(
        *("submit", "--detach", "--num-executors", "2", "--conf", "spark.fargate.executor.driverTimeout=600s"),
        str(APPLICATIONS / "holds.py"),
    ).strip()
    cluster.wait_for_line(job, "holding")
    status = cluster.run("status")
    assert status.count(job) == 3, "a driver and two executors, each with its job"
    (driver,), executors = cluster.tasks("default-driver"), cluster.tasks("default-executor")
    # What hears of the driver's end by its connection goes at once; what hangs does not.
    for executor in executors:
        executor.send(signal.SIGSTOP)
    driver.send(signal.SIGKILL)
    for executor in executors:
        assert executor.over.wait(120), "an executor outlived its driver"
        assert executor.stopped_reason == "sparkvault: the driver of this job is gone"
    wait_until("the function to have run", lambda: cluster.account.deployed.rules.invocations)
    assert [made.answer for made in cluster.account.deployed.rules.invocations][-1] == {"stopped": 2}
    ended = cluster.job(job)
    assert (ended["state"], ended["exit_code"]) == ("failed", 137)
    assert cluster.ecs.service.running() == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("language", "prompt", "count", "leave"),
    [
        ("sql", "spark-sql", "select 'x' || count(*) || 'x' from range(1000);", "exit;"),
        pytest.param(
            *("scala", "scala>", 'println("x" + spark.range(1000).count() + "x")', ":quit"), marks=pytest.mark.campaign
        ),
        pytest.param(
            *("python", ">>>", 'print("x" + str(spark.range(1000).count()) + "x")', "exit()"),
            marks=pytest.mark.campaign,
        ),
    ],
    ids=["sql", "scala", "python"],
)
def test_a_shell_is_entered_used_and_cleaned_up(
    terminals: DeployedCluster, language: str, prompt: str, count: str, leave: str
) -> None:
    """AWS's own plugin opens it; it is the caller's alone; its executors and its task end with it."""
    cluster = terminals
    with cluster.shell(language, "--num-executors", "1") as terminal:
        terminal.read_until(prompt, 200)
        (shell,) = cluster.tasks("default-shell")
        ecs = cluster.client("ecs", cluster.signed_in("another"))
        with pytest.raises(ClientError, match="not authorized to perform: ecs:ExecuteCommand"):
            ecs.execute_command(
                cluster="serverless-fargate", task=shell.id, container="spark-shell", command="id", interactive=True
            )
        terminal.write(f"{count}\n")
        terminal.read_until("x1000x", 120)
        terminal.write(f"{leave}\n")
        assert terminal.exit_code(60) == 0
    assert shell.over.wait(30)
    assert cluster.ecs.service.running() == []


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_window_that_is_closed_ends_the_shell(terminals: DeployedCluster) -> None:
    cluster = terminals
    with cluster.shell("sql", "--num-executors", "1") as terminal:
        terminal.read_until("spark-sql", 200)
        (shell,) = cluster.tasks("default-shell")
        terminal.close()
        assert shell.over.wait(60), "the shell outlived its window"
    wait_until("its executors to end", lambda: not cluster.ecs.service.running(), 60)


@pytest.fixture(scope="module")
def connect_client(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A command line: Spark's own client for Connect, with a program that asks one question."""
    folder, jars = tmp_path_factory.mktemp("client"), find_spark() / "jars"
    (connect,) = (jars / "connect-repl").glob("spark-connect-client-jvm_*.jar")
    java, on = find_java().home / "bin", ("-cp", f"{connect}:{jars}/*")
    source = str(Path(__file__).parent / "java_connect" / "ConnectClient.java")
    subprocess.run([f"{java}/javac", "-proc:none", *on, "-d", str(folder), source], check=True, timeout=120)
    opened = "--add-opens=java.base/java.nio=ALL-UNNAMED"  # Arrow's memory
    return shlex.join([f"{java}/java", opened, on[0], f"{folder}:{on[1]}", "ConnectClient"])


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_connect_server_is_its_persons_alone_and_ends_with_the_program(
    terminals: DeployedCluster, connect_client: str
) -> None:
    """A real client computes through the forwarded port; nobody else is led there; the token is nowhere to be read."""
    cluster = terminals
    with cluster.connected("sh", "--num-executors", "1") as terminal:
        terminal.read_until("SPARK_REMOTE leads sh to it", 200)
        (server,) = cluster.tasks("default-shell")
        target = f"ecs:serverless-fargate_{server.id}_{server.runtime_id}"
        ours, anyones = "serverless-fargate.connect", "AWS-StartPortForwardingSession"
        for who, document in ((cluster.signed_in("another"), ours), (cluster.environment, anyones)):
            with pytest.raises(ClientError, match="not authorized to perform: ssm:StartSession"):
                cluster.client("ssm", who).start_session(Target=target, DocumentName=document)
        terminal.write(f"{connect_client}\n")
        terminal.read_until("x1000x by org.apache.spark.sql.connect.SparkSession", 120)
        terminal.write(f'SPARK_REMOTE="${{SPARK_REMOTE%=*}}=wrong" {connect_client} 2>&1 | grep -o "UNAUTH[A-Z]*"\n')
        terminal.read_until("UNAUTHENTICATED", 60)
        terminal.write('echo "token=${SPARK_REMOTE##*=}=end"\n')
        terminal.read_until("=end\n", 10)
        token = re.findall("token=([0-9a-f]{64})=end", terminal.shown)[-1]
        assert server.log is not None
        seen = [*server.command, *server.environment.values(), server.log.read_text(errors="replace")]
        assert not any(token in text for text in [*seen, *command_lines()])
        terminal.write("exit 3\n")
        assert terminal.exit_code(60) == 3
    assert server.over.wait(30)
    assert cluster.ecs.service.running() == []


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_window_that_is_closed_ends_the_connect_server(terminals: DeployedCluster) -> None:
    cluster = terminals
    with cluster.connected("sh", "--num-executors", "1") as terminal:
        terminal.read_until("SPARK_REMOTE leads sh to it", 200)
        (server,) = cluster.tasks("default-shell")
        terminal.close()
        assert server.over.wait(60), "the server outlived its person's window"
    wait_until("everything to end", lambda: not cluster.ecs.service.running(), 60)


def command_lines() -> Iterator[str]:
    """Of all processes of this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield path.read_bytes().decode(errors="replace")


def test_another_tenants_secret_and_files_are_out_of_reach(cluster: DeployedCluster) -> None:
    """The same credentials, asked for what the default tenant's submitter has no business with."""
    key = cluster.output("SecretKeyArn")
    with pytest.raises(ClientError, match="kms:Encrypt"):
        cluster.client("kms", cluster.environment).encrypt(
            KeyId=key, Plaintext=b"x", EncryptionContext={"tenant": "finance", "application": "a"}
        )
    with pytest.raises(ClientError, match="Access"):
        cluster.client("s3", cluster.environment).get_object(
            Bucket="serverless-jobs-123456789012-eu-central-1", Key="tenants/default/text.txt"
        )
