"""`sparkvault encrypt`: turns CSV or Parquet files into a table that only an attested enclave opens."""

from pathlib import Path
from typing import Annotated

import typer

from sparkvault.cli.options import JsonOption
from sparkvault.console import print_json, progress, result
from sparkvault.errors import SparkvaultError, UsageError

#: Where a client's own keys are by default, as `sparkvault keys new` leaves them.
DEFAULT_KEY_FILE = Path("~/.config/sparkvault/keys.json")

KeyFileOption = Annotated[
    Path,
    typer.Option("--key", metavar="FILE", help="Your key file, made by `sparkvault keys new`."),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(encrypt)


def encrypt(
    sources: Annotated[
        list[str], typer.Argument(metavar="CSV|PARQUET...", help="Files, folders or globs, one schema.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the encrypted table.")],
    key: KeyFileOption = DEFAULT_KEY_FILE,
    table_id: Annotated[
        str | None, typer.Option("--table-id", help="The table's id; by default the name of DIR.", show_default=False)
    ] = None,
    table_version: Annotated[
        int, typer.Option("--table-version", min=1, help="Count up with every change: clients refuse older ones.")
    ] = 1,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B,...", help="Only these columns, in this order.")
    ] = None,
    types: Annotated[
        str | None,
        typer.Option("--types", metavar="A=TYPE,...", help="Types of CSV columns; the others are inferred."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Encrypt a table: every file under a key of its own, and a manifest that you sign.

    Under your own keys, or under KMS where your key file names a key there (`sparkvault keys new --kms`).
    """
    from spark_enclave.client import EnclaveError, table_key
    from spark_enclave.tables import TableRefused, read_key_file, verify_manifest
    from spark_enclave.tables.encryption import encrypt_table

    name = table_id or out.resolve().name.lower()
    try:
        keys = read_key_file(key.expanduser())
        with progress(f"encrypting {len(sources)} source(s) into {out}"):
            secret, source = table_key(keys, name, table_version)
            signed = encrypt_table(
                sources,
                out,
                secret,
                table_id=name,
                version=table_version,
                signing_key=keys.signing_key,
                columns=_listed(columns, "--columns"),
                types=dict(_pair(one) for one in _listed(types, "--types") or ()),
                key_source=source,
            )
        manifest = verify_manifest(signed.data, keys.public_key, table_version, table_id=name)
    except (TableRefused, EnclaveError) as refused:
        raise SparkvaultError(refused.what, refused.remedy) from None
    described = {
        "table": manifest.table_id,
        "version": manifest.version,
        "owner": keys.public_key.hex(),
        "files": len(manifest.files),
        "bytes": sum(file.length for file in manifest.files),
        "manifest_sha256": manifest.sha256.hex(),
        "key": keys.kms_key or "own",
        "directory": str(out),
    }
    if as_json:
        print_json(described)
        return
    result(
        f"{manifest.table_id} version {manifest.version}: {described['files']} encrypted file(s), "
        f"{described['bytes']} bytes, in {out}"
    )
    result(f"manifest {described['manifest_sha256']}, signed by {described['owner']}")


def _listed(text: str | None, option: str) -> list[str] | None:
    """`a, b` as a list; None for nothing given. A comma within parentheses belongs to a type."""
    if text is None:
        return None
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    listed = [part.strip() for part in parts]
    if not all(listed):
        raise UsageError(f"{option} {text}: a name is empty", "write names with commas between them")
    return listed


def _pair(text: str) -> tuple[str, str]:
    column, equals, kind = text.partition("=")
    if not equals:
        raise UsageError(f"--types {text}: there is no type", "write column=type, as in --types amount=decimal(12,2)")
    return column.strip(), kind.strip()
