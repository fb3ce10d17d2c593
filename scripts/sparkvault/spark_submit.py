"""spark-submit's command line: which of its flags pass, which are not for a person to give, and which settings.

Source: org.apache.spark.launcher.SparkSubmitOptionParser of Spark 4.2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from spark_constructs.spark_settings import refused_settings
from sparkvault.errors import UsageError

#: Flags of spark-submit that are passed on; each takes a value (SparkSubmitOptionParser, Spark 4.2).
VALUE_FLAGS = frozenset(
    [
        "--archives",
        "--class",
        "--conf",
        "-c",
        "--driver-class-path",
        "--driver-cores",
        "--driver-java-options",
        "--driver-library-path",
        "--driver-memory",
        "--exclude-packages",
        "--executor-cores",
        "--executor-memory",
        "--files",
        "--jars",
        "--name",
        "--num-executors",
        "--packages",
        "--py-files",
        "--queue",
        "--repositories",
        "--total-executor-cores",
    ]
)
SWITCHES = frozenset(("--verbose", "-v"))

#: Flags that are ours, and why.
REFUSED_FLAGS = {
    "--master": "sparkvault knows the master; choose where a job runs with --target",
    "--deploy-mode": "sparkvault decides where the driver runs",
    "--properties-file": "it would replace the settings that protect the cluster; give single ones with --conf",
    "--extra-properties-file": "give single settings with --conf",
    "--load-spark-defaults": "sparkvault's own settings are always loaded",
    "--driver-default-class-path": "the driver runs on the cluster's own Spark",
    "--remote": "it is for Spark Connect servers",
    "--proxy-user": "jobs run in their submitter's own name",
    "--principal": "there is no Kerberos on this target",
    "--keytab": "there is no Kerberos on this target",
    "--supervise": "it is for drivers inside the cluster",
    "--kill": "use `sparkvault cancel`",
    "--status": "use `sparkvault jobs`",
    "--usage-error": "it is not a flag for people",
    "--version": "use `sparkvault doctor`",
    "--help": "give it to sparkvault itself",
    "-h": "give --help to sparkvault itself",
}

#: Flags whose value is a list of files, separated by commas.
FILE_LISTS = frozenset(("--py-files", "--jars", "--files", "--archives"))


@dataclass(frozen=True)
class SubmitArguments:
    """A command line taken apart: sparkvault's own options, spark-submit's flags, application and its arguments."""

    own: list[str] = field(default_factory=list)
    spark: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def split(arguments: list[str], own_values: Iterable[str], own_switches: Iterable[str]) -> SubmitArguments:
    """Take a command line apart. Options end at the first word that is none, as with spark-submit itself.

    Raises UsageError for a flag that sparkvault does not have and spark-submit would not be given.
    """
    values, switches = frozenset(own_values), frozenset(own_switches)
    own: list[str] = []
    spark: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if not word.startswith("-"):
            words.insert(0, word)
            break
        if word in switches:
            own.append(word)
        elif word.partition("=")[0] in values:
            flag, equals, value = word.partition("=")
            own += [flag, value if equals else _value_of(flag, words)]
        elif word in SWITCHES:
            spark.append(word)
        else:
            whole = "=" in word and word.startswith("--")
            for flag, value in _flags([word] if whole else [word, *words[:1]]):
                spark += [flag, value]
            words = words if whole else words[1:]
    return SubmitArguments(own, spark, words)


def _value_of(flag: str, words: list[str]) -> str:
    if not words:
        raise UsageError(f"{flag} needs a value", f"write {flag} VALUE")
    return words.pop(0)


def check_flags(arguments: list[str]) -> dict[str, str]:
    """Go through spark-submit's flags, and return the settings among them. Raises UsageError."""
    settings: dict[str, str] = {}
    for flag, value in _flags(arguments):
        if flag in ("--conf", "-c"):
            key, separator, setting = value.partition("=")
            if not separator:
                raise UsageError(f"--conf {value}: a setting needs a value", "write --conf spark.some.setting=value")
            settings[key.strip()] = setting.strip()
        elif flag == "--driver-java-options":
            settings["spark.driver.extraJavaOptions"] = value
        elif flag in FILE_LISTS:
            _check_files(flag, value)
    _check_settings(settings)
    return settings


def _flags(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """Flags and their values, as spark-submit would read them: `--flag value` or `--flag=value`."""
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        if flag in REFUSED_FLAGS:
            raise UsageError(f"{flag} is not for `sparkvault submit`: {REFUSED_FLAGS[flag]}", f"leave out {flag}")
        if flag in SWITCHES and not equals:
            continue
        if flag not in VALUE_FLAGS:
            near = get_close_matches(flag, [*VALUE_FLAGS, *SWITCHES], n=1)
            hint = f"did you mean {near[0]}?" if near else "`spark-submit --help` lists them"
            raise UsageError(f"{flag} is no flag of spark-submit", hint)
        if not equals:
            found = next(rest, None)
            if found is None:
                raise UsageError(f"{flag} needs a value", f"write {flag} VALUE")
            value = found
        yield flag, value


def _check_settings(settings: dict[str, str]) -> None:
    refusals = [f"{found.key} = {found.value}: {found.rule}; {found.remedy}" for found in refused_settings(settings)]
    if refusals:
        raise UsageError("\n".join(["settings that are refused:", *(f"  {refusal}" for refusal in refusals)]))


def _check_files(flag: str, value: str) -> None:
    """spark-submit only warns of jars that are missing; the job then fails late, for another reason."""
    for item in value.split(","):
        parts = urlsplit(item.strip())
        if parts.scheme in ("", "file") and not any(sign in parts.path for sign in "*?[{"):
            path = Path(parts.path)
            if not path.exists():
                raise UsageError(f"{flag}: there is no file {path}", "give the path of a file that is there")
