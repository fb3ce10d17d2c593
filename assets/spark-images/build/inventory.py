"""Writes what the image consists of: a CycloneDX 1.6 bill of materials and a plain list, from the packages' records.

Run inside the finished file system. Usage: inventory.py JARS_LOCK FOLDER. No time gets into it: the same content has
the same bill.
"""

import hashlib
import json
import re
import subprocess
import sys
import uuid
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

JARS = Path("/opt/spark/jars")
PYTHON = Path("/usr/local/lib/python3.11/dist-packages")
_NAME = re.compile(r"(?P<artifact>.+?)-(?P<version>\d[\w.+-]*)\.jar")


def main(lock: str, folder: str) -> None:
    """Write sbom.json and packages.txt into the folder."""
    components = sorted(
        [*debian_packages(), *python_packages(), *jars(Path(lock)), *runtime()], key=lambda one: str(one["purl"])
    )
    content = json.dumps(components, sort_keys=True).encode()
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(content).hexdigest())}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "sparkvault-spark", "bom-ref": "image"}},
        "components": components,
    }
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "sbom.json").write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    lines = [str(one["purl"]) for one in components]
    (target / "packages.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(components)} components")


def component(purl: str, name: str, version: str, *, group: str = "", sha256: str = "") -> dict[str, Any]:
    """One entry of the bill."""
    entry: dict[str, Any] = {"type": "library", "bom-ref": purl, "purl": purl, "name": name, "version": version}
    if group:
        entry["group"] = group
    if sha256:
        entry["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return entry


def debian_packages() -> list[dict[str, Any]]:
    """What dpkg has installed; with the source package, by which Debian's security notes go."""
    form = "${Package} ${Version} ${Architecture} ${source:Package}\\n"
    told = subprocess.run(["/usr/bin/dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    found = []
    for line in told.splitlines():
        name, version, architecture, source = line.split(" ")
        purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}"
        qualifiers = f"arch={architecture}&distro=debian-12&upstream={source}"
        found.append(component(f"{purl}?{qualifiers}", name, version))
    return found


def python_packages() -> list[dict[str, Any]]:
    """What pip installed, and Spark's own Python side."""
    found = []
    for metadata in sorted(PYTHON.glob("*.dist-info/METADATA")):
        fields = Parser().parsestr(metadata.read_text(encoding="utf-8"), headersonly=True)
        name, version = fields["Name"], fields["Version"]
        found.append(component(f"pkg:pypi/{name.lower().replace('_', '-')}@{version}", name, version))
    for archive in Path("/opt/spark/python/lib").glob("py4j-*-src.zip"):
        version = archive.name.removeprefix("py4j-").removesuffix("-src.zip")
        found.append(component(f"pkg:pypi/py4j@{version}", "py4j", version))
    version = next(JARS.glob("spark-core_*.jar")).stem.rsplit("-", 1)[1]
    return [*found, component(f"pkg:pypi/pyspark@{version}", "pyspark", version)]


def jars(lock: Path) -> list[dict[str, Any]]:
    """Each jar by its Maven coordinates, from the lock file, its own metadata, or its name."""
    groups = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            group, artifact, version = line.split(" ")[0].split(":")
            groups[f"{artifact}-{version}.jar"] = group
    found = []
    for path in sorted(JARS.glob("*.jar")):
        named = _NAME.fullmatch(path.name)
        artifact, version = (named["artifact"], named["version"]) if named else (path.stem, "unknown")
        group = groups.get(path.name) or own_group(path, artifact) or "unknown"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(
            component(f"pkg:maven/{group}/{artifact}@{version}", artifact, version, group=group, sha256=digest)
        )
    return found


def own_group(path: Path, artifact: str) -> str | None:
    """The group that the jar itself names; jars that contain others name several."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(f"/{artifact}/pom.properties"):
                text = archive.read(name).decode("utf-8", errors="replace")
                fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
                return fields.get("groupId", "").strip() or None
    return None


def runtime() -> list[dict[str, Any]]:
    """The Java runtime, from its release file."""
    text = Path("/opt/java/release").read_text(encoding="utf-8")
    version = dict(line.split("=", 1) for line in text.splitlines())["JAVA_VERSION"].strip('"')
    return [component(f"pkg:generic/openjdk@{version}", "openjdk", version)]


main(*sys.argv[1:])
