"""`sparkvault keys`: the client's own keys, which sign for it and encrypt its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparkvault.cli.enclave_errors import enclave_errors
from sparkvault.cli.encrypt import DEFAULT_KEY_FILE, KeyFileOption
from sparkvault.cli.options import JsonOption
from sparkvault.console import print_json, result, say
from sparkvault.errors import UsageError

if TYPE_CHECKING:
    from spark_enclave.tables import ClientKeys

app = typer.Typer(no_args_is_help=True, help="Your own keys: they sign for you and encrypt your tables.")


@app.command()
def new(
    key: KeyFileOption = DEFAULT_KEY_FILE,
    kms: Annotated[
        str | None,
        typer.Option(
            "--kms",
            metavar="ARN",
            help="Encrypt tables under this KMS key (output EnclaveKeyArn of the stack enclave-key): attested enclaves "
            "get their keys, and grants let others ask.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make new keys. A file that is there already is never replaced: what it opens would be lost."""
    from spark_enclave.kms import KmsKeyArn
    from spark_enclave.tables import ClientKeys, write_key_file

    try:
        arn = None if kms is None else KmsKeyArn(kms).text
    except ValueError as error:
        raise UsageError(f"--kms {kms}: {error}", "give the output EnclaveKeyArn of the stack enclave-key") from None
    path = key.expanduser()
    keys = ClientKeys.new(arn)
    with enclave_errors():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_key_file(path, keys)
    _shown(path, keys, as_json)
    say("keep the file, and a copy where only you can read it: nobody can make these keys again")


@app.command()
def show(key: KeyFileOption = DEFAULT_KEY_FILE, as_json: JsonOption = False) -> None:
    """Print the public key, by which owners grant you something. What is secret is never printed."""
    from spark_enclave.tables import read_key_file

    path = key.expanduser()
    with enclave_errors():
        keys = read_key_file(path)
    _shown(path, keys, as_json)


def _shown(path: Path, keys: "ClientKeys", as_json: bool) -> None:
    if as_json:
        print_json({"file": str(path), "public_key": keys.public_key.hex(), "kms_key": keys.kms_key})
    else:
        result(f"public key {keys.public_key.hex()}")
        result(f"keys in    {path}")
        if keys.kms_key is not None:
            result(f"tables     under {keys.kms_key}")
