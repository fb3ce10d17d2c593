"""What a resource type must offer, and the calls by which it acts on the account's own APIs."""

from __future__ import annotations

import json
import re
import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from botocore.exceptions import BotoCoreError, ClientError

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources.shapes import fit

_ABSENT = re.compile(
    r"NotFound|NoSuch|DoesNotExist|NonExistent|ResourceNotFound|not ?found|does not exist", re.IGNORECASE
)
Properties = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """A resource that exists: what `Ref` gives, and what `Fn::GetAtt` gives."""

    physical_id: str
    attributes: dict[str, Any] = field(default_factory=dict)


class NeedsReplacement(Exception):
    """An update that cannot be made in place: a new resource is created, the old one deleted afterwards."""


@dataclass(frozen=True)
class Context:
    """The place where a provider works: account, region, stack and logical id."""

    account_id: str
    region: str
    stack_name: str
    stack_id: str
    logical_id: str
    clients: Callable[[str], Any]

    def client(self, service: str) -> Any:
        """A boto3 client of this account and region."""
        return self.clients(service)

    def call(self, service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Call an API with CloudFormation's spelling of its parameters; an unknown one is an error."""
        client = self.client(service)
        model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
        with handler_errors(service):
            answer: dict[str, Any] = getattr(client, operation)(**fit(model.input_shape, dict(parameters)))
        return answer

    def try_delete(self, service: str, operation: str, parameters: Mapping[str, Any]) -> None:
        """Like `call`, but what is gone already is fine."""
        try:
            self.call(service, operation, parameters)
        except ResourceFailed as failure:
            if not _ABSENT.search(str(failure)):
                raise

    def name(self, limit: int = 64, *, lower: bool = False) -> str:
        """A generated physical name, `stack-logical-random`, of at most `limit` characters."""
        suffix = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        room = limit - len(suffix) - 2
        logical = self.logical_id[: room // 2 if len(self.stack_name) > room // 2 else room - len(self.stack_name)]
        generated = f"{self.stack_name[: room - len(logical)]}-{logical}-{suffix}"
        return generated.lower() if lower else generated

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """`arn:aws:service:region:account:resource`."""
        return f"arn:aws:{service}:{self.region if regional else ''}:{self.account_id}:{resource}"


@contextmanager
def handler_errors(service: str) -> Iterator[None]:
    """Turn an API's error into a resource's failure, worded as CloudFormation's resource handlers word it."""
    try:
        yield
    except ClientError as error:
        detail, status = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        raise ResourceFailed(
            f'Resource handler returned message: "{detail.get("Message")} (Service: {service.title()}, '
            f'Status Code: {status.get("HTTPStatusCode")})" (HandlerErrorCode: {detail.get("Code")})'
        ) from error
    except BotoCoreError as error:
        raise ResourceFailed(f"Model validation failed ({' '.join(str(error).split())})") from error


class Provider(ABC):
    """One resource type. Without an `update` of its own any change of properties replaces the resource."""

    type_name: ClassVar[str]

    @abstractmethod
    def create(self, context: Context, properties: Properties) -> Made:
        """Make the resource by the account's APIs, in one call: what more there is to set belongs in `configure`."""

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Set what creation left out; called once the resource is on record, so that a failure here is cleaned up."""
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Change it in place, or raise `NeedsReplacement`."""
        raise NeedsReplacement

    @abstractmethod
    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Delete it; what is gone already is fine."""


def updatable(old: Properties, new: Properties, *names: str) -> None:
    """Raise `NeedsReplacement` if anything else than `names` differs."""
    differing = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    if not differing <= set(names):
        raise NeedsReplacement(", ".join(sorted(differing - set(names))))


def without(properties: Properties, *names: str) -> dict[str, Any]:
    """`properties` without some members."""
    return {key: value for key, value in properties.items() if key not in names}


def changed_only(old: Properties, new: Properties) -> dict[str, Any]:
    """The members of `new` that differ from `old`."""
    return {key: value for key, value in new.items() if old.get(key) != value}


def tag_map(properties: Properties, name: str = "Tags") -> dict[str, str]:
    """Tags as a mapping, from CloudFormation's list or mapping."""
    tags = properties.get(name) or []
    return dict(tags) if isinstance(tags, Mapping) else {tag["Key"]: tag["Value"] for tag in tags}


def tag_list(properties: Properties, name: str = "Tags") -> list[dict[str, str]]:
    """Tags as a list of `Key` and `Value`."""
    return [{"Key": key, "Value": value} for key, value in tag_map(properties, name).items()]


def as_json(document: Any) -> str:
    """A policy document as text, in the order it was written."""
    return document if isinstance(document, str) else json.dumps(document)
