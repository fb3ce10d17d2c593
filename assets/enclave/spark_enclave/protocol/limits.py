"""Sizes and times that both sides keep to. Compiled in: nothing from outside the enclave can widen them."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
#: First in everything that is hashed, signed or sealed, so that nothing of ours can be taken for something else.
DOMAIN: Final = "sparkvault.enclave"

NONCE_BYTES: Final = 32
SESSION_ID_BYTES: Final = 16
BOOT_ID_BYTES: Final = 16
RANDOM_BYTES: Final = 32
KEY_BYTES: Final = 32
TICKET_BYTES: Final = 16
GCM_TAG_BYTES: Final = 16

#: Plaintext bytes in one result chunk; also of file content in one message of PutTable. Measured: larger
#: pieces leave the allocator's heap, and fresh pages for each of them cost several times what AES does.
CHUNK_BYTES: Final = 96 << 10
#: A sealed message to the enclave: a query of at most 64 KiB, or a table's header with its manifest.
MAX_SEALED_BYTES: Final = 768 << 10
MAX_SQL_BYTES: Final = 64 << 10
MAX_MANIFEST_BYTES: Final = 512 << 10
MAX_GRANT_BYTES: Final = 128 << 10
#: One gRPC message: the largest of these and what surrounds it.
MAX_MESSAGE_BYTES: Final = MAX_SEALED_BYTES + (16 << 10)
MAX_OPENING_BYTES: Final = 8 << 10

MAX_PARAMETERS: Final = 100
MAX_TABLES: Final = 32
MAX_TABLE_NAME: Final = 64
#: What a client may ask for at most; the enclave's own limits may be lower.
MAX_QUERY_SECONDS: Final = 3600
MAX_RESULT_ROWS: Final = 1_000_000_000
MAX_RESULT_BYTES: Final = 64 << 30

#: The certificate's name. It proves nothing: the client trusts the attested key, but TLS wants a name to compare.
TLS_NAME: Final = "enclave.sparkvault.internal"
