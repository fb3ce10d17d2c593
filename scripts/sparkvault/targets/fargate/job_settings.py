"""The settings of a job on Fargate: what the stack and the configuration say, under what the person says."""

from collections.abc import Mapping
from dataclasses import dataclass

from spark_constructs.config import Fargate, FargateCapacity, FargateTask
from spark_constructs.fargate_sizes import FargateSize, smallest_fitting
from spark_constructs.job_interface import JOB_TAG
from spark_constructs.ports import BLOCK_MANAGER_PORT, DRIVER_PORT
from sparkvault.errors import UsageError
from sparkvault.targets.fargate.place import FargatePlace
from sparkvault.targets.fargate.plugin_settings import check_plugin_settings

#: Share of the heap that a driver or executor takes beside it, and the least in MiB (Spark's own defaults), and the
#: share where Python workers run beside the JVM (Spark's default for such jobs on Kubernetes).
OVERHEAD_SHARE, PYTHON_OVERHEAD_SHARE, LEAST_OVERHEAD_MIB = 0.1, 0.4, 384

#: Executors that a job starts with where it says nothing.
INITIAL_EXECUTORS = 2

#: How long an executor may idle. To let one go and start another costs about a minute: a start with the image's pull,
#: and blocks that move. Who waits so long before letting go never pays over twice what the best would have paid.
EXECUTOR_IDLE_SECONDS = 60

#: The same where it holds cached data, which is lost with it and made anew; Spark itself would wait for ever.
CACHED_EXECUTOR_IDLE_SECONDS = 1800

#: Names that people know from SDK version 1, which Spark 4 has not; the task's role gives the credentials.
_OLD_CREDENTIALS = "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"
_CREDENTIALS = "software.amazon.awssdk.auth.credentials.ContainerCredentialsProvider"
_CREDENTIALS_SETTING = "spark.hadoop.fs.s3a.aws.credentials.provider"

_UNITS = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}


@dataclass(frozen=True)
class DriverTask:
    """What a job's driver task is run with."""

    settings: dict[str, str]
    size: FargateSize
    """Of the driver's task, large enough for its memory and cores."""
    notices: tuple[str, ...]
    """What the person should know: what was rounded, replaced or is read differently."""


def driver_task(
    place: FargatePlace,
    configured: Fargate,
    *,
    job_id: str,
    tenant: str,
    job_bucket: str,
    given: Mapping[str, str],
    python: bool,
) -> DriverTask:
    """All settings of a job. ``given``: what the person set, flags included, which wins. Raises UsageError."""
    check_plugin_settings(given)
    share = PYTHON_OVERHEAD_SHARE if python else OVERHEAD_SHARE
    tags = f"{JOB_TAG}={job_id}"
    own = f"s3a://{job_bucket}/tenants/{tenant}"
    settings = {
        "spark.fargate.executor.taskDefinition": place.family(tenant, "executor"),
        "spark.fargate.executor.subnets": place.subnets,
        "spark.fargate.executor.securityGroups": place.executor_groups,
        "spark.fargate.capacityProviders": capacity_providers(configured.capacity),
        "spark.fargate.platformVersion": configured.platform_version,
        "spark.fargate.report.interval": f"{configured.report_interval_seconds}s",
        "spark.fargate.allocate.interval": f"{configured.allocate_interval_ms}ms",
        "spark.fargate.pending.max": str(configured.max_pending),
        "spark.fargate.logs.group": place.log_group,
        "spark.fargate.logs.streamPrefix": f"{tenant}/executor",
        "spark.driver.port": str(DRIVER_PORT),
        "spark.driver.blockManager.port": str(BLOCK_MANAGER_PORT),
        "spark.blockManager.port": str(BLOCK_MANAGER_PORT),
        "spark.executor.cores": str(max(1, int(configured.executor.vcpu))),
        "spark.executor.memory": f"{heap_mib(configured.executor, share)}m",
        "spark.driver.memory": f"{heap_mib(configured.driver, share)}m",
        "spark.hadoop.fs.s3a.endpoint.region": place.region,
        # A tenant may list its own prefix only: what lies above it is not asked whether it is a file.
        "spark.hadoop.fs.s3a.performance.flags": "mkdir",
        "spark.eventLog.enabled": "true",
        "spark.storage.decommission.fallbackStorage.path": f"{own}/shuffle/",
        "spark.storage.decommission.fallbackStorage.cleanUp": "true",
    }
    if python:
        settings |= {f"spark.{part}.memoryOverheadFactor": str(share) for part in ("driver", "executor")}
    if given.get("spark.executor.instances") is None and given.get("spark.dynamicAllocation.enabled") is None:
        initial = str(min(INITIAL_EXECUTORS, configured.max_executors))
        settings |= {**to_zero(), "spark.dynamicAllocation.initialExecutors": initial}
    settings |= {"spark.dynamicAllocation.maxExecutors": str(configured.max_executors)}
    merged = settings | dict(given)
    notices = _old_names(merged)
    # Never another job's or tenant's, whatever was given.
    merged |= {
        "spark.fargate.tenant": tenant,
        "spark.fargate.tags": ",".join(filter(None, [tags, given.get("spark.fargate.tags", "")])),
        "spark.eventLog.dir": f"{own}/events/",
    }
    _check_executors(merged, configured.max_executors)
    size, rounded = driver_size(merged, configured.driver)
    return DriverTask(merged, size, (*notices, *rounded))


def to_zero() -> dict[str, str]:
    """Executors go when they idle, all of them too: their shuffle blocks lie in the fallback storage."""
    return {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.minExecutors": "0",
        "spark.dynamicAllocation.executorIdleTimeout": f"{EXECUTOR_IDLE_SECONDS}s",
        "spark.dynamicAllocation.cachedExecutorIdleTimeout": f"{CACHED_EXECUTOR_IDLE_SECONDS}s",
        "spark.dynamicAllocation.shuffleTracking.enabled": "false",
    }


def capacity_providers(capacity: FargateCapacity) -> str:
    """``spark.fargate.capacityProviders`` for the configured mix."""
    if capacity.spot_weight == 0:
        return "FARGATE"
    if capacity.on_demand_weight == 0 and capacity.on_demand_base == 0:
        return "FARGATE_SPOT"
    on_demand = f"FARGATE:base={capacity.on_demand_base}:weight={capacity.on_demand_weight}"
    return f"{on_demand},FARGATE_SPOT:weight={capacity.spot_weight}"


def heap_mib(task: FargateTask, overhead_share: float) -> int:
    """The largest heap that fits the task together with what Spark reckons beside it."""
    return min(int(task.memory_mib / (1 + overhead_share)), task.memory_mib - LEAST_OVERHEAD_MIB)


def driver_size(settings: Mapping[str, str], configured: FargateTask) -> tuple[FargateSize, tuple[str, ...]]:
    """The smallest size of Fargate that holds the driver, and what was rounded. Raises UsageError."""
    heap = mebibytes("spark.driver.memory", settings["spark.driver.memory"])
    share = float(settings.get("spark.driver.memoryOverheadFactor", OVERHEAD_SHARE))
    given = settings.get("spark.driver.memoryOverhead")
    overhead = mebibytes("spark.driver.memoryOverhead", given) if given else max(int(heap * share), LEAST_OVERHEAD_MIB)
    cores = settings.get("spark.driver.cores")
    try:
        vcpu = float(cores) if cores else configured.vcpu
    except ValueError:
        raise UsageError(f"spark.driver.cores = {cores}: a number of vCPU is expected", "write 1, 2 or 4") from None
    size = smallest_fitting(vcpu, heap + overhead)
    if size is None:
        raise UsageError(
            f"a driver of {vcpu:g} vCPU and {heap + overhead} MiB (heap and what is beside it) fits no Fargate task",
            "the largest has 16 vCPU and 122880 MiB; give spark.driver.memory and spark.driver.cores that fit",
        )
    asked = FargateSize(vcpu, heap + overhead)
    if size == asked or size == FargateSize(configured.vcpu, configured.memory_mib):
        return size, ()
    what = f"the driver's {asked.vcpu:g} vCPU and {asked.memory_mib} MiB (overhead included)"
    return size, (f"{what} become {size.vcpu:g} vCPU and {size.memory_mib} MiB: Fargate has sizes",)


def mebibytes(setting: str, text: str) -> int:
    """Spark's ``8g``, ``512m``; a bare number is MiB. Raises UsageError."""
    number, unit = text.strip().lower().removesuffix("b"), 1.0
    if number and number[-1] in _UNITS:
        number, unit = number[:-1], _UNITS[number[-1]]
    if not number.isdigit():
        raise UsageError(f"{setting} = {text}: a size such as 4g or 512m is expected", "write it so")
    return int(int(number) * unit)


def _old_names(settings: dict[str, str]) -> tuple[str, ...]:
    if settings.get(_CREDENTIALS_SETTING) != _OLD_CREDENTIALS:
        return ()
    settings[_CREDENTIALS_SETTING] = _CREDENTIALS
    return (f"{_OLD_CREDENTIALS} is of an SDK that Spark 4 has not; {_CREDENTIALS} takes its place: the task's role",)


def _check_executors(settings: Mapping[str, str], most: int) -> None:
    for name in ("spark.executor.instances", "spark.dynamicAllocation.maxExecutors"):
        value = settings.get(name, "0")
        if not value.isdigit() or int(value) > most:
            raise UsageError(
                f"{name} = {value}: a job takes at most {most} executors here", "or change fargate.max_executors"
            )
