"""The account as the engine sees it: clients for its APIs, and what templates may look up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from emulation.aws import client as clients
from emulation.aws.cloudformation.errors import ValidationError


class Account:
    """Clients of one region of the account (made once each) and the lookups of `evaluation.Surroundings`."""

    def __init__(self, account_id: str, region: str, endpoint: str, export: Callable[[str], str]) -> None:
        self.account_id = account_id
        self.region = region
        self._endpoint = endpoint
        self._export = export
        self._session = clients.session(region)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """A boto3 client of this server."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = clients.client(self._session, service, self._endpoint, self.region)
            return self._clients[service]

    def zones(self, region: str) -> list[str]:
        """Names of the region's availability zones."""
        del region  # an engine has one region, and Fn::GetAZs of another is refused by CloudFormation too
        answer = self.client("ec2").describe_availability_zones()
        return sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])

    def stored_parameter(self, name: str) -> str:
        """The value of a Parameter Store parameter; `name` may end in `:version`."""
        try:
            return str(self.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        except ClientError as error:
            raise ValidationError(
                f"Unable to fetch parameters [{name}] from parameter store for this account."
            ) from error

    def secret(self, reference: str) -> str:
        """The value behind `secret-id:SecretString:json-key`."""
        name, _, rest = reference.partition(":SecretString")
        text = str(self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
        key = rest.lstrip(":").split(":")[0]
        return str(json.loads(text)[key]) if key else text

    def exported(self, name: str) -> str:
        """The value of an export of this region."""
        return self._export(name)
