"""One emulated EC2 host as tests and tools see it: commands, logs, and what can happen to it."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from emulation.ec2.errors import HostError
from emulation.ec2.vpc_network import VpcNetwork, run

COMMAND_TIMEOUT_SECONDS = 60.0
BOOT_TIMEOUT_SECONDS = 300.0
REBOOT_TIMEOUT_SECONDS = 180.0
#: Set on hosts whose data volume is a disk of its own, to its size in MiB.
DISK_VARIABLE = "SPARKVAULT_EMULATED_DISK_MIB"
FILLER = "sparkvault-emulation-filler"


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Host:
    """A host, by its instance. Whoever is attached may use it; it needs the right to use the engine, as root has."""

    instance_id: str
    address: str
    role: str
    """`manager`, `worker`, or empty where its tags say neither."""
    group: str | None
    network: VpcNetwork
    engine: Path
    """Socket of the engine in which the host is a container."""
    environment: Mapping[str, str] = field(repr=False)
    """What systemd gives to every unit on the host, and `run` to every command."""

    @property
    def container(self) -> str:
        """Name of the host's container."""
        return container_name(self.instance_id)

    # ------------------------------------------------------------- commands
    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float = COMMAND_TIMEOUT_SECONDS,
        check: bool = True,
        text: str | None = None,
        environment: Mapping[str, str] | None = None,
        user: str = "root",
    ) -> Finished:
        """Run a command as root on the host; raises `HostError` if it fails (unless `check` is off) or takes too long.

        `text` is its standard input. The command ends with the host at the latest, not with this call.
        """
        started = self.process(command, environment=environment, user=user, interactive=text is not None)
        try:
            out, err = started.communicate(None if text is None else text.encode(), timeout=timeout)
        except subprocess.TimeoutExpired as late:
            started.kill()
            out, err = started.communicate()
            raise HostError(
                f"`{shlex.join(command)}` on {self.instance_id} took over {timeout:.0f} s",
                output=(out + err).decode(errors="replace"),
            ) from late
        done = Finished(started.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
        if check and done.exit_code != 0:
            raise HostError(
                f"`{shlex.join(command)}` on {self.instance_id} ended with {done.exit_code}: "
                f"{(done.stderr or done.stdout).strip()[-2000:]}",
                output=done.stdout + done.stderr,
            )
        return done

    def process(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        user: str = "root",
        interactive: bool = True,
        terminal: bool = False,
        **popen: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command on the host and hand over its process: pipes, or what `popen` asks for."""
        options = ["--user", user]
        options += ["--interactive"] if interactive else []
        options += ["--tty"] if terminal else []
        for name, value in (dict(self.environment) | dict(environment or {})).items():
            options += ["--env", f"{name}={value}"]
        streams: dict[str, Any] = {
            "stdin": subprocess.PIPE if interactive else subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen(
            ["docker", "--host", f"unix://{self.engine}", "exec", *options, self.container, *command],
            **(streams | popen),
        )

    def journal(self, unit: str, lines: int = 200) -> str:
        """The last lines of a unit's log in this boot."""
        return self.run(
            ["journalctl", "--unit", unit, "--no-pager", "--output", "short-precise", "-n", str(lines)]
        ).stdout

    def boot_log(self) -> str:
        """What user data printed, as cloud-init keeps it."""
        return self.run(["cat", "/var/log/cloud-init-output.log"], check=False).stdout

    def wait_for(self, what: str, check: Callable[[], Any], timeout: float = BOOT_TIMEOUT_SECONDS) -> Any:
        """The first true answer of `check`, asked every quarter of a second; raises `HostError` after `timeout`."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                found = check()
            except HostError:
                found = None
            if found:
                return found
            if time.monotonic() > deadline:
                raise HostError(f"waited {timeout:.0f} s on {self.instance_id} for {what}, in vain")
            time.sleep(0.25)

    def up(self) -> bool:
        """Whether its container runs."""
        return bool(self._container().status == "running")

    def started(self) -> datetime:
        """When its container was started, the last time."""
        told = self._container().attrs["State"]["StartedAt"]
        return datetime.fromisoformat(f"{told[:19]}.{told[20:26].rstrip('Z'):0<6}+00:00")

    # --------------------------------------------------------------- faults
    @contextmanager
    def cut_off(self, seconds: float, *, from_aws: bool = True) -> Iterator[None]:
        """It reaches nobody and nobody reaches it, so long at least, and no longer than what is done meanwhile.

        `from_aws=False` leaves it the AWS endpoints, the resolver and the metadata service.
        """
        ends = time.monotonic() + seconds
        try:
            self._partition(from_aws=from_aws)
            yield
            time.sleep(max(0.0, ends - time.monotonic()))
        finally:
            self._heal()

    def _partition(self, *, from_aws: bool) -> None:
        if from_aws:
            self.network.connect(self.instance_id, connected=False)
            return
        own = (self.network.router, self.network.resolver, self.network.services)
        for chain, side in (("PREROUTING", "--source"), ("OUTPUT", "--destination")):
            for address in own:
                self._firewall("--append", chain, side, address, "--jump", "RETURN")
            self._firewall("--append", chain, side, str(self.network.range), "--jump", "DROP")

    def _heal(self) -> None:
        self.network.connect(self.instance_id, connected=True)
        process = self._process()
        # A link that was down has lost its routes.
        run("nsenter", f"--net=/proc/{process}/ns/net", "ip", "route", "replace", "default", "via", self.network.router)
        own = (self.network.router, self.network.resolver, self.network.services)
        for chain, side in (("PREROUTING", "--source"), ("OUTPUT", "--destination")):
            for address in own:
                self._firewall("--delete", chain, side, address, "--jump", "RETURN", check=False)
            self._firewall("--delete", chain, side, str(self.network.range), "--jump", "DROP", check=False)

    def is_connected(self) -> bool:
        """Whether it reaches AWS: false while it is cut off, or has gone."""
        return self.network.is_connected(self.instance_id)

    def kill(self) -> None:
        """Power loss: everything stops at once. EC2 goes on to call it running; see `EmulatedEc2.impair`."""
        self._container().kill("SIGKILL")

    def start(self, *, wait: bool = True) -> None:
        """Power back after `kill`: it boots again with its disks as they were."""
        self._container().start()
        if wait:
            self.wait_until_booted()

    def reboot(self, *, wait: bool = True) -> None:
        """An ordinary reboot from inside."""
        before = self._container().attrs["State"]["StartedAt"]
        self.run(["systemctl", "--no-block", "reboot"])
        if wait:

            def again() -> bool:
                state = self._container().attrs["State"]
                return bool(state["Running"] and state["StartedAt"] != before)

            self.wait_for("its reboot", again, REBOOT_TIMEOUT_SECONDS)
            self.wait_until_booted()

    def stop_engine(self) -> None:
        """The Docker engine ends."""
        self.run(["systemctl", "stop", "docker.socket", "docker.service"], timeout=REBOOT_TIMEOUT_SECONDS)

    def start_engine(self) -> None:
        """The Docker engine starts again."""
        self.run(["systemctl", "start", "docker.service"], timeout=REBOOT_TIMEOUT_SECONDS)

    def fill_disk(self, folder: str = "/var/lib/docker", *, leave_mib: int = 0) -> None:
        """Fill the host's data volume but for so many MiB.

        Raises `HostError` unless the host was given a disk of limited size: `EmulatedEc2(disk_mib=…)`.
        """
        if self.environment.get(DISK_VARIABLE) is None:
            raise HostError(
                f"{self.instance_id} shares this machine's disk, which is not filled: use EmulatedEc2(disk_mib=…)"
            )
        available = self.run(["df", "--output=avail", "--block-size=1M", folder]).stdout.split()[-1]
        size = max(0, int(available) - leave_mib)
        # As root, who may take what file systems keep back for root.
        self.run(["dd", "if=/dev/zero", f"of={folder}/{FILLER}", "bs=1M", f"count={size}"], check=False, timeout=120)

    def free_disk(self, folder: str = "/var/lib/docker") -> None:
        """Take away what `fill_disk` wrote."""
        self.run(["rm", "-f", f"{folder}/{FILLER}"])

    # ------------------------------------------------------------ internals
    def wait_until_booted(self) -> None:
        """Return when systemd has started everything, or given something up."""

        def booted() -> bool:
            state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
            return state in ("running", "degraded")

        self.wait_for("the end of its boot", booted)

    def _container(self) -> Container:
        return docker.DockerClient(f"unix://{self.engine}").containers.get(self.container)

    def _process(self) -> int:
        return int(self._container().attrs["State"]["Pid"])

    def _firewall(self, *rule: str, check: bool = True) -> None:
        inside = ("nsenter", f"--net=/proc/{self._process()}/ns/net", "iptables", "--wait", "--table", "raw")
        run(*inside, *rule, check=check)


def container_name(instance_id: str) -> str:
    """The container of an instance."""
    return f"ec2-{instance_id}"
