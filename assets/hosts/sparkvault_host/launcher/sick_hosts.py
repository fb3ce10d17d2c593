"""Settings by which Spark tries a task that failed twice on a host elsewhere.

A host whose disk is full, or that is sick otherwise, fails tasks faster than it is replaced. No executor is given up
for what its code does: only that task avoids it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparkvault_host.launcher.specification import Specification

_EXCLUDE = "spark.excludeOnFailure."
_ATTEMPTS_PER_NODE = f"{_EXCLUDE}task.maxTaskAttemptsPerNode"
_ATTEMPTS = 2

#: What every job begins with; a person's own settings come after.
SETTINGS = {
    f"{_EXCLUDE}enabled": "true",
    f"{_EXCLUDE}task.maxTaskAttemptsPerExecutor": str(_ATTEMPTS),
    _ATTEMPTS_PER_NODE: str(_ATTEMPTS),
    # Counts of failures after which Spark would give up whole executors and nodes, of a stage or of the application.
    **{
        f"{_EXCLUDE}{level}.max{what}": "1000000"
        for level in ("stage", "application")
        for what in ("FailedTasksPerExecutor", "FailedExecutorsPerNode")
    },
}


def fitting(spec: Specification, settings: Mapping[str, str]) -> Mapping[str, str]:
    """The settings, without these where Spark would refuse to start with them.

    A task that fails for good at its second failure has none left for another host.
    """
    failures = spec.settings.get("spark.task.maxFailures", "")
    if failures.isdigit() and int(failures) <= int(settings.get(_ATTEMPTS_PER_NODE, "0")):
        return {name: value for name, value in settings.items() if not name.startswith(_EXCLUDE)}
    return settings
