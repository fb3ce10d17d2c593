"""The configuration's reference for people and editors: `python -m spark_constructs.config_docs` writes it."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from spark_constructs.config import Deployment
from spark_constructs.config_source import model_in

SCHEMA_FILE = "configuration.schema.json"
REFERENCE_FILE = "configuration.md"

_INTRODUCTION = """# Configuration

Generated from the model in `constructs/spark_constructs/config.py`. A deployment is configured in `cdk.json`, context
`sparkvault`, or in a file of its own, YAML or JSON, given with `--config`. `sparkvault config check FILE` names
everything that is wrong with it at once; `sparkvault config show` prints it with all defaults. Editors complete and
check it with [configuration.schema.json](configuration.schema.json).
"""


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Deployment.model_json_schema()}


def schema_text() -> str:
    """The schema as it stands in ``docs/``."""
    return json.dumps(schema(), indent=2) + "\n"


def reference() -> str:
    """The reference as it stands in ``docs/``: one table per section, then a whole example."""
    parts = [_INTRODUCTION, *_tables(Deployment, "", "Top level"), "## Everything, with its defaults\n"]
    everything = yaml.safe_dump(Deployment().model_dump(mode="json"), sort_keys=False)
    parts.append(f"```yaml\n{everything}```\n")
    return "\n".join(parts)


def _tables(model: type[BaseModel], path: str, title: str) -> list[str]:
    """The table of a section, and after it those of the sections in it."""
    fields = model.model_json_schema()["properties"]
    rows, inner = [], []
    for name, field in model.model_fields.items():
        key, below = f"{path}{name}", model_in(field.annotation)
        if field.is_required():
            default = "required"
        else:
            default = "section" if isinstance(field.default, BaseModel) else _code(field.default)
        allowed = _allowed(fields[name]) if below is None else ""
        rows.append(f"| `{key}` | {default} | {allowed} | {field.description} |")
        if below is not None:
            heading = key + ("[]" if isinstance(field.default, list) else "")
            inner += _tables(below, f"{heading}.", f"`{heading}`")
    head = f"## {title}\n\n{(model.__doc__ or '').strip()}\n\n| key | default | allowed | meaning |\n|---|---|---|---|"
    return ["\n".join([head, *rows]) + "\n", *inner]


def _allowed(field: Mapping[str, Any]) -> str:
    """The values that a key takes, where its part of the schema lists or bounds them."""
    field = next((form for form in field.get("anyOf", []) if form["type"] != "null"), field)
    if field["type"] == "array":
        return _allowed(field["items"])
    if field["type"] == "boolean":
        return _listed([True, False])
    if "enum" in field or "const" in field:
        return _listed(field["enum"] if "enum" in field else [field["const"]])
    least, most, above = field.get("minimum"), field.get("maximum"), field.get("exclusiveMinimum")
    words = [
        f"{least} to {most}" if least is not None and most is not None else "",
        f"{least} or more" if least is not None and most is None else "",
        f"above {above}, at most {most}" if above is not None else "",
        f"in steps of {field['multipleOf']}" if "multipleOf" in field else "",
    ]
    return ", ".join(filter(None, words))


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(_code, values))


def _code(value: object) -> str:
    return f"`{json.dumps(value)}`"


def write(folder: Path) -> None:
    """Write both files into the folder."""
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    (folder / REFERENCE_FILE).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
