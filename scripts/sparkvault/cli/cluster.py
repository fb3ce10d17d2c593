"""`sparkvault status`, `ui`, `scale`: the cluster itself."""

from typing import Annotated

import typer
from rich.text import Text

from sparkvault.cli.options import ConfigOption, JsonOption, TargetOption
from sparkvault.console import out, print_json, result, table
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError
from sparkvault.project import load_deployment
from sparkvault.targets.protocol import UI_NAMES, ClusterStatus, Rotating, UiName
from sparkvault.targets.registry import MODULES, find_target


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(status)
    app.command()(ui)
    app.command()(scale)
    app.command()(rotate)


def status(target: TargetOption = None, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show what is there against what should be; exit 1 if something is amiss.

    Without `--target`: the local cluster and everything deployed, as far as each can be reached.
    """
    deployment = load_deployment(config)
    if target is not None:
        found = [find_target(target, deployment).status()]
        notes: list[str] = []
    else:
        found, notes = [], []
        for name in ["local", *deployment.targets]:
            if MODULES.get(name) is None:
                continue
            try:
                there = find_target(name, deployment).status()
                if there.components:
                    found.append(there)
                else:
                    notes.append(f"{name}: {there.summary}")
            except NotAvailable as error:
                notes.append(f"{name}: {error.what}")
            except UsageError as error:  # no credentials: the local cluster is shown all the same
                notes.append(f"{name}: {error.what}")
    if json:
        print_json({"targets": [as_data(each) for each in found], "notes": notes})
    else:
        for each in found:
            show(each)
        for note in notes:
            result(note)
    if not all(each.healthy for each in found):
        raise typer.Exit(1)


def as_data(found: ClusterStatus) -> dict[str, object]:
    """A status for programs."""
    return {**vars(found), "components": [vars(component) for component in found.components]}


def show(found: ClusterStatus) -> None:
    """A status for people."""
    result(f"{found.target}: {found.summary}")
    shown = table("name", "kind", "state", "detail", "address")
    for component in found.components:
        state = Text(component.state, style="" if component.healthy else "bold red")
        shown.add_row(component.name, component.kind, state, component.detail, component.address or "")
    out.print(shown)


def ui(
    which: Annotated[str, typer.Argument(metavar="[WHICH]", help="master, worker, driver or history.")] = "master",
    target: TargetOption = None,
    config: ConfigOption = None,
    browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Print the address of a web UI."""
    if which not in UI_NAMES:
        raise UsageError(f"there is no web UI {which!r}", f"there are {', '.join(UI_NAMES)}")
    name: UiName = next(known for known in UI_NAMES if known == which)
    address = find_target(target or "local", load_deployment(config)).ui(name)
    result(address)
    if browser and typer.launch(address) != 0:
        raise SparkvaultError("no browser could be started on this machine", f"open {address} yourself")


def scale(
    workers: Annotated[int, typer.Argument(min=0, help="How many workers.")],
    target: TargetOption = None,
    config: ConfigOption = None,
) -> None:
    """Bring the cluster to that many workers; those that go are drained first."""
    show(find_target(target or "local", load_deployment(config)).scale(workers))


def rotate(
    target: Annotated[
        str | None, typer.Option("--target", help="Where Spark runs: swarm.", show_default="swarm")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Replace the secrets by which hosts join and Spark's parts know each other.

    Spark's master and workers restart one by one. Applications that run keep the old secret and lose their executors:
    rotate when the cluster is quiet.
    """
    place = find_target(target or "swarm", load_deployment(config))
    if not isinstance(place, Rotating):
        raise UsageError(f"target {place.name} has no secrets to rotate", "use --target swarm")
    result(place.rotate())
