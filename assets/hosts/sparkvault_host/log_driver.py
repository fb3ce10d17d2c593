"""Has an engine send its containers' output to the cluster's log group itself, with the host's role."""

from __future__ import annotations

from typing import Any

#: What `other_endpoint` calls CloudWatch Logs.
LOGS = "CLOUDWATCH_LOGS"

#: Engines from this one on can be told how soon they send a line; older ones take up to five seconds.
_FLUSHES = 23


def awslogs(group: str, region: str, endpoint: str, **options: str) -> dict[str, Any]:
    """``LogDriver`` of a task as the Engine API takes it. ``options``: the driver's, with ``_`` for ``-``.

    ``endpoint``: another address of CloudWatch Logs; empty on AWS.

    Non-blocking: a log group that is slow must not slow Spark. Source: Docker's documentation, "Amazon CloudWatch Logs
    logging driver".
    """
    given = {
        "awslogs-group": group,
        "awslogs-region": region,
        "awslogs-create-group": "false",
        "mode": "non-blocking",
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    if endpoint:
        given["awslogs-endpoint"] = endpoint
    return {"Name": "awslogs", "Options": given}


def flushed_soon(engine_version: str) -> dict[str, str]:
    """Options with which somebody who follows the output sees it within a second, where the engine knows them."""
    major = engine_version.partition(".")[0]
    return {"awslogs_force_flush_interval_seconds": "1"} if major.isdigit() and int(major) >= _FLUSHES else {}
