"""The configuration's reference for people and editors: `python -m spark_constructs.config_docs` writes it."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

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


def _tables(model: Any, path: str, title: str) -> list[str]:
    rows, inner = [], []
    for name, field in model.model_fields.items():
        below = model_in(field.annotation)
        is_list = str(field.annotation).startswith("list")
        key = f"{path}{name}"
        if below is None:
            default = "required" if field.is_required() else f"`{json.dumps(_plain(field.default))}`"
            rows.append(f"| `{key}` | {default} | {field.description} |")
        else:
            rows.append(f"| `{key}` | {'`[]`' if is_list else 'section'} | {field.description} |")
            heading = key + ("[]" if is_list else "")
            inner += _tables(below, f"{heading}.", f"`{heading}`")
    head = f"## {title}\n\n{(model.__doc__ or '').strip()}\n\n| key | default | meaning |\n|---|---|---|"
    return ["\n".join([head, *rows]) + "\n", *inner]


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float | bool | list | dict) else str(value)


def write(folder: Path) -> None:
    """Write both files into the folder."""
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    (folder / REFERENCE_FILE).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
