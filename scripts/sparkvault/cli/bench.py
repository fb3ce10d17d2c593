"""`sparkvault bench`: runs one of the project's benchmarks."""

import subprocess
import sys
from typing import Annotated

import typer

from sparkvault.project import project_root
from sparkvault.toolchain import tool_environment


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(bench)


def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The benchmark; without it, their list.")] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Its own arguments.")] = None,
) -> None:
    """Run a benchmark and print its report; the last line is JSON."""
    command = [sys.executable, "-m", "benchmarks", *([name] if name else []), *(arguments or [])]
    raise typer.Exit(subprocess.run(command, cwd=project_root(), env=tool_environment(), check=False).returncode)
