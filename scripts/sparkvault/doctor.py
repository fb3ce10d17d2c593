"""Examines this machine and the AWS account for what sparkvault needs."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from spark_constructs.config import Deployment
from sparkvault.account import Account
from sparkvault.errors import SparkvaultError
from sparkvault.java import find_java
from sparkvault.project import work_folder
from sparkvault.targets.remote.terminal_session import PLUGIN, find_plugin
from sparkvault.toolchain import docker_engine, find_cdk, find_node, tool_environment

#: A local cluster with one worker and a driver.
LEAST_MEMORY_GIB = 3
LEAST_DISK_GIB = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``required``: without it neither the local cluster nor a deployment works."""

    what: str
    ok: bool
    found: str
    needed_for: str
    required: bool
    remedy: str | None = None


def examine(deployment: Deployment) -> list[Finding]:
    """Look at everything; nothing is changed."""
    findings = [
        Finding("Python", True, sys.version.split()[0], "everything", True),
        _attempt("Node.js", lambda: find_node(tool_environment()), "synth and deploy", required=True),
        _attempt("CDK CLI", lambda: str(find_cdk()), "synth and deploy", required=True),
        _attempt("Java", _java, "Spark on this machine", required=True),
        _attempt("work folder", lambda: str(work_folder()), "everything", required=True),
        _memory(),
        _engine(),
        _attempt(PLUGIN, find_plugin, "shells and web UIs of what is deployed", required=False),
    ]
    try:
        folder = work_folder()
    except SparkvaultError:
        return findings
    free = shutil.disk_usage(folder).free / 1024**3
    enough = free >= LEAST_DISK_GIB
    remedy = None if enough else f"free {LEAST_DISK_GIB} GiB on the disk of {folder}"
    findings.append(Finding("disk", enough, f"{free:.0f} GiB free", "Spark on this machine", True, remedy))
    return [*findings, *_account(deployment)]


def _attempt(what: str, look: Callable[[], str], needed_for: str, *, required: bool) -> Finding:
    try:
        found = look()
    except SparkvaultError as error:
        return Finding(what, False, error.what, needed_for, required, error.remedy)
    return Finding(what, True, found, needed_for, required)


def _java() -> str:
    java = find_java()
    return f"{java.version} in {java.home}"


def _memory() -> Finding:
    free = psutil.virtual_memory().available / 1024**3
    enough = free >= LEAST_MEMORY_GIB
    remedy = None if enough else f"free {LEAST_MEMORY_GIB} GiB of memory"
    return Finding("memory", enough, f"{free:.0f} GiB available", "Spark on this machine", True, remedy)


def _engine() -> Finding:
    version = docker_engine()
    if version:
        return Finding("Docker engine", True, version, "building the images", False)
    remedy = "start Docker, or deploy with --without-images"
    return Finding("Docker engine", False, "none reachable", "building the images", False, remedy)


def _account(deployment: Deployment) -> list[Finding]:
    try:
        account = Account(deployment)
    except SparkvaultError as error:
        return [Finding("AWS credentials", False, error.what, "deploying for real", False, error.remedy)]
    found = [Finding("AWS credentials", True, f"account {account.id}, {account.region}", "deploying for real", False)]
    try:
        account.check_bootstrap()
    except SparkvaultError as error:
        return [*found, Finding("CDK bootstrap", False, error.what, "deploying for real", False, error.remedy)]
    except (ClientError, BotoCoreError) as error:
        return [*found, Finding("CDK bootstrap", False, str(error), "deploying for real", False, "check your role")]
    return [*found, Finding("CDK bootstrap", True, "present", "deploying for real", False)]
