"""Fetches the jars of a lock file from a Maven repository; each is what its SHA-256 says, or the build ends.

Usage: fetch_jars.py LOCK MIRROR FOLDER, or fetch_jars.py --lock LOCK MIRROR to write the digests of a changed list.
"""

import hashlib
import re
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ATTEMPTS = 5
TIMEOUT_SECONDS = 60
_LINE = re.compile(
    r"(?P<group>[\w.-]+):(?P<artifact>[\w.-]+):(?P<version>[\w.-]+)(?: sha256:(?P<digest>[0-9a-f]{64}))?"
)


def main(arguments: list[str]) -> None:
    """Fetch all, or write the lock."""
    if arguments[0] == "--lock":
        write_lock(Path(arguments[1]), arguments[2])
        return
    lock, mirror, folder = Path(arguments[0]), arguments[1], Path(arguments[2])
    folder.mkdir(parents=True, exist_ok=True)
    entries = [entry for line in lock.read_text(encoding="utf-8").splitlines() if (entry := parsed(line))]

    def one(entry: re.Match[str]) -> None:
        if entry["digest"] is None:
            sys.exit(f"{entry[0]} has no sha256 in {lock}: nothing unverified gets into an image")
        content = fetch(mirror, entry)
        found = hashlib.sha256(content).hexdigest()
        if found != entry["digest"]:
            sys.exit(f"{entry[0]} from {mirror} has sha256 {found}, and {entry['digest']} is pinned")
        (folder / f"{entry['artifact']}-{entry['version']}.jar").write_bytes(content)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, entries))
    print(f"{len(entries)} jars, all as pinned")


def parsed(line: str) -> "re.Match[str] | None":
    """A line's coordinates; None for comments and empty lines."""
    text = line.split("#", 1)[0].strip()
    if not text:
        return None
    found = _LINE.fullmatch(text)
    if found is None:
        sys.exit(f"{line!r} is not GROUP:ARTIFACT:VERSION sha256:DIGEST")
    return found


def fetch(mirror: str, entry: "re.Match[str]") -> bytes:
    """The jar, after up to five attempts with longer and longer pauses."""
    path = f"{entry['group'].replace('.', '/')}/{entry['artifact']}/{entry['version']}"
    url = f"{mirror.rstrip('/')}/{path}/{entry['artifact']}-{entry['version']}.jar"
    if not url.startswith("https://"):
        sys.exit(f"{mirror} is not an https address")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - https, checked above
                return bytes(answer.read())
        except (urllib.error.URLError, OSError) as error:
            if attempt == ATTEMPTS or (isinstance(error, urllib.error.HTTPError) and error.code == 404):
                sys.exit(f"{url}: {error}; give another repository with --build-arg MAVEN_MIRROR=…")
            time.sleep(2**attempt)
    raise AssertionError("unreachable")


def write_lock(lock: Path, mirror: str) -> None:
    """Add the digest to each line, in place; for whoever changes the list and reviews the difference."""
    lines = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        entry = parsed(line)
        if entry is None:
            lines.append(line)
            continue
        coordinates = ":".join((entry["group"], entry["artifact"], entry["version"]))
        lines.append(f"{coordinates} sha256:{hashlib.sha256(fetch(mirror, entry)).hexdigest()}")
    lock.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
