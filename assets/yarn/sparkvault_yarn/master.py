"""What the launcher needs to know of its master: where things are, and which tenants there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import YarnHostError

#: Written by user data, and by the agent once the master is set up.
HOST_FILE = Path("/etc/sparkvault/host.json")
MASTER_FILE = Path("/etc/sparkvault/yarn-master.json")


@dataclass(frozen=True)
class Master:
    """A master, ready for jobs."""

    region: str
    log_group: str
    job_bucket: str
    #: Spark's home, Java's, and the folders of Hadoop's and Spark's settings.
    spark: Path
    java: Path
    hadoop_settings: Path
    spark_settings: Path
    #: Hadoop's program `yarn`.
    yarn: Path
    #: Tenants' keytabs, `NAME.keytab`; None where the cluster has no Kerberos.
    keytabs: Path | None
    realm: str
    #: Folder of what jobs bring along, and keep while they run.
    jobs: Path
    #: Where nodes' container logs lie; None where YARN collects them.
    container_logs: Path | None
    #: Starts a program in the background, `{job}` stands for its job.
    background: Sequence[str]
    #: Linux users' numbers by tenant.
    tenants: Mapping[str, int]

    @classmethod
    def read(cls, host: Path = HOST_FILE, master: Path = MASTER_FILE) -> Master:
        """From the host's own files. Raises YarnHostError."""
        try:
            identity = json.loads(host.read_text(encoding="utf-8"))
            found = json.loads(master.read_text(encoding="utf-8"))
            places = ("spark", "java", "hadoop_settings", "spark_settings", "yarn", "jobs")
            return cls(
                region=identity["region"],
                log_group=identity["log_group"],
                job_bucket=identity["job_bucket"],
                **{name: Path(found[name]) for name in places},
                keytabs=Path(found["keytabs"]) if found.get("keytabs") else None,
                realm=found.get("realm", ""),
                container_logs=Path(found["container_logs"]) if found.get("container_logs") else None,
                background=list(found["background"]),
                tenants={name: int(uid) for name, uid in found["tenants"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise YarnHostError(
                f"this host is not set up as a master yet ({error!r}); try again in a minute"
            ) from error

    def folder(self, job_id: str) -> Path:
        """What is kept of a job while it runs; root's alone."""
        return self.jobs / job_id
