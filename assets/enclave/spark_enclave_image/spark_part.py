"""The ramdisk with Spark's jars: those that SQL needs, without other platforms' native libraries."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from spark_enclave_image.errors import EifInputError
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.pinned_inputs import InputLock, sha256_of
from spark_enclave_image.recipe import Recipe, left_out

SPARK_JARS: Final = "opt/spark/jars"

# PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local header) and 4.3.12 (central directory).
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
#: Entries are written without the data descriptor that may follow them.
_DESCRIPTOR: Final = 0x08
_UTF8: Final = 0x800
#: 1 January 1980, the beginning of time in a ZIP file.
_NO_DATE: Final = 0x21


def spark_jars_folder() -> Path:
    """The jars of the installed pyspark; raises EifInputError when there is none."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise EifInputError("Spark is not installed in this Python; run `make setup`.")
    return Path(spec.origin).parent / "jars"


def chosen_jars(folder: Path, recipe: Recipe) -> list[Path]:
    """Jars that go into the image, sorted by name."""
    return [jar for jar in sorted(folder.glob("*.jar")) if not left_out(jar.name, recipe.spark.leave_out)]


def tree(lock: InputLock, recipe: Recipe, folder: Path | None = None) -> ImageTree:
    """The jars, each of the digest that the lock file says, as a ramdisk's files. Raises EifInputError."""
    jars = chosen_jars(folder or spark_jars_folder(), recipe)
    names = {jar.name for jar in jars}
    if names != set(lock.spark_jars):
        differing = ", ".join(sorted(names ^ set(lock.spark_jars))[:5])
        raise EifInputError(f"Spark's jars are not those of the lock file ({differing}); run `sparkvault pins update`.")
    made = ImageTree()
    unwanted = re.compile(recipe.spark.natives.leave_out)
    for jar in jars:
        if sha256_of(jar) != lock.spark_jars[jar.name]:
            raise EifInputError(f"{jar} is not the file that the lock file knows; reinstall pyspark with `make setup`.")
        with zipfile.ZipFile(jar) as archive:
            infos = archive.infolist()
        kept = [info for info in infos if not unwanted.search(info.filename)]
        if len(kept) == len(infos):
            made.add_file(f"{SPARK_JARS}/{jar.name}", source=jar)
        else:
            made.add_file(f"{SPARK_JARS}/{jar.name}", content=without_entries(jar, kept))
    return made


def without_entries(jar: Path, kept: Iterable[zipfile.ZipInfo]) -> bytes:
    """The archive with these entries only; their compressed bytes are copied, so that no packer has a say."""
    out, central = io.BytesIO(), io.BytesIO()
    count = 0
    with jar.open("rb") as file:
        for info in kept:
            file.seek(info.header_offset)
            local = _LOCAL.unpack(file.read(_LOCAL.size))
            file.seek(info.header_offset + _LOCAL.size + local[9] + local[10])
            data = file.read(info.compress_size)
            name = info.filename.encode()
            flags = (info.flag_bits & ~_DESCRIPTOR) | _UTF8
            sizes = (info.CRC, info.compress_size, info.file_size)
            offset = out.tell()
            out.write(_LOCAL.pack(b"PK\3\4", 20, flags, info.compress_type, 0, _NO_DATE, *sizes, len(name), 0))
            out.write(name)
            out.write(data)
            central.write(
                _CENTRAL.pack(
                    b"PK\1\2", 20, 20, flags, info.compress_type, 0, _NO_DATE, *sizes, len(name), 0, 0, 0, 0,
                    info.external_attr, offset,
                )
            )  # fmt: skip
            central.write(name)
            count += 1
    directory = central.getvalue()
    begin = out.tell()
    out.write(directory)
    out.write(_END.pack(b"PK\5\6", 0, 0, count, count, len(directory), begin, 0))
    return out.getvalue()
