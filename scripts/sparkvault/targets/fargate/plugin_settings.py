"""The settings of the Fargate plugin, checked before a driver is started that would refuse them.

The plugin's own list is Settings.scala; docs/fargate-settings.md has it for people.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from spark_constructs.fargate_sizes import EPHEMERAL_STORAGE_GIB
from sparkvault.errors import UsageError

#: What is expected instead, for a value that may not stand there; None for one that may.
Check = Callable[[str], str | None]

_MILLISECONDS = {"ms": 1, "s": 1000, "": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000}


def _matching(pattern: str, what: str) -> Check:
    return lambda value: None if re.fullmatch(pattern, value) else f"{what} expected"


def _each(pattern: str, what: str) -> Check:
    return _matching(rf"\s*{pattern}(\s*,\s*{pattern})*\s*", f"{what}, or several with commas")


def _number(least: int, most: int) -> Check:
    fits = f"a whole number from {least} to {most} expected"
    return lambda value: None if value.isdecimal() and least <= int(value) <= most else fits


def _time(least_ms: int, most_ms: int) -> Check:
    def check(value: str) -> str | None:
        found = re.fullmatch(r"(\d+)(ms|s|m|min|h|)", value.strip().lower())
        if found is None:
            return "a time such as 500ms, 5s or 2m expected"
        fits = least_ms <= int(found[1]) * _MILLISECONDS[found[2]] <= most_ms
        return None if fits else f"a time from {least_ms}ms to {most_ms // 1000}s expected"

    return check


def _refused(value: str) -> str | None:
    return None if value == "false" else "this protection may not be switched off"


_ANYTHING = _matching(".*", "text")
_SUBNETS = _each("subnet-[0-9a-z]+", "a subnet's id")
_GROUPS = _each("sg-[0-9a-z]+", "a security group's id")
_ROLE = _matching("arn:aws[a-z-]*:iam::[0-9]{12}:role/.+", "a role's ARN")
_SHARE = "FARGATE(_SPOT)?(:(base|weight)=[0-9]{1,6}){0,2}"

#: Every setting of the plugin, and what may stand in it.
SETTINGS: dict[str, Check] = {
    "spark.fargate.container.image": _ANYTHING,
    "spark.fargate.executor.taskDefinition": _ANYTHING,
    "spark.fargate.container.name": _matching("[A-Za-z0-9_-]{1,255}", "a container's name"),
    "spark.fargate.container.sparkHome": _matching("/.*", "an absolute path"),
    "spark.fargate.container.classPath": _ANYTHING,
    "spark.fargate.cluster": _ANYTHING,
    "spark.fargate.driver.subnets": _SUBNETS,
    "spark.fargate.driver.securityGroups": _GROUPS,
    "spark.fargate.driver.taskRole": _ROLE,
    "spark.fargate.executor.subnets": _SUBNETS,
    "spark.fargate.executor.securityGroups": _GROUPS,
    "spark.fargate.executor.taskRole": _ROLE,
    "spark.fargate.executionRole": _ROLE,
    "spark.fargate.tenant": _matching("[a-z][a-z0-9-]{0,62}", "lower-case letters, digits and dashes"),
    "spark.fargate.capacityProviders": _each(_SHARE, "FARGATE or FARGATE_SPOT, with :base=N:weight=N where they mix"),
    "spark.fargate.cpuArchitecture": _matching("X86_64|ARM64", "X86_64 or ARM64"),
    "spark.fargate.platformVersion": _matching(r"LATEST|1\.[34]\.0", "LATEST or a version such as 1.4.0"),
    "spark.fargate.ephemeralStorage": _number(*EPHEMERAL_STORAGE_GIB),
    "spark.fargate.stopTimeout": _time(2000, 120_000),
    "spark.fargate.tags": _each("[^=,]{1,128}=[^,]{0,256}", "key=value"),
    "spark.fargate.logs.group": _matching("[A-Za-z0-9_/.#-]{1,512}", "a log group's name"),
    "spark.fargate.logs.streamPrefix": _matching("[^:*]{1,200}", "text without colon or asterisk"),
    "spark.fargate.allocate.interval": _time(50, 60_000),
    "spark.fargate.pending.max": _number(1, 5000),
    "spark.fargate.report.interval": _time(200, 600_000),
    "spark.fargate.launch.timeout": _time(1000, 3_600_000),
    "spark.fargate.launch.maxFailures": _number(1, 1000),
    "spark.fargate.missing.timeout": _time(1000, 600_000),
    "spark.fargate.lossReason.timeout": _time(500, 600_000),
    "spark.fargate.kill.grace": _time(200, 600_000),
    "spark.fargate.shutdown.timeout": _time(1000, 3_600_000),
    "spark.fargate.executor.driverTimeout": _time(1000, 3_600_000),
    "spark.fargate.driver.idleTimeout": _time(0, 86_400_000),
    "spark.fargate.insecure": _refused,
    "spark.authenticate.kms.key": _ANYTHING,
    "spark.authenticate.kms.ciphertext": _matching("[A-Za-z0-9+/=]{1,8192}", "base64"),
}


def check_plugin_settings(given: Mapping[str, str]) -> None:
    """Raises UsageError with everything that is wrong, not the first of it."""
    problems = []
    for name, value in given.items():
        if not name.startswith(("spark.fargate.", "spark.authenticate.kms.")):
            continue
        if name not in SETTINGS:
            near = get_close_matches(name, SETTINGS, n=1, cutoff=0.0)
            problems.append(f"{name} is no setting; the closest is {near[0]}")
        elif why := SETTINGS[name](value):
            problems.append(f"{name} = {value}: {why}")
    if problems:
        lines = ["settings that target fargate does not take:", *(f"  {problem}" for problem in problems)]
        raise UsageError("\n".join(lines), "docs/fargate-settings.md has all of them")
