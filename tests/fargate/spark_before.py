"""The Spark minor before ours, from Maven: just what a driver and its executors run on."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

VERSION = "4.1.3"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.sparkvault</groupId><artifactId>spark-before</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.spark</groupId><artifactId>spark-core_2.13</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""


def spark_of_before() -> Path:
    """A folder with `jars`, kept beside the plugins that were built. Raises subprocess.SubprocessError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkvault"
    home = cache / f"spark-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"spark-{VERSION}.lock", timeout=600):
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                fresh = Path(folder) / "spark"
                fresh.mkdir()
                (Path(folder) / "pom.xml").write_text(_POM)
                copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
                goals = [copy, f"-DoutputDirectory={fresh / 'jars'}", "-DincludeScope=runtime"]
                command = [shutil.which("mvn") or "mvn", "--quiet", "--batch-mode", "-f", f"{folder}/pom.xml", *goals]
                subprocess.run(command, check=True, timeout=500)
                fresh.rename(home)
    return home
