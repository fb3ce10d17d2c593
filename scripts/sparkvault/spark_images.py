"""Spark's images in the Docker engine of this machine: found by a fingerprint of their source, or built."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from sparkvault.errors import SparkvaultError
from sparkvault.project import project_root

#: What the images are called where nobody pushes them anywhere.
REPOSITORY = "sparkvault/spark-{name}"
#: Seconds for one image: some five minutes where nothing is cached.
BUILD_TIMEOUT_SECONDS = 2400

#: Neither belongs to an image: a change there makes no new one.
_NOT_IN_CONTEXT = {".md", ".pyc"}

#: How the two builders of Docker say where they are: `Step 12/41 : RUN …`, `#14 [spark 3/5] RUN …`.
_STEP = re.compile(r"^(?:Step (?P<classic>\d+/\d+) : |#\d+ \[(?P<buildkit>[^\]]*\d+/\d+)\] )")


def context() -> Path:
    """Folder of the Dockerfile and all it copies."""
    return project_root() / "assets" / "spark-images"


def fingerprint(folder: Path, *, fargate: bool = False) -> str:
    """Twelve hex digits that change with any file of the context and its mode.

    ``fargate``: folder `fargate` counts, too; it belongs to no other image, and the plugin's jar is put there.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if (
            path.is_file()
            and path.suffix not in _NOT_IN_CONTEXT
            and (fargate or folder / "fargate" not in path.parents)
        ):
            kind = "x" if os.access(path, os.X_OK) else "-"
            digest.update(f"{path.relative_to(folder)}\0{kind}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def reference(name: str) -> str:
    """The image of stage ``name`` that belongs to the source as it is now, there or not."""
    return f"{REPOSITORY.format(name=name)}:{fingerprint(context(), fargate=name == 'fargate')}"


def docker_program() -> str:
    """The docker client: what `CDK_DOCKER` names, or `docker`. Raises SparkvaultError where there is none."""
    program = shutil.which(os.environ.get("CDK_DOCKER", "docker"))
    if program is None:
        raise SparkvaultError("there is no docker client", "install Docker, or use `--engine process`")
    return program


def is_built(name: str, program: str) -> bool:
    """Whether the engine has that image. Raises SparkvaultError where it does not answer."""
    try:
        answer = subprocess.run(
            [program, "image", "inspect", "--format", "{{.Id}}", reference(name)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SparkvaultError("the Docker engine did not answer within 60 s", "is it healthy? `docker info`") from error
    return answer.returncode == 0


def ensure(name: str, program: str, log: Path, progress: Callable[[str], None]) -> str:
    """Reference of that image, built where it is not there yet. Raises SparkvaultError with the build's last lines."""
    wanted = reference(name)
    if not is_built(name, program):
        build(name, [wanted, f"{REPOSITORY.format(name=name)}:latest"], program, log, progress)
    return wanted


def build(
    name: str, tags: list[str], program: str, log: Path, progress: Callable[[str], None], *, anew: bool = False
) -> None:
    """Build that image under those tags; ``anew``: with nothing that an earlier build left. Raises SparkvaultError."""
    progress(f"building image {name} (some minutes the first time); the log is {log}")
    command = [program, "build", "--target", name, *(["--no-cache"] if anew else [])]
    command += [word for tag in tags for word in ("--tag", tag)]
    try:
        code = _run_logged([*command, str(context())], log, lambda step: progress(f"building image {name}: {step}"))
    except subprocess.TimeoutExpired as error:
        raise SparkvaultError(
            f"building image {name} took longer than {BUILD_TIMEOUT_SECONDS} s", f"its log is {log}"
        ) from error
    if code:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-12:]
        raise SparkvaultError(f"image {name} could not be built:\n" + "\n".join(said), f"the whole log is {log}")


def _run_logged(command: list[str], log: Path, tell: Callable[[str], None]) -> int:
    """Exit code of a build whose output goes to ``log``; ``tell`` hears of each step. Raises TimeoutExpired."""
    with log.open("wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as build:  # fmt: skip

        def copy() -> None:
            told = ""
            for line in build.stdout or ():
                output.write(line)
                output.flush()
                match = _STEP.match(line.decode(errors="replace"))
                step = "step " + (match["classic"] or match["buildkit"]) if match else told
                if step != told:
                    told = step
                    tell(step)

        copier = threading.Thread(target=copy, daemon=True)
        copier.start()
        try:
            code = build.wait(BUILD_TIMEOUT_SECONDS)
        except BaseException:
            build.terminate()
            raise
        finally:
            copier.join(10)
    return code
