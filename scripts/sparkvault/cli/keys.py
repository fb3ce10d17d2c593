"""`sparkvault keys`: the client's own keys, which sign for it and encrypt its tables."""

import typer

from sparkvault.cli.enclave_errors import enclave_errors
from sparkvault.cli.encrypt import DEFAULT_KEY_FILE, KeyFileOption
from sparkvault.cli.options import JsonOption
from sparkvault.console import print_json, result, say

app = typer.Typer(no_args_is_help=True, help="Your own keys: they sign for you and encrypt your tables.")


@app.command()
def new(key: KeyFileOption = DEFAULT_KEY_FILE, as_json: JsonOption = False) -> None:
    """Make new keys. A file that is there already is never replaced: what it opens would be lost."""
    from spark_enclave.tables import ClientKeys, write_key_file

    path = key.expanduser()
    keys = ClientKeys.new()
    with enclave_errors():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_key_file(path, keys)
    _shown(path, keys.public_key, as_json)
    say("keep the file, and a copy where only you can read it: nobody can make these keys again")


@app.command()
def show(key: KeyFileOption = DEFAULT_KEY_FILE, as_json: JsonOption = False) -> None:
    """Print the public key, by which owners grant you something. What is secret is never printed."""
    from spark_enclave.tables import read_key_file

    path = key.expanduser()
    with enclave_errors():
        keys = read_key_file(path)
    _shown(path, keys.public_key, as_json)


def _shown(path: object, public_key: bytes, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(path), "public_key": public_key.hex()})
    else:
        result(f"public key {public_key.hex()}")
        result(f"keys in    {path}")
