"""What tests of target `local` share: waiting with a limit, running a job to its end, looking for a secret."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from sparkvault.jobs import JobRecord, JobSpec, new_job_id
from sparkvault.targets.local.folder import LocalFolder
from sparkvault.targets.local.processes import marked
from sparkvault.targets.local.target import LocalTarget

APPLICATIONS = Path(__file__).parents[1] / "local" / "applications"
EXAMPLES = Path(__file__).parents[2] / "examples"

#: Tests run short jobs on busy machines: the compiler that starts fastest.
QUICK = ["--conf", "spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"]

#: For jobs whose driver is all that matters: no worker has that many cores, so no executor is started.
NO_EXECUTORS = ["--executor-cores", "99", "--total-executor-cores", "99"]


@dataclass(frozen=True)
class Finished:
    """A job that has ended, and all it printed."""

    record: JobRecord
    output: str


def wait_until(what: str, look: Callable[[], object], seconds: float = 60.0) -> None:
    """Return as soon as ``look`` finds something. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def job_spec(application: Path, *arguments: object, flags: list[str] | None = None) -> JobSpec:
    """What a person would ask for."""
    return JobSpec(
        id=new_job_id(),
        target="local",
        application=str(application),
        arguments=[str(argument) for argument in arguments],
        spark_arguments=[*QUICK, *(flags or [])],
    )


def run(target: LocalTarget, application: Path, *arguments: object, flags: list[str] | None = None) -> Finished:
    """Submit, follow to the end."""
    submitted = target.submit(job_spec(application, *arguments, flags=flags))
    output = "\n".join(target.follow(submitted.id))
    return Finished(target.job(submitted.id), output)


def start(target: LocalTarget, application: Path, *arguments: object, flags: list[str] | None = None) -> JobRecord:
    """Submit a job that prints `holding`, and return once it does."""
    submitted = target.submit(job_spec(application, *arguments, flags=flags))
    output = target.store.of(submitted.id).output

    def holds() -> bool:
        record = target.job(submitted.id)
        assert not record.state.ended, f"{record.message}\n{output.read_text()}"
        return output.exists() and "holding" in output.read_text()

    wait_until("the job to hold", holds, 180)
    return target.job(submitted.id)


def secret_of(folder: LocalFolder) -> str:
    """The RPC secret of a running cluster."""
    text = (folder.driver_conf / "spark-defaults.conf").read_text()
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith("spark.authenticate.secret="))


def files_with(text: str, root: Path) -> set[Path]:
    """The files below a folder that hold this text."""
    needle = text.encode()
    return {
        path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and needle in path.read_bytes()
    }


def listening(folder: LocalFolder) -> Iterator[tuple[str, str, int]]:
    """Where the cluster's processes listen: command, address, port."""
    for process in marked(folder):
        try:
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    yield process.name(), connection.laddr.ip, connection.laddr.port
        except psutil.NoSuchProcess:
            continue
