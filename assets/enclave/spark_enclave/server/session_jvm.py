"""The command line of a session's JVM, as the image lays its parts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAIN_CLASS: Final = "org.sparkvault.enclave.SessionMain"


@dataclass(frozen=True, slots=True)
class SessionJvm:
    """Where Java, the enclave's jar, Spark's jars and the JVM's options lie."""

    java: Path = Path("/opt/java/bin/java")
    plugin: Path = Path("/opt/sparkvault/enclave.jar")
    spark_jars: Path = Path("/opt/spark/jars")
    options: Path = Path("/opt/sparkvault/session-jvm.options")

    def __call__(self, heap_mib: int, scratch: Path) -> Sequence[str]:
        """For a heap of so many MiB and a folder of the worker's own.

        Jars by name, in order: which of two classes of one name counts does not hang on the order of a folder.
        """
        jars = sorted(str(jar) for jar in self.spark_jars.glob("*.jar"))
        return [
            str(self.java),
            f"@{self.options}",
            f"-Xmx{heap_mib}m",
            f"-Djava.io.tmpdir={scratch}",
            "-XX:-CreateCoredumpOnCrash",
            *("-cp", ":".join([str(self.plugin), *jars]), MAIN_CLASS),
        ]
