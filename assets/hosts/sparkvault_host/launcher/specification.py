"""A job's specification as it lies in the bucket: untrusted until everything in it has been checked here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sparkvault_host.launcher.errors import RefusedSpecificationError
from sparkvault_host.launcher.rules import Rules

#: The form of specification that this launcher reads.
VERSION = 1

#: The most a specification may take, in bytes: it travels to the driver as a Swarm config of at most 500 kB.
MAX_BYTES = 300_000

MAX_FILES = 200
MAX_ARGUMENTS = 1000

#: Longest single argument or value, in characters: Linux takes 128 KiB (execve(2), MAX_ARG_STRLEN).
MAX_TEXT = 32_768

#: Largest file of a job, in bytes: what one S3 object may be put with.
MAX_FILE_BYTES = 5 * 1024**3

KINDS = ("python", "jar", "scala", "sql", "shell")
LANGUAGES = ("python", "scala", "sql")

#: Where the driver's container keeps the job's files.
FILES_FOLDER = "/opt/spark/work-dir/files"

#: How the specification refers to a file of the job.
FILE_PREFIX = "files/"

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TENANT = re.compile(r"[a-z][a-z0-9-]{0,31}")
_REMOTE = re.compile(r"s3a://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s,;]{1,1000}")
_FRAGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TOP = {"version", "job", "kind", "language", "main", "files", "supervise"}
_JOB = {"id", "target", "tenant", "application", "arguments", "spark_arguments", "submitted_at", "supervise"}


@dataclass(frozen=True)
class JobFile:
    """A file of the job: its name under ``jobs/<id>/files/``, its size in bytes, its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Specification:
    """A job that passed every check."""

    id: str
    tenant: str
    kind: str
    language: str | None
    main: str | None
    """Name of the file that is run; None for a shell."""
    arguments: tuple[str, ...]
    flags: tuple[tuple[str, str], ...]
    """spark-submit's flags in order, local files by their places in the driver's container."""
    files: tuple[JobFile, ...]
    supervise: bool
    asked: dict[str, Any]
    """What the person asked for, as records repeat it."""

    @property
    def settings(self) -> dict[str, str]:
        """What ``--conf`` sets; the last one counts."""
        pairs = (value.partition("=") for flag, value in self.flags if flag in ("--conf", "-c"))
        return {key.strip(): value.strip() for key, _, value in pairs}

    def last(self, flag: str) -> str | None:
        """The value that counts of a flag, None where it is not given."""
        return next((value for name, value in reversed(self.flags) if name == flag), None)


def read_specification(
    content: bytes, job_id: str, tenants: frozenset[str], rules: Rules, target: str = "swarm"
) -> Specification:
    """Check everything; ``target``: what the job must be for.

    Raises RefusedSpecificationError with the first rule that is broken.
    """
    if len(content) > MAX_BYTES:
        raise RefusedSpecificationError("the whole", f"{len(content)} bytes, more than {MAX_BYTES}")
    try:
        data = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RefusedSpecificationError("the whole", "not JSON in UTF-8 with each key once") from error
    top = _object(data, "the whole", _TOP)
    if top.get("version") != VERSION:
        raise RefusedSpecificationError("version", f"this launcher reads version {VERSION}")
    job = _object(top.get("job"), "job", _JOB)
    if job.get("id") != job_id or not rules.is_job_id(job_id):
        raise RefusedSpecificationError("job.id", "not the id that the job was started by")
    if job.get("target") != target:
        raise RefusedSpecificationError("job.target", f"not {target!r}")
    tenant = _text(job.get("tenant"), "job.tenant", _TENANT)
    if tenant not in tenants:
        raise RefusedSpecificationError("job.tenant", "no tenant of this cluster")
    # Shown to people, never used.
    for name in ("application", "submitted_at"):
        _text(job.get(name), f"job.{name}")
    files = _files(top.get("files", []))
    kind = _choice(top.get("kind"), "kind", KINDS)
    flags = _flags(_texts(job.get("spark_arguments", []), "job.spark_arguments"), {one.name for one in files}, rules)
    return Specification(
        id=job_id,
        tenant=tenant,
        kind=kind,
        language=_choice(top.get("language"), "language", LANGUAGES) if kind == "shell" else None,
        main=None if kind == "shell" else _main(top.get("main"), files),
        arguments=tuple(_texts(job.get("arguments", []), "job.arguments")),
        flags=flags,
        files=files,
        supervise=_flag(top.get("supervise", False), "supervise"),
        asked=job,
    )


def _flags(arguments: list[str], names: set[str], rules: Rules) -> tuple[tuple[str, str], ...]:
    checked = []
    try:
        for flag, value in rules.flags(arguments):
            if flag in ("--conf", "-c"):
                key, separator, setting = value.partition("=")
                if not separator:
                    raise ValueError("--conf without a value")
                refusal = rules.refusal(key, setting)
                if refusal:
                    raise ValueError(f"{key.strip()[:80]!r}: {refusal}")
            elif flag == "--driver-java-options":
                refusal = rules.refusal("spark.driver.extraJavaOptions", value)
                if refusal:
                    raise ValueError(refusal)
            elif flag in rules.file_lists:
                value = ",".join(_place(item, names) for item in value.split(","))
            checked.append((flag, value))
    except ValueError as error:
        raise RefusedSpecificationError("job.spark_arguments", str(error)) from error
    return tuple(checked)


def _place(item: str, names: set[str]) -> str:
    """Where an entry of a list of files is found by the driver: a file of the job, or an object of S3."""
    path, hash_sign, fragment = item.partition("#")
    if hash_sign and not _FRAGMENT.fullmatch(fragment):
        raise ValueError("the part of a file after '#' may hold letters, digits, '.', '-' and '_'")
    if path.startswith(FILE_PREFIX) and path[len(FILE_PREFIX) :] in names:
        return f"{FILES_FOLDER}/{path[len(FILE_PREFIX) :]}{hash_sign}{fragment}"
    if _REMOTE.fullmatch(path) and "/../" not in path:
        return item
    raise ValueError(f"{item[:80]!r} is neither a file of the job nor an s3a:// address")


def _files(value: Any) -> tuple[JobFile, ...]:
    if not isinstance(value, list) or len(value) > MAX_FILES:
        raise RefusedSpecificationError("files", f"not a list of at most {MAX_FILES} files")
    files = []
    for index, each in enumerate(value):
        where = f"files[{index}]"
        entry = _object(each, where, {"name", "size", "sha256"})
        size = entry.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
            raise RefusedSpecificationError(f"{where}.size", f"not a number of bytes up to {MAX_FILE_BYTES}")
        name = _text(entry.get("name"), f"{where}.name", _FILE_NAME)
        files.append(JobFile(name, size, _text(entry.get("sha256"), f"{where}.sha256", _SHA256)))
    if len({one.name for one in files}) != len(files):
        raise RefusedSpecificationError("files", "a name stands twice")
    return tuple(files)


def _main(value: Any, files: tuple[JobFile, ...]) -> str:
    name = _text(value, "main", _FILE_NAME)
    if name not in {one.name for one in files}:
        raise RefusedSpecificationError("main", "not one of the files")
    return name


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON takes the last of two equal keys, and other readers the first: a way past checks."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _object(value: Any, where: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusedSpecificationError(where, "not an object")
    unknown = sorted(set(value) - keys)
    if unknown:
        raise RefusedSpecificationError(where, f"unknown key {unknown[0][:80]!r}")
    return value


def _text(value: Any, where: str, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        raise RefusedSpecificationError(where, f"not a text of at most {MAX_TEXT} characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RefusedSpecificationError(where, "half of a character") from error
    if pattern is not None and not pattern.fullmatch(value):
        raise RefusedSpecificationError(where, f"not of the form {pattern.pattern}")
    return value


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_ARGUMENTS:
        raise RefusedSpecificationError(where, f"not a list of at most {MAX_ARGUMENTS} texts")
    return [_text(each, f"{where}[{index}]") for index, each in enumerate(value)]


def _choice(value: Any, where: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise RefusedSpecificationError(where, "not one of " + ", ".join(choices))
    return str(value)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise RefusedSpecificationError(where, "neither true nor false")
    return value
