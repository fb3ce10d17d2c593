"""Why something that arrived was not believed: one class per reason, each with what to do about it."""

from __future__ import annotations

from typing import ClassVar


class ProtocolRefused(Exception):
    """Base of every refusal. `what` says what was found, `remedy` what to do; `str()` gives both."""

    remedy: ClassVar[str] = "Do not use what arrived; start a new session with the enclave."

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} {self.remedy}")
        self.what = what


class MessageMalformed(ProtocolRefused):
    """Bytes that are not the one canonical form of the message that belongs here."""

    remedy = "Both sides must speak the same version of the protocol; see that nothing in between changes bytes."


class BindingRefused(ProtocolRefused):
    """The attested structure is not of this protocol, version or purpose."""

    remedy = "The enclave is not one of ours, or of another version: do not send keys to it."


class TlsKeyNotBound(ProtocolRefused):
    """The TLS key of the connection is not the one that the enclave attested."""

    remedy = "Somebody stands between this client and the enclave: do not send anything over this connection."


class SealBroken(ProtocolRefused):
    """A sealed message that these keys do not open: changed, from another session, or out of its place."""


class SignatureRefused(ProtocolRefused):
    """The signature of the client that opens a session does not fit."""


class NumberRefused(ProtocolRefused):
    """A message number that was used already or that skips one."""

    remedy = "A message is taken once and in order; send the next one, or start a new session."


class ChunkOutOfPlace(ProtocolRefused):
    """A result chunk that is not the next one: repeated, reordered, left out, or after the end."""

    remedy = "Do not use this result; ask the query again."


class ChunkChanged(ProtocolRefused):
    """A result chunk that the result's key does not open: changed, or of another query, session or table version."""

    remedy = "Do not use this result; ask the query again."


class ResultTruncated(ProtocolRefused):
    """The result stops before its authenticated end."""

    remedy = "Do not use this result; ask the query again."
