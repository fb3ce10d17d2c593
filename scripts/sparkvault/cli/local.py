"""`sparkvault local`: a Spark cluster on this machine, up and down."""

import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sparkvault.cli.cluster import as_data, show
from sparkvault.cli.options import JsonOption
from sparkvault.console import print_json, progress, result
from sparkvault.errors import NotAvailable
from sparkvault.project import project_root
from sparkvault.targets.local.cluster import LocalCluster


class EngineOption(Enum):
    """What runs the cluster's daemons."""

    AUTO = "auto"
    DOCKER = "docker"
    PROCESS = "process"


EmulateOption = Annotated[
    bool,
    typer.Option(
        "--emulate-ec2",
        help="The whole system on emulated EC2 hosts instead (root on Linux; docs/emulated-ec2.md).",
    ),
]

app = typer.Typer(no_args_is_help=True, help="A Spark cluster on this machine.")


@app.command()
def up(
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many workers.", show_default="what fits the machine")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(envvar="MEMORY", help="Memory a worker offers (`6G`).", show_default="its share of the machine"),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(envvar="CORES", min=1, help="Cores a worker offers.", show_default="its share of the machine"),
    ] = None,
    engine: Annotated[
        EngineOption,
        typer.Option(help="`docker`: containers on spark-network; `process`: plain processes; `auto`: what is there."),
    ] = EngineOption.AUTO,
    data: Annotated[
        Path | None,
        typer.Option(help="With containers: the folder whose files jobs see.", show_default="the current folder"),
    ] = None,
    emulate_ec2: EmulateOption = False,
    json: JsonOption = False,
) -> None:
    """Start a secured Spark standalone cluster on this machine; it goes on when the terminal closes."""
    if emulate_ec2:
        _emulation("up", "--with-images")
        return
    with progress("starting Spark") as tell:
        status = LocalCluster().up(workers, memory, cores, engine=engine.value, data=data, progress=tell)
    if json:
        print_json(as_data(status))
        return
    show(status)
    result("next: `sparkvault submit APP`, `sparkvault shell`, `sparkvault ui`; `sparkvault local down` ends it")


@app.command()
def down(
    if_up: Annotated[bool, typer.Option("--if-up", help="No error where nothing is up.")] = False,
    emulate_ec2: EmulateOption = False,
    json: JsonOption = False,
) -> None:
    """End the cluster and everything that runs on it."""
    if emulate_ec2:
        _emulation("down")
        return
    try:
        with progress("ending the cluster") as tell:
            report = LocalCluster().down(tell)
    except NotAvailable:
        if if_up:
            return
        raise
    if json:
        print_json(vars(report))
        return
    cancelled = f"; cancelled jobs: {', '.join(report.cancelled_jobs)}" if report.cancelled_jobs else ""
    result(f"ended {report.processes} processes{cancelled}")


def _emulation(*arguments: str) -> None:
    """The emulation is no part of the product: it runs as a program of its own, from the project's folder."""
    command = [sys.executable, "-m", "emulation.ec2", *arguments]
    code = subprocess.run(command, cwd=project_root(), check=False).returncode
    if code:
        raise typer.Exit(code)
