"""What the YARN cluster consists of, as one line of JSON without anything secret."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from .errors import YarnHostError
from .master import Master

_SECONDS = 120
_NODE = re.compile(r"^\s*(?P<host>[\w.-]+):\d+\s+(?P<state>[A-Z_]+)\s+\S+\s+(?P<containers>\d+)", re.M)


def nodes(master: Master) -> list[dict[str, Any]]:
    """Host, state and number of containers of each node, as ResourceManager knows them. Raises YarnHostError."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "JAVA_HOME": str(master.java),
        "HADOOP_CONF_DIR": str(master.hadoop_settings),
    }
    if master.keytabs is not None:
        environment["KRB5CCNAME"] = "/run/sparkvault/yarn.ticket"
    try:
        done = subprocess.run(
            [str(master.yarn), "node", "-list", "-all"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise YarnHostError(f"ResourceManager does not answer: {error}") from error
    if done.returncode:
        raise YarnHostError(f"ResourceManager does not answer: {done.stderr.strip()[-300:]}")
    return [
        {"host": found["host"], "state": found["state"], "containers": int(found["containers"])}
        for found in _NODE.finditer(done.stdout)
    ]


def report(master: Master) -> str:
    """The nodes, and the tenants. Raises YarnHostError."""
    return json.dumps({"nodes": nodes(master), "tenants": sorted(master.tenants)}, separators=(",", ":"))
