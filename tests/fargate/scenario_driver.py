"""Drives `java/ScenarioDriver`: a real Spark driver in a JVM of its own, one context for each scenario."""

import json
import queue
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparkvault.java import find_java
from sparkvault.targets.local.spark_home import find_spark

SOURCES = Path(__file__).parent / "java"
ANSWER = "@@ "


def compile_driver(folder: Path, spark: Path) -> Path:
    """The scenario driver as a jar."""
    compiler = shutil.which("javac", path=str(find_java().home / "bin")) or shutil.which("javac")
    assert compiler, "the tests of the Fargate plugin need a JDK (Debian: apt-get install openjdk-17-jdk-headless)"
    classes = folder / "classes"
    classes.mkdir()
    sources = [str(path) for path in sorted(SOURCES.glob("*.java"))]
    command = [compiler, "-proc:none", "--release", "17", "-cp", f"{spark}/jars/*", "-d", str(classes), *sources]
    subprocess.run(command, check=True, timeout=120)
    jar = folder / "scenario-driver.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for path in classes.rglob("*.class"):
            archive.write(path, path.relative_to(classes))
    return jar


@dataclass
class Pending:
    """A command that was sent; ``result`` waits for its answer."""

    driver: "ScenarioDriver"
    number: int
    answers: "queue.Queue[dict[str, Any]]" = field(default_factory=queue.Queue)

    def result(self, seconds: float = 120.0) -> dict[str, Any]:
        """What the driver answered. Fails after so many seconds, with the end of the driver's log."""
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            end = self.driver.log_text()[-6000:]
            raise AssertionError(f"waited {seconds} s for the driver's answer, in vain:\n{end}") from None


class ScenarioDriver:
    """A driver that stock spark-submit started; the plugin stands on its class path."""

    def __init__(
        self, folder: Path, master: str, plugin: Path, application: Path, environment: Mapping[str, str]
    ) -> None:
        self.log = folder / "driver.log"
        self._pending: dict[int, Pending] = {}
        self._numbers = 0
        submit = [str(find_spark() / "bin" / "spark-submit"), "--master", master, "--class", "ScenarioDriver"]
        quick = ["--driver-memory", "1g", "--driver-java-options", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*submit, *quick, "--driver-class-path", str(plugin), str(application)],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, command: str, **more: Any) -> Pending:
        """Send a command."""
        self._numbers += 1
        pending = self._pending[self._numbers] = Pending(self, self._numbers)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": self._numbers, "do": command, **more}) + "\n")
        self.process.stdin.flush()
        return pending

    def ask(self, command: str, seconds: float = 120.0, **more: Any) -> dict[str, Any]:
        """Send a command and wait; its answer must be no error."""
        answer = self.tell(command, **more).result(seconds)
        assert "error" not in answer, f"{command}: {answer['error']}\n{self.log_text()[-4000:]}"
        return answer

    def state(self) -> dict[str, Any]:
        """How many executors there are, which were removed and why."""
        return self.ask("state")

    def log_text(self) -> str:
        """What it logged so far."""
        return self.log.read_text(errors="replace")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait(10)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                answer = json.loads(line.removeprefix(ANSWER))
                self._pending.pop(answer["id"]).answers.put(answer)
