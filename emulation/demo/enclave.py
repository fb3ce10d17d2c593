"""Part `enclave`: six steps from a CSV file to a decrypted answer, what was proven at each, and an attack refused."""

import csv
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from emulation.aws import EmbeddedAws
from emulation.demo.steps import Demo, DemoError, console
from emulation.enclave.simulated import stop

SPARKVAULT = str(Path(sys.executable).parent / "sparkvault")
SQL = "SELECT city, count(*) AS patients, sum(days) AS days FROM stays GROUP BY city ORDER BY city"
CITIES = ("Aachen", "Bern", "Cremona", "Delft", "Evora")
ROWS = 20_000
_PATIENCE_SECONDS = 300


def run(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """The six steps, then a tampered result. Needs nothing of the emulated AWS."""
    folder = work / "enclave"
    try:
        six_steps(demo, work, folder)
        tampered(demo, work, folder)
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


def question(work: Path, folder: Path) -> list[str]:
    """The command line that asks, without what becomes of the answer."""
    trust = ["--measurements", str(folder / "measurements.json"), "--simulated", str(folder / "nsm" / "root.pem")]
    where = ["--enclave", f"unix:{folder / 'enclave.sock'}", "--key", str(work / "keys.json")]
    return [SPARKVAULT, "query", SQL, "--table", f"stays={work / 'stays'}", *where, *trust]


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
