"""Tokens by which brokers on any host know a job: signed with the cluster's key, so that no list has to be shared."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sparkvault_host.errors import HostError

#: Seconds that a token is good for: longer than any job should run. Its container is asked for as well.
LIFETIME_SECONDS = 14 * 24 * 3600

_VERSION = "sv1"
_DOMAIN = b"sparkvault credentials broker token v1\0"
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}")


class RefusedTokenError(HostError):
    """This is no token of a job of this cluster. The reason is for the journal, never for whoever asked."""


@dataclass(frozen=True)
class Claim:
    """What a token says."""

    job: str
    tenant: str
    expires: int
    """Seconds since the epoch."""


def sign(claim: Claim, key_id: str, key: bytes) -> str:
    """The token of a claim. Raises RefusedTokenError for names that no job or tenant has."""
    if not _NAME.fullmatch(claim.job) or not _NAME.fullmatch(claim.tenant):
        raise RefusedTokenError("a job's id and a tenant are words of lower-case letters, digits, '-' and '_'")
    content = json.dumps({"job": claim.job, "tenant": claim.tenant, "expires": claim.expires}, sort_keys=True)
    head = ".".join((_VERSION, key_id, _encoded(content.encode())))
    return f"{head}.{_encoded(_mac(head, key))}"


def verify(token: str, keys: Mapping[str, bytes], now: float) -> Claim:
    """The claim of a token that one of the keys has signed and that is not over. Raises RefusedTokenError."""
    parts = token.split(".")
    if len(parts) != 4 or parts[0] != _VERSION or len(token) > 1024:
        raise RefusedTokenError("not a token")
    key = keys.get(parts[1])
    if key is None:
        raise RefusedTokenError("signed with a key that is not the cluster's")
    try:
        given = _decoded(parts[3])
    except (binascii.Error, ValueError) as error:
        raise RefusedTokenError("not a token") from error
    if not hmac.compare_digest(given, _mac(".".join(parts[:3]), key)):
        raise RefusedTokenError("the signature is wrong")
    # Signed by us, so it is as we write it.
    content = json.loads(_decoded(parts[2]))
    claim = Claim(content["job"], content["tenant"], content["expires"])
    if claim.expires <= now:
        raise RefusedTokenError(f"the token of job {claim.job} is over")
    return claim


def key_id_of(token: str) -> str:
    """Which key a token names; empty where it is no token."""
    parts = token.split(".")
    return parts[1] if len(parts) == 4 else ""


def _mac(head: str, key: bytes) -> bytes:
    return hmac.new(key, _DOMAIN + head.encode(), hashlib.sha256).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
