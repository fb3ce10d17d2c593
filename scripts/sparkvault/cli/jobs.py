"""`sparkvault submit`, `shell`, `jobs`, `cancel`, `logs`: what a data person does with Spark."""

from typing import Annotated

import typer

from spark_constructs.config import Deployment
from sparkvault.cli.options import ConfigOption, JsonOption, TargetOption, TenantOption
from sparkvault.cli.submit_command import SparkSubmitCommand, spark_arguments
from sparkvault.console import out, print_json, result, say, table
from sparkvault.errors import UsageError
from sparkvault.jobs import JobRecord, JobSpec, JobState, is_job_id, new_job_id
from sparkvault.project import load_deployment
from sparkvault.targets.protocol import LANGUAGES, Connecting, Language, Target
from sparkvault.targets.registry import find_target

_SUBMIT_LINE = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(cls=SparkSubmitCommand, context_settings=_SUBMIT_LINE)(submit)
    app.command(cls=SparkSubmitCommand, context_settings=_SUBMIT_LINE)(shell)
    app.command()(jobs)
    app.command()(cancel)
    app.command()(logs)


def submit(
    ctx: typer.Context,
    application: Annotated[str, typer.Argument(metavar="APP", help="Application: .py, .jar, .scala or .sql.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Its own arguments.")] = None,
    target: TargetOption = None,
    tenant: TenantOption = None,
    detach: Annotated[
        bool, typer.Option("--detach/--follow", help="Return at once, or show the output to its end.")
    ] = False,
    supervise: Annotated[
        bool, typer.Option("--supervise", help="Start a driver that fails again, up to three times (swarm).")
    ] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Run an application on Spark; the exit code is the job's.

    spark-submit's own flags (`--class`, `--conf`, `--py-files`, `--executor-memory`, …) stand before APP.
    """
    deployment = load_deployment(config)
    tenant = _tenant(tenant, deployment)
    place = find_target(target or "local", deployment)
    if supervise and place.name == "local":
        raise UsageError("--supervise is for drivers inside a cluster", "leave it out, or use --target swarm")
    record = place.submit(
        JobSpec(
            id=new_job_id(),
            target=place.name,
            tenant=tenant,
            application=application,
            arguments=arguments or [],
            spark_arguments=spark_arguments(ctx),
            supervise=supervise,
        )
    )
    say(f"job {record.id} on {place.name}")
    if detach:
        print_json(record.model_dump(mode="json")) if json else result(record.id)
        return
    try:
        _stream(place, record.id)
    except KeyboardInterrupt:
        say(f"cancelling job {record.id}")
        place.cancel(record.id)
        raise
    _finish(place.job(record.id), json=json)


def _tenant(wanted: str | None, deployment: Deployment) -> str:
    names = deployment.tenant_names()
    if wanted is not None and wanted not in names:
        raise UsageError(f"there is no tenant {wanted!r}", f"tenants are {', '.join(names)}")
    return wanted or names[0]


def _stream(place: Target, job_id: str) -> None:
    for line in place.follow(job_id):
        result(line)


def _finish(record: JobRecord, *, json: bool) -> None:
    """Say how the job ended, and end with its exit code."""
    if json:
        print_json(record.model_dump(mode="json"))
    elif record.state is JobState.SUCCEEDED:
        say(f"job {record.id} succeeded in {record.seconds or 0:.0f} s")
    else:
        say(f"job {record.id} {record.state}: {record.message or 'see its output above'}")
    code = record.exit_code
    raise typer.Exit(code if code is not None else 0 if record.state is JobState.SUCCEEDED else 1)


def shell(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]...", help="With --connect: a program of this machine; else your own shell."),
    ] = None,
    lang: Annotated[str | None, typer.Option(help="python, scala or sql.", show_default="python")] = None,
    connect: Annotated[
        bool,
        typer.Option("--connect", help="Start a Spark Connect server; SPARK_REMOTE leads COMMAND there."),
    ] = False,
    target: TargetOption = None,
    tenant: TenantOption = None,
    config: ConfigOption = None,
) -> None:
    """Open a Spark shell on this terminal. spark-submit's own flags may be given."""
    if connect and lang is not None:
        raise UsageError("--connect opens no shell of Spark's, so that --lang says nothing", "leave it out")
    deployment = load_deployment(config)
    tenant = _tenant(tenant, deployment)
    if connect:
        place = find_target(target or "local", deployment)
        if not isinstance(place, Connecting):
            raise UsageError(f"target {place.name} has no Spark Connect servers", "use --target fargate")
        raise typer.Exit(place.connect(command or [], spark_arguments(ctx), tenant))
    if command:
        raise UsageError(f"{command[0]}: a shell takes no program", "with --connect it does")
    if (lang or "python") not in LANGUAGES:
        raise UsageError(f"there is no shell for {lang!r}", f"languages are {', '.join(LANGUAGES)}")
    language: Language = next(known for known in LANGUAGES if known == (lang or "python"))
    raise typer.Exit(find_target(target or "local", deployment).shell(language, spark_arguments(ctx), tenant))


def jobs(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="One job by its id; all by default.")] = None,
    target: TargetOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List jobs, newest first, or show one."""
    place = find_target(target or "local", load_deployment(config))
    records = [place.job(job)] if job else place.jobs()
    if json:
        print_json([record.model_dump(mode="json") for record in records])
        return
    if not records:
        result("no jobs yet")
        return
    shown = table("job", "state", "exit", "seconds", "application", "message")
    for record in records:
        shown.add_row(
            record.id,
            record.state,
            "" if record.exit_code is None else str(record.exit_code),
            "" if record.seconds is None else f"{record.seconds:.0f}",
            record.spec.application,
            record.message or "",
        )
    out.print(shown)


def cancel(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    target: TargetOption = None,
    config: ConfigOption = None,
) -> None:
    """End a running job."""
    record = find_target(target or "local", load_deployment(config)).cancel(job)
    result(f"job {record.id}: {record.state}")


def logs(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[WHAT]", help="A job's id, or a component such as `master`; all by default."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 100,
    target: TargetOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the output of a job, or the log of a part of the cluster."""
    place = find_target(target or "local", load_deployment(config))
    if what is not None and is_job_id(what):
        _stream(place, what)
        return
    for line in place.logs(what, follow=follow, lines=lines):
        result(line)
