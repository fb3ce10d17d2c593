"""The cluster's one item in DynamoDB, read consistently and changed only by conditional write."""

from __future__ import annotations

import json
from typing import Any

from sparkvault_host.agent.model import Authority
from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.errors import HostError
from sparkvault_host.identity import HostIdentity


class LostError(HostError):
    """Somebody else was faster; the next look at the item says who."""


def read_authority(identity: HostIdentity) -> Authority | None:
    """The item, None where there is none yet. Raises AwsError."""
    answer = aws(
        "dynamodb",
        "get-item",
        "--table-name",
        identity.authority_table,
        "--key",
        json.dumps({"cluster": {"S": identity.cluster}}),
        "--consistent-read",
    )
    item = (answer or {}).get("Item")
    if not item:
        return None
    return Authority(
        epoch=int(item["epoch"]["N"]),
        leader=item["leader"]["S"],
        swarm_id=item.get("swarm_id", {}).get("S", ""),
        members=tuple(sorted(each["S"] for each in item.get("members", {}).get("L", []))),
    )


def claim(identity: HostIdentity, epoch: int, after: int | None, swarm_id: str = "") -> None:
    """Become the leader of a new epoch. Raises LostError where another one has, AwsError."""
    authority = Authority(epoch, identity.instance, swarm_id)
    if after is None:
        _put(identity, authority, "attribute_not_exists(epoch)", {})
    else:
        _put(identity, authority, "epoch = :after", {":after": {"N": str(after)}})


def update(identity: HostIdentity, authority: Authority) -> None:
    """Change the item within its epoch: by who claimed it, or by who leads the very swarm it names."""
    _put(
        identity,
        authority,
        "epoch = :epoch AND (swarm_id = :swarm OR (swarm_id = :none AND leader = :leader))",
        {
            ":epoch": {"N": str(authority.epoch)},
            ":swarm": {"S": authority.swarm_id},
            ":none": {"S": ""},
            ":leader": {"S": authority.leader},
        },
    )


def _put(identity: HostIdentity, authority: Authority, condition: str, values: dict[str, Any]) -> None:
    item = {
        "cluster": {"S": identity.cluster},
        "epoch": {"N": str(authority.epoch)},
        "leader": {"S": authority.leader},
        "swarm_id": {"S": authority.swarm_id},
        "members": {"L": [{"S": each} for each in authority.members]},
    }
    arguments = ["--table-name", identity.authority_table, "--item", json.dumps(item)]
    arguments += ["--condition-expression", condition]
    if values:
        arguments += ["--expression-attribute-values", json.dumps(values)]
    try:
        aws("dynamodb", "put-item", *arguments)
    except AwsError as error:
        if error.code == "ConditionalCheckFailedException":
            raise LostError(f"epoch {authority.epoch} was not ours to change") from error
        raise
