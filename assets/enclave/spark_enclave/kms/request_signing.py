"""Signs one request to KMS: AWS Signature Version 4, for a POST of JSON to `/` and nothing else.

Source: AWS IAM user guide, "Create a signed AWS API request". Not by the SDK, which would bring an HTTP client, parsers
and a search for configuration into the code that is trusted with keys; a test compares it with the SDK's.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "kms"


def signed_headers(
    *,
    host: str,
    region: str,
    target: str,
    payload: bytes,
    access_key_id: str,
    secret_access_key: str,
    session_token: str,
    at: datetime | None = None,
) -> dict[str, str]:
    """All headers of the request, its signature among them; `at` is now by default (UTC).

    `target`: service and operation of the JSON protocol, as in `TrentService.Decrypt`.
    """
    moment = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": moment,
        "x-amz-security-token": session_token,
        "x-amz-target": target,
    }
    names = ";".join(headers)  # in the order of the alphabet, as the signature wants them
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = "\n".join(["POST", "/", "", lines, names, hashlib.sha256(payload).hexdigest()])
    scope = f"{moment[:8]}/{region}/{_SERVICE}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = f"{_ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authorization}
