"""Specifications of jobs for tests: a good one, what an attacker would write, and the cluster that they run in."""

import copy
import json
from typing import Any

from sparkvault_host.launcher.job_service import Reference, Surroundings

JOB_ID = "20261121-130455-9f3a01bc"
TENANTS = frozenset({"default"})

GOOD: dict[str, Any] = {
    "version": 1,
    "job": {
        "id": JOB_ID,
        "target": "swarm",
        "tenant": "default",
        "application": "app.py",
        "arguments": ["10"],
        "spark_arguments": ["--conf", "spark.sql.shuffle.partitions=8", "--py-files", "files/lib.zip"],
        "submitted_at": "2026-11-21T13:04:55Z",
        "supervise": False,
    },
    "kind": "python",
    "language": None,
    "main": "app.py",
    "files": [
        {"name": "app.py", "size": 10, "sha256": "a" * 64},
        {"name": "lib.zip", "size": 10, "sha256": "b" * 64},
    ],
    "supervise": False,
}

AROUND = Surroundings(
    image="r.example/spark@sha256:" + "0" * 64,
    master_url="spark://spark-master:7077",
    rpc_secret=Reference("s1", "rpc-1"),
    settings={"spark.cores.max": "4"},
    forced={"spark.eventLog.dir": "s3a://jobs/eventlog"},
    output={"Name": "awslogs", "Options": {"awslogs-stream": f"jobs/{JOB_ID}"}},
)


def changed(path: str, value: Any) -> bytes:
    """The good one with one value replaced, by its dotted path."""
    data = copy.deepcopy(GOOD)
    place: Any = data
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(data).encode()
