"""`sparkvault grant`: the owner of a table says who may ask what of it, signed."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparkvault.cli.encrypt import DEFAULT_KEY_FILE, KeyFileOption
from sparkvault.cli.options import JsonOption
from sparkvault.console import print_json, result
from sparkvault.errors import SparkvaultError, UsageError

if TYPE_CHECKING:
    from spark_enclave.tables import GrantedQuery

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(grant)


def grant(
    table_id: Annotated[str, typer.Argument(metavar="TABLE", help="The id of your table.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the grant is written.")],
    clients: Annotated[
        list[str], typer.Option("--client", metavar="HEX", help="Public key of who may ask (`sparkvault keys show`).")
    ],
    columns: Annotated[str, typer.Option("--columns", metavar="A,B,...", help="Columns that may come out.")],
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="How long it holds: 12h, 30d, 4w.")],
    queries: Annotated[
        list[Path] | None,
        typer.Option(
            "--query",
            metavar="FILE",
            help="A query that may be asked, word for word, with `:name` for parameters; without one, any query over "
            "the columns.",
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME=TYPE", help="The type of a `:name` in the queries."),
    ] = None,
    smallest_group: Annotated[
        int, typer.Option("--smallest-group", min=1, help="Rows come out only for groups of at least so many.")
    ] = 1,
    first_version: Annotated[
        int, typer.Option("--first-version", min=1, help="The first version of the table that it is for.")
    ] = 1,
    key: KeyFileOption = DEFAULT_KEY_FILE,
    as_json: JsonOption = False,
) -> None:
    """Allow others to ask something of your table: which clients, which columns, which queries, until when."""
    from spark_enclave.tables import Grant, TableRefused, read_key_file

    now = int(time.time())
    try:
        keys = read_key_file(key.expanduser())
        made = Grant(
            table_id=table_id,
            owner=keys.public_key,
            clients=tuple(sorted({_public_key(client) for client in clients})),
            columns=tuple(sorted({column.strip() for column in columns.split(",")})),
            issued=now,
            expires=now + _seconds(expires),
            queries=tuple(_query(file, parameters or []) for file in queries or ()),
            smallest_group=smallest_group,
            first_version=first_version,
        )
        signed = made.sign(keys.signing_key)
    except TableRefused as refused:
        raise SparkvaultError(refused.what, "see `sparkvault grant --help`") from None
    try:
        with out.open("xb") as file:
            file.write(signed.data)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", "name a new file") from None
    described = {
        "table": table_id,
        "owner": made.owner.hex(),
        "clients": [client.hex() for client in made.clients],
        "columns": list(made.columns),
        "queries": [query.sql for query in made.queries] or "any over these columns",
        "smallest_group": made.smallest_group,
        "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made.expires)),
        "file": str(out),
    }
    if as_json:
        print_json(described)
    else:
        for name, value in described.items():
            result(f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")


def _public_key(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UsageError(
            f"--client {text[:80]}: not a public key", "give the 64 digits that `sparkvault keys show` prints"
        )
    return bytes.fromhex(text)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if match is None:
        raise UsageError(f"--expires {text}: not a time", "write a number and h, d or w, as in 30d")
    return int(match[1]) * _UNITS[match[2]]


def _query(file: Path, parameters: list[str]) -> "GrantedQuery":
    from spark_enclave.tables import GrantedQuery

    try:
        sql = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", "give a file with one query") from None
    types = {}
    for parameter in parameters:
        name, equals, kind = parameter.partition("=")
        if not equals:
            raise UsageError(
                f"--parameter {parameter}: there is no type", "write NAME=TYPE, as in --parameter city=string"
            )
        types[name] = kind
    used = {name: kind for name, kind in types.items() if re.search(rf":{re.escape(name)}\b", sql)}
    return GrantedQuery(sql, tuple(sorted(used.items())))
