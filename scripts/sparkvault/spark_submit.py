"""spark-submit's command line: which of its flags take a value, and which of them are not for a person to set.

Source: org.apache.spark.launcher.SparkSubmitOptionParser of Spark 4.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from spark_constructs.spark_settings import refused_settings
from sparkvault.errors import UsageError

VALUE_FLAGS = frozenset(
    [
        "--archives",
        "--class",
        "--conf",
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
        "--properties-file",
        "--proxy-user",
        "--principal",
        "--keytab",
        "--py-files",
        "--queue",
        "--remote",
        "--repositories",
        "--total-executor-cores",
        "--master",
        "--deploy-mode",
        "--kill",
        "--status",
        "-c",
    ]
)
SWITCHES = frozenset(["--verbose", "-v", "--supervise", "--load-spark-defaults"])

#: Flags that sparkvault decides, each with what to use instead.
OWNED_FLAGS = {
    "--master": "choose where Spark runs with --target",
    "--remote": "choose where Spark runs with --target",
    "--deploy-mode": "the target decides it; --detach returns at once",
    "--properties-file": "give settings with --conf; a file would hide them from the checks",
    "--load-spark-defaults": "give settings with --conf",
    "--proxy-user": "submit in a tenant's name with --tenant",
    "--principal": "the target signs in by itself",
    "--keytab": "the target signs in by itself",
    "--kill": "use `sparkvault cancel JOB`",
    "--status": "use `sparkvault jobs`",
}


@dataclass(frozen=True)
class SubmitArguments:
    """A command line taken apart: sparkvault's own options, spark-submit's flags, application and its arguments."""

    own: list[str] = field(default_factory=list)
    spark: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def split(arguments: list[str], own_values: Iterable[str], own_switches: Iterable[str]) -> SubmitArguments:
    """Take a command line apart. Options end at the first word that is none, as with spark-submit itself.

    Raises UsageError for a flag that neither sparkvault nor spark-submit knows, and for one without its value.
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
        flag, equals, value = word.partition("=")
        if flag in values or flag in VALUE_FLAGS:
            if not equals:
                if not words:
                    raise UsageError(f"{flag} needs a value", "see --help")
                value = words.pop(0)
            (own if flag in values else spark).extend([flag, value])
        elif word in switches or word in SWITCHES:
            (own if word in switches else spark).append(word)
        else:
            raise UsageError(
                f"neither sparkvault nor spark-submit knows {word}",
                "flags stand before the application; what follows it goes to the application",
            )
    return SubmitArguments(own, spark, words)


def check(spark_arguments: list[str]) -> None:
    """Raise UsageError, with all of them, for flags and settings that a person may not give."""
    refused: list[str] = []
    settings: dict[str, object] = {}
    words = iter(spark_arguments)
    for word in words:
        if word in OWNED_FLAGS:
            refused.append(f"{word} is not for you to set: {OWNED_FLAGS[word]}")
        if word in VALUE_FLAGS:
            value = next(words, "")
            if word in ("--conf", "-c"):
                key, equals, setting = value.partition("=")
                if not equals:
                    refused.append(f"--conf {value!r} is not of the form KEY=VALUE")
                settings[key] = setting
            elif word == "--driver-java-options":
                settings["spark.driver.extraJavaOptions"] = value
    refused += [
        f"--conf {found.key}={found.value}: {found.rule}; {found.remedy}" for found in refused_settings(settings)
    ]
    if refused:
        raise UsageError("\n".join(refused), "remove them and submit again")
