"""`python -m emulation.ec2 up|status|down`: a cluster on emulated hosts, held for manual work until it is ended."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulation.ec2.emulated import EmulatedEc2, default_state_file
from emulation.ec2.errors import Ec2EmulationError
from emulation.ending import Ending

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "emulation" / "demo" / "deployment.yaml"
UP_TIMEOUT_SECONDS = 1800
DOWN_TIMEOUT_SECONDS = 180
_DONE = "up"
_FAILED = "failed"


def main() -> int:
    """0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m emulation.ec2", description=__doc__)
    verbs = ("up", "hold", "status", "env", "down", "images")
    what = "hold: like up, in the foreground; env: what a shell needs; images: build all that hosts need"
    parser.add_argument("verb", choices=verbs, help=what)
    parser.add_argument("--config", type=Path, default=CONFIGURATION, help="what to deploy (default: the demo's)")
    parser.add_argument("--with-images", action="store_true", help="build Spark's images and push them, too")
    parser.add_argument("--disk-mib", type=int, help="size of a host's data volume (default: as this machine has)")
    parser.add_argument(
        "--enclaves", choices=("none", "vm"), default="none", help="whether hosts run enclaves: in virtual machines"
    )
    parser.add_argument("--state", type=Path, default=None, help="state file (default: in the work folder)")
    options = parser.parse_args()
    state = options.state or default_state_file()
    try:
        if options.verb == "up":
            return _up(state, sys.argv[2:])
        if options.verb == "hold":
            return _hold(state, options)
        if options.verb == "images":
            return _images()
        if options.verb == "env":
            print(_environment_file(state).read_text(), end="")
            return 0
        return _status(state) if options.verb == "status" else _down(state)
    except Ec2EmulationError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _up(state: Path, arguments: list[str]) -> int:
    if state.exists() and _alive(state):
        raise Ec2EmulationError(f"a cluster is up already ({state}): `python -m emulation.ec2 down` ends it")
    state.parent.mkdir(parents=True, exist_ok=True)
    state.unlink(missing_ok=True)
    log = state.with_suffix(".log")
    result = state.with_suffix(".result")
    result.unlink(missing_ok=True)
    with log.open("wb") as output:
        holder = subprocess.Popen(
            [sys.executable, "-m", "emulation.ec2", "hold", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    print(f"deploying onto emulated hosts; the log is {log}", flush=True)
    deadline = time.monotonic() + UP_TIMEOUT_SECONDS
    while not result.exists() and holder.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
    outcome = result.read_text() if result.exists() else _FAILED
    if outcome != _DONE:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        print(f"Error: the cluster did not come up. The log ends:\n{tail}", file=sys.stderr)
        if holder.poll() is None:
            print(
                "The hosts are still there to be looked at; `python -m emulation.ec2 down` ends them.", file=sys.stderr
            )
        return 1
    return _status(state)


def _hold(state: Path, options: argparse.Namespace) -> int:
    from emulation.aws import EmbeddedAws, bootstrap
    from emulation.engine import engine_lease
    from sparkvault.project import WORK_FOLDER_VARIABLE
    from sparkvault.toolchain import tool_environment

    ended = Ending()
    with (
        engine_lease() as engine,
        EmbeddedAws(hosts="external") as aws,
        EmulatedEc2(aws, engine, disk_mib=options.disk_mib, enclaves=options.enclaves, state_file=state) as ec2,
    ):
        if options.enclaves != "none":
            print(f"SIMULATED root of the hosts' enclaves: {ec2.enclave_root}", flush=True)
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        command = ["sparkvault", "deploy", "--config", str(options.config), "--yes"]
        # A folder of its own: two deployments cannot share the CDK's output.
        base = tool_environment() | {WORK_FOLDER_VARIABLE: str(state.with_suffix(".work"))}
        environment = ec2.environment(base) if options.with_images else aws.environment(base)
        command += [] if options.with_images else ["--without-images"]
        state.with_suffix(".env").write_text(
            "".join(f"export {name}={shlex.quote(value)}\n" for name, value in ec2.environment({}).items())
        )
        deployment = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
        while deployment.poll() is None and not ended.wait(0.2):
            pass
        if deployment.poll() is None:
            deployment.terminate()
            deployment.wait(60)
        state.with_suffix(".result").write_text(_DONE if deployment.returncode == 0 else _FAILED)
        print(f"deployment: {deployment.returncode}; holding until SIGTERM", flush=True)
        ended.wait()
        print(aws.log(), flush=True)
    return 0


def _images() -> int:
    """Build Spark's images and the hosts' own, so that nobody who needs them waits; where they cannot be, say why."""
    from emulation.ec2.capability import check_host_programs
    from emulation.ec2.host_image import host_image
    from emulation.engine import EngineMissing, engine_lease

    started = time.monotonic()
    try:
        check_host_programs()
        with engine_lease() as engine, ThreadPoolExecutor(1) as beside:
            # Both wait for packages most of the time.
            hosts = beside.submit(host_image, engine.client(timeout=900))
            for name in ("submit", "worker", "master"):
                engine.spark_image(name, lambda text: print(text, flush=True))
            hosts.result()
    except (Ec2EmulationError, EngineMissing) as missing:
        print(f"no images for emulated hosts: {missing}", file=sys.stderr)
        return int(os.environ.get("CI") == "true")
    print(f"the images of Spark and of emulated hosts are there after {time.monotonic() - started:.0f} s")
    return 0


def _status(state: Path) -> int:
    ec2 = _attached(state)
    for host in ec2.hosts():
        print(
            f"{host.instance_id}  {host.address:<15}  {host.role:<8}  {'up' if host.up() else 'off'}  {host.container}"
        )
    engine = json.loads(state.read_text())["engine"]
    print(f"\ndocker -H unix://{engine} exec -it CONTAINER bash\nsource {state.with_suffix('.env')}")
    return 0


def _down(state: Path) -> int:
    if not state.exists():
        return 0
    process = int(json.loads(state.read_text())["process"])
    if _alive(state):
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + DOWN_TIMEOUT_SECONDS
        while _alive(state) and time.monotonic() < deadline:
            time.sleep(0.2)
        if _alive(state):
            raise Ec2EmulationError(f"process {process} has not ended within {DOWN_TIMEOUT_SECONDS} s")
    for suffix in (".json", ".env", ".result"):
        state.with_suffix(suffix).unlink(missing_ok=True)
    return 0


def _environment_file(state: Path) -> Path:
    file = state.with_suffix(".env")
    if not file.exists():
        raise Ec2EmulationError(f"no emulated EC2 is up ({state}): run `python -m emulation.ec2 up`")
    return file


def _alive(state: Path) -> bool:
    try:
        process = int(json.loads(state.read_text())["process"])
        return b"emulation.ec2" in Path(f"/proc/{process}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False


def _attached(state: Path) -> EmulatedEc2:
    return EmulatedEc2.attach(state)


if __name__ == "__main__":
    raise SystemExit(main())
