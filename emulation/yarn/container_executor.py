"""A stand-in for Hadoop's container-executor, which comes only with Hadoop's own distribution, as a native program.

It takes the same commands from the NodeManager, returns the same exit codes, and enforces container-executor.cfg by the
same rules: banned users, least uid, trusted registries, allowed networks, runtimes, mounts, devices, capabilities,
privileged containers. The native one is a setuid program that the NodeManager starts as user `yarn`; this one needs a
NodeManager that is root, or the setuid starter of `distribution.py`. Terminals, traffic control, GPUs and control
groups are not in it.

Usage: container_executor.py CONFIGURATION ARGUMENTS…
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Exit codes of Hadoop's util.h.
INVALID_ARGUMENTS = 1
INVALID_USER = 2
INVALID_COMMAND = 3
LAUNCH_FAILED = 7
NO_SUCH_PROCESS = 9
INVALID_CONFIGURATION = 24
DOCKER_RUN_FAILED = 29
FEATURE_DISABLED = 32

_SECTION = "[docker-command-execution]"
_DOCKER_SECONDS = 120
_POLL_SECONDS = 0.2


class Rejected(Exception):
    """The executor refuses: its exit code and what it says."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Configuration:
    """container-executor.cfg: what stands before any section, and in `[docker]`."""

    general: dict[str, str] = field(default_factory=dict)
    docker: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Configuration:
        """Refuses a file that others than root can write, as the native program does."""
        for each in (path, *path.parents):
            about = each.stat()
            sticky = about.st_mode & stat.S_ISVTX
            if about.st_uid != 0 or (about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky):
                raise Rejected(INVALID_CONFIGURATION, f"File {each} must be owned by root and not writable by others")
        made = cls()
        current = made.general
        for line in path.read_text(encoding="utf-8").splitlines():
            text = line.split("#", 1)[0].strip()
            if text.startswith("["):
                current = made.docker if text == "[docker]" else {}
            elif "=" in text:
                key, value = text.split("=", 1)
                current[key.strip()] = value.strip()
        return made

    def listed(self, key: str) -> list[str]:
        """The values of a comma separated list in `[docker]`."""
        return [value.strip() for value in self.docker.get(key, "").split(",") if value.strip()]


def main(arguments: list[str]) -> int:
    """One command of the NodeManager."""
    path = Path(arguments[0])
    words = arguments[1:]
    try:
        configuration = Configuration.read(path)
        if words[:1] == ["--checksetup"]:
            return 0
        if words[:1] == ["--run-docker"]:
            return _docker(configuration, command_line(configuration, path, read_command(Path(words[1])))).returncode
        if words[:1] == ["--inspect-docker-container"]:
            return _docker(configuration, ["inspect", *words[1:]], show=True).returncode
        if words[:1] == ["--remove-docker-container"]:
            return _docker(configuration, ["rm", "-f", words[-1]], show=True).returncode
        if words[:1] and words[0].startswith("--"):
            raise Rejected(FEATURE_DISABLED, f"Unsupported: feature {words[0]} is disabled")
        return as_user(configuration, path, words)
    except Rejected as rejected:
        print(rejected, file=sys.stderr)
        return rejected.code


def as_user(configuration: Configuration, path: Path, words: list[str]) -> int:
    """`RUNAS YARNUSER COMMAND …`."""
    if len(words) < 3:
        raise Rejected(INVALID_ARGUMENTS, "too few arguments")
    name, yarn_user, command, *rest = words
    user = checked_user(configuration, name)
    if command == "0":
        return localize(configuration, user, yarn_user, rest)
    if command == "1":
        # A plain process on the host.
        raise Rejected(FEATURE_DISABLED, "containers on the host itself are not for this node: all are Docker's")
    if command == "2":
        return send_signal(int(rest[0]), int(rest[1]))
    if command == "3":
        return delete(user, yarn_user, rest)
    if command == "4":
        return launch(configuration, path, user, yarn_user, rest)
    raise Rejected(INVALID_COMMAND, f"Invalid command {command} not supported.")


def checked_user(configuration: Configuration, name: str) -> pwd.struct_passwd:
    """The user of the host, neither banned nor a system's one."""
    banned = [each.strip() for each in configuration.general.get("banned.users", "").split(",")]
    if name in banned:
        raise Rejected(INVALID_USER, f"Requested user {name} is banned")
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise Rejected(INVALID_USER, f"User {name} not found") from error
    least = int(configuration.general.get("min.user.id", "1000"))
    allowed = configuration.general.get("allowed.system.users", "").split(",")
    if user.pw_uid < least and name not in allowed:
        raise Rejected(INVALID_USER, f"Requested user {name} is not whitelisted and has id {user.pw_uid},"
                       f"which is below the minimum allowed {least}")  # fmt: skip
    return user


def localize(configuration: Configuration, user: pwd.struct_passwd, yarn_user: str, rest: list[str]) -> int:
    """Make the application's folders, then run the NodeManager's localizer in them as the user."""
    application, _, tokens, local, logs, *command = rest
    group = node_group(configuration)
    folders = []
    for base in map(Path, local.split(",")):
        of_user = base / "usercache" / yarn_user
        for folder, mode in ((of_user, 0o2750), (of_user / "appcache", 0o710), (of_user / "filecache", 0o710)):
            _folder(folder, user, group, mode)
        folders.append(_folder(of_user / "appcache" / application, user, group, 0o2710))
    for base in map(Path, logs.split(",")):
        _folder(base / application, user, group, 0o2750)
    copied = folders[0] / Path(tokens).name
    _copy(Path(tokens), copied, user, 0o600)
    # The group is the NodeManager's: what is localised it must be able to read.
    done = subprocess.run(command, cwd=folders[0], user=user.pw_uid, group=group, extra_groups=[], umask=0o027,
                          check=False)  # fmt: skip
    return done.returncode


def launch(configuration: Configuration, path: Path, user: pwd.struct_passwd, yarn_user: str, rest: list[str]) -> int:
    """Start the container, record its process, wait for its end, record its exit code."""
    if configuration.docker.get("module.enabled", "").lower() not in ("true", "1"):
        raise Rejected(FEATURE_DISABLED, "Unsupported: feature docker is disabled")
    application, container, work, script, tokens, secure, pid_file, local, logs, command_file = rest[:10]
    if secure != "--http":
        raise Rejected(FEATURE_DISABLED, "keystores for containers are not in this stand-in")
    group = node_group(configuration)
    for base in map(Path, local.split(",")):
        _folder(base / "usercache" / yarn_user / "appcache" / application / container, user, group, 0o2710)
    for base in map(Path, logs.split(",")):
        _folder(base / application / container, user, group, 0o2750)
    # Only now: mounts are looked up where they really lie.
    command = command_line(configuration, path, read_command(Path(command_file)))
    _copy(Path(script), Path(work) / "launch_container.sh", user, 0o700)
    _copy(Path(tokens), Path(work) / "container_tokens", user, 0o600)
    started = _docker(configuration, command)
    if started.returncode:
        _record(Path(f"{pid_file}.exitcode"), str(DOCKER_RUN_FAILED))
        raise Rejected(DOCKER_RUN_FAILED, (started.stderr or started.stdout).strip())
    pid = _inspected(configuration, container, "{{.State.Pid}}")
    _record(Path(pid_file), pid)
    while _inspected(configuration, container, "{{.State.Running}}") == "true":
        time.sleep(_POLL_SECONDS)
    code = _inspected(configuration, container, "{{.State.ExitCode}}")
    for base in map(Path, logs.split(",")[:1]):
        said = _docker(configuration, ["logs", container])
        _record(base / application / container / "docker.log", said.stdout + said.stderr)
    _record(Path(f"{pid_file}.exitcode"), code)
    return int(code)


def command_line(configuration: Configuration, path: Path, command: Mapping[str, str]) -> list[str]:
    """Docker's arguments for a command file, after all rules."""
    what = command.get("docker-command", "")
    name = command.get("name", "")
    if what in ("inspect", "rm", "kill", "stop", "start", "logs"):
        extra = [f"--format={command['format']}"] if what == "inspect" and "format" in command else []
        if what == "kill" and "signal" in command:
            extra = [f"--signal={command['signal']}"]
        if what == "stop" and "time" in command:
            extra = [f"--time={command['time']}"]
        return [what, *extra, name]
    if what != "run":
        raise Rejected(DOCKER_RUN_FAILED, f"Unknown docker command {what!r}")
    if not name.startswith("container_"):
        raise Rejected(DOCKER_RUN_FAILED, f"Specified container_id={name} is invalid")
    image = command["image"]
    trusted = any(image.startswith(one.rstrip("/") + "/") for one in configuration.listed("docker.trusted.registries"))
    made = ["run", f"--name={name}", f"--user={command['user']}"]
    if configuration.docker.get("docker.no-new-privileges.enabled", "").lower() == "true":
        made.append("--security-opt=no-new-privileges")
    if command.get("detach", "true") == "true":
        made.append("-d")
    if command.get("rm") == "true":
        made.append("--rm")
    if "workdir" in command:
        made.append(f"--workdir={command['workdir']}")
    if "net" in command:
        made.append(f"--net={_allowed(configuration, 'docker.allowed.networks', command['net'], 'network')}")
    if command.get("pid") == "host" and not _enabled(configuration, "docker.host-pid-namespace.enabled"):
        raise Rejected(DOCKER_RUN_FAILED, "Host pid namespace is disabled")
    if command.get("privileged") == "true":
        if not trusted or not _enabled(configuration, "docker.privileged-containers.enabled"):
            raise Rejected(DOCKER_RUN_FAILED, "Privileged containers are disabled")
        made.append("--privileged")
    if "runtime" in command:
        if not trusted:
            raise Rejected(DOCKER_RUN_FAILED, f"image: {image} is not trusted.\nDisable runtime for untrusted image")
        made.append(f"--runtime={_allowed(configuration, 'docker.allowed.runtimes', command['runtime'], 'runtime')}")
    # What the native program drops for an untrusted image, it drops without a word: the image runs alone in a sandbox.
    if trusted:
        for mount in filter(None, command.get("mounts", "").split(",")):
            made += ["-v", _mount(configuration, path, mount)]
    for place in filter(None, command.get("tmpfs", "").split(",")):
        made += ["--tmpfs", place]
    made.append("--cap-drop=ALL")
    for capability in filter(None, command.get("cap-add", "").split(",")):
        made.append(f"--cap-add={_allowed(configuration, 'docker.allowed.capabilities', capability, 'capability')}")
    for device in filter(None, command.get("devices", "").split(",")):
        source = device.split(":")[0]
        _allowed(configuration, "docker.allowed.devices", source, "device")
        made.append(f"--device={device}")
    if "hostname" in command:
        made.append(f"--hostname={command['hostname']}")
    for number in filter(None, command.get("group-add", "").split(",")):
        made += ["--group-add", number]
    if "environ" in command:
        made += ["--env-file", command["environ"]]
    launched = command.get("launch-command", "").split(",") if command.get("use-entry-point") != "true" else []
    return [*made, image, *filter(None, launched)]


def _allowed(configuration: Configuration, key: str, value: str, what: str) -> str:
    permitted = configuration.listed(key)
    if value not in permitted:
        raise Rejected(DOCKER_RUN_FAILED, f"Invalid docker {what} requested: {value!r} is not in {key} ("
                       f"{', '.join(permitted) or 'which is empty'})")  # fmt: skip
    return value


def _enabled(configuration: Configuration, key: str) -> bool:
    return configuration.docker.get(key, "").lower() in ("true", "1")


def _mount(configuration: Configuration, path: Path, mount: str) -> str:
    source, _, rest = mount.partition(":")
    mode = rest.partition(":")[2] or "rw"
    real = Path(source).resolve()
    if not real.exists():
        raise Rejected(DOCKER_RUN_FAILED, f"Could not determine real path of mount '{source}'")
    writable = _within(real, configuration.listed("docker.allowed.rw-mounts"))
    if not mode.startswith("ro"):
        if not writable:
            raise Rejected(DOCKER_RUN_FAILED, f"Configuration does not allow docker mount '{mount}', realpath={real}")
        if path.resolve().is_relative_to(real):
            raise Rejected(DOCKER_RUN_FAILED, f"Attempting to mount a parent directory '{mount}' of "
                           "container-executor.cfg as read-write")  # fmt: skip
    elif not writable and not _within(real, configuration.listed("docker.allowed.ro-mounts")):
        raise Rejected(DOCKER_RUN_FAILED, f"Configuration does not allow docker mount '{mount}', realpath={real}")
    return mount


def _within(real: Path, permitted: list[str]) -> bool:
    return any(real.is_relative_to(Path(one).resolve()) for one in permitted)


def read_command(path: Path) -> dict[str, str]:
    """The NodeManager's command file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].strip() != _SECTION:
        raise Rejected(DOCKER_RUN_FAILED, "Invalid command file passed")
    pairs = (line.split("=", 1) for line in lines[1:] if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def send_signal(pid: int, number: int) -> int:
    """To the process group, or the process where it leads none."""
    try:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, signal.Signals(number) if number else 0)
    except ProcessLookupError:
        return NO_SUCH_PROCESS
    return 0


def delete(user: pwd.struct_passwd, yarn_user: str, rest: list[str]) -> int:
    """A path, or parts of base folders; never what is not the user's."""
    target, *bases = rest
    wanted = [Path(base) / target if target else Path(base) for base in bases] or [Path(target)]
    for path in wanted:
        if path.exists() and path.stat().st_uid == user.pw_uid:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return 0


def _docker(configuration: Configuration, command: list[str], show: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [configuration.docker["docker.binary"], *command],
        capture_output=True,
        text=True,
        timeout=_DOCKER_SECONDS,
        check=False,
    )
    if show:
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
    return done


def _inspected(configuration: Configuration, container: str, what: str) -> str:
    retries = int(configuration.docker.get("docker.inspect.max.retries", "10"))
    for attempt in range(retries + 1):
        done = _docker(configuration, ["inspect", f"--format={what}", container])
        if done.returncode == 0:
            return done.stdout.strip()
        time.sleep(2**attempt)
    raise Rejected(LAUNCH_FAILED, f"Could not inspect docker container {container}: {done.stderr.strip()}")


def node_group(configuration: Configuration) -> int:
    """Number of the NodeManager's group, which reads what containers leave behind; root's where there is none."""
    try:
        return grp.getgrnam(configuration.general["yarn.nodemanager.linux-container-executor.group"]).gr_gid
    except KeyError:
        return 0


def _folder(path: Path, user: pwd.struct_passwd, group: int, mode: int) -> Path:
    path.mkdir(exist_ok=True)
    os.chown(path, user.pw_uid, group)
    path.chmod(mode)
    return path


def _copy(source: Path, place: Path, user: pwd.struct_passwd, mode: int) -> None:
    shutil.copyfile(source, place)
    os.chown(place, user.pw_uid, user.pw_gid)
    place.chmod(mode)


def _record(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
