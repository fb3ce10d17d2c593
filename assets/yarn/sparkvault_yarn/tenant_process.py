"""Runs programs as a tenant's Linux user with that tenant's ticket, and nothing of root's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from .errors import YarnHostError
from .master import Master

_TICKET_SECONDS = 60


class TenantProcess:
    """Programs of one job's tenant. ``home`` is the tenant's folder of this job."""

    def __init__(self, master: Master, tenant: str, home: Path) -> None:
        self._master = master
        self._tenant = tenant
        self._uid = master.tenants[tenant]
        self._home = home

    def environment(self) -> dict[str, str]:
        """Everything that these programs see; nothing of the launcher's own."""
        master = self._master
        python = sorted((master.spark / "python" / "lib").glob("py4j-*-src.zip"))
        archives = ["pyspark.zip", *(each.name for each in python)]
        made = {
            "PATH": os.defpath,
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "JAVA_HOME": str(master.java),
            "SPARK_HOME": str(master.spark),
            "HADOOP_CONF_DIR": str(master.hadoop_settings),
            "SPARK_CONF_DIR": str(master.spark_settings),
            # In the image at the same place: nothing of it is sent to the cluster.
            "PYSPARK_ARCHIVES_PATH": ",".join(f"local:/opt/spark/python/lib/{name}" for name in archives),
        }
        if master.keytabs is not None:
            made["KRB5CCNAME"] = str(self._home / "ticket")
        return made

    def get_ticket(self) -> None:
        """A fresh ticket, from the keytab that only root reads. Raises YarnHostError."""
        master = self._master
        if master.keytabs is None:
            return
        ticket = self._home / "ticket"
        command = ["kinit", "-k", "-t", str(master.keytabs / f"{self._tenant}.keytab"), "-c", str(ticket)]
        done = subprocess.run(
            [*command, f"{self._tenant}@{master.realm}"],
            capture_output=True,
            text=True,
            timeout=_TICKET_SECONDS,
            check=False,
        )
        if done.returncode:
            raise YarnHostError(f"no ticket for {self._tenant}: {done.stderr.strip()}")
        os.chown(ticket, self._uid, self._uid)

    def start(self, command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start it; both of its outputs go to ``output``."""
        return subprocess.Popen(
            list(command), stdout=output, stderr=output, start_new_session=True, **self._as_tenant()
        )

    def run(self, command: Sequence[str], seconds: float) -> str:
        """Run it to its end; what it printed. Raises YarnHostError."""
        try:
            done = subprocess.run(list(command), capture_output=True, timeout=seconds, check=False, **self._as_tenant())
        except subprocess.TimeoutExpired as error:
            raise YarnHostError(f"{command[0]} took more than {seconds:.0f} s") from error
        text: str = (done.stdout + done.stderr).decode("utf-8", "replace")
        if done.returncode:
            raise YarnHostError(f"{' '.join(command[:3])}: {text.strip()[-300:]}")
        return text

    def _as_tenant(self) -> dict[str, Any]:
        """What `subprocess` is given for each of them: the tenant's user, place and view, and nothing to read."""
        return {
            "env": self.environment(),
            "cwd": self._home,
            "stdin": subprocess.DEVNULL,
            "user": self._uid,
            "group": self._uid,
            "extra_groups": [],
            "umask": 0o077,
        }
