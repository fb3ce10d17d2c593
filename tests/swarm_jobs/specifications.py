"""Specifications of jobs for tests: a good one, and what an attacker would write."""

import copy
import json
from typing import Any

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


def changed(path: str, value: Any) -> bytes:
    """The good one with one value replaced, by its dotted path."""
    data = copy.deepcopy(GOOD)
    place: Any = data
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(data).encode()
