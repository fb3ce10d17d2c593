"""From a person's flags to RunTask: settings, sizes, addresses, tags; what is wrong is said before anything starts."""

import json
import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from spark_constructs.config import Deployment, Fargate
from spark_constructs.fargate_sizes import FargateSize
from sparkvault.account import Account
from sparkvault.cdk import SynthesizedStack
from sparkvault.cli.stacks import waves
from sparkvault.errors import UsageError
from sparkvault.jobs import JobSpec, JobState, new_job_id
from sparkvault.project import project_root
from sparkvault.targets.fargate.connect_client import answers, find_program, kept_forward, run_client
from sparkvault.targets.fargate.driver_command import (
    connect_command,
    environment,
    job_command,
    run_task,
    shell_command,
    take_settings,
)
from sparkvault.targets.fargate.job_settings import DriverTask, driver_task, mebibytes
from sparkvault.targets.fargate.place import FargatePlace
from sparkvault.targets.fargate.plugin_settings import SETTINGS
from sparkvault.targets.fargate.target import IN_PLACE
from sparkvault.targets.fargate.tasks import driver_state, exit_code_said
from sparkvault.targets.fargate.wrapped_secret import connect_token
from sparkvault.targets.remote.submission import Submission, check
from tests.support.local_cluster import wait_until

PLACE = FargatePlace(
    cluster="serverless",
    region="eu-central-1",
    master="spark-fargate://eu-central-1/serverless-fargate",
    ecs_cluster="serverless-fargate",
    subnets="subnet-0a,subnet-0b",
    driver_groups="sg-0d",
    executor_groups="sg-0e",
    key_arn="arn:aws:kms:eu-central-1:111122223333:key/1",
    log_group="/sparkvault/serverless/fargate",
)
JOB = "20261121-130455-9f3a01bc"
FILES = f"s3a://jobs/jobs/{JOB}/files"


def settings(given: dict[str, str] | None = None, *, python: bool = False, **configured: object) -> DriverTask:
    return driver_task(
        PLACE,
        Fargate.model_validate(configured),
        job_id=JOB,
        tenant="finance",
        job_bucket="jobs",
        given=given or {},
        python=python,
    )


def submission(application: str, *flags: str, arguments: tuple[str, ...] = ()) -> Submission:
    spec = JobSpec(
        id=new_job_id(),
        target="fargate",
        tenant="finance",
        application=application,
        arguments=list(arguments),
        spark_arguments=list(flags),
    )
    return check(spec, IN_PLACE)


class TestSettings:
    def test_without_any_flag_the_stack_says_everything(self) -> None:
        found = settings().settings
        assert found["spark.fargate.executor.taskDefinition"] == "serverless-fargate-finance-executor"
        assert found["spark.fargate.executor.subnets"] == "subnet-0a,subnet-0b"
        assert found["spark.fargate.tags"] == f"sparkvault:job={JOB}"
        assert found["spark.fargate.pending.max"] == "2000"
        assert found["spark.fargate.allocate.interval"] == "500ms"
        assert found["spark.dynamicAllocation.enabled"] == "true"
        assert not any("secret" in name for name in found)

    def test_executors_fit_the_configured_task_exactly(self) -> None:
        found = settings(executor={"vcpu": 2, "memory_mib": 8192}).settings
        heap = mebibytes("", found["spark.executor.memory"])
        assert 8100 < heap + max(384, int(heap * 0.1)) <= 8192

    def test_python_workers_get_their_share(self) -> None:
        found = settings(python=True).settings
        heap = mebibytes("", found["spark.executor.memory"])
        assert heap + int(heap * 0.4) <= 8192
        assert found["spark.executor.memoryOverheadFactor"] == "0.4"

    def test_a_fixed_number_of_executors_is_kept(self) -> None:
        assert "spark.dynamicAllocation.enabled" not in settings({"spark.executor.instances": "3"}).settings

    def test_a_job_cannot_pass_for_another_tenants(self) -> None:
        given = {"spark.fargate.tenant": "research", "spark.fargate.tags": "team=a", "spark.eventLog.dir": "s3a://x/"}
        found = settings(given).settings
        assert found["spark.fargate.tenant"] == "finance"
        assert found["spark.fargate.tags"] == f"sparkvault:job={JOB},team=a"
        assert found["spark.eventLog.dir"] == "s3a://jobs/tenants/finance/events/"

    def test_what_is_rounded_is_said(self) -> None:
        found = settings({"spark.driver.memory": "8g", "spark.driver.cores": "4"})
        assert found.size == FargateSize(4, 9216)
        assert "4 vCPU and 9011 MiB" in found.notices[0]
        assert "4 vCPU and 9216 MiB" in found.notices[0]

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"spark.driver.memory": "200g"}, "fits no Fargate task"),
            ({"spark.driver.memory": "much"}, "a size such as 4g"),
            ({"spark.driver.cores": "two"}, "a number of vCPU"),
            ({"spark.executor.instances": "51"}, "at most 50 executors"),
            ({"spark.dynamicAllocation.maxExecutors": "500"}, "at most 50 executors"),
        ],
    )
    def test_what_cannot_be_is_refused(self, given: dict[str, str], reason: str) -> None:
        with pytest.raises(UsageError, match=reason):
            settings(given)

    def test_spot_is_a_mix(self) -> None:
        mixed = {"on_demand_base": 2, "on_demand_weight": 1, "spot_weight": 4}
        expected = "FARGATE:base=2:weight=1,FARGATE_SPOT:weight=4"
        assert settings(capacity=mixed).settings["spark.fargate.capacityProviders"] == expected
        only = {"on_demand_base": 0, "on_demand_weight": 0, "spot_weight": 1}
        assert settings(capacity=only).settings["spark.fargate.capacityProviders"] == "FARGATE_SPOT"

    def test_the_old_sdks_credentials_are_replaced_with_a_notice(self) -> None:
        name = "spark.hadoop.fs.s3a.aws.credentials.provider"
        found = settings({name: "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"})
        assert found.settings[name].endswith(".ContainerCredentialsProvider")
        assert "SDK that Spark 4 has not" in found.notices[0]


class TestPluginSettings:
    def rows(self) -> list[list[str]]:
        page = (project_root() / "docs" / "fargate-settings.md").read_text(encoding="utf-8")
        lines = [line for line in page.splitlines() if line.startswith("| `spark.") and line.count("|") >= 5]
        return [[cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:4]] for line in lines]

    def test_the_command_line_knows_all_that_the_plugin_has_with_its_defaults(self) -> None:
        """The page is the plugin's own table, which another test holds."""
        rows = self.rows()
        assert [name for name, _, _ in rows] == list(SETTINGS)
        for name, _, default in rows:
            assert not default or SETTINGS[name](default) is None, name

    def test_everything_that_is_wrong_is_said_at_once_before_anything_starts(self) -> None:
        wrong = {
            "spark.fargate.pendingmax": "3",
            "spark.fargate.report.interval": "soon",
            "spark.fargate.ephemeralStorage": "500",
            "spark.fargate.executor.subnets": "subnet-0a,vpc-1",
            "spark.fargate.capacityProviders": "SPOT",
            "spark.fargate.insecure": "true",
        }
        with pytest.raises(UsageError) as refused:
            settings(wrong)
        assert [name for name in wrong if name not in refused.value.what] == []
        assert "the closest is spark.fargate.pending.max" in refused.value.what

    def test_what_is_right_passes(self) -> None:
        right = {"spark.fargate.capacityProviders": "FARGATE:base=2:weight=1, FARGATE_SPOT:weight=4"}
        right |= {"spark.fargate.tags": "team=a, cost=b=c", "spark.fargate.report.interval": "5"}
        assert settings(right).settings["spark.fargate.report.interval"] == "5"


class TestCommands:
    def test_local_files_are_read_from_the_job_bucket(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").touch()
        (tmp_path / "more.py").touch()
        job = submission(
            str(tmp_path / "app.py"), "--py-files", f"{tmp_path}/more.py,s3a://lib/x.zip", arguments=("7",)
        )
        flags = take_settings(job.spec.spark_arguments)
        command = job_command(job, flags.settings, flags.others, PLACE.master, FILES)
        assert sorted(job.files) == ["app.py", "more.py"]
        assert command[command.index("--py-files") + 1] == f"{FILES}/more.py,s3a://lib/x.zip"
        assert command[-2:] == [f"{FILES}/app.py", "7"]

    @pytest.mark.parametrize("address", ["s3a://lib/job.jar", "local:///opt/spark/examples/jars/spark-examples.jar"])
    def test_what_lies_in_s3_or_the_image_is_not_sent(self, address: str) -> None:
        job = submission(address, "--class", "org.example.Main")
        command = job_command(job, {}, job.spec.spark_arguments, PLACE.master, FILES)
        assert job.files == {}
        assert command[-1] == address

    def test_flags_become_settings_that_the_master_heeds(self) -> None:
        flags = take_settings(["--num-executors", "4", "--executor-memory=2g", "--conf", "spark.a=b=c", "--name", "n"])
        assert flags.settings == {"spark.executor.instances": "4", "spark.executor.memory": "2g", "spark.a": "b=c"}
        assert flags.others == ["--name", "n"]

    def test_scala_scripts_are_refused_with_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "a.scala").touch()
        with pytest.raises(UsageError, match="runs no Scala scripts"):
            job_command(submission(str(tmp_path / "a.scala")), {}, [], PLACE.master, FILES)

    def test_a_shells_words_survive_quoting(self) -> None:
        line = shell_command("scala", {"spark.a": "it's $HOME; rm"}, [], PLACE.master)
        assert line.endswith("--conf 'spark.a=it'\"'\"'s $HOME; rm'")


class TestConnect:
    def test_the_server_listens_on_loopback_and_ends_when_nobody_uses_it(self) -> None:
        words = connect_command({"spark.a": "b"}, [], PLACE.master, 1800)
        assert words[-3:] == ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        assert settings["spark.connect.grpc.binding.address"] == "127.0.0.1"
        assert settings["spark.fargate.driver.idleTimeout"] == "1800s"
        assert not any("token" in word for word in words)

    @pytest.mark.parametrize("name", ["spark.connect.grpc.binding.address", "spark.connect.authenticate.token"])
    def test_where_it_listens_and_whom_it_asks_is_not_for_a_person_to_say(self, name: str) -> None:
        with pytest.raises(UsageError, match=name):
            connect_command({name: "x"}, [], PLACE.master, 1800)

    def test_both_ends_make_the_same_token(self) -> None:
        """The plugin's own tests hold the same vector."""
        expected = "72c806ee0a1ad229955be771719a118243a42ff45813499d3ee5d543dd6ff584"
        assert connect_token(b"5ec2e7" * 10) == expected

    def test_a_program_has_the_address_in_its_environment_alone(self, tmp_path: Path) -> None:
        seen = tmp_path / "seen"
        words = find_program(["sh", "-c", f'echo "$SPARK_REMOTE" > {seen}; exit 3'])
        assert run_client(words, "sc://localhost:1/;token=t") == 3
        assert seen.read_text().strip() == "sc://localhost:1/;token=t"
        with pytest.raises(UsageError, match="no program of this machine"):
            find_program(["no-such-program"])

    def test_a_server_is_there_once_it_speaks_http_2(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            frames = iter([b"HTTP/1.1 400 Bad Request\r\n", bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes(6)])

            def answer() -> None:
                for frame in frames:
                    with listener.accept()[0] as client:
                        client.recv(64)
                        client.sendall(frame)

            threading.Thread(target=answer, daemon=True).start()
            assert [answers(port), answers(port)] == [False, True]
        assert not answers(port)

    def test_a_port_is_forwarded_again_when_its_session_has_ended(self) -> None:
        started: list[subprocess.Popen[bytes]] = []

        def forward(port: int) -> subprocess.Popen[bytes]:
            started.append(subprocess.Popen(["sleep", "60"]))
            return started[-1]

        with kept_forward(forward):
            started[0].kill()
            wait_until("another session", lambda: len(started) == 2, 10)
        assert [process.wait(5) for process in started] == [-9, -15]


class TestRunTask:
    def request(
        self, variables: dict[str, str], kind: str = "driver", command: tuple[str, ...] = ("x",)
    ) -> dict[str, object]:
        return run_task(
            PLACE,
            tenant="finance",
            kind=kind,
            job_id=JOB,
            submitter="AROAX:me",
            command=list(command),
            variables=variables,
            size=FargateSize(1, 4096),
            settings={},
            platform_version="LATEST",
        )

    def test_tags_say_job_tenant_and_submitter(self) -> None:
        tags = self.request({})["tags"]
        assert tags == [
            {"key": "sparkvault:job", "value": JOB},
            {"key": "sparkvault:tenant", "value": "finance"},
            {"key": "sparkvault:submitter", "value": "AROAX:me"},
        ]

    def test_only_shells_can_be_entered_and_nothing_gets_a_public_address(self) -> None:
        assert self.request({})["enableExecuteCommand"] is False
        assert self.request({}, "shell")["enableExecuteCommand"] is True
        assert '"assignPublicIp": "DISABLED"' in json.dumps(self.request({}))

    def test_the_environment_holds_the_secret_wrapped_only(self) -> None:
        variables = environment(PLACE, "finance", JOB, "Y2lwaGVy")
        assert variables["SPARK_FARGATE_CIPHERTEXT"] == "Y2lwaGVy"
        assert not any("SECRET" in name for name in variables)

    def test_more_than_ecs_takes_is_refused_before_the_call(self) -> None:
        with pytest.raises(UsageError, match="ECS takes 8192"):
            self.request({}, command=("x" * 8192,))


class TestStates:
    @pytest.mark.parametrize(
        ("task", "state", "message"),
        [
            ({"lastStatus": "PENDING"}, JobState.SUBMITTED, None),
            ({"lastStatus": "RUNNING"}, JobState.RUNNING, None),
            ({"lastStatus": "STOPPED", "containers": [{"exitCode": 0}]}, JobState.SUCCEEDED, None),
            (
                {"lastStatus": "STOPPED", "containers": [{"exitCode": 137, "reason": "OutOfMemoryError: killed"}]},
                JobState.FAILED,
                "OutOfMemoryError: killed",
            ),
            (
                {"lastStatus": "STOPPED", "stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError"},
                JobState.FAILED,
                "CannotPullContainerError",
            ),
            (
                {"lastStatus": "STOPPED", "stopCode": "UserInitiated", "stoppedReason": "sparkvault cancel"},
                JobState.CANCELLED,
                "sparkvault cancel",
            ),
        ],
    )
    def test_a_task_in_words_of_a_job(self, task: dict[str, object], state: JobState, message: str | None) -> None:
        found = driver_state(task)
        assert (found.state, found.message) == (state, message)

    def test_a_log_says_how_a_forgotten_driver_ended(self) -> None:
        assert exit_code_said(["line", "sparkvault: the driver ended with exit code 3"]) == 3
        assert exit_code_said(["it printed: sparkvault: the driver ended with exit code 3"]) is None


class AccountOf(Account):
    """An account whose Service Quotas say so many vCPU of Fargate."""

    def __init__(self, vcpu: float) -> None:
        self.deployment = Deployment.model_validate({"cluster": "serverless", "targets": ["fargate"]})
        self.id, self.region, self._vcpu = "111122223333", "eu-central-1", vcpu

    def client(self, service: str) -> Any:
        client: Any = cast(Any, boto3).client(service, self.region, aws_access_key_id="x", aws_secret_access_key="x")
        stubbed = Stubber(client)
        asked = {"ServiceCode": "fargate", "QuotaCode": "L-3032A538"}
        stubbed.add_response("get_service_quota", {"Quota": {"Value": self._vcpu}}, asked)
        stubbed.activate()
        return client


class TestQuota:
    def test_a_new_accounts_quota_is_said_in_executors(self) -> None:
        """Six vCPU: a driver of one, and two executors of two."""
        shortage = AccountOf(6).fargate_shortage()
        assert shortage is not None
        assert "is 6 vCPU: a job gets 2 of the 50 executors" in shortage

    def test_a_quota_that_is_enough_is_not_mentioned(self) -> None:
        assert AccountOf(1000).fargate_shortage() is None


class TestWaves:
    def stacks(self) -> list[SynthesizedStack]:
        needs = {"storage": (), "network": ("storage",), "images": (), "fargate": ("storage", "network", "images")}
        return [
            SynthesizedStack(part, f"sparkvault-{part}", Path(part), frozenset(needed))
            for part, needed in needs.items()
        ]

    def test_digests_are_recorded_before_the_stack_that_reads_them(self) -> None:
        everything = self.stacks()
        found = waves(everything, everything, Deployment(targets=["fargate"]))
        assert [[stack.id for stack in wave] for wave in found] == [["storage", "network", "images"], ["fargate"]]

    def test_a_stack_that_is_deployed_alone_gets_its_digests_first(self) -> None:
        everything = self.stacks()
        found = waves(everything[3:], everything, Deployment(targets=["fargate"]))
        assert [[stack.id for stack in wave] for wave in found] == [["storage", "network", "images"], ["fargate"]]
