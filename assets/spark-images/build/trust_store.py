"""Copies Java's trust store with one time for all entries: the same authorities give the same bytes."""

import hashlib
import os
import struct
import sys
from pathlib import Path

#: What sun.security.provider.JavaKeyStore puts before the content when it signs it, after the password.
WHITENER = b"Mighty Aphrodite"
PASSWORD = "changeit"  # noqa: S105 - Java's own default; what it protects is public
MAGIC, TRUSTED_CERTIFICATE = 0xFEEDFEED, 2


def main(source: str, target: str) -> None:
    """Rewrite the times in a JKS file of trusted certificates and sign it again."""
    content = bytearray(Path(source).read_bytes()[:-20])
    magic, version, count = struct.unpack_from(">III", content, 0)
    if (magic, version) != (MAGIC, 2):
        sys.exit(f"{source} is no JKS trust store of version 2")
    time = struct.pack(">Q", int(os.environ["SOURCE_DATE_EPOCH"]) * 1000)
    entries, at = [], 12
    for _ in range(count):
        start = at
        (tag,) = struct.unpack_from(">I", content, at)
        if tag != TRUSTED_CERTIFICATE:
            sys.exit(f"{source} holds something else than trusted certificates")
        at += 4
        at += 2 + struct.unpack_from(">H", content, at)[0]  # alias
        content[at : at + 8] = time
        at += 8
        at += 2 + struct.unpack_from(">H", content, at)[0]  # type
        at += 4 + struct.unpack_from(">I", content, at)[0]  # certificate
        entries.append(bytes(content[start:at]))
    if at != len(content):
        sys.exit(f"{source} has something after its last entry")
    whole = bytes(content[:12]) + b"".join(sorted(entries))
    digest = hashlib.sha1(PASSWORD.encode("utf-16-be") + WHITENER + whole).digest()  # noqa: S324 - the format's own
    Path(target).write_bytes(whole + digest)


main(sys.argv[1], sys.argv[2])
