"""Target `fargate`: files go into the job bucket, the driver is a task, CloudWatch shows its output."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from spark_constructs.job_interface import CONNECT_DOCUMENT, CONNECT_PORT, JOB_TAG
from spark_constructs.naming import document_name
from sparkvault.console import say
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError, WaitTimeout
from sparkvault.jobs import JobRecord, JobSpec, JobState, checked_job_id, is_job_id, job_prefix, new_job_id
from sparkvault.spark_submit import check_flags
from sparkvault.targets.fargate.connect_client import find_program, kept_forward, run_client, wait_for_server
from sparkvault.targets.fargate.driver_command import (
    DRIVER_PROGRAM,
    connect_command,
    environment,
    job_command,
    run_task,
    shell_command,
    take_settings,
)
from sparkvault.targets.fargate.job_settings import DriverTask, driver_task
from sparkvault.targets.fargate.place import FargatePlace, find_place
from sparkvault.targets.fargate.tasks import DriverTasks, driver_state, exit_code_said
from sparkvault.targets.fargate.wrapped_secret import WrappedSecret, wrapped_secret
from sparkvault.targets.interruption import interruptible, uninterrupted
from sparkvault.targets.protocol import ClusterStatus, Component, Language, UiName
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.remote_target import RemoteTarget
from sparkvault.targets.remote.sessions import Sessions
from sparkvault.targets.remote.submission import Submission, check, check_shell
from sparkvault.targets.remote.terminal_session import find_plugin, run_session

#: Where applications and files may lie without being sent: S3, and the image.
IN_PLACE = frozenset(("s3a", "local"))

#: How long ECS may take to know a task, a shell to start (an image has to be pulled), a shell's container to end once
#: the terminal is back, a cancelled driver to end; a Spark Connect server to answer.
MISSING_SECONDS = 60.0
SHELL_SECONDS = 300.0
CONNECT_SECONDS = 300.0
SHELL_END_SECONDS = 20.0
CANCEL_SECONDS = 240.0


class FargateTarget(RemoteTarget):
    """Implements `protocol.Target`."""

    name = "fargate"

    @cached_property
    def _place(self) -> FargatePlace:
        return find_place(self._account, self._deployment)

    @property
    def _log_group(self) -> str:
        return self._place.log_group

    @property
    def _tasks(self) -> DriverTasks:
        return DriverTasks(self._account, self._place.ecs_cluster)

    def submit(self, spec: JobSpec) -> JobRecord:
        """Start the job's driver as a task and return with its first record.

        Raises UsageError for an application or flag that cannot be, SparkvaultError with what AWS said.
        """
        submission = check(spec, IN_PLACE)
        if spec.supervise:
            raise UsageError("--supervise is for target swarm", "leave it out: a driver that fails says why")
        # Everything that can be wrong is found before anything is sent.
        flags = take_settings(submission.spec.spark_arguments)
        task = self._settings(submission, flags.settings)
        files = f"s3a://{self._bucket.name}/{job_prefix(spec.id)}/files"
        command = job_command(submission, task.settings, flags.others, self._place.master, files)
        return self._start(submission, task, "driver", command)[0]

    def _settings(self, submission: Submission, given: dict[str, str]) -> DriverTask:
        spec = submission.spec
        task = driver_task(
            self._place,
            self._deployment.fargate,
            job_id=spec.id,
            tenant=spec.tenant,
            job_bucket=self._bucket.name,
            given=_texts(self._deployment.spark.settings) | given,
            python=submission.kind == "python" or submission.language == "python",
        )
        for notice in task.notices:
            say(notice)
        return task

    def _start(
        self, submission: Submission, task: DriverTask, kind: str, command: list[str]
    ) -> tuple[JobRecord, WrappedSecret]:
        spec, place, bucket = submission.spec, self._place, self._bucket
        key = task.settings.pop("spark.authenticate.kms.key", place.key_arn)
        secret = wrapped_secret(self._account.client("kms"), key, spec.tenant, spec.id)
        request = run_task(
            place,
            tenant=spec.tenant,
            kind=kind,
            job_id=spec.id,
            submitter=str(self._account.client("sts").get_caller_identity()["UserId"]),
            command=command,
            variables=environment(place, spec.tenant, spec.id, secret.ciphertext) | {"SPARK_FARGATE_KEY": key},
            size=task.size,
            settings=task.settings,
            platform_version=self._deployment.fargate.platform_version,
        )
        bucket.upload(submission)
        record = JobRecord(spec=spec)
        try:
            started = self._tasks.run(request)
        except SparkvaultError as error:
            bucket.write(
                record.model_copy(
                    update={"state": JobState.FAILED, "message": error.what, "finished_at": datetime.now(UTC)}
                )
            )
            raise
        record = record.model_copy(update={"host": started})
        bucket.write(record)
        return record, secret

    def job(self, job_id: str) -> JobRecord:
        """The record of one job, brought up to date with what ECS says of its driver."""
        return self._refreshed(self._bucket.read(checked_job_id(job_id)))

    def jobs(self) -> list[JobRecord]:
        """The newest jobs that are on record, newest first; those that have not ended brought up to date."""
        return [self._refreshed(record) for record in self._bucket.all()]

    def _refreshed(self, record: JobRecord) -> JobRecord:
        if record.state.ended or record.host is None:
            return record
        task = self._tasks.describe(record.host)
        if task is not None:
            found = driver_state(task)
            update: dict[str, Any] = {
                "state": found.state,
                "started_at": found.started_at or record.started_at,
                "finished_at": found.finished_at,
                "exit_code": found.exit_code,
                "message": found.message,
            }
        elif (datetime.now(UTC) - record.spec.submitted_at).total_seconds() < MISSING_SECONDS:
            return record  # ECS does not show every new task at once
        else:
            update = self._from_log(record)
        fresh = record.model_copy(update=update)
        if fresh != record:
            self._bucket.write(fresh)
        return fresh

    def _from_log(self, record: JobRecord) -> dict[str, Any]:
        """ECS forgets a task an hour after its end; the log has the driver's last word."""
        lines = log_stream.last_lines(self._account.client("logs"), self._log_group, self._stream(record), 20)
        code = exit_code_said(lines)
        if code is None:
            return {
                "state": JobState.LOST,
                "message": "ECS knows its driver no more, and its log does not say how it ended",
            }
        state = JobState.SUCCEEDED if code == 0 else JobState.FAILED
        return {"state": state, "exit_code": code}

    def _stream(self, record: JobRecord) -> str:
        """As the awslogs driver names it: prefix/container/task."""
        kind = "shell" if record.spec.application.endswith(" shell") else "driver"
        return f"{record.spec.tenant}/{kind}/spark-{kind}/{record.host}"

    def cancel(self, job_id: str) -> JobRecord:
        """Stop a job's driver, which stops its executors, and wait for its end; what has ended is left as it is."""
        record = self.job(job_id)
        if record.state.ended or record.host is None:
            return record
        self._tasks.stop(record.host, "sparkvault cancel")
        return self._wait(job_id, CANCEL_SECONDS, "to end", lambda one: one.state.ended)

    def logs(self, component: str | None, *, follow: bool, lines: int) -> Iterator[str]:
        """The last lines of a stream: a job by its id, or a stream's name as the web UI and `status` show it."""
        if component is None:
            raise UsageError("which log?", "give a job's id, or a stream such as default/executor/spark-executor/TASK")
        stream = self._stream(self._bucket.read(component)) if is_job_id(component) else component
        if follow:
            raise UsageError("streams other than a job's are not followed", "give a job's id, or leave out --follow")
        yield from log_stream.last_lines(self._account.client("logs"), self._log_group, stream, lines)

    def shell(self, language: Language, spark_arguments: list[str], tenant: str) -> int:
        """A shell in a task of its own, entered through ECS Exec; the task ends with it. Returns its exit code."""
        find_plugin()  # before anything costs
        submission, task, others = self._interactive(f"{language} shell", language, spark_arguments, tenant)
        spec = submission.spec
        # The container waits to be entered; unused for so long it ends by itself, whatever becomes of this process.
        wait = [DRIVER_PROGRAM, "/opt/fargate/wait-for-shell", str(self._idle_seconds)]
        with interruptible():
            record, _ = self._start(submission, task, "shell", wait)
            say(f"shell {spec.id} is starting on {self.name}")
            try:
                started = self._wait_for_agent(record)
                command = shell_command(language, task.settings, others, self._place.master)
                session = self._tasks.execute_command(started, "spark-shell", command)
                code = run_session(self._account, session["session"], self._exec_target(started))
                # The plugin does not say how the shell ended; its container does, as it ends with the shell.
                with contextlib.suppress(WaitTimeout):
                    ended = self._wait(spec.id, SHELL_END_SECONDS, "to end", lambda one: one.state.ended)
                    return code if ended.exit_code is None else ended.exit_code
                return code
            finally:
                with uninterrupted():
                    self.cancel(spec.id)

    def connect(self, command: list[str], spark_arguments: list[str], tenant: str) -> int:
        """A Spark Connect server in a task of its own, and a program of this machine that uses it; both end together.

        The server listens on its task's loopback; Systems Manager forwards that port to one here, for the person who
        started it alone. It asks for a token, made of the job's secret on both sides. Returns the program's exit code.
        """
        find_plugin()
        words = find_program(command)
        submission, task, others = self._interactive("connect shell", "python", spark_arguments, tenant)
        spec = submission.spec
        server = connect_command(task.settings, others, self._place.master, self._idle_seconds)
        with interruptible():
            record, secret = self._start(submission, task, "shell", server)
            say(f"Spark Connect server {spec.id} is starting on {self.name}")
            try:
                target = self._exec_target(self._wait_for_agent(record))
                document = document_name(self._deployment.cluster, CONNECT_DOCUMENT)
                sessions = Sessions(self._account)
                with kept_forward(lambda local: sessions.forward(target, document, CONNECT_PORT, local)[1]) as port:
                    wait_for_server(port, CONNECT_SECONDS, lambda: self._still_runs(spec.id))
                    idle = self._deployment.fargate.shell_idle_timeout_minutes
                    say(f"SPARK_REMOTE leads {words[0]} to it; it ends with that, or after {idle} minutes without use")
                    return run_client(words, f"sc://localhost:{port}/;token={secret.connect_token}")
            finally:
                with uninterrupted():
                    self.cancel(spec.id)

    @property
    def _idle_seconds(self) -> int:
        return self._deployment.fargate.shell_idle_timeout_minutes * 60

    def _interactive(
        self, what: str, language: Language, spark_arguments: list[str], tenant: str
    ) -> tuple[Submission, DriverTask, list[str]]:
        """What is run for a person who waits for it, its settings, and the flags that are none. Raises UsageError."""
        check_flags(spark_arguments)
        spec = JobSpec(
            id=new_job_id(), target=self.name, tenant=tenant, application=what, spark_arguments=spark_arguments
        )
        submission = check_shell(spec, language)
        if submission.files:
            raise UsageError("a shell takes no files of this machine", "put them into S3 and give s3a:// addresses")
        flags = take_settings(submission.spec.spark_arguments)
        return submission, self._settings(submission, flags.settings), flags.others

    def _still_runs(self, job_id: str) -> None:
        record = self.job(job_id)
        if record.state.ended:
            raise SparkvaultError(
                f"the Spark Connect server ended before it answered: {record.message or record.state}",
                f"`sparkvault logs --target {self.name} {job_id}` shows why",
            )

    def _wait_for_agent(self, record: JobRecord) -> str:
        """The task's id once ECS Exec's agent runs in it. Raises SparkvaultError, WaitTimeout."""
        deadline = time.monotonic() + SHELL_SECONDS
        while time.monotonic() < deadline:
            task = self._tasks.describe(str(record.host))
            if task is not None and task["lastStatus"] == "STOPPED":
                raise SparkvaultError(
                    f"shell {record.id} did not start: {task.get('stoppedReason', 'no reason given')}"
                )
            agents = [agent for part in (task or {}).get("containers", []) for agent in part.get("managedAgents", [])]
            if any(agent["name"] == "ExecuteCommandAgent" and agent["lastStatus"] == "RUNNING" for agent in agents):
                return str(record.host)
            time.sleep(1)
        raise WaitTimeout(f"ECS Exec's agent in shell {record.id}", SHELL_SECONDS, "may the tasks reach ssmmessages?")

    def _exec_target(self, task: str) -> str:
        """How Systems Manager names a container (ECS developer guide, "Using ECS Exec")."""
        described = self._tasks.describe(task)
        runtime = described["containers"][0].get("runtimeId", "") if described else ""
        return f"ecs:{self._place.ecs_cluster}_{task}_{runtime}"

    def ui(self, which: UiName) -> str:
        """No port of a task can be reached from here: where to look instead."""
        raise NotAvailable(
            f"target fargate has no {which} UI that can be reached from here: tasks have no open port",
            "event logs are under tenants/<tenant>/events/ in the job bucket; a history server reads them",
        )

    def status(self) -> ClusterStatus:
        """The ECS cluster's drivers, shells and executors, by tenant and job."""
        place, components = self._place, []
        for tenant in self._deployment.tenant_names():
            for kind in ("driver", "shell", "executor"):
                for task in self._tasks.running(place.family(tenant, kind)):
                    tags = {tag["key"]: tag["value"] for tag in task.get("tags", [])}
                    size = f"{int(task['cpu']) / 1024:g} vCPU, {task['memory']} MiB"
                    components.append(
                        Component(
                            task["taskArn"].rpartition("/")[2],
                            kind,
                            task["lastStatus"].lower(),
                            True,
                            f"job {tags.get(JOB_TAG, 'unknown')}, tenant {tenant}, {size}",
                        )
                    )
        count = sum(component.kind == "executor" for component in components)
        return ClusterStatus(self.name, f"{len(components)} tasks, {count} executors", True, components)

    def scale(self, workers: int) -> ClusterStatus:
        """Executors belong to jobs here, and each job scales its own."""
        raise UsageError(
            "executors of target fargate belong to jobs, which start and end them as they need",
            "give --conf spark.dynamicAllocation.maxExecutors=N with the job, or set fargate.max_executors",
        )


def _texts(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}
