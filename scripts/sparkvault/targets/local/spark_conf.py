"""Spark's settings on this machine: the protections, where things lie, and the private folders they stand in.

The secret reaches Spark through `spark-defaults.conf` in a folder that its owner alone can read: never through a
command line, which everyone sees.
"""

import secrets
import sys
from pathlib import Path

from spark_constructs.config import Spark, memory_mib
from sparkvault.targets.local.docker_engine import image_settings
from sparkvault.targets.local.folder import LocalFolder, unwritable, write_private
from sparkvault.targets.local.machine import WorkerSize, this_machine
from sparkvault.targets.local.ports import DRIVER_UI_PORT, LOOPBACK

#: Bits of the cluster's RPC secret.
SECRET_BITS = 256

#: Who may talk, and that nobody can listen. Source: Spark's security documentation, 4.2.
_PROTECTION = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.authEngineVersion": "2",
    # The default, AES/CTR, hides what is sent but does not notice when it is changed.
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    "spark.network.crypto.saslFallback": "false",
    "spark.io.encryption.enabled": "true",
    "spark.io.encryption.keySizeBits": "256",
    # REST submission knows no authentication.
    "spark.master.rest.enabled": "false",
    # The web UIs know no login, and every user of this machine reaches them: they show, and change nothing.
    "spark.ui.killEnabled": "false",
    "spark.master.ui.decommission.allow.mode": "DENY",
    "spark.acls.enable": "true",
}

#: On fewer cores than this the optimising compiler takes more from a short job than it gives (word count:
#: half of all CPU time), so drivers, which mostly plan and wait, do without it. Executors keep it.
CORES_FOR_OPTIMISING_DRIVERS = 4
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

#: What holds for processes of this machine only, or must not lie where a container shows it.
_OF_PROCESSES = (
    "spark.authenticate.secret",
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.pyspark.python",
)

#: Workers that go hand their blocks to those that stay.
_DECOMMISSION = {
    "spark.decommission.enabled": "true",
    "spark.storage.decommission.enabled": "true",
    "spark.storage.decommission.rddBlocks.enabled": "true",
    "spark.storage.decommission.shuffleBlocks.enabled": "true",
}

#: Daemons say what they do; executors, which share their log configuration, only what goes wrong.
_LOG = """\
rootLogger.level = warn
logger.daemons.name = org.apache.spark.deploy
logger.daemons.level = {daemon_level}
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss}} %p %c{{1}}: %m%n%ex
# True on every machine without Hadoop's native library, and of no use to anybody.
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
# Of terminals that jobs do not have.
logger.jline.name = jline
logger.jline.level = error
# spark-shell asks for its own level; this keeps what people see the same in all three shells.
logger.repl.name = org.apache.spark.repl.Main
logger.repl.level = warn
"""


def new_secret() -> str:
    """A fresh RPC secret for one cluster."""
    return secrets.token_hex(SECRET_BITS // 8)


def daemon_settings(secret: str) -> dict[str, str]:
    """Settings of master and workers."""
    return {
        **_PROTECTION,
        **_DECOMMISSION,
        "spark.authenticate.secret": secret,
        # A port that was taken in the last moment is our business: we tell the workers and the user.
        "spark.port.maxRetries": "0",
        # What a job takes that does not say: with more cores than that, two jobs run side by side.
        "spark.deploy.defaultCores": str(Spark().default_cores_per_application),
    }


def driver_settings(secret: str, master_url: str, size: WorkerSize, folder: LocalFolder) -> dict[str, str]:
    """Settings of drivers, and through them of executors."""
    quick = this_machine().cores < CORES_FOR_OPTIMISING_DRIVERS
    return {
        # Comes before a person's own spark.driver.extraJavaOptions, which may say otherwise.
        **({"spark.driver.defaultJavaOptions": QUICK_START} if quick else {}),
        **_PROTECTION,
        **_DECOMMISSION,
        "spark.authenticate.secret": secret,
        "spark.master": master_url,
        "spark.submit.deployMode": "client",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.ui.port": str(DRIVER_UI_PORT),
        "spark.port.maxRetries": "64",
        "spark.executor.memory": f"{executor_memory_mib(size)}m",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": str(folder.history),
        # Spark's default of 200 is for large clusters: on few cores most of a small query's time would be their start.
        "spark.sql.shuffle.partitions": str(max(4, 2 * size.workers * size.cores)),
        "spark.sql.warehouse.dir": str(folder.warehouse),
        # Hive's embedded catalog is for one program at a time and litters the folder one stands in.
        "spark.sql.catalogImplementation": "in-memory",
        "spark.pyspark.python": sys.executable,
    }


def in_containers(settings: dict[str, str]) -> dict[str, str]:
    """The same settings for containers: without the secret, which is mounted, and without this machine's places."""
    ours = {name: value for name, value in settings.items() if name not in _OF_PROCESSES}
    return {**image_settings(), **ours}


def executor_memory_mib(size: WorkerSize) -> int:
    """Heap of an executor where a job says nothing else: the configuration's default, or what a worker has."""
    return min(memory_mib(Spark().executor_memory), size.memory_mib)


def history_settings(folder: LocalFolder) -> dict[str, str]:
    """Settings of the history server; it reads files and needs no secret."""
    return {
        "spark.history.fs.logDirectory": str(folder.history),
        "spark.history.fs.update.interval": "2s",
        "spark.history.fs.cleaner.enabled": "false",
        "spark.ui.killEnabled": "false",
        "spark.port.maxRetries": "0",
    }


def write_conf(conf: Path, settings: dict[str, str], *, daemon_level: str) -> None:
    """Write a SPARK_CONF_DIR: settings and log configuration. Raises SparkvaultError where the disk does not let us."""
    try:
        conf.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(conf, error) from error
    lines = [f"{key}={_escaped(value)}\n" for key, value in settings.items()]
    write_private(conf / "spark-defaults.conf", "".join(lines))
    write_private(conf / "log4j2.properties", _LOG.format(daemon_level=daemon_level))


def _escaped(value: str) -> str:
    """A value as java.util.Properties reads it back."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
