"""Lets a role's session do what its policies allow, and nothing else; answers the rest as AWS words it.

The deployer's test credentials, which belong to no role, stay unrestricted, but not from inside an emulated VPC.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from moto.iam.models import iam_backends
from werkzeug.datastructures import EnvironHeaders
from werkzeug.wrappers import Response

from emulation.aws.iam_evaluation import Decision, MalformedPolicyError, PolicyDocument, Request, evaluate
from emulation.aws.server.callers import Caller, SignatureRefused, caller_of
from emulation.aws.server.fleet import FLEET
from emulation.aws.server.requested import Call, read_call, requests_of

_SCOPE = re.compile(r"Credential=(?P<key>\w+)/\d{8}/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request")
#: The roles by which the CDK deploys are the deployer's, and as unrestricted.
_CDK_ROLE = re.compile(
    r"arn:aws:iam::\d{12}:role/cdk-[\w-]+-(?:cfn-exec|deploy|file-publishing|image-publishing|lookup)-role-[\w-]+"
)
_log = logging.getLogger("emulation.aws.authorization")
#: Set in the WSGI environment of requests that come from inside an emulated VPC.
FROM_HOSTS = "emulation.from_hosts"
#: Set there, too: the `Caller` whose role signed the request, for services that judge it by policies of their own.
CALLER = "emulation.caller"


def refusal(environ: dict[str, Any], account: str) -> Response | None:
    """The answer to a request that must not be served; None for one that may."""
    from_hosts = bool(environ.get(FROM_HOSTS))
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        if not from_hosts:
            return None
        return _answer("s3", environ, 403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    if not from_hosts and not scope["key"].startswith("ASIA"):
        return None
    body = _body(environ)
    headers = _Headers(EnvironHeaders(environ))
    path = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"])
    try:
        caller = caller_of(environ["REQUEST_METHOD"], f"http://{headers['Host']}{path}", headers, body, account)
    except SignatureRefused as refused:
        return _answer(scope["service"], environ, 403, refused.code, str(refused))
    if caller is None:
        if not from_hosts:
            return None
        message = "The security token included in the request is invalid."
        return _answer(scope["service"], environ, 403, "UnrecognizedClientException", message)
    environ[CALLER] = caller
    if _CDK_ROLE.fullmatch(caller.role_arn):
        return None
    call = read_call(
        (scope["region"], scope["service"]),
        account,
        environ["REQUEST_METHOD"],
        path.partition("?")[0],
        environ.get("QUERY_STRING", ""),
        headers,
        body,
    )
    try:
        return _judged(caller, call, environ)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not be served
        _log.exception("judging %s:%s", call.service, call.action)
        return _answer(call.service, environ, 400, "EmulationFailure", f"{type(error).__name__}: {error}")


class _Headers(Mapping[str, str]):
    """Headers by name, whatever its case."""

    def __init__(self, headers: EnvironHeaders) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers.keys())

    def __len__(self) -> int:
        return len(self._headers)


def trusts_service(role_arn: str, service: str, account: str) -> bool:
    """Whether a role's trust policy lets an AWS service assume it."""
    return _trusted(role_arn, account, Request("sts:AssumeRole", role_arn), {"Service": {service}})


def _judged(caller: Caller, call: Call, environ: dict[str, Any]) -> Response | None:
    for request in requests_of(call):
        context = _context(caller, call) | dict(request.context)
        asked = Request(request.action, request.resource, context)
        boundary = None if caller.boundary is None else [caller.boundary]
        try:
            decision = evaluate(caller.policies, asked, boundary)
        except MalformedPolicyError as error:
            return _answer(call.service, environ, 400, "MalformedPolicyDocument", str(error))
        trusted = True
        if call.service == "sts" and decision is Decision.ALLOWED:
            principals = {
                "AWS": {caller.role_arn, caller.session_arn, call.account, f"arn:aws:iam::{call.account}:root"}
            }
            trusted = _trusted(request.resource, call.account, asked, principals)
        if decision is not Decision.ALLOWED or not trusted:
            return _denied(caller, call, asked, decision, environ)
    return None


def _denied(caller: Caller, call: Call, asked: Request, decision: Decision, environ: dict[str, Any]) -> Response:
    why = (
        "with an explicit deny in an identity-based policy"
        if decision is Decision.EXPLICITLY_DENIED
        else f"because no identity-based policy allows the {asked.action} action"
    )
    on = f" on resource: {asked.resource}" if asked.resource != "*" else ""
    message = f"User: {caller.session_arn} is not authorized to perform: {asked.action}{on} {why}"
    code = {"ec2": "UnauthorizedOperation"}.get(call.service, "AccessDenied")
    if call.headers.get("X-Amz-Target"):
        return _answer(call.service, environ, 400, "AccessDeniedException", message)
    return _answer(call.service, environ, 403, code, "Access Denied" if call.service == "s3" else message)


def _context(caller: Caller, call: Call) -> dict[str, Any]:
    """Global condition keys (IAM user guide, "AWS global condition context keys"). Loopback stands for TLS."""
    context: dict[str, Any] = {
        "aws:PrincipalArn": caller.role_arn,
        "aws:PrincipalAccount": call.account,
        "aws:PrincipalType": "AssumedRole",
        "aws:RequestedRegion": call.region,
        "aws:SecureTransport": True,
        "aws:userid": caller.session_name,
        **{f"aws:PrincipalTag/{name}": value for name, value in caller.tags.items()},
    }
    if re.fullmatch(r"i-[0-9a-f]{17}", caller.session_name):
        try:
            instance = FLEET.instance(caller.session_name)
        except KeyError:
            return context
        source = f"arn:aws:ec2:{call.region}:{call.account}:instance/{instance.id}"
        role = iam_backends[call.account]["aws"].get_role_by_arn(caller.role_arn)
        context |= {
            "ec2:SourceInstanceARN": source,
            "aws:ec2InstanceSourceVPC": instance.vpc_id,
            # IAM user guide, "Request information that you can use for policy variables".
            "aws:userid": f"{role.id}:{instance.id}",
        }
    return context


def _trusted(role_arn: str, account: str, request: Request, principals: Mapping[str, Iterable[str]]) -> bool:
    roles = iam_backends[account]["aws"].get_roles()
    role = next((one for one in roles if one.arn == role_arn), None)
    if role is None:
        return False
    document = json.loads(role.assume_role_policy_document)
    kept = [
        {key: value for key, value in statement.items() if key != "Principal"} | {"Resource": role_arn}
        for statement in _listed(document["Statement"])
        if _names(statement.get("Principal", {}), principals)
    ]
    policy: PolicyDocument = {"Statement": kept}
    return evaluate([policy], request) is Decision.ALLOWED


def _names(stated: Any, principals: Mapping[str, Iterable[str]]) -> bool:
    if stated == "*":
        return True
    return any(set(_listed(stated.get(kind, []))) & {*values, "*"} for kind, values in principals.items())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _body(environ: dict[str, Any]) -> bytes:
    """The whole body, which can be read again afterwards."""
    length = environ.get("CONTENT_LENGTH")
    stream = environ["wsgi.input"]
    body: bytes = stream.read(int(length)) if length else stream.read() if environ.get("wsgi.input_terminated") else b""
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _answer(service: str, environ: Mapping[str, Any], status: int, code: str, message: str) -> Response:
    if environ.get("HTTP_X_AMZ_TARGET") or "json" in environ.get("CONTENT_TYPE", ""):
        body, kind = json.dumps({"__type": code, "message": message}), "application/x-amz-json-1.1"
    else:
        error = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        if service == "s3":
            body = f"<Error>{error}<RequestId>emulated</RequestId></Error>"
        elif service == "ec2":
            body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>emulated</RequestID></Response>"
        else:
            body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
        kind = "text/xml"
    return Response(body, status=status, content_type=kind)
