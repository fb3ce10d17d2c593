"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration, YAML or JSON; by default context `sparkvault` in cdk.json.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
StacksArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[STACK]...", help="Stacks, short (`network`) or whole names; all by default."),
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="In whose name it runs; the first tenant's where none is given.")
]
TargetOption = Annotated[
    str | None, typer.Option("--target", help="Where Spark runs: local, swarm, fargate or yarn.", show_default="local")
]
