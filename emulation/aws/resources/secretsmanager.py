"""Secrets."""

from __future__ import annotations

import json
from typing import Any

from emulation.aws.resources.provider import Context, Made, Properties, Provider, tag_list, tag_map, updatable, without


class Secret(Provider):
    """A secret, given or generated; deletion leaves no recovery window, as CloudFormation's does not."""

    type_name = "AWS::SecretsManager::Secret"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateSecret."""
        wanted: dict[str, Any] = without(properties, "GenerateSecretString", "Tags", "Name")
        wanted |= {"Name": properties.get("Name") or context.name(200), "Tags": tag_list(properties)}
        if "GenerateSecretString" in properties:
            wanted["SecretString"] = _generated(context, properties["GenerateSecretString"])
        arn = context.call("secretsmanager", "create_secret", wanted)["ARN"]
        return Made(arn, {"Id": arn})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """A secret string that was generated stays until the way to generate it changes."""
        updatable(old, new, "Description", "KmsKeyId", "SecretString", "GenerateSecretString", "Tags")
        change = {key: new[key] for key in ("Description", "KmsKeyId", "SecretString") if key in new}
        if old.get("GenerateSecretString") != new.get("GenerateSecretString") and "GenerateSecretString" in new:
            change["SecretString"] = _generated(context, new["GenerateSecretString"])
        secret = {"SecretId": made.physical_id}
        context.call("secretsmanager", "update_secret", secret | change)
        gone = [key for key in tag_map(old) if key not in tag_map(new)]
        if gone:
            context.call("secretsmanager", "untag_resource", secret | {"TagKeys": gone})
        if new.get("Tags"):
            context.call("secretsmanager", "tag_resource", secret | {"Tags": tag_list(new)})
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteSecret."""
        secret = {"SecretId": made.physical_id, "ForceDeleteWithoutRecovery": True}
        context.try_delete("secretsmanager", "delete_secret", secret)


def _generated(context: Context, rule: Properties) -> str:
    wanted = without(rule, "SecretStringTemplate", "GenerateStringKey")
    password = str(context.call("secretsmanager", "get_random_password", wanted)["RandomPassword"])
    if "GenerateStringKey" not in rule:
        return password
    return json.dumps(json.loads(rule.get("SecretStringTemplate", "{}")) | {rule["GenerateStringKey"]: password})
