"""The application `sparkvault`: all verbs put together."""

import typer

from sparkvault.cli import (
    bench,
    cluster,
    config,
    doctor,
    enclave,
    encrypt,
    grant,
    jobs,
    keys,
    local,
    pins,
    query,
    stacks,
)

app = typer.Typer(
    name="sparkvault",
    help="Apache Spark on AWS with the data protected while it is computed on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from spark_constructs.config import SPARK_VERSION

        typer.echo(f"sparkvault {version('sparkvault')} (Spark {SPARK_VERSION})")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Apache Spark on AWS with the data protected while it is computed on."""


app.add_typer(config.app, name="config")
for module in (stacks, cluster, jobs, doctor, bench, encrypt, grant, query):
    module.register(app)
app.add_typer(local.app, name="local")
app.add_typer(keys.app, name="keys")
app.add_typer(enclave.app, name="enclave")
app.add_typer(pins.app, name="pins")
