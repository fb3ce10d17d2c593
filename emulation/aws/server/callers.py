"""Who calls: the role behind a request's credentials, with its policies, as IAM would know it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

from emulation.aws.iam_evaluation import PolicyDocument
from emulation.aws.server.moto_corrections import session_tags

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/(?P<day>\d{8})/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request,"
    r"\s*SignedHeaders=(?P<headers>[\w;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)

_SHA256 = re.compile(r"[0-9a-f]{64}")


class SignatureRefused(Exception):
    """The request's signature or session does not hold; `code` as AWS says it."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Caller:
    """A session of a role."""

    role_arn: str
    session_arn: str
    session_name: str
    policies: tuple[PolicyDocument, ...]
    """Identity policies: inline and attached."""
    boundary: PolicyDocument | None
    tags: Mapping[str, str]
    """Of the role, and of the session, which win (IAM user guide, "Passing session tags")."""


def caller_of(
    method: str, url: str, headers: Mapping[str, str], body: bytes, account: str, partition: str = "aws"
) -> Caller | None:
    """The role that signed a request; None for credentials of no role, such as the deployer's for tests.

    `headers`: names in lower case. Raises SignatureRefused for a role's credentials that are expired, or were not used
    to sign this very request.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", "").strip())
    if match is None:
        return None
    session = sts_backends[account][partition].get_assumed_role_from_access_key(match["key"])
    if session is None:
        return None
    if session.expiration.replace(tzinfo=UTC) < datetime.now(UTC):
        raise SignatureRefused("ExpiredTokenException", "The security token included in the request is expired")
    if headers.get("x-amz-security-token") != session.session_token:
        raise SignatureRefused("UnrecognizedClientException", "The security token included in the request is invalid")
    if not _is_signed_by(session, match, method, url, headers, body):
        raise SignatureRefused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
        )
    backend = iam_backends[account][partition]
    role = backend.get_role_by_arn(session.role_arn)
    documents = [_document(policy) for policy in role.policies.values()]
    documents += [_document(_default_version(policy)) for policy in role.managed_policies.values()]
    boundary = None
    if role.permissions_boundary_arn:
        boundary = _document(_default_version(backend.get_policy(role.permissions_boundary_arn)))
    tags = {tag["Key"]: tag["Value"] for tag in role.tags or ()} | session_tags(session)
    return Caller(session.role_arn, session.arn, session.session_name, tuple(documents), boundary, tags)


def _is_signed_by(
    session: AssumedRole,
    match: re.Match[str],
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
) -> bool:
    """AWS general reference, "Signature Version 4": the same canonical request, signed with the session's secret."""
    names = match["headers"].split(";")
    if "host" not in names:
        return False
    payload = headers.get("x-amz-content-sha256", "")
    if _SHA256.fullmatch(payload) and payload != hashlib.sha256(body).hexdigest():
        return False
    request = AWSRequest(method=method, url=url, headers={name: headers.get(name, "") for name in names}, data=body)
    request.context["timestamp"] = headers.get("x-amz-date", "")
    credentials = Credentials(session.access_key_id, session.secret_access_key)
    kind = _S3Verifier if match["service"] == "s3" else _Verifier
    signer = kind(credentials, match["service"], match["region"])
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return hmac.compare_digest(str(expected), match["signature"])


class _AsSigned:
    """botocore's own signer, for exactly those headers that the caller signed."""

    def headers_to_sign(self, request: AWSRequest) -> Any:
        return request.headers


class _Verifier(_AsSigned, SigV4Auth):
    pass


class _S3Verifier(_AsSigned, S3SigV4Auth):
    """S3 signs paths as they are."""


def _default_version(policy: Any) -> Any:
    (document,) = (version.document for version in policy.versions if version.is_default)
    return document


def _document(policy: Any) -> PolicyDocument:
    found = json.loads(policy) if isinstance(policy, str) else policy
    if not isinstance(found, dict):
        raise TypeError(f"a policy document is an object, not {type(found).__name__}")
    return found
