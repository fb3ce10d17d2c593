"""`sparkvault config`: show, check, schema."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from spark_constructs.config_docs import schema_text
from spark_constructs.config_errors import ConfigError
from spark_constructs.config_source import load_file
from sparkvault.cli.options import ConfigOption, JsonOption
from sparkvault.console import print_json, result
from sparkvault.project import load_deployment

app = typer.Typer(no_args_is_help=True, help="Show, check and describe the deployment configuration.")


@app.command()
def show(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Print the effective configuration, with all defaults."""
    effective = load_deployment(config).model_dump(mode="json")
    if json:
        print_json(effective)
    else:
        result(yaml.safe_dump(effective, sort_keys=False).rstrip())


@app.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files; cdk.json by default.")] = None,
    json: JsonOption = False,
) -> None:
    """Name everything that is wrong with configurations; exit 2 if anything is."""
    report: list[dict[str, object]] = []
    messages: list[str] = []
    for file in files or [None]:  # type: ignore[list-item]
        try:
            deployment = load_deployment(None) if file is None else load_file(file)
        except ConfigError as error:
            problems = [vars(problem) for problem in error.problems]
            report.append({"source": error.source, "valid": False, "problems": problems})
            messages.append(str(error))
        else:
            source = str(file) if file else "cdk.json"
            report.append({"source": source, "valid": True, "problems": []})
            targets = ", ".join(deployment.targets)
            messages.append(f"{source}: valid (cluster {deployment.cluster}, targets {targets})")
    if json:
        print_json(report)
    else:
        for message in messages:
            result(message)
    if not all(entry["valid"] for entry in report):
        raise typer.Exit(2)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    result(schema_text().rstrip())
