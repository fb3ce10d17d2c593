"""Roles, policies and instance profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulation.aws.resources.provider import (
    Context,
    Made,
    NeedsReplacement,
    Properties,
    Provider,
    as_json,
    tag_list,
    tag_map,
    updatable,
    without,
)

_ROLE_DEFAULTS: dict[str, Any] = {"Description": "", "MaxSessionDuration": 3600}
_KEPT_VERSIONS = 4  # of a managed policy, besides the new one (IAM quota: 5)


class Role(Provider):
    """A role with its inline and managed policies."""

    type_name = "AWS::IAM::Role"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateRole."""
        name = properties.get("RoleName") or context.name()
        wanted = without(properties, "AssumeRolePolicyDocument", "ManagedPolicyArns", "Policies", "Tags", "RoleName")
        wanted |= {"RoleName": name, "AssumeRolePolicyDocument": as_json(properties["AssumeRolePolicyDocument"])}
        role = context.call("iam", "create_role", wanted | {"Tags": tag_list(properties)})["Role"]
        return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Attach and inline policies that differ."""
        role = {"RoleName": made.physical_id}
        before, after = (list(p.get("ManagedPolicyArns") or []) for p in (old, new))
        for arn in before:
            if arn not in after:
                context.try_delete("iam", "detach_role_policy", role | {"PolicyArn": arn})
        for arn in after:
            if arn not in before:
                context.call("iam", "attach_role_policy", role | {"PolicyArn": arn})
        had, has = ({one["PolicyName"]: one["PolicyDocument"] for one in p.get("Policies") or []} for p in (old, new))
        for name in had.keys() - has.keys():
            context.try_delete("iam", "delete_role_policy", role | {"PolicyName": name})
        for name, document in has.items():
            if had.get(name) != document:
                policy = {"PolicyName": name, "PolicyDocument": as_json(document)}
                context.call("iam", "put_role_policy", role | policy)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """All but name and path change in place."""
        if any(old.get(name) != new.get(name) for name in ("RoleName", "Path")):
            raise NeedsReplacement
        role = {"RoleName": made.physical_id}
        if old["AssumeRolePolicyDocument"] != new["AssumeRolePolicyDocument"]:
            document = as_json(new["AssumeRolePolicyDocument"])
            context.call("iam", "update_assume_role_policy", role | {"PolicyDocument": document})
        if any(old.get(name) != new.get(name) for name in _ROLE_DEFAULTS):
            context.call(
                "iam", "update_role", role | {name: new.get(name, _ROLE_DEFAULTS[name]) for name in _ROLE_DEFAULTS}
            )
        boundary = new.get("PermissionsBoundary")
        if boundary and boundary != old.get("PermissionsBoundary"):
            context.call("iam", "put_role_permissions_boundary", role | {"PermissionsBoundary": boundary})
        elif not boundary and old.get("PermissionsBoundary"):
            context.call("iam", "delete_role_permissions_boundary", role)
        _retag(context, "role", role, old, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Detach what the template attached, then DeleteRole."""
        self.configure(context, made, properties, {})
        context.try_delete("iam", "delete_role", {"RoleName": made.physical_id})


def _retag(context: Context, kind: str, place: dict[str, str], old: Properties, new: Properties) -> None:
    before, after = tag_map(old), tag_map(new)
    gone = [key for key in before if key not in after]
    if gone:
        context.call("iam", f"untag_{kind}", place | {"TagKeys": gone})
    if before != after and after:
        context.call("iam", f"tag_{kind}", place | {"Tags": tag_list(new)})


_HOLDERS = (("Roles", "role", "RoleName"), ("Users", "user", "UserName"), ("Groups", "group", "GroupName"))


def _for_holders(old: Properties, new: Properties, gone: Callable[..., Any], there: Callable[..., Any]) -> None:
    for name, kind, key in _HOLDERS:
        after = new.get(name) or []
        for holder in old.get(name) or []:
            if holder not in after:
                gone(kind, {key: holder})
        for holder in after:
            there(kind, {key: holder}, holder in (old.get(name) or []))


class Policy(Provider):
    """An inline policy put on roles, users and groups."""

    type_name = "AWS::IAM::Policy"

    def create(self, context: Context, properties: Properties) -> Made:
        """Nothing by itself: `configure` puts it."""
        return Made(context.name(128), {"Id": str(properties["PolicyName"])})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutRolePolicy and the like."""
        name = {"PolicyName": (new or old)["PolicyName"]}
        document = as_json(new.get("PolicyDocument") or {})

        def gone(kind: str, holder: dict[str, str]) -> None:
            context.try_delete("iam", f"delete_{kind}_policy", holder | name)

        def there(kind: str, holder: dict[str, str], _: bool) -> None:
            context.call("iam", f"put_{kind}_policy", holder | name | {"PolicyDocument": document})

        _for_holders(old, new, gone, there)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Another name is another policy; the rest changes in place."""
        if old["PolicyName"] != new["PolicyName"]:
            self.configure(context, made, old, {})
            return self.configure(context, made, {}, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Take it off every holder."""
        self.configure(context, made, properties, {})


class ManagedPolicy(Provider):
    """A managed policy; a change of its document is a new default version."""

    type_name = "AWS::IAM::ManagedPolicy"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreatePolicy."""
        name = properties.get("ManagedPolicyName") or context.name(128)
        wanted = without(properties, "ManagedPolicyName", "PolicyDocument", "Roles", "Users", "Groups", "Tags")
        wanted |= {"PolicyName": name, "PolicyDocument": as_json(properties["PolicyDocument"])}
        policy = context.call("iam", "create_policy", wanted | {"Tags": tag_list(properties)})["Policy"]
        return Made(policy["Arn"], {"PolicyArn": policy["Arn"], "PolicyId": policy["PolicyId"]})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Attach and detach."""
        policy = {"PolicyArn": made.physical_id}

        def gone(kind: str, holder: dict[str, str]) -> None:
            context.try_delete("iam", f"detach_{kind}_policy", holder | policy)

        def there(kind: str, holder: dict[str, str], attached: bool) -> None:
            if not attached:
                context.call("iam", f"attach_{kind}_policy", holder | policy)

        _for_holders(old, new, gone, there)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Document and holders change in place."""
        updatable(old, new, "PolicyDocument", "Roles", "Users", "Groups", "Tags")
        policy = {"PolicyArn": made.physical_id}
        if old["PolicyDocument"] != new["PolicyDocument"]:
            versions = context.call("iam", "list_policy_versions", policy)["Versions"]
            spare = sorted((v for v in versions if not v["IsDefaultVersion"]), key=lambda v: int(v["VersionId"][1:]))
            for version in spare[: max(0, len(versions) - _KEPT_VERSIONS)]:
                context.call("iam", "delete_policy_version", policy | {"VersionId": version["VersionId"]})
            document = {"PolicyDocument": as_json(new["PolicyDocument"]), "SetAsDefault": True}
            context.call("iam", "create_policy_version", policy | document)
        _retag(context, "policy", policy, old, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Detach, drop old versions, DeletePolicy."""
        self.configure(context, made, properties, {})
        policy = {"PolicyArn": made.physical_id}
        for version in context.call("iam", "list_policy_versions", policy)["Versions"]:
            if not version["IsDefaultVersion"]:
                context.try_delete("iam", "delete_policy_version", policy | {"VersionId": version["VersionId"]})
        context.try_delete("iam", "delete_policy", policy)


class InstanceProfile(Provider):
    """An instance profile with its role."""

    type_name = "AWS::IAM::InstanceProfile"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateInstanceProfile."""
        name = properties.get("InstanceProfileName") or context.name(128)
        wanted = without(properties, "Roles", "InstanceProfileName") | {"InstanceProfileName": name}
        return Made(name, {"Arn": context.call("iam", "create_instance_profile", wanted)["InstanceProfile"]["Arn"]})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Put the role in."""
        profile = {"InstanceProfileName": made.physical_id}
        for role in old.get("Roles") or []:
            if role not in (new.get("Roles") or []):
                context.try_delete("iam", "remove_role_from_instance_profile", profile | {"RoleName": role})
        for role in new.get("Roles") or []:
            if role not in (old.get("Roles") or []):
                context.call("iam", "add_role_to_instance_profile", profile | {"RoleName": role})
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """The role changes in place."""
        updatable(old, new, "Roles")
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Take the role out, then DeleteInstanceProfile."""
        self.configure(context, made, properties, {})
        context.try_delete("iam", "delete_instance_profile", {"InstanceProfileName": made.physical_id})
