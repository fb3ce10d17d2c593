"""RunTask's parameters for a driver or shell: its command, environment, network, tags."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spark_constructs.fargate_sizes import FargateSize
from spark_constructs.job_interface import CONNECT_PORT, FILE_PREFIX, JOB_TAG, SUBMITTER_TAG, TENANT_TAG
from sparkvault.errors import UsageError
from sparkvault.targets.fargate.place import FargatePlace
from sparkvault.targets.protocol import Language
from sparkvault.targets.remote.submission import Submission

#: ECS API reference, TaskOverride: all overrides of a call together, in characters.
OVERRIDES_MAX_CHARACTERS = 8192

#: Where the image has its programs.
SPARK_BIN = "/opt/spark/bin"
DRIVER_PROGRAM = "/opt/fargate/driver"
SHELL_PROGRAM = "/opt/fargate/shell"

#: Spark Connect's server (sbin/start-connect-server.sh), and how spark-submit is told to run a class of Spark itself.
CONNECT_SERVER, NO_APPLICATION = "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"

SHELLS: dict[Language, str] = {"python": "pyspark", "scala": "spark-shell", "sql": "spark-sql"}

#: Flags of spark-submit that are settings, too; on this master some are heeded as settings only.
FLAG_SETTINGS = {
    "--driver-cores": "spark.driver.cores",
    "--driver-memory": "spark.driver.memory",
    "--executor-cores": "spark.executor.cores",
    "--executor-memory": "spark.executor.memory",
    "--num-executors": "spark.executor.instances",
}
_CONF = ("--conf", "-c")


@dataclass(frozen=True)
class Flags:
    """spark-submit's flags taken apart: settings, and what remains in order."""

    settings: dict[str, str]
    others: list[str]


def take_settings(arguments: list[str]) -> Flags:
    """Part settings from other flags. The flags have been checked."""
    settings: dict[str, str] = {}
    others: list[str] = []
    words = list(arguments)
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag in _CONF or flag in FLAG_SETTINGS:
            value = value if equals else words.pop(0)
            name, _, setting = value.partition("=") if flag in _CONF else (FLAG_SETTINGS[flag], "", value)
            settings[name.strip()] = setting.strip()
        else:
            others.append(flag + equals + value)
    return Flags(settings, others)


def job_command(
    submission: Submission, settings: Mapping[str, str], others: list[str], master: str, files: str
) -> list[str]:
    """What the driver's container runs. ``files``: ``s3a://…/jobs/<id>/files``, where the job's files are.

    Raises UsageError for a kind of application that has no program there.
    """
    flags = ["--master", master, *_confs(settings), *(_at(word, files) for word in others)]
    main = submission.main or ""
    address = main if "://" in main else f"{files}/{main}"
    arguments = submission.spec.arguments
    match submission.kind:
        case "python" | "jar":
            return [DRIVER_PROGRAM, f"{SPARK_BIN}/spark-submit", *flags, address, *arguments]
        case "sql":
            return [DRIVER_PROGRAM, f"{SPARK_BIN}/spark-sql", *flags, "-f", address, *arguments]
        case _:
            raise UsageError(
                f"{submission.spec.application}: target fargate runs no Scala scripts",
                "pack it in a jar, or paste it into `sparkvault shell --lang scala --target fargate`",
            )


def shell_command(language: Language, settings: Mapping[str, str], others: list[str], master: str) -> str:
    """What ECS Exec runs in a shell's container: one line, words quoted for a shell."""
    words = [SHELL_PROGRAM, f"{SPARK_BIN}/{SHELLS[language]}", "--master", master, *_confs(settings), *others]
    return " ".join(_quoted(word) for word in words)


def connect_command(settings: Mapping[str, str], others: list[str], master: str, idle_seconds: int) -> list[str]:
    """What the container of a Spark Connect server runs.

    It listens on the task's loopback alone, asks for the token that the plugin makes of the job's secret, and ends when
    nothing has run for so many seconds. Raises UsageError for settings that would undo that.
    """
    ours = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(CONNECT_PORT),
        "spark.fargate.driver.idleTimeout": f"{idle_seconds}s",
    }
    for name in settings:
        if name.startswith(("spark.connect.grpc.", "spark.connect.authenticate.")):
            raise UsageError(
                f"{name} is not for a person to set here", "leave it out: where the server listens is fixed"
            )
    flags = ["--master", master, *_confs({**settings, **ours}), *others]
    return [DRIVER_PROGRAM, f"{SPARK_BIN}/spark-submit", *flags, "--class", CONNECT_SERVER, NO_APPLICATION]


def environment(place: FargatePlace, tenant: str, job_id: str, ciphertext: str) -> dict[str, str]:
    """What the plugin's driver reads (its README). The secret is wrapped; nothing of it is in clear."""
    return {
        "SPARK_FARGATE_MASTER": place.master,
        "SPARK_FARGATE_REGION": place.region,
        "SPARK_FARGATE_KEY": place.key_arn,
        "SPARK_FARGATE_TENANT": tenant,
        "SPARK_FARGATE_APPLICATION": job_id,
        "SPARK_FARGATE_CIPHERTEXT": ciphertext,
    }


def run_task(
    place: FargatePlace,
    *,
    tenant: str,
    kind: str,
    job_id: str,
    submitter: str,
    command: list[str],
    variables: Mapping[str, str],
    size: FargateSize,
    settings: Mapping[str, str],
    platform_version: str,
) -> dict[str, Any]:
    """RunTask's parameters. ``kind``: ``driver`` or ``shell``. Raises UsageError where ECS would not take them."""
    overrides = {
        "cpu": str(int(size.vcpu * 1024)),
        "memory": str(size.memory_mib),
        "containerOverrides": [
            {
                "name": f"spark-{kind}",
                "command": command,
                "environment": [{"name": name, "value": value} for name, value in sorted(variables.items())],
            }
        ],
    }
    long = len(json.dumps(overrides))
    if long > OVERRIDES_MAX_CHARACTERS:
        raise UsageError(
            f"the job's settings and arguments take {long} characters, and ECS takes {OVERRIDES_MAX_CHARACTERS}",
            "put long lists into a file (--files) and name that",
        )
    return {
        "cluster": place.ecs_cluster,
        "taskDefinition": place.family(tenant, kind),
        "count": 1,
        "launchType": "FARGATE",
        "platformVersion": platform_version,
        "clientToken": f"{job_id}-{kind}",
        "startedBy": f"sparkvault-{job_id}",
        "enableExecuteCommand": kind == "shell",
        "enableECSManagedTags": True,
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": settings.get("spark.fargate.driver.subnets", place.subnets).split(","),
                "securityGroups": settings.get("spark.fargate.driver.securityGroups", place.driver_groups).split(","),
                "assignPublicIp": "DISABLED",
            }
        },
        "overrides": overrides,
        "tags": [
            {"key": JOB_TAG, "value": job_id},
            {"key": TENANT_TAG, "value": tenant},
            {"key": SUBMITTER_TAG, "value": submitter},
        ],
    }


def _confs(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(settings.items()) for word in ("--conf", f"{name}={value}")]


def _at(word: str, files: str) -> str:
    """Names in the bucket as addresses; only lists of files have such."""
    if not word.startswith(FILE_PREFIX) and f",{FILE_PREFIX}" not in word:
        return word
    return ",".join(
        f"{files}/{item.removeprefix(FILE_PREFIX)}" if item.startswith(FILE_PREFIX) else item
        for item in word.split(",")
    )


def _quoted(word: str) -> str:
    safe = word and all(letter.isalnum() or letter in "@%+=:,./-_" for letter in word)
    return word if safe else "'" + word.replace("'", "'\"'\"'") + "'"
