"""The record of a job: the same on every target, kept under ``jobs/<id>/`` in the job bucket or the work folder."""

import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sparkvault.errors import UsageError

_ID = r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}"

JobId = Annotated[str, StringConstraints(pattern=f"^{_ID}$")]


def new_job_id(now: datetime | None = None) -> str:
    """A fresh id: time (UTC) and 32 random bits, so that ids sort by time (`20261121-130455-9f3a01bc`)."""
    moment = now or datetime.now(UTC)
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def is_job_id(text: str) -> bool:
    """Whether the text has the form of a job's id."""
    return re.fullmatch(_ID, text) is not None


def checked_job_id(text: str) -> str:
    """The id, if it has an id's form; ids become paths and parameters, so nothing else may pass.

    Raises UsageError otherwise.
    """
    if not is_job_id(text):
        raise UsageError(
            f"{text!r} is not a job id", "ids look like 20261121-130455-9f3a01bc; `sparkvault jobs` lists them"
        )
    return text


class JobState(StrEnum):
    """Where a job stands."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in (JobState.SUBMITTED, JobState.RUNNING)


class JobSpec(BaseModel):
    """What a person asked for; written as ``jobs/<id>/spec.json`` and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: JobId
    target: str
    tenant: str = "default"
    application: str
    """Path or URL of the application as the person gave it."""
    arguments: list[str] = []
    """The application's own arguments."""
    spark_arguments: list[str] = []
    """Flags of spark-submit, passed through in order (`--class`, `--conf`, …)."""
    supervise: bool = False
    """Whether a driver that fails is started again, where the target can do that."""
    submitted_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class JobRecord(BaseModel):
    """A job and how it fared; ``jobs/<id>/record.json``, rewritten as it goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: JobSpec
    state: JobState = JobState.SUBMITTED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    message: str | None = None
    """Why it failed, in one line, where that is known."""
    ui: str | None = None
    """Address of the driver's web UI while it runs."""
    host: str | None = None
    """The host that its driver is or was on, where the target has hosts."""

    @property
    def id(self) -> str:
        """The job's id."""
        return self.spec.id

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds from start to end, or to now while it runs."""
        if self.started_at is None:
            return None
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()


class JobStore(Protocol):
    """Where records are kept; each target has one."""

    def write(self, record: JobRecord) -> None:
        """Keep the record, replacing an older one of the same id, atomically."""

    def read(self, job_id: str) -> JobRecord:
        """The record of that id. Raises NotAvailable where there is none."""

    def all(self) -> list[JobRecord]:
        """All records, newest first."""


def job_prefix(job_id: str) -> PurePosixPath:
    """``jobs/<id>``: where everything of a job lies."""
    return PurePosixPath("jobs") / checked_job_id(job_id)
