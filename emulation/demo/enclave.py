"""Part `enclave`: six steps from a CSV file to a decrypted answer, what was proven at each; an attack; a grant."""

import csv
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from emulation.aws import EmbeddedAws
from emulation.demo.steps import Demo, DemoError, console
from emulation.enclave import HostSide
from emulation.enclave.simulated import stop
from emulation.kms.owner_account import open_owner_account

SPARKVAULT = str(Path(sys.executable).parent / "sparkvault")
SQL = "SELECT city, count(*) AS patients, sum(days) AS days FROM stays GROUP BY city ORDER BY city"
CITIES = ("Aachen", "Bern", "Cremona", "Delft", "Evora")
ROWS = 20_000
_PATIENCE_SECONDS = 300


def run(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """The six steps, then a tampered result, then a table under KMS that somebody else may ask about."""
    folder = work / "enclave"
    try:
        six_steps(demo, work, folder)
        tampered(demo, work, folder)
        granted(demo, aws, work, folder)
    finally:
        stop(folder)


def six_steps(demo: Demo, work: Path, folder: Path) -> None:
    """Listen, prove, send keys and query sealed, answer sealed, open, show."""
    days = stays(work / "stays.csv")
    demo.headline("Enclave 1 and 2: the measured code runs without a network and listens (SIMULATED hardware)")
    up = [sys.executable, "-m", "emulation.enclave", "up", "--folder", str(folder)]
    demo.run(*up, shown="python -m emulation.enclave up --folder enclave")
    demo.note("enclave", "SIMULATED: this machine has no Nitro hardware; everything else is the product's own code")
    demo.headline("Enclave 3: keys are made here, and a table is encrypted that was CSV a moment before")
    key = ["--key", str(work / "keys.json")]
    demo.run(SPARKVAULT, "keys", "new", *key, shown="sparkvault keys new")
    encrypt = [SPARKVAULT, "encrypt", str(work / "stays.csv"), "--out", str(work / "stays"), *key]
    demo.run(*encrypt, shown="sparkvault encrypt stays.csv --out stays")
    ciphertext = b"".join(path.read_bytes() for path in sorted((work / "stays").iterdir()))
    found = [city for city in CITIES if city.encode() in ciphertext]
    if found:
        raise DemoError(f"the encrypted table shows {found}")
    demo.note("what the host stores", f"{len(ciphertext):,} bytes, none of the {len(CITIES)} cities' names in them")
    demo.headline("Enclave 4, 5 and 6: attest, ask sealed, answer sealed, decrypt here")
    answer = work / "answer.json"
    asked = [*question(work, folder), "--out", str(answer), "--explain-trust"]
    demo.run(*asked, shown=f'sparkvault query "{SQL}" --table stays=stays --explain-trust --out answer.json')
    rows = {row["city"]: row["days"] for row in json.loads(answer.read_text(encoding="utf-8"))}
    if rows != days:
        raise DemoError(f"the enclave's answer {rows} differs from a count without it, {dict(days)}")
    for city, total in rows.items():
        console.print(f"  {city:<10}{total:>8} days", markup=False)
    demo.note("the enclave's answer", f"equals a count of the CSV without it, {sum(rows.values()):,} days")


def tampered(demo: Demo, work: Path, folder: Path) -> None:
    """A result lies in storage that nobody trusts; its operator changes one bit."""
    demo.headline("Enclave: an attack. The result's storage changes one bit of a sealed chunk")
    store, state = work / "store", work / "state.json"
    detach = [*question(work, folder), "--detach", str(state), "--to", str(store)]
    demo.run(*detach, shown='sparkvault query "…" --detach state.json --to store')
    fetch = [SPARKVAULT, "fetch", str(state), "--from", str(store), "--format", "csv"]
    chunk = store / "chunk-00000000"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (store / "chunk-00000001").exists():
        if time.monotonic() > deadline:
            raise DemoError("the sealed result did not reach its store")
        time.sleep(0.2)
    demo.run(*fetch, shown="sparkvault fetch state.json --from store")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    try:
        demo.run(*fetch, shown="sparkvault fetch state.json --from store   # one bit was changed")
    except DemoError:
        demo.note("attack", "one bit of a sealed result changed in its store: refused, nothing was shown")
    else:
        raise DemoError("a result that was tampered with was opened")


def granted(demo: Demo, aws: EmbeddedAws, work: Path, folder: Path) -> None:
    """An owner's table under KMS: whoever has a grant gets answers, and the key only the measured enclave."""
    demo.headline("Enclave: an owner's key in KMS (emulated), whose policy lets the measured enclave alone decrypt")
    account = open_owner_account(aws, folder / "measurements.json", (folder / "nsm" / "root.pem").read_bytes())
    owner = Demo({**demo.environment, **account.owner_environment()}, demo.rows)
    owner_key, grant, table = work / "owner.json", work / "grant", work / "wards"
    new = ["keys", "new", "--kms", account.key_arn, "--key", str(owner_key)]
    owner.run(SPARKVAULT, *new, shown="sparkvault keys new --kms KEY-ARN --key owner.json")
    encrypt = ["encrypt", str(work / "stays.csv"), "--out", str(table), "--key", str(owner_key)]
    owner.run(SPARKVAULT, *encrypt, shown="sparkvault encrypt stays.csv --out wards --key owner.json")
    mine, theirs = (_public_key(demo, key) for key in (work / "keys.json", owner_key))
    ask = [*question(work, folder, table=f"stays={table}"), "--owner", f"stays={theirs}", "--format", "csv"]
    with HostSide(folder / "parent", aws.endpoint, lambda: account.hosts) as host:
        try:
            demo.run(*ask, shown='sparkvault query "…" --table stays=wards --owner stays=OWNER   # without a grant')
        except DemoError:
            if host.carried:
                raise DemoError("the enclave asked KMS for a table that was not granted") from None
            demo.note("without a grant", "a query on the owner's table is refused, and KMS is not even asked")
        else:
            raise DemoError("a query without a grant was answered")
        give = ["grant", "wards", "--client", mine, "--columns", "city,days", "--expires", "1h", "--out", str(grant)]
        shown = (
            "sparkvault grant wards --client PUBLIC-KEY --columns city,days --expires 1h --out grant --key owner.json"
        )
        owner.run(SPARKVAULT, *give, "--smallest-group", "10", "--key", str(owner_key), shown=shown)
        allowed = [*ask, "--grant", f"stays={grant}"]
        demo.run(*allowed, shown='sparkvault query "…" --table stays=wards --owner stays=OWNER --grant stays=grant')
    demo.note(
        "with a grant", f"answered; the key came from KMS, sealed to the attested enclave ({len(host.carried)} call)"
    )


def _public_key(demo: Demo, key: Path) -> str:
    shown = demo.run(
        SPARKVAULT, "keys", "show", "--key", str(key), "--json", shown=f"sparkvault keys show --key {key.name}"
    )
    return str(json.loads(shown)["public_key"])


def question(work: Path, folder: Path, table: str | None = None) -> list[str]:
    """The command line that asks, without what becomes of the answer. `table`: NAME=PATH; default: the client's own."""
    trust = ["--measurements", str(folder / "measurements.json"), "--simulated", str(folder / "nsm" / "root.pem")]
    where = ["--enclave", f"unix:{folder / 'enclave.sock'}", "--key", str(work / "keys.json")]
    return [SPARKVAULT, "query", SQL, "--table", table or f"stays={work / 'stays'}", *where, *trust]


def stays(path: Path) -> Counter[str]:
    """Write made-up hospital stays as CSV; days per city, counted here."""
    chance = random.Random(5)  # noqa: S311 (made-up data, the same each time)
    days: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "city", "days"])
        for number in range(ROWS):
            city, length = chance.choice(CITIES), chance.randint(1, 30)
            writer.writerow([number, city, length])
            days[city] += length
    return days
