"""`sparkvault enclave`: the trusted image and what it proves about itself."""

import typer

from sparkvault.cli.enclave_image import build, diff, measure
from sparkvault.cli.enclave_rotate import promote, revoke
from sparkvault.cli.enclave_verify import verify

app = typer.Typer(no_args_is_help=True, help="The trusted image, its measurements, and documents checked by hand.")
for verb in (build, measure, diff, verify, promote, revoke):
    app.command()(verb)


@app.callback()
def enclave() -> None:
    """The trusted image, its measurements, and documents checked by hand."""
