"""Makes Hadoop's, Docker's and Kata's configuration files from the templates beside this package."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional
from xml.sax.saxutils import escape

from .errors import YarnHostError

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

#: File of the Hadoop configuration folder → properties that differ from the template; None leaves one out.
Changes = Mapping[str, Mapping[str, Optional[str]]]

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def placeholders(template: Path) -> list[str]:
    """The names that a template wants values for."""
    return sorted(set(_PLACEHOLDER.findall(template.read_text(encoding="utf-8"))))


def rendered(template: str, values: Mapping[str, str]) -> str:
    """The template with its values put in. Raises YarnHostError for a value that is missing or not one line."""
    path = TEMPLATES / template

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in values:
            raise YarnHostError(f"{template} wants a value for {name}, and there is none: give it one")
        if "\n" in values[name]:
            raise YarnHostError(f"the value of {name} for {template} is more than one line: make it one")
        return escape(values[name]) if path.suffix == ".xml" else values[name]

    return _PLACEHOLDER.sub(value, path.read_text(encoding="utf-8"))


def properties(text: str) -> dict[str, str]:
    """Names and values of a Hadoop configuration file."""
    # Our own templates, or files that only root writes.
    root = ET.fromstring(text)  # noqa: S314
    return {each.findtext("name") or "": each.findtext("value") or "" for each in root.iter("property")}


def configuration(values: Mapping[str, str]) -> str:
    """A Hadoop configuration file with those properties."""
    lines = [
        f"  <property><name>{escape(name)}</name><value>{escape(value)}</value></property>"
        for name, value in values.items()
    ]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<configuration>", *lines, "</configuration>", ""])


def docker_runtimes(runsc: str, runsc_flags: Sequence[str], kata_configuration: str | None) -> str:
    """The runtimes of daemon.json, beside Docker's own `runc`.

    ``kata_configuration`` is a path, or None where Docker is older than 23 and takes no containerd shims.
    """
    runtimes: dict[str, object] = {"runsc": {"path": runsc, "runtimeArgs": list(runsc_flags)}}
    if kata_configuration is not None:
        runtimes["kata"] = {"runtimeType": "io.containerd.kata.v2", "options": {"ConfigPath": kata_configuration}}
    return json.dumps(runtimes)


def auth_to_local(realm: str) -> str:
    """Kerberos principals → users: daemons' services are `hdfs` and `yarn`, people are themselves, others nobody."""
    services = {"nn": "hdfs", "dn": "hdfs", "rm": "yarn", "nm": "yarn", "HTTP": "HTTP"}
    rules = [f"RULE:[2:$1/$2@$0]({name}/.*@{re.escape(realm)})s/.*/{user}/" for name, user in services.items()]
    return " ".join([*rules, "DEFAULT"])


def write_hadoop(folder: Path, values: Mapping[str, str], changes: Changes | None = None) -> None:
    """Write core-site.xml, hdfs-site.xml, yarn-site.xml and hadoop-policy.xml to ``folder``.

    ``changes`` is for surroundings that lack what production has; production gives none. Raises YarnHostError.
    """
    for name in ("core-site.xml", "hdfs-site.xml", "yarn-site.xml", "hadoop-policy.xml"):
        text = rendered(name, values)
        if changes and name in changes:
            made = {**properties(text), **changes[name]}
            text = configuration({key: value for key, value in made.items() if value is not None})
        write(folder / name, text)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace the file at once, so that nobody reads half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(mode)
    partial.replace(path)
