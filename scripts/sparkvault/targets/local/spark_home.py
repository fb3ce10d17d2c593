"""Which Spark runs: the one SPARK_HOME names, or the one inside the installed package `pyspark`."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from spark_constructs.config import SPARK_VERSION
from sparkvault.errors import SparkvaultError


def find_spark(environment: Mapping[str, str] | None = None) -> Path:
    """The home of a Spark of exactly our version. Raises SparkvaultError."""
    given = (os.environ if environment is None else environment).get("SPARK_HOME")
    if given:
        return _checked(Path(given).expanduser().absolute(), "SPARK_HOME", "unset SPARK_HOME or let it name one")
    package = importlib.util.find_spec("pyspark")
    if package is None or package.origin is None:
        raise SparkvaultError("Spark is not installed: there is no package `pyspark`", "run `make setup`")
    return _checked(Path(package.origin).parent, "the package `pyspark`", "run `make setup`")


def _checked(home: Path, source: str, remedy: str) -> Path:
    cores = sorted((home / "jars").glob("spark-core_2.13-*.jar"))
    if not cores or not (home / "bin" / "spark-class").is_file():
        raise SparkvaultError(f"{source} is {home}, and that holds no Spark {SPARK_VERSION}", remedy)
    found = cores[-1].stem.partition("-")[2].partition("-")[2]
    if found != SPARK_VERSION:
        raise SparkvaultError(f"{source} is {home}, and that holds Spark {found}, not {SPARK_VERSION}", remedy)
    return home
