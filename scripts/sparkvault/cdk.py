"""Runs the pinned CDK CLI with our app, and reads what it wrote."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from spark_constructs.config import Deployment
from sparkvault.errors import SparkvaultError, UsageError
from sparkvault.project import project_root, work_folder
from sparkvault.toolchain import find_cdk, find_node, tool_environment

#: How many of the last lines of the CDK's output an error shows.
SHOWN_LINES = 15

#: What synthesis reads.
_INPUT_FOLDERS = ("stacks", "constructs", "assets")
_INPUT_FILES = ("app.py", "cdk.json", "requirements.txt")


@dataclass(frozen=True)
class SynthesizedStack:
    """A stack as synthesized: its name in CloudFormation, its template, and the ids of all stacks that it needs."""

    id: str
    name: str
    template: Path
    dependencies: frozenset[str] = frozenset()

    def resource_count(self) -> int:
        """How many resources the template has."""
        return len(json.loads(self.template.read_text(encoding="utf-8")).get("Resources", {}))


class Cdk:
    """The CDK CLI, working on one configuration.

    The effective configuration is written to the work folder and handed to the app, so that the command line and
    the app cannot differ.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._cluster = deployment.cluster
        # As the app finds it, which runs in the project's folder.
        image = deployment.enclaves.image
        self._enclave_image = project_root() / image if image else None
        self._environment = tool_environment()
        find_node(self._environment)
        self._program = str(find_cdk())
        self._folder = work_folder() / "cdk"
        self._folder.mkdir(exist_ok=True)
        self.output = self._folder / "out"
        self._config = self._folder / "deployment.json"
        self._config.write_text(deployment.model_dump_json(indent=2), encoding="utf-8")

    def synth(self) -> list[SynthesizedStack]:
        """Synthesize all stacks; what nothing has changed since the last time is taken from there.

        Raises SparkvaultError with what the app said where it fails.
        """
        record = self._folder / "synthesized-from"
        inputs = self._fingerprint()
        if record.is_file() and record.read_text(encoding="utf-8") == inputs and self.output.is_dir():
            return self.stacks()
        record.unlink(missing_ok=True)
        app = shlex.join([sys.executable, "app.py"])
        context = f"sparkvault_config={self._config}"
        self._run(["synth", "--quiet", "--app", app, "--context", context, "--output", str(self.output)], "synth")
        record.write_text(inputs, encoding="utf-8")
        return self.stacks()

    def _fingerprint(self) -> str:
        """SHA-256 over everything that synthesis reads: configuration, code, assets, pinned versions."""
        digest = hashlib.sha256(sys.version.encode())
        root = project_root()
        inside = (file for folder in _INPUT_FOLDERS for file in (root / folder).rglob("*"))
        named = {self._enclave_image} if self._enclave_image else set()
        for file in sorted({self._config, *(root / name for name in _INPUT_FILES), *inside, *named}):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file}\0{file.stat().st_mode}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def stacks(self) -> list[SynthesizedStack]:
        """The stacks of the last synthesis, dependencies first."""
        manifest = json.loads((self.output / "manifest.json").read_text(encoding="utf-8"))
        found = {
            name: artifact
            for name, artifact in manifest["artifacts"].items()
            if artifact["type"] == "aws:cloudformation:stack"
        }
        stacks: dict[str, SynthesizedStack] = {}

        def add(name: str) -> SynthesizedStack:
            if name not in stacks:
                # Assets are artifacts, too, that a stack depends on.
                needed = [add(other) for other in found[name].get("dependencies", []) if other in found]
                stacks[name] = SynthesizedStack(
                    id=found[name].get("displayName", name),
                    name=found[name]["properties"].get("stackName", name),
                    template=self.output / found[name]["properties"]["templateFile"],
                    dependencies=frozenset().union(*({each.id, *each.dependencies} for each in needed)),
                )
            return stacks[name]

        for name in found:
            add(name)
        return list(stacks.values())

    def chosen(self, names: list[str]) -> list[SynthesizedStack]:
        """The stacks of those names, whole (`sparkvault-network`), short (`network`) or ids; all where none is given.

        Raises UsageError where there is no such stack.
        """
        stacks = self.stacks()
        if not names:
            return stacks
        chosen, prefix = [], f"{self._cluster}-"
        for name in names:
            match = [stack for stack in stacks if name in (stack.name, stack.id, stack.name.removeprefix(prefix))]
            if not match:
                known = ", ".join(stack.name for stack in stacks)
                raise UsageError(f"there is no stack {name!r}", f"the stacks are {known}")
            chosen += match
        return chosen

    def diff(self, stacks: list[SynthesizedStack]) -> bool:
        """Print what deploying would change, in the CDK's own words; True if there is a difference."""
        command = ["diff", "--app", str(self.output), "--fail", *(stack.id for stack in stacks)]
        result = subprocess.run(
            [self._program, *command], cwd=project_root(), env=self._environment, stdin=subprocess.DEVNULL, check=False
        )
        if result.returncode not in (0, 1):
            raise SparkvaultError(f"`cdk diff` ended with {result.returncode}", "see its message above")
        return result.returncode == 1

    def deploy(self, stacks: list[SynthesizedStack], method: str, on_line: Callable[[str], None]) -> None:
        """Deploy these stacks and what they depend on, from the last synthesis."""
        options = ["--require-approval", "never", "--progress", "events", f"--method={method}"]
        if method == "change-set":
            # What an earlier destroy kept (bucket, log groups) has our names, and is taken over.
            options.append("--import-existing-resources")
        self._run(["deploy", "--app", str(self.output), *options, *(stack.id for stack in stacks)], "deploy", on_line)

    def destroy(self, stacks: list[SynthesizedStack], on_line: Callable[[str], None]) -> None:
        """Destroy these stacks, and those that depend on them."""
        self._run(
            ["destroy", "--app", str(self.output), "--force", *(stack.id for stack in stacks)], "destroy", on_line
        )

    def _run(self, arguments: list[str], verb: str, on_line: Callable[[str], None] | None = None) -> None:
        """Run the CDK CLI, keep its whole output in a log file, and hand on each line."""
        log = self._log_file(verb)
        last: list[str] = []
        with log.open("w", encoding="utf-8") as file:
            for line in self._lines([*arguments, "--ci", "--no-color"], verb):
                file.write(line + "\n")
                last = [*last, line][-SHOWN_LINES:]
                if on_line is not None:
                    on_line(line)
        if self._code != 0:
            shown = "\n".join(f"  {line}" for line in last if line.strip())
            raise SparkvaultError(f"`cdk {verb}` ended with {self._code}:\n{shown}", f"its whole output is in {log}")

    def _lines(self, arguments: list[str], verb: str) -> Iterator[str]:
        with subprocess.Popen(
            [self._program, *arguments],
            cwd=project_root(),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None  # noqa: S101 (it was asked for as a pipe)
            for line in process.stdout:
                yield line.rstrip("\n")
        self._code = process.returncode

    def _log_file(self, verb: str) -> Path:
        folder = self._folder / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{verb}-{datetime.now(UTC):%Y%m%d-%H%M%S}.log"
