"""From what a person asked for to the command that runs it: checked first, as nothing may be half done."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sparkvault.errors import UsageError
from sparkvault.jobs import JobSpec
from sparkvault.spark_submit import check_flags
from sparkvault.targets.local.docker_engine import JOB_FILES, DockerEngine
from sparkvault.targets.local.folder import unwritable
from sparkvault.targets.local.job_folder import JobFolder, Launch
from sparkvault.targets.local.ports import DRIVER_UI_PORT
from sparkvault.targets.local.process_engine import ProcessEngine

ApplicationKind = Literal["python", "jar", "scala", "sql"]

_KINDS: dict[str, ApplicationKind] = {".py": "python", ".jar": "jar", ".scala": "scala", ".sql": "sql"}


@dataclass(frozen=True)
class Application:
    """An application file of this machine, and what runs it."""

    path: Path
    kind: ApplicationKind


@dataclass(frozen=True)
class Submission:
    """A job that passed the checks."""

    spec: JobSpec
    application: Application
    settings: dict[str, str]
    """What `--conf` and its like set."""

    def prepare(self, engine: ProcessEngine | DockerEngine, job: JobFolder) -> Launch:
        """Keep the application as it is now, and say how it is run; nothing in that is secret.

        The job is what was submitted, whatever is edited meanwhile. Raises SparkvaultError.
        """
        kind, name = self.application.kind, self.application.path.name
        try:
            shutil.copyfile(self.application.path, job.files / name)
            if kind == "scala":
                _wrap_scala(self.spec.arguments, job.files, name)
            if isinstance(engine, DockerEngine):
                scripts, files = JOB_FILES, JOB_FILES
            else:
                scripts, files = _without_spaces(job.files) if kind == "scala" else job.files, job.files
        except OSError as error:
            raise unwritable(job.files, error) from error
        # spark-shell shows a progress bar where nobody said otherwise; what a person says comes later, and counts.
        flags = ["--conf", "spark.ui.showConsoleProgress=false", *self.spec.spark_arguments]
        flags += ["--conf", f"spark.eventLog.dir={job.event_log}"]
        match kind:
            case "scala":
                program = "spark-shell"
                rest = [part for one in (_PRELUDE, name, _FINISH) for part in ("-i", str(scripts / one))]
            case "sql":
                program, rest = "spark-sql", ["-f", str(files / name), *self.spec.arguments]
            case "python" | "jar":
                program, rest = "spark-submit", [str(files / name), *self.spec.arguments]
        container = (engine.docker, engine.container(self.spec.id)) if isinstance(engine, DockerEngine) else None
        code = [self.application.path.parent, *map(Path, filter(None, os.getenv("PYTHONPATH", "").split(os.pathsep)))]
        return Launch(
            local_folder=engine.folder.root,
            command=engine.driver_command(program, job.path, self.spec.id, code),
            arguments=[*flags, *rest],
            folder=Path.cwd(),
            stdin=job.files / _INPUT if kind == "scala" else None,
            # Modules beside the application are found although it runs from a copy.
            python_path=os.pathsep.join(filter(None, (str(self.application.path.parent), os.getenv("PYTHONPATH")))),
            ui_port=self._ui_port,
            temporary=scripts.parent if scripts not in (job.files, JOB_FILES) else None,
            container=container,
        )

    @property
    def _ui_port(self) -> int:
        """The port from which the driver looks for a free one for its web UI."""
        given = self.settings.get("spark.ui.port", "")
        return int(given) if given.isdigit() and int(given) > 0 else DRIVER_UI_PORT


def check(spec: JobSpec) -> Submission:
    """The job, if it can be run. Raises UsageError with everything one has to know to mend it."""
    application = _application(spec)
    settings = check_flags(spec.spark_arguments)
    if application.kind == "sql" and spec.arguments:
        _check_sql_arguments(spec.arguments)
    return Submission(spec, application, settings)


def _application(spec: JobSpec) -> Application:
    scheme = urlsplit(spec.application).scheme
    if scheme not in ("", "file") and "://" in spec.application:
        raise UsageError(f"{spec.application}: target `local` runs files of this machine", "copy it here first")
    path = Path(urlsplit(spec.application).path if scheme == "file" else spec.application).expanduser()
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{spec.application} is no application", "give a .py, .jar, .scala or .sql file")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(
            f"the application {spec.application} {what}", "give the path of a .py, .jar, .scala or .sql file"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"the application {spec.application} cannot be read: {error.strerror}") from error
    return Application(path.absolute(), kind)


def _check_sql_arguments(arguments: list[str]) -> None:
    """A SQL script has no arguments but variables: `-d name=value`, `--hivevar name=value`."""
    flags, values = arguments[::2], arguments[1::2]
    if len(flags) != len(values) or not all(flag in ("-d", "--define", "--hivevar") for flag in flags):
        raise UsageError("a .sql application takes variables only", "write -d name=value, and ${name} in the script")


# A script in spark-shell goes on after an error and ends with exit code 0. So the script is given one more line,
# reached only if all before it went well (`-i` compiles and runs a file as one), and a last file looks for it.
# Should not even that be read, standard input says what to do.
_PRELUDE = "sparkvault-prelude.scala"
_FINISH = "sparkvault-finish.scala"
_INPUT = "sparkvault-input.scala"
_DONE = "sparkvault.script.done"


def _wrap_scala(arguments: list[str], files: Path, script: str) -> None:
    literals = ", ".join(_scala_literal(argument) for argument in arguments)
    (files / _PRELUDE).write_text(f"val args: Array[String] = Array({literals})\n", encoding="utf-8")
    with (files / script).open("a", encoding="utf-8") as copy:
        copy.write(f'\n;System.setProperty("{_DONE}", "true"): Unit\n')
    (files / _FINISH).write_text(
        f'System.exit(if (System.getProperty("{_DONE}") == "true") 0 else 1)\n', encoding="utf-8"
    )
    (files / _INPUT).write_text("System.exit(1)\n", encoding="utf-8")


def _without_spaces(files: Path) -> Path:
    """The folder by a path without spaces, which spark-shell's `-i` cannot take: through a link, if need be.

    The link lies in a temporary folder of its own, which the supervisor removes. Raises UsageError.
    """
    if not _has_space(files):
        return files
    holder = Path(tempfile.mkdtemp(prefix="sparkvault-"))
    if _has_space(holder):
        holder.rmdir()
        raise UsageError("spark-shell cannot read scripts from paths with spaces", "set TMPDIR to one without")
    (holder / "files").symlink_to(files)
    return holder / "files"


def _has_space(path: Path) -> bool:
    return any(character.isspace() for character in str(path))


def _scala_literal(text: str) -> str:
    """A Scala string literal; JSON's escapes are all Scala's too."""
    return json.dumps(text)
