"""Tasks as containers of the real image, where this machine has a Docker engine: Fargate's restrictions hold there."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KILL_SECONDS = 30

#: Of this machine's processes, and no business of a container.
_OF_THIS_MACHINE = ("PATH", "LANG", "JAVA_HOME", "HOME", "TMPDIR")


@dataclass(frozen=True)
class Containers:
    """How tasks are run: one container each, in this machine's network, with what a task definition takes away."""

    program: str
    """The docker client."""
    client_environment: Mapping[str, str]
    """What makes it find the engine."""
    image: str
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Path in the container → what lies there, to be read only."""
    writable: tuple[str, ...] = ("/tmp", "/opt/spark/work-dir")  # noqa: S108 - paths in the image
    """As the stack's task definitions mount them."""

    def command(self, name: str, words: list[str], variables: Mapping[str, str]) -> list[str]:
        """The client's command line. Variables are named there; their values come from the client's environment."""
        run = [self.program, "run", "--rm", "--init", "--name", name, "--network", "host"]
        run += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "185:185"]
        run += [word for path in self.writable for word in ("--volume", path)]
        run += [word for path, here in self.mounts.items() for word in ("--volume", f"{here}:{path}:ro")]
        run += [word for each in sorted(self.inside(variables)) for word in ("--env", each)]
        return [*run, self.image, *words]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The client's own environment."""
        return {**variables, **self.client_environment}

    def inside(self, variables: Mapping[str, str]) -> set[str]:
        """Names of the variables that the container gets."""
        return set(variables) - set(_OF_THIS_MACHINE)

    def kill(self, name: str) -> None:
        """SIGKILL, which the client cannot hand on; harmless for one that is gone."""
        subprocess.run(
            [self.program, "kill", name],
            env=dict(self.client_environment),
            capture_output=True,
            timeout=KILL_SECONDS,
            check=False,
        )
