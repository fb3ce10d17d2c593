"""`sparkvault doctor`: what this machine or account lacks, and the command that mends it."""

import typer
from rich.text import Text

from sparkvault.cli.options import ConfigOption, JsonOption
from sparkvault.console import out, print_json, result
from sparkvault.doctor import examine
from sparkvault.project import load_deployment


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(doctor)


def doctor(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check this machine and the AWS account; exit 1 if something that is needed is missing."""
    findings = examine(load_deployment(config))
    if json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark, style = (
                ("ok", "green") if finding.ok else ("missing", "red") if finding.required else ("absent", "yellow")
            )
            out.print(Text(f"{mark:>8}  ", style=style) + Text(f"{finding.what}: {finding.found}", style=""))
            if not finding.ok:
                result(f"{'':>10}needed for {finding.needed_for}; {finding.remedy}")
    if any(finding.required and not finding.ok for finding in findings):
        raise typer.Exit(1)
