"""Runs the cluster's own SSM documents on a manager: all that a person can have done on a host."""

import time
from typing import Any

from botocore.exceptions import ClientError

from spark_constructs.naming import auto_scaling_group_name, document_name
from sparkvault.account import Account
from sparkvault.console import say
from sparkvault.errors import NotAvailable, SparkvaultError, WaitTimeout

#: How long a host may take to begin and finish a command, in seconds.
COMMAND_SECONDS = 330.0

#: How long a manager may leave a command untaken before another one is asked, in seconds: it may be cut off.
TAKEN_SECONDS = 20.0

#: How long a submission waits for hosts that boot, in seconds.
BOOT_SECONDS = 300.0

#: Exit codes of a document by which a host says that it is not ready: the launcher's own, and the shell's without one.
NOT_READY, NO_LAUNCHER = 3, 127

_UNTAKEN = {"Pending", "Delayed"}
_FINAL = {"Success", "Failed", "TimedOut", "Cancelled", "Undeliverable", "Terminated"}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 2.0


class DeniedError(SparkvaultError):
    """The caller's role may not run this document."""


class NotReadyError(NotAvailable):
    """No host takes the command yet, as after a boot.

    A job that may have started all the same is ended by its record, as soon as that says how it ended.
    """


class LauncherFailedError(SparkvaultError):
    """The launcher said no: nothing was started, and nothing will be."""


class Documents:
    """The documents ``<cluster>-job.<tenant>.*``, ``<cluster>-view.*`` and ``<cluster>-host.*``.

    ``family``: what stands before them on another target than the swarm; ``group``: whose hosts run them.
    """

    def __init__(self, account: Account, cluster: str, *, family: str = "", group: str = "managers") -> None:
        self._account = account
        self._cluster = cluster
        self._family = family
        self._group = group
        self._ssm = account.client("ssm")
        self._doubtful: set[str] = set()
        """Managers that did not do as they were asked; they are asked last."""

    def name(self, short: str) -> str:
        """Full name of a document: ``view.status`` → ``<cluster>-view.status``."""
        return document_name(self._cluster, self._family + short)

    def managers(self) -> list[str]:
        """Ids of the managers in service. Raises NotReadyError where there is none, NotAvailable without a group."""
        group = auto_scaling_group_name(self._cluster, self._group)
        found = self._account.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        groups = found["AutoScalingGroups"]
        if not groups:
            raise NotAvailable(f"group {group} is not deployed", "run `sparkvault deploy`")
        serving = [host["InstanceId"] for host in groups[0]["Instances"] if host["LifecycleState"] == "InService"]
        if not serving:
            raise NotReadyError(f"no host of {group} is in service", "wait a little; `sparkvault status` shows them")
        return serving

    def run(self, short: str, job_id: str | None = None, *, patience: float = 0.0) -> str:
        """Run a document on a manager and return what it printed.

        ``patience``: how long to wait for hosts that boot, in seconds. Raises DeniedError, NotReadyError where no
        manager takes it in that time, SparkvaultError with what the document said when it failed, WaitTimeout.
        """
        deadline, pause, said = time.monotonic() + patience, _FIRST_PAUSE, ""
        while True:
            try:
                return self._run(short, job_id)
            except NotReadyError as error:
                if time.monotonic() + pause > deadline:
                    raise
                if error.what != said:
                    say(f"waiting for the cluster, at most {patience:.0f} s: {error.what}")
                    said = error.what
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _run(self, short: str, job_id: str | None) -> str:
        """Ask one manager after the other: what a document does may be done twice, so a late one does no harm."""
        left = sorted(self.managers(), key=lambda each: each in self._doubtful)
        while True:
            instance = left.pop(0)
            try:
                return self._run_on(instance, short, job_id, is_last=not left)
            except NotReadyError:
                self._doubtful.add(instance)
                if not left:
                    raise

    def _run_on(self, instance: str, short: str, job_id: str | None, *, is_last: bool) -> str:
        parameters = {"job": [job_id]} if job_id else {}
        try:
            sent = self._ssm.send_command(InstanceIds=[instance], DocumentName=self.name(short), Parameters=parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidInstanceId":
                raise _refused(self.name(short), error) from error
            raise NotReadyError(
                f"manager {instance} is not connected to Systems Manager",
                "wait a little; `sparkvault status` shows the hosts",
            ) from error
        return self._output(sent["Command"]["CommandId"], instance, short, is_last=is_last)

    def _output(self, command: str, instance: str, short: str, *, is_last: bool) -> str:
        started, pause = time.monotonic(), _FIRST_PAUSE
        while (seconds := time.monotonic() - started) < COMMAND_SECONDS:
            invocation = self._invocation(command, instance)
            status = invocation["Status"] if invocation is not None else "Pending"
            if invocation is not None and status in _FINAL:
                if status == "Success":
                    return str(invocation["StandardOutputContent"])
                raise _failed(self.name(short), instance, invocation)
            if status in _UNTAKEN and seconds > TAKEN_SECONDS and not is_last:
                raise NotReadyError(f"manager {instance} has not taken the command for {seconds:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        what = f"document {self.name(short)} on host {instance}"
        raise WaitTimeout(what, COMMAND_SECONDS, "see Run Command in the console")

    def _invocation(self, command: str, instance: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._ssm.get_command_invocation(CommandId=command, InstanceId=instance)
        except ClientError as error:
            # Right after SendCommand the invocation may not be known yet.
            if error.response["Error"]["Code"] == "InvocationDoesNotExist":
                return None
            raise _refused(command, error) from error
        return found


def _refused(what: str, error: ClientError) -> SparkvaultError:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in ("AccessDeniedException", "AccessDenied"):
        return DeniedError(f"your role may not run document {what}: {message}", "use a role with the right policy")
    if code in ("InvalidDocument", "DocumentDoesNotExist"):
        return NotAvailable(f"there is no document {what}", "run `sparkvault deploy`")
    return SparkvaultError(f"Systems Manager refuses document {what}: {message}")


def _failed(what: str, instance: str, invocation: dict[str, Any]) -> SparkvaultError:
    lines = [line for line in invocation["StandardErrorContent"].splitlines() if line.startswith("sparkvault: ")]
    said = lines[-1].removeprefix("sparkvault: ") if lines else ""
    if invocation["Status"] == "Failed":
        if invocation["ResponseCode"] == NO_LAUNCHER:
            said = f"host {instance} is not set up yet"
        if invocation["ResponseCode"] in (NOT_READY, NO_LAUNCHER):
            return NotReadyError(said, "`sparkvault status` shows the hosts; `sparkvault logs` what they said")
        if said:
            return LauncherFailedError(said)
    return SparkvaultError(
        f"document {what} ended as {invocation['StatusDetails']} (exit code {invocation['ResponseCode']}): "
        f"{invocation['StandardErrorContent'].strip()[-500:] or 'it said nothing'}"
    )
