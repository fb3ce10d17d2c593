"""The cluster's master as Systems Manager finds it: the product's own launcher, seeing the host that it expects.

Nothing of it stands on this machine: `/etc`, `/opt` and `/usr/local/bin` are laid over in a mount namespace.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, cast

from assets.yarn.sparkvault_yarn import render
from emulation.yarn import downloads
from emulation.yarn.cluster import YarnCluster
from sparkvault.java import find_java
from sparkvault.project import project_root
from sparkvault.targets.local.spark_home import find_spark

#: Verb of Hadoop's program `yarn` → the class that it starts (bin/yarn of the distribution).
_VERBS = {
    "application": "org.apache.hadoop.yarn.client.cli.ApplicationCLI",
    "node": "org.apache.hadoop.yarn.client.cli.NodeCLI",
    "logs": "org.apache.hadoop.yarn.client.cli.LogsCLI",
}
#: Programs that take their verb as an argument once more.
_WITH_VERB = ("application",)


class MasterMachine:
    """Implements `emulation.ssm_sessions.Machine` for a `YarnCluster`."""

    def __init__(
        self,
        cluster: YarnCluster,
        identity: Mapping[str, str],
        environment: Mapping[str, str],
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        """``identity``: what host.json says; ``environment``: what reaches the AWS that the master belongs to."""
        self._cluster = cluster
        aws = {name: value for name, value in environment.items() if name.startswith("AWS_")}
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", **aws}
        self._folder = cluster.work / "master"
        self._aws_program = downloads.aws_program(progress)
        self._write(identity)

    def is_connected(self) -> bool:
        """Nothing cuts it off."""
        return True

    def process(
        self, command: list[str], *, interactive: bool = True, terminal: bool = False, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start a command as the master's root."""
        del interactive, terminal
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return cast(
            "subprocess.Popen[bytes]",
            subprocess.Popen(self._seen(command), env=self._environment, start_new_session=True, **streams | popen),
        )

    def _seen(self, command: list[str]) -> list[str]:
        folder, root = self._folder, project_root()
        lines = []
        for place in ("/etc", "/usr/local/bin"):
            upper, work = folder / "upper" / place[1:], folder / "work" / place[1:]
            lines.append(f"mount -t overlay overlay -o lowerdir={place},upperdir={upper},workdir={work} {place}")
        binds = {
            "/opt/sparkvault/hosts": root / "assets" / "hosts",
            "/opt/sparkvault/yarn": root / "assets" / "yarn",
            "/opt/awscli": self._aws_program,
            "/opt/spark": find_spark(),
        }
        lines.append("mount -t tmpfs -o mode=755 tmpfs /opt")
        for place, what in binds.items():
            lines.append(f"mkdir -p {place} && mount --bind {shlex.quote(str(what))} {place}")
        script = " && ".join([*lines, 'exec "$@"'])
        # The cluster's own view first: its host name, and Hadoop's jars where tenants can read them.
        return self._cluster.hadoop.viewed(["sh", "-c", script, "sh", *command])

    def _write(self, identity: Mapping[str, str]) -> None:
        cluster, folder = self._cluster, self._folder
        etc, programs = folder / "upper" / "etc", folder / "upper" / "usr" / "local" / "bin"
        for made in (etc, programs, folder / "work" / "etc", folder / "work" / "usr/local/bin", folder / "jobs"):
            made.mkdir(parents=True, exist_ok=True)
        # What the view lays over these files is not below the overlay.
        for file in (cluster.work / "view").iterdir():
            render.write(etc / file.name, file.read_text(encoding="utf-8"))
        render.write(etc / "sparkvault" / "host.json", json.dumps(dict(identity)))
        master = {
            "spark": "/opt/spark",
            "java": str(find_java().home),
            "hadoop_settings": str(cluster.work / "conf"),
            "spark_settings": str(cluster.work / "spark-conf"),
            "yarn": str(folder / "yarn"),
            "keytabs": None if cluster.kdc is None else str(cluster.kdc.folder),
            "realm": cluster.values()["realm"],
            "jobs": str(folder / "jobs"),
            # Nothing is collected here: that needs Hadoop's native library, which only the distribution has.
            "container_logs": str(cluster.work / "state" / "logs"),
            # No systemd here.
            "background": ["setsid", "--fork"],
            "tenants": {tenant.name: tenant.uid for tenant in cluster.tenants},
        }
        render.write(etc / "sparkvault" / "yarn-master.json", json.dumps(master))
        cases = []
        for verb, program in _VERBS.items():
            words = shlex.join(cluster.hadoop.program(program, *([verb] if verb in _WITH_VERB else [])))
            cases.append(f'{verb}) shift; exec {words} "$@" ;;')
        cases.append('*) echo "no verb $1" >&2; exit 2 ;;')
        render.write(folder / "yarn", "#!/bin/sh\ncase $1 in\n" + "\n".join(cases) + "\nesac\n", 0o755)
        aws = "import sys\nsys.path.insert(0, '/opt/awscli')\nfrom awscli.clidriver import main\nsys.exit(main())\n"
        render.write(programs / "aws", f"#!/usr/bin/python3 -s\n{aws}", 0o755)
        folder.chmod(0o755)
