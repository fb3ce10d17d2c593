"""From what a person asked for to what lies in the job bucket: files, and a specification that names only those."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from spark_constructs.job_interface import FILE_NAME_PATTERN, FILE_PREFIX, SPECIFICATION_VERSION
from sparkvault.errors import UsageError
from sparkvault.jobs import JobSpec
from sparkvault.spark_submit import FILE_LISTS, check_flags
from sparkvault.targets.protocol import Language

ApplicationKind = Literal["python", "jar", "scala", "sql", "shell"]

_KINDS: dict[str, ApplicationKind] = {".py": "python", ".jar": "jar", ".scala": "scala", ".sql": "sql"}
_PIECE = 1 << 20


@dataclass(frozen=True)
class Submission:
    """A job that passed the checks: its files by their names in the bucket, and the specification that hosts read."""

    spec: JobSpec
    """What is kept in the record: as the person asked, with local files by their names in the bucket."""
    kind: ApplicationKind
    language: Language | None = None
    main: str | None = None
    files: dict[str, Path] = field(default_factory=dict)

    def specification(self) -> bytes:
        """``spec.json``. Reads every file once for its digest. Raises UsageError."""
        return json.dumps(
            {
                "version": SPECIFICATION_VERSION,
                "job": self.spec.model_dump(mode="json"),
                "kind": self.kind,
                "language": self.language,
                "main": self.main,
                "files": [_described(name, path) for name, path in self.files.items()],
                "supervise": self.spec.supervise,
            }
        ).encode()


def check(spec: JobSpec, in_place: frozenset[str] = frozenset()) -> Submission:
    """The job, if it can be run. Raises UsageError with everything one has to know to mend it.

    ``in_place``: schemes of applications and files that the driver reads where they are, such as ``local``; ``main``
    is then the whole address.
    """
    check_flags(spec.spark_arguments)
    files: dict[str, Path] = {}
    path, kind = _application(spec.application, in_place)
    main = spec.application if path is None else _take(path, spec.application, files)
    if kind == "sql":
        _check_sql_arguments(spec.arguments)
    arguments = _rewritten(spec.spark_arguments, files, in_place)
    return Submission(spec.model_copy(update={"spark_arguments": arguments}), kind, main=main, files=files)


def check_shell(spec: JobSpec, language: Language) -> Submission:
    """A shell instead of an application. Raises UsageError."""
    check_flags(spec.spark_arguments)
    files: dict[str, Path] = {}
    arguments = _rewritten(spec.spark_arguments, files)
    return Submission(spec.model_copy(update={"spark_arguments": arguments}), "shell", language, files=files)


def _application(given: str, in_place: frozenset[str]) -> tuple[Path | None, ApplicationKind]:
    """The file of this machine, None for one that is read in place, and what it is."""
    scheme = urlsplit(given).scheme
    away = scheme not in ("", "file") and "://" in given
    if away and scheme not in in_place:
        raise UsageError(f"{given}: applications are files of this machine", "copy it here first")
    path = Path(urlsplit(given).path if scheme == "file" or away else given).expanduser()
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{given} is no application", "give a .py, .jar, .scala or .sql file")
    return None if away else path, kind


def _rewritten(arguments: list[str], files: dict[str, Path], in_place: frozenset[str] = frozenset()) -> list[str]:
    """The flags with every local file by its name in the bucket; ``--flag=value`` becomes two words."""
    rewritten: list[str] = []
    words = list(arguments)
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if not flag.startswith("--") or flag not in FILE_LISTS:
            rewritten.append(flag + equals + value)
            continue
        items = (value if equals else words.pop(0)).split(",")
        rewritten += [flag, ",".join(_place(flag, item.strip(), files, in_place) for item in items if item.strip())]
    return rewritten


def _place(flag: str, item: str, files: dict[str, Path], in_place: frozenset[str]) -> str:
    path, hash_sign, alias = item.partition("#")
    parts = urlsplit(path)
    if parts.scheme == "s3a" or parts.scheme in in_place:
        return item
    if parts.scheme not in ("", "file"):
        raise UsageError(f"{flag}: {item} cannot be read by the cluster", "give files of this machine, or s3a:// ones")
    local = Path(parts.path).expanduser()
    return f"{FILE_PREFIX}{_take(local, item, files)}{hash_sign}{alias}"


def _take(path: Path, given: str, files: dict[str, Path]) -> str:
    """The file's name in the bucket. Raises UsageError for what cannot be sent."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{given} {what}", "give the path of a file that is there; pack folders first")
    name = path.name
    if not re.fullmatch(FILE_NAME_PATTERN, name):
        raise UsageError(
            f"{given}: the name holds something that cannot travel", "use letters, digits, '.', '-' and '_'"
        )
    there = files.setdefault(name, path)
    if there.resolve() != path.resolve():
        raise UsageError(f"two files are named {name}: {there} and {path}", "rename one of them")
    return name


def _described(name: str, path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return {"name": name, "size": size, "sha256": digest.hexdigest()}


def _check_sql_arguments(arguments: list[str]) -> None:
    """A SQL script has no arguments but variables: `-d name=value`, `--hivevar name=value`."""
    flags, values = arguments[::2], arguments[1::2]
    if len(flags) != len(values) or not all(flag in ("-d", "--define", "--hivevar") for flag in flags):
        raise UsageError("a .sql application takes variables only", "write -d name=value, and ${name} in the script")
