"""Encrypted tables: keys, signed manifests, grants. Writing tables (`.encryption`) needs pyarrow; this does not."""

from spark_enclave.tables.grant import Grant, GrantedQuery, SignedGrant, enforce, verify_grant
from spark_enclave.tables.key_file import ClientKeys, read_key_file, write_key_file
from spark_enclave.tables.manifest import (
    MANIFEST_NAME,
    Manifest,
    SignedManifest,
    TableFile,
    VerifiedManifest,
    verify_manifest,
)
from spark_enclave.tables.refusals import GrantRefused, KeyFileRefused, ManifestRefused, TableRefused
from spark_enclave.tables.table_keys import KeySource, TableKey, aad_prefix, encryption_context
from spark_enclave.tables.worker_message import worker_table

__all__ = [
    "MANIFEST_NAME",
    "ClientKeys",
    "Grant",
    "GrantRefused",
    "GrantedQuery",
    "KeyFileRefused",
    "KeySource",
    "Manifest",
    "ManifestRefused",
    "SignedGrant",
    "SignedManifest",
    "TableFile",
    "TableKey",
    "TableRefused",
    "VerifiedManifest",
    "aad_prefix",
    "encryption_context",
    "enforce",
    "read_key_file",
    "verify_grant",
    "verify_manifest",
    "worker_table",
    "write_key_file",
]
