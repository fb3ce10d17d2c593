"""Removes what left_out.toml names. Usage: leave_out.py RULES spark|python FOLDER."""

import fnmatch
import platform
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

#: The oldest time that an archive's entry can have, written as all entries' time.
ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)


def main(rules_file: str, part: str, folder: str) -> None:
    """Apply the rules of one part; a rule that finds nothing ends the build."""
    rules = tomllib.loads(Path(rules_file).read_text(encoding="utf-8"))
    root = Path(folder)
    before = size(root)
    for rule in rules[part]:
        for pattern in rule["path"]:
            found = list(root.glob(pattern))
            if not found:
                sys.exit(f"{pattern} matches nothing in {part}: correct or remove its rule in {rules_file}")
            for path in found:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if part == "spark":
        for rule in rules["native"]:
            without_other_platforms(root / "jars", rule)
    print(f"{part}: {before / 1e6:.0f} MB before, {size(root) / 1e6:.0f} MB after")


def without_other_platforms(jars: Path, rule: dict[str, Any]) -> None:
    """Keep one native library in the jars of a rule; exactly one, or the build ends."""
    keep = rule[platform.machine()]
    kept = 0
    found = sorted(jars.glob(rule["jar"]))
    for jar in found:
        with zipfile.ZipFile(jar) as archive:
            native = {
                entry.filename
                for entry in archive.infolist()
                if not entry.is_dir() and any(fnmatch.fnmatch(entry.filename, one) for one in rule["files"])
            }
            stays = {name for name in native if fnmatch.fnmatch(name, keep)}
            kept += len(stays)
            gone = native - stays
            if gone and not stays and jar.name.startswith("netty-"):
                jar.unlink()
            elif gone:
                rewrite(archive, jar, gone)
    if kept != 1:
        sys.exit(f"{kept} native libraries stay of {rule['jar']} by {keep}, and it should be one: correct its rule")


def rewrite(archive: zipfile.ZipFile, jar: Path, gone: set[str]) -> None:
    """The jar again without those entries; the rest byte for byte, in its order, with one time."""
    partial = jar.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as smaller:
        for entry in archive.infolist():
            if entry.filename not in gone:
                copied = zipfile.ZipInfo(entry.filename, ARCHIVE_TIME)
                copied.external_attr, copied.compress_type = entry.external_attr, entry.compress_type
                smaller.writestr(copied, archive.read(entry))
    partial.replace(jar)


def size(root: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


main(*sys.argv[1:])
