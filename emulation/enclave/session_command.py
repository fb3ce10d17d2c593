"""Where this machine has the parts of a session's JVM that an image would have at fixed places."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from emulation.enclave.isolation import show_read_only
from spark_enclave.server.session_jvm import SessionJvm
from sparkvault.java import find_java
from sparkvault.plugins import plugin_jar
from sparkvault.project import project_root
from sparkvault.targets.local.spark_home import find_spark


def find_session_jvm() -> SessionJvm:
    """Java of this machine, Spark of the virtual environment, the plugin built from here; raises SparkvaultError."""
    return SessionJvm(
        java=find_java().program,
        plugin=plugin_jar("enclave"),
        spark_jars=find_spark() / "jars",
        options=project_root() / "assets" / "spark-plugins" / "enclave" / "session-jvm.options",
    )


def reachable_for_sessions(jvm: SessionJvm, folder: Path) -> SessionJvm:
    """The same parts where the sessions' own users may read them: a clone may lie in a home closed to others."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    show_read_only(jvm.spark_jars, folder / "jars")
    plugin, options = folder / "enclave.jar", folder / "session-jvm.options"
    for source, target in ((jvm.plugin, plugin), (jvm.options, options)):
        shutil.copyfile(source, target)
        target.chmod(0o644)
    return replace(jvm, plugin=plugin, spark_jars=folder / "jars", options=options)
