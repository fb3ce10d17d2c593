"""What a request asks for, in IAM's terms: its actions, their resources and condition keys, per service.

Source: Service Authorization Reference, one page per service. An action that is not told here is checked against every
resource (`*`), which only a policy that names none lets through: what is not known is not allowed by accident.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from emulation.aws.iam_evaluation import ContextValue, Request

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One HTTP request to an AWS API."""

    service: str
    """As in the signature's scope."""
    region: str
    account: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    action: str = ""
    parameters: Parameters = field(default_factory=dict)

    def arn(self, resource: str, service: str | None = None) -> str:
        """ARN of a resource of this account and region."""
        return f"arn:aws:{service or self.service}:{self.region}:{self.account}:{resource}"


def read_call(
    scope: tuple[str, str], account: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> Call:
    """A request with its action and parameters; `scope` is (region, service) of its signature."""
    region, service = scope
    asked = dict(parse_qsl(query, keep_blank_values=True))
    call = Call(service, region, account, method, unquote(path), asked, headers, body)
    target = headers.get("X-Amz-Target")
    smithy = re.fullmatch(r"/service/\w+/operation/(\w+)", path)
    if service == "s3":
        return call
    if target:
        action, parameters = target.rsplit(".", 1)[-1], _json(body)
    elif smithy:
        action, parameters = smithy[1], {}
    else:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) | asked
        action, parameters = form.pop("Action", ""), _unflattened(form)
    return Call(service, region, account, method, call.path, asked, headers, body, action, parameters)


def requests_of(call: Call) -> list[Request]:
    """Every check that AWS makes for this call. Empty where it makes none, as for GetCallerIdentity."""
    if call.service == "s3":
        return list(_s3(call))
    prefix = _PREFIXES.get(call.service, call.service)
    if (call.service, call.action) in _FREE or (call.service == "kms" and call.action in _judged_with_their_key()):
        return []
    special = _SPECIAL.get(call.service)
    found = list(special(call)) if special else []
    return found or [Request(f"{prefix}:{call.action}", "*", {})]


#: Actions that need no permission.
_FREE = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}
#: Where IAM's prefix of a service is not the name in the signature.
_PREFIXES = {"monitoring": "cloudwatch", "email": "ses", "ecr-public": "ecr-public"}


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _unflattened(form: Mapping[str, str]) -> dict[str, Any]:
    """`InstanceId.1=x` and `InstanceIds.member.1=x` as lists under their names; deeper structures stay flat."""
    made: dict[str, Any] = {}
    for key, value in form.items():
        match = re.fullmatch(r"(\w+)\.(?:member\.)?\d+", key)
        if match:
            made.setdefault(match[1], []).append(value)
        else:
            made[key] = value
    return made


# ------------------------------------------------------------------------------------------------------------ services
def _ssm(call: Call) -> Iterator[Request]:
    given = call.parameters
    names = given.get("Names") or ([given["Name"]] if isinstance(given.get("Name"), str) else [])
    if call.action in ("GetParametersByPath",):
        yield Request("ssm:GetParametersByPath", call.arn(f"parameter/{given.get('Path', '').strip('/')}"))
    elif "Parameter" in call.action and names:
        for name in names:
            resource = name if name.startswith("arn:") else call.arn(f"parameter/{name.lstrip('/').split(':')[0]}")
            yield Request(f"ssm:{call.action}", resource)
            yield from _parameter_key(call, name.lstrip("/").split(":")[0], resource)
    elif call.action in ("GetDocument", "DescribeDocument") and names:
        yield Request(f"ssm:{call.action}", call.arn(f"document/{names[0]}"))
    elif call.action == "UpdateInstanceInformation":
        yield Request("ssm:UpdateInstanceInformation", call.arn(f"instance/{given.get('InstanceId')}", "ec2"))
    elif call.action in ("TerminateSession", "ResumeSession") and isinstance(given.get("SessionId"), str):
        yield Request(f"ssm:{call.action}", call.arn(f"session/{given['SessionId']}"))
    elif call.action in ("SendCommand", "StartSession"):
        document = given.get("DocumentName", "SSM-SessionManagerRunShell")
        yield Request(f"ssm:{call.action}", call.arn(f"document/{document}"))
        targets = given.get("InstanceIds") or ([given["Target"]] if "Target" in given else [])
        # A task's tags are ECS's: whoever answers for tasks asks IAM about them (emulation/ecs).
        for instance in (target for target in targets if not str(target).startswith("ecs:")):
            yield Request(f"ssm:{call.action}", call.arn(f"instance/{instance}", "ec2"), _instance_tags(call, instance))


def _parameter_key(call: Call, name: str, resource: str) -> Iterator[Request]:
    """Systems Manager user guide, "How Parameter Store uses KMS": on behalf of the caller, with the parameter's ARN."""
    from moto.ssm.models import ssm_backends

    context: dict[str, ContextValue] = {
        "kms:ViaService": f"ssm.{call.region}.amazonaws.com",
        "kms:EncryptionContext:PARAMETER_ARN": resource,
    }
    if call.action == "PutParameter" and call.parameters.get("Type") == "SecureString":
        yield Request("kms:Encrypt", key_arn(call, call.parameters.get("KeyId") or "alias/aws/ssm"), context)
    elif call.action.startswith("GetParameter") and call.parameters.get("WithDecryption"):
        backend = ssm_backends[call.account][call.region]
        known = backend.get_parameter(f"/{name}") or backend.get_parameter(name)
        if known and known.parameter_type == "SecureString":
            yield Request("kms:Decrypt", key_arn(call, known.keyid or "alias/aws/ssm"), context)


def key_arn(call: Call, key: str) -> str:
    """ARN of a key by id, ARN or alias; the name itself where there is none, so that no policy fits it."""
    from moto.kms.models import kms_backends

    backend = kms_backends[call.account][call.region]
    try:
        return str(backend.keys[backend.any_id_to_key_id(key)].arn)
    except (KeyError, TypeError):
        return call.arn(f"key/{key}", "kms")


def _dynamodb(call: Call) -> Iterator[Request]:
    given = call.parameters
    tables = {given["TableName"]} if "TableName" in given else set()
    keys: dict[str, ContextValue] = {}
    if call.action in ("BatchGetItem", "BatchWriteItem"):
        tables |= set(given.get("RequestItems", {}))
    if call.action in ("TransactGetItems", "TransactWriteItems"):
        for item in given.get("TransactItems", []):
            for verb, part in item.items():
                action = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "Get": "GetItem"}
                yield Request(f"dynamodb:{action.get(verb, 'ConditionCheckItem')}", _table(call, part["TableName"]))
        return
    for table in sorted(tables):
        resource = _table(call, table)
        yield Request(
            f"dynamodb:{call.action}",
            f"{resource}/index/{given['IndexName']}" if "IndexName" in given else resource,
            keys,
        )


def _table(call: Call, name: str) -> str:
    return name if name.startswith("arn:") else call.arn(f"table/{name}")


def _s3(call: Call) -> Iterator[Request]:
    """Amazon S3 user guide, "Required permissions for Amazon S3 API operations"; addresses are of path style here."""
    bucket, _, key = call.path.lstrip("/").partition("/")
    place = f"arn:aws:s3:::{bucket}"
    asked, method = call.query, call.method
    if not bucket:
        yield Request("s3:ListAllMyBuckets", "*")
    elif not key:
        if method == "POST" and "delete" in asked:
            for each in ElementTree.fromstring(call.body).iter():  # noqa: S314 (a host's own request, never a secret's)
                if each.tag.rpartition("}")[2] == "Key":
                    yield Request("s3:DeleteObject", f"{place}/{each.text}")
        elif method in ("GET", "HEAD") and not set(asked) & _SUBRESOURCES.keys():
            context = {f"s3:{name}": asked[name] for name in ("prefix", "delimiter", "max-keys") if name in asked}
            yield Request("s3:ListBucketVersions" if "versions" in asked else "s3:ListBucket", place, context)
        else:
            named = next((_SUBRESOURCES[name] for name in asked if name in _SUBRESOURCES), "Bucket")
            verb = {"GET": "Get", "PUT": "Put" if named != "Bucket" else "Create", "DELETE": "Delete"}.get(
                method, "Put"
            )
            yield Request(f"s3:{verb}{named}", place)
    else:
        yield from _s3_object(call, bucket, f"{place}/{key}")


_SUBRESOURCES = {
    "acl": "BucketAcl",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "policy": "BucketPolicy",
    "tagging": "BucketTagging",
    "uploads": "BucketMultipartUploads",
    "versioning": "BucketVersioning",
}


def _s3_object(call: Call, bucket: str, resource: str) -> Iterator[Request]:
    asked, method = call.query, call.method
    via: dict[str, ContextValue] = {"kms:ViaService": f"s3.{call.region}.amazonaws.com"}
    key = _bucket_key(call, bucket)
    if method in ("GET", "HEAD"):
        if "uploadId" in asked:
            yield Request("s3:ListMultipartUploadParts", resource)
            return
        versioned = "versionId" in asked
        action = "s3:GetObjectTagging" if "tagging" in asked else f"s3:GetObject{'Version' * versioned}"
        yield Request(action, resource, _tags_of_object(call, bucket, resource))
        if key and method == "GET":
            yield Request("kms:Decrypt", key, via)
    elif method == "DELETE":
        yield Request("s3:AbortMultipartUpload" if "uploadId" in asked else "s3:DeleteObject", resource)
    else:
        context: dict[str, ContextValue] = {
            f"s3:{name}": value
            for name, value in call.headers.items()
            if name.lower().startswith("x-amz-server-side-encryption") or name.lower() == "x-amz-acl"
        }
        tags = next((value for name, value in call.headers.items() if name.lower() == "x-amz-tagging"), "")
        context |= {f"s3:RequestObjectTag/{name}": value for name, value in parse_qsl(tags)}
        yield Request("s3:PutObjectTagging" if "tagging" in asked else "s3:PutObject", resource, context)
        source = call.headers.get("X-Amz-Copy-Source")
        if source:
            yield Request("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/').split('?')[0]}")
        if key:
            yield Request("kms:GenerateDataKey", key, via)


def _tags_of_object(call: Call, bucket: str, resource: str) -> dict[str, ContextValue]:
    """``s3:ExistingObjectTag/<key>`` of an object that is there."""
    from moto.s3.models import s3_backends

    backend = s3_backends[call.account]["aws"]
    name = unquote(resource.partition(f":::{bucket}/")[2])
    found = backend.buckets[bucket].keys.get(name) if bucket in backend.buckets else None
    if found is None:
        return {}
    return {
        f"s3:ExistingObjectTag/{key}": tag for key, tag in backend.tagger.get_tag_dict_for_resource(found.arn).items()
    }


def _bucket_key(call: Call, bucket: str) -> str | None:
    """The key that the bucket encrypts with by default, if it is one of KMS."""
    from moto.s3.models import s3_backends

    known = s3_backends[call.account]["aws"].buckets.get(bucket)
    rules = ((known.encryption or {}).get("Rule") if known else None) or []
    for rule in rules if isinstance(rules, list) else [rules]:
        default = rule.get("ApplyServerSideEncryptionByDefault") or {}
        if default.get("SSEAlgorithm") == "aws:kms" and default.get("KMSMasterKeyID"):
            return key_arn(call, default["KMSMasterKeyID"])
    return None


def _autoscaling(call: Call) -> Iterator[Request]:
    from moto.autoscaling.models import autoscaling_backends

    if call.action.startswith("Describe"):
        return
    groups = autoscaling_backends[call.account][call.region].autoscaling_groups
    name = call.parameters.get("AutoScalingGroupName")
    if name is None:
        instance = call.parameters.get("InstanceId")
        name = next((n for n, g in groups.items() if any(s.instance_id == instance for s in g.instance_states)), None)
    if name in groups:
        tags = {tag["Key"]: tag["Value"] for tag in groups[name].tags}
        context: dict[str, ContextValue] = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
        context |= {f"autoscaling:ResourceTag/{key}": value for key, value in tags.items()}
        resource = call.arn(f"autoScalingGroup:{_ANY_ID}:autoScalingGroupName/{name}")
        yield Request(f"autoscaling:{call.action}", resource, context)


_ANY_ID = "00000000-0000-4000-8000-000000000000"


def _ec2(call: Call) -> Iterator[Request]:
    if call.action.startswith("Describe"):
        return
    given = call.parameters
    instances = given.get("InstanceId") or given.get("InstanceIds") or []
    for instance in instances if isinstance(instances, list) else [instances]:
        yield Request(f"ec2:{call.action}", call.arn(f"instance/{instance}"), _instance_tags(call, instance))


def _instance_tags(call: Call, instance: str) -> dict[str, ContextValue]:
    from moto.ec2.models import ec2_backends

    known = ec2_backends[call.account][call.region].get_instance_by_id(instance)
    tags = {tag["key"]: tag["value"] for tag in known.get_tags()} if known else {}
    return {f"{name}:ResourceTag/{key}": value for key, value in tags.items() for name in ("aws", "ec2", "ssm")}


def _sts(call: Call) -> Iterator[Request]:
    given = call.parameters
    if call.action != "AssumeRole":
        return
    context: dict[str, ContextValue] = {"sts:RoleSessionName": given.get("RoleSessionName", "")}
    tags = {
        given[f"Tags.member.{number}.Key"]: given.get(f"Tags.member.{number}.Value", "")
        for number in range(1, 51)
        if f"Tags.member.{number}.Key" in given
    }
    context |= {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    if tags:
        context["aws:TagKeys"] = list(tags)
    if "SourceIdentity" in given:
        context["sts:SourceIdentity"] = given["SourceIdentity"]
    if "ExternalId" in given:
        context["sts:ExternalId"] = given["ExternalId"]
    role = given.get("RoleArn", "")
    yield Request("sts:AssumeRole", role, context)
    if tags:
        yield Request("sts:TagSession", role, context)
    if "SourceIdentity" in given:
        yield Request("sts:SetSourceIdentity", role, context)


def _logs(call: Call) -> Iterator[Request]:
    given = call.parameters
    group = given.get("logGroupName") or str(given.get("logGroupIdentifier", "")).rpartition(":log-group:")[2]
    if group:
        stream = given.get("logStreamName", "")
        yield Request(f"logs:{call.action}", call.arn(f"log-group:{group}:log-stream:{stream}"))


def _cloudwatch(call: Call) -> Iterator[Request]:
    if call.action == "PutMetricData":
        yield Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": call.parameters.get("Namespace", "")})


def _cloudformation(call: Call) -> Iterator[Request]:
    from emulation.aws.server.cloudformation_api import CloudFormationApi

    name = call.parameters.get("StackName")
    if name:
        engine = CloudFormationApi.engine_of(call.account, call.region)
        stack = engine.live(name) or engine.stacks.get(name)
        resource = stack.stack_id if stack else call.arn(f"stack/{name}/{_ANY_ID}")
        yield Request(f"cloudformation:{call.action}", resource)


def _secretsmanager(call: Call) -> Iterator[Request]:
    """With the key that encrypts the secret (Secrets Manager user guide, "Secret encryption and decryption")."""
    from moto.secretsmanager.models import secretsmanager_backends

    given = call.parameters
    context: dict[str, ContextValue] = {}
    for tag in given.get("Tags") or []:
        context[f"aws:RequestTag/{tag['Key']}"] = tag["Value"]
    if given.get("Tags"):
        context["aws:TagKeys"] = [tag["Key"] for tag in given["Tags"]]
    if call.action == "CreateSecret":
        # Its last six characters are not known yet.
        resource, key = call.arn(f"secret:{given.get('Name')}-000000"), given.get("KmsKeyId")
        yield Request("secretsmanager:CreateSecret", resource, context | {"secretsmanager:Name": given.get("Name", "")})
        if given.get("Tags"):
            yield Request("secretsmanager:TagResource", resource, context)
    elif given.get("SecretId"):
        found = secretsmanager_backends[call.account][call.region].secrets.get(given["SecretId"])
        resource = found.arn if found else call.arn(f"secret:{given['SecretId']}")
        key = getattr(found, "kms_key_id", None)
        for tag in (found.tags if found else None) or []:
            context |= {f"{name}:ResourceTag/{tag['Key']}": tag["Value"] for name in ("aws", "secretsmanager")}
        yield Request(f"secretsmanager:{call.action}", resource, context)
    else:
        return
    if key:
        via: dict[str, ContextValue] = {
            "kms:ViaService": f"secretsmanager.{call.region}.amazonaws.com",
            "kms:EncryptionContext:SecretARN": resource,
        }
        for action in _KEY_OF_SECRET.get(call.action, ()):
            yield Request(f"kms:{action}", key_arn(call, key), via)


_KEY_OF_SECRET = {
    "CreateSecret": ("GenerateDataKey", "Decrypt"),
    "GetSecretValue": ("Decrypt",),
    "PutSecretValue": ("GenerateDataKey", "Decrypt"),
    "UpdateSecret": ("GenerateDataKey", "Decrypt"),
}


def _ecr(call: Call) -> Iterator[Request]:
    repository = call.parameters.get("repositoryName")
    if repository:
        yield Request(f"ecr:{call.action}", call.arn(f"repository/{repository}"))


def _kms(call: Call) -> Iterator[Request]:
    given = call.parameters
    context: dict[str, ContextValue] = {
        f"kms:EncryptionContext:{name}": value for name, value in (given.get("EncryptionContext") or {}).items()
    }
    key = given.get("KeyId")
    if key:
        yield Request(f"kms:{call.action}", key_arn(call, key), context)


@cache
def _judged_with_their_key() -> frozenset[str]:
    """Calls of KMS that a key's policy may allow alone; `emulation.kms.installation` judges both policies together."""
    from emulation.kms.installation import ACTIONS

    return frozenset("".join(word.capitalize() for word in name.split("_")) for name in ACTIONS)


_SPECIAL: dict[str, Callable[[Call], Iterator[Request]]] = {
    "autoscaling": _autoscaling,
    "cloudformation": _cloudformation,
    "dynamodb": _dynamodb,
    "ec2": _ec2,
    "ecr": _ecr,
    "kms": _kms,
    "logs": _logs,
    "monitoring": _cloudwatch,
    "secretsmanager": _secretsmanager,
    "ssm": _ssm,
    "sts": _sts,
}
