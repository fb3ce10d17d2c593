"""The product's rules for jobs, from the data file that is generated from them (``rules.json``)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RULES_FILE = Path(__file__).with_name("rules.json")


@dataclass(frozen=True)
class Rules:
    """Which flags of spark-submit and which settings a job may have.

    Made by ``python -m sparkvault.targets.swarm.host_rules``; a test compares the file with the product's rules.
    """

    job_id: str
    """Regular expression of a job's id."""
    value_flags: frozenset[str]
    switches: frozenset[str]
    file_lists: frozenset[str]
    must_be_true: frozenset[str]
    must_be_false: frozenset[str]
    owned: frozenset[str]
    secrets: frozenset[str]
    secret_suffixes: tuple[str, ...]
    jvm_back_doors: tuple[str, ...]
    daemon_ui_ports: Mapping[str, int]
    driver_ui_ports: tuple[int, ...]

    def refusal(self, key: str, value: str) -> str | None:
        """The rule that a setting breaks, None if it breaks none; as ``spark_constructs.spark_settings`` decides."""
        name, value = key.strip().lower(), value.strip()
        if not name.startswith("spark."):
            return "Spark settings start with 'spark.'"
        if name in self.secrets or name.endswith(self.secret_suffixes):
            return "a secret may not stand in a specification"
        if name in self.owned:
            return "sparkvault decides this setting on every target"
        if name in self.must_be_true and value.lower() != "true":
            return "this protection may not be switched off"
        if name in self.must_be_false and value.lower() != "false":
            return "this would weaken authentication or encryption"
        if name.endswith("javaoptions"):
            if any(option in value.lower() for option in self.jvm_back_doors):
                return "this JVM option opens a way into the process"
            if "-Dspark." in value:
                return "it would set a Spark setting past these checks"
        return None

    def is_job_id(self, text: object) -> bool:
        """Whether this is a job's id; ids become paths and names, so nothing else may pass."""
        return isinstance(text, str) and re.fullmatch(self.job_id, text) is not None

    def flags(self, arguments: list[str]) -> Iterator[tuple[str, str]]:
        """Flags with their values (empty for a switch). Raises ValueError for what is none of spark-submit's."""
        rest = iter(arguments)
        for argument in rest:
            flag, equals, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
            if flag in self.switches and not equals:
                yield flag, ""
                continue
            if flag not in self.value_flags:
                raise ValueError(f"{flag[:80]!r} is not a flag that jobs may have")
            if not equals:
                found = next(rest, None)
                if found is None:
                    raise ValueError(f"{flag} has no value")
                value = found
            yield flag, value


def load_rules(file: Path = RULES_FILE) -> Rules:
    """The rules of this bundle."""
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    lists = ("value_flags", "switches", "file_lists", "must_be_true", "must_be_false", "owned", "secrets")
    return Rules(
        job_id=data["job_id"],
        **{name: frozenset(data[name]) for name in lists},
        secret_suffixes=tuple(data["secret_suffixes"]),
        jvm_back_doors=tuple(data["jvm_back_doors"]),
        daemon_ui_ports=dict(data["daemon_ui_ports"]),
        driver_ui_ports=tuple(data["driver_ui_ports"]),
    )
