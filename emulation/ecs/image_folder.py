"""What the image for Fargate holds, as a folder of this machine, for tasks that are processes."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sparkvault.java import find_java
from sparkvault.plugins import plugin_jar
from sparkvault.project import project_root
from sparkvault.targets.local.spark_home import find_spark

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
FETCH_TIMEOUT_SECONDS = 300

_IMAGES = project_root() / "assets" / "spark-images"
_PROGRAMS = ("driver", "shell", "wait-for-shell")


class ImageFolder:
    """Spark, the jars that the images add, the plugin and our own programs under one folder.

    Spark is this machine's, linked file by file; the rest is what the Dockerfile's stage ``fargate`` adds.
    ``s3_endpoint``: where s3a goes instead of to AWS.
    """

    def __init__(self, folder: Path, s3_endpoint: str | None = None) -> None:
        self.spark = folder / "spark"
        self.programs = folder / "fargate"
        _link_all(find_spark(), self.spark, skip=("bin", "jars", "conf", "work-dir"))
        _link_all(find_spark() / "bin", self.spark / "bin", skip=("spark-submit",))
        (self.spark / "bin" / "spark-submit-stock").symlink_to(find_spark() / "bin" / "spark-submit")
        shutil.copy(_IMAGES / "fargate" / "spark-submit", self.spark / "bin" / "spark-submit")
        _link_all(find_spark() / "jars", self.spark / "jars")
        for jar in [plugin_jar("fargate"), *image_jars()]:
            (self.spark / "jars" / jar.name).symlink_to(jar)
        self.programs.mkdir()
        for name in _PROGRAMS:
            shutil.copy(_IMAGES / "fargate" / name, self.programs / name)
        (self.spark / "conf").mkdir()
        settings = (_IMAGES / "base" / "spark-defaults.conf").read_text(encoding="utf-8")
        if s3_endpoint is not None:
            settings += f"spark.hadoop.fs.s3a.endpoint {s3_endpoint}\nspark.hadoop.fs.s3a.path.style.access true\n"
        # Two JVMs for each job on a small machine: the compiler that starts fastest.
        settings += "spark.executor.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC\n"
        settings += "spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC\n"
        (self.spark / "conf" / "spark-defaults.conf").write_text(settings, encoding="utf-8")
        self.work = folder / "work-dir"
        self.work.mkdir()

    @property
    def paths(self) -> dict[str, str]:
        """Paths in the image → paths here."""
        return {
            "/opt/spark/work-dir": str(self.work),
            "/opt/spark": str(self.spark),
            "/opt/fargate": str(self.programs),
        }

    @property
    def environment(self) -> dict[str, str]:
        """What the image's ENV lines set."""
        java = find_java().home
        return {
            "SPARK_HOME": str(self.spark),
            "SPARK_WORK_DIR": str(self.work),
            "JAVA_HOME": str(java),
            "PYSPARK_PYTHON": sys.executable,
            "PATH": f"{self.spark}/bin:{java}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
        }


def image_jars() -> list[Path]:
    """The jars that the images add to Spark's, by their lock file; fetched once for each machine and lock."""
    lock = _IMAGES / "build" / "jars.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkvault" / "image-jars" / digest
    if not cache.is_dir():
        partial = cache.with_name(f"{digest}.{os.getpid()}")
        program = [sys.executable, str(_IMAGES / "build" / "fetch_jars.py"), str(lock), MAVEN_CENTRAL, str(partial)]
        subprocess.run(program, check=True, capture_output=True, timeout=FETCH_TIMEOUT_SECONDS)
        try:
            partial.rename(cache)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return sorted(cache.glob("*.jar"))


def _link_all(source: Path, target: Path, skip: tuple[str, ...] = ()) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name not in skip:
            (target / entry.name).symlink_to(entry)
