"""Says in a person's words why YARN refused a container, from the text that YARN keeps of an application."""

from __future__ import annotations

import re

#: What the guard or the launcher say; not the launcher's line in every container that starts.
_GUARD = re.compile(r"sparkvault: (?!runtime \w+, kernel)(?P<said>[^\n]+)")

#: What Hadoop itself says → what it means here. Hadoop's texts are those of its 3.4 and 3.5 releases.
_HADOOP = (
    (
        r"[Dd]isallowed (?:container )?runtime|runtime.{0,80}not allowed|Requested runtime",
        "the job asked for another container runtime; every container on this cluster runs under the cluster's one: "
        "leave YARN_CONTAINER_RUNTIME_TYPE and YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME out",
    ),
    (
        r"[Dd]isallowed network",
        "the job asked for another network; every container has the cluster's own: "
        "leave YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK out",
    ),
    (
        r"[Pp]rivileged container|attempting to launch privileged",
        "the job asked for a privileged container; there are none on this cluster: "
        "leave YARN_CONTAINER_RUNTIME_DOCKER_RUN_PRIVILEGED_CONTAINER out",
    ),
    (
        r"[Hh]ost pid namespace|pid namespace",
        "the job asked for the host's process namespace; no container gets it: "
        "leave YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_PID_NAMESPACE out",
    ),
    (
        r"does not allow docker mount|Could not determine real path of mount|[Ii]nvalid (?:docker )?mount",
        "the job asked for a folder of the host; containers get YARN's own folders and no others: "
        "leave YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS out",
    ),
    (
        r"Requested user \S+ is (?:banned|not whitelisted)",
        "jobs run as a tenant's user; that one is no tenant's",
    ),
    (
        # Of a runtime outside its list NodeManager tells its own log alone: the container is not even prepared.
        r"exitCode: -1000\s+Failing this attempt\.\s*Diagnostics: For more detailed output",
        "no container was prepared, and YARN gives no reason, as for a job that asks for another container runtime: "
        "leave YARN_CONTAINER_RUNTIME_TYPE out; if there is none, NodeManager's log on the host says why",
    ),
)


def why_refused(said_by_yarn: str) -> str | None:
    """One sentence for the first refusal in YARN's diagnostics; None where there is none."""
    found = _GUARD.search(said_by_yarn)
    if found:
        return found["said"].strip()
    return next((meaning for pattern, meaning in _HADOOP if re.search(pattern, said_by_yarn)), None)
