"""`sparkvault query` and `fetch`: ask an attested enclave, open the sealed answer."""

import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparkvault.cli.enclave_errors import enclave_errors
from sparkvault.cli.encrypt import DEFAULT_KEY_FILE, KeyFileOption
from sparkvault.cli.options import ConfigOption
from sparkvault.cli.query_output import Format, format_of, write_result
from sparkvault.cli.table_pins import TablePins
from sparkvault.cli.trust_options import MeasurementsOption, SimulatedOption, anchor_of, policy_of
from sparkvault.console import result, say
from sparkvault.errors import UsageError
from sparkvault.project import load_deployment, work_folder

if TYPE_CHECKING:
    from spark_enclave.client import EnclaveSession, Parameter, TableFolder
    from spark_enclave.tables import ClientKeys

#: A relay on this machine, or a port that is forwarded to one.
DEFAULT_ENCLAVE = "localhost:5005"
#: In place of an address: a worker of the cluster, reached through Systems Manager.
ON_HOSTS = "swarm"
SIMULATED = "SIMULATED: this enclave is a simulation; the result proves nothing about hardware."

EnclaveOption = Annotated[
    str,
    typer.Option(
        "--enclave", metavar="ADDRESS", help="HOST:PORT, unix:PATH, or `swarm` for one on the cluster's hosts."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where the result goes; the terminal by default.")
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="table, csv, parquet or json; by the ending of --out.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(query)
    app.command()(fetch)


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; `:name` stands for a parameter.")],
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="NAME=DIR", help="A table by `sparkvault encrypt`."),
    ] = None,
    enclave: EnclaveOption = DEFAULT_ENCLAVE,
    out: OutOption = None,
    form: FormatOption = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME:TYPE=VALUE", help="A value for `:name` in the SQL.")
    ] = None,
    owners: Annotated[
        list[str] | None,
        typer.Option("--owner", metavar="NAME=HEX", help="Public key of a table's owner, where that is not you."),
    ] = None,
    grants: Annotated[
        list[str] | None, typer.Option("--grant", metavar="NAME=FILE", help="The owner's grant for a table.")
    ] = None,
    key: KeyFileOption = DEFAULT_KEY_FILE,
    measurements: MeasurementsOption = None,
    simulated: SimulatedOption = None,
    explain_trust: Annotated[bool, typer.Option("--explain-trust", help="Say what was proven, in words.")] = False,
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=3600, help="The query may take so long.")] = 600,
    wait: Annotated[
        int, typer.Option("--wait", min=0, max=3600, help="Seconds to wait where other sessions fill the enclave.")
    ] = 30,
    detach: Annotated[
        Path | None,
        typer.Option("--detach", metavar="STATE", help="Do not wait: keep what opens the result in this new file."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--to", metavar="STORE", help="With --detach: folder or s3://BUCKET/PREFIX."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Ask an enclave: verify what it runs, send it tables and query sealed, open the sealed result.

    Nothing secret leaves this machine before the enclave proved that it runs a reviewed image.
    """
    if (detach is None) != (store is None):
        raise UsageError("--detach and --to belong together", "give both, or neither")
    chosen = format_of(form, out)
    named, given = _pairs(tables, "--table"), _parameters(parameters)
    owner_of, grant_for = _pairs(owners, "--owner"), _pairs(grants, "--grant")
    from spark_enclave.client import EnclaveConnection, Limits, Trust
    from spark_enclave.tables import read_key_file

    with enclave_errors():
        keys = read_key_file(key.expanduser())
        trust = Trust(policy_of(measurements), anchor_of(simulated))
        pins = TablePins(work_folder() / "enclave-table-versions.json")
        folders = {
            name: _table(Path(where), keys, pins, owner_of.get(name), grant_for.get(name))
            for name, where in named.items()
        }
        with (
            way_to(enclave, config, stays=detach is not None) as address,
            EnclaveConnection(address) as connection,
            connection.open_session(trust, keys.signing_key, patience_seconds=wait) as session,
        ):
            if explain_trust:
                say(session.attested.explain())
            elif session.simulated:
                say(SIMULATED)
            for name, table in folders.items():
                session.put_table(name, table)
                pins.seen(table.owner_key, table.manifest.table_id, table.manifest.version)
            limits = Limits(seconds=seconds)
            if detach is None or store is None:
                write_result(session.query(sql, limits, given), out, chosen)
            else:
                _detach(session, sql, limits, given, detach, store, address)


def fetch(
    state: Annotated[Path, typer.Argument(metavar="STATE", help="The file that `query --detach` left.")],
    store: Annotated[str, typer.Option("--from", metavar="STORE", help="Folder or s3://BUCKET/PREFIX of the result.")],
    out: OutOption = None,
    form: FormatOption = None,
    explain_trust: Annotated[
        bool, typer.Option("--explain-trust", help="Say what was proven when the query was asked.")
    ] = False,
) -> None:
    """Open a detached result. Needs no enclave: the store and the saved state, nothing else."""
    chosen = format_of(form, out)
    from spark_enclave.client import DetachedQuery, open_store

    with enclave_errors():
        detached = DetachedQuery.load(state)
        if explain_trust:
            say(detached.trust)
        elif detached.simulated:
            say(SIMULATED)
        write_result(detached.result(open_store(store)), out, chosen)


def way_to(enclave: str, config: Path | None, *, stays: bool = False) -> AbstractContextManager[str]:
    """The enclave's address as long as the block lasts; `stays`: and after it, for whoever fetches the result."""
    if enclave != ON_HOSTS:
        return nullcontext(enclave)
    from sparkvault.targets.swarm.enclave_way import enclave_on_a_host

    return enclave_on_a_host(load_deployment(config), stays=stays)


def _detach(
    session: "EnclaveSession", sql: str, limits: Any, given: list["Parameter"], state: Path, store: str, address: str
) -> None:
    from spark_enclave.client.courier import order

    if state.exists():
        raise UsageError(f"{state} exists already", "name a new file: what it opens would be lost")
    detached = session.query_detached(sql, limits, given)
    detached.save(state)
    # The courier gets no key. What it carries is sealed.
    courier = subprocess.Popen(
        [sys.executable, "-m", "spark_enclave.client.courier"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    where = store if store.startswith("s3://") else str(Path(store).absolute())
    assert courier.stdin is not None  # noqa: S101 (asked for as a pipe)
    with courier.stdin as orders:
        orders.write(order(address, where, detached.for_courier()))
    result(f"the query runs; its result goes to {store}")
    result(f"fetch it: sparkvault fetch {state} --from {store}")


def _table(folder: Path, keys: "ClientKeys", pins: TablePins, owner: str | None, grant: str | None) -> "TableFolder":
    from spark_enclave.client import TableFolder

    owner_key = keys.public_key if owner is None else _key(owner)
    try:
        shown = b"" if grant is None else Path(grant).read_bytes()
    except OSError as error:
        raise UsageError(f"the grant {grant} cannot be read: {error.strerror}", "give the owner's file") from None
    return TableFolder.of_client(folder, keys, owner_key=owner_key, pinned=pins.lowest, grant=shown)


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier() or not value or name in pairs:
            raise UsageError(f"{option} {one}: not a new NAME=VALUE", f"write it as in {option} sales=sales.enc")
        pairs[name] = value
    return pairs


def _parameters(given: list[str] | None) -> list["Parameter"]:
    from spark_enclave.client import Parameter

    found = []
    for one in given or []:
        name, equals, value = one.partition("=")
        name, colon, kind = name.partition(":")
        if not equals or not colon:
            raise UsageError(f"--param {one}: not NAME:TYPE=VALUE", "write it as in --param day:date=2026-11-21")
        found.append(Parameter(name, kind, value))
    return found


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError(f"--owner {text[:80]}: not a public key", "give the 64 digits of `sparkvault keys show`")
    return key
