"""Test vectors of the protocol: `python -m tests.enclave.protocol_vectors` writes them anew, here and into its page."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from spark_enclave.protocol import session_opening
from spark_enclave.protocol.binding import Binding
from spark_enclave.protocol.hybrid_key import HybridPrivateKey
from spark_enclave.protocol.messages import Limits, Query
from spark_enclave.protocol.refusals import ProtocolRefused
from spark_enclave.protocol.result_chunks import ResultSealer, TableVersion, Trailer, result_context
from spark_enclave.protocol.session_keys import SessionKeys

FILE = Path(__file__).with_name("protocol_vectors.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
_BEGIN, _END = "<!-- vectors -->\n", "<!-- end of the vectors -->"


def counted(start: int, length: int) -> bytes:
    """Bytes that count up from `start`: nobody takes them for a real key."""
    return bytes((start + index) % 256 for index in range(length))


def enclave_key() -> HybridPrivateKey:
    return HybridPrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(counted(0x10, 64)), X25519PrivateKey.from_private_bytes(counted(0x50, 32))
    )


def binding() -> Binding:
    return Binding(boot_id=counted(0x00, 16), tls_key=counted(0x80, 91), hpke_key=enclave_key().public_bytes)


def info() -> bytes:
    return session_opening.opening_info(counted(0x20, 32), b"a document", binding().encode())


def signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(counted(0x60, 32))


def make(sealed_opening: bytes) -> dict[str, str]:
    """Every value of one session, hexadecimal. Sealing to the attested key is randomised: what was sealed is given."""
    keys = SessionKeys.agree(
        secret=counted(0x40, 32),
        opening_info=info(),
        sealed_opening=sealed_opening,
        server_random=counted(0xA0, 32),
        session_id=counted(0xC0, 16),
    )
    query = Query("SELECT 1", Limits(rows=10, seconds=20, bytes=30)).encode()
    seen = {"t": TableVersion("sales", 3, counted(0xD0, 48))}
    place = result_context(keys.session_id, 2, query, seen)
    sealer = ResultSealer(keys, 2, place)
    values = {
        "binding": binding().encode(),
        "user_data": binding().digest(),
        "opening_info": info(),
        "sealed_opening_sha384": hashlib.sha384(sealed_opening).digest(),
        "client_key": signing_key().public_key().public_bytes_raw(),
        "transcript": keys.transcript,
        "key_accepted_0_to_client": keys.key("accepted", 0, "to-client"),
        "key_query_2_to_enclave": keys.key("query", 2, "to-enclave"),
        "key_result_2_to_client": keys.key("result", 2, "to-client"),
        "ticket_2": keys.ticket(2),
        "query": query,
        "sealed_query_2": keys.seal("query", 2, "to-enclave", query),
        "result_context": place,
        "chunk_0": sealer.seal(b"bytes of an Arrow stream")[1],
        "chunk_1_end": sealer.seal(Trailer("done", rows=1).encode(), end=True)[1],
    }
    return {name: value.hex() for name, value in values.items()}


def committed() -> dict[str, str]:
    values: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return values


def shown() -> str:
    """The vectors as the page has them; long values by their SHA-256."""
    lines = []
    for name, value in committed().items():
        short = value if len(value) <= 256 else f"({len(value) // 2} bytes, SHA-256 {_sha256(value)})"
        lines.append(f"{name} = {short}")
    return "```text\n" + "\n".join(lines) + "\n```\n"


def on_page() -> str:
    match = re.search(f"{_BEGIN}(.*?){_END}", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return match[1] if match else ""


def _sha256(value: str) -> str:
    return hashlib.sha256(bytes.fromhex(value)).hexdigest()


def _main() -> None:
    try:
        sealed = bytes.fromhex(committed()["sealed_opening"])
        session_opening.unseal(enclave_key(), info(), sealed)
    except (OSError, KeyError, ProtocolRefused):
        sealed = session_opening.seal(enclave_key().public_bytes, info(), counted(0x40, 32), signing_key())
    FILE.write_text(json.dumps({"sealed_opening": sealed.hex(), **make(sealed)}, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        re.sub(f"{_BEGIN}.*?{_END}", lambda _: _BEGIN + shown() + _END, page, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    _main()
