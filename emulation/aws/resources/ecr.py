"""Container registries."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.provider import Context, Made, NeedsReplacement, Properties, Provider, as_json, tag_list


class Repository(Provider):
    """A repository of ECR; CloudFormation deletes one with images only if `EmptyOnDelete` is set."""

    type_name = "AWS::ECR::Repository"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateRepository."""
        wanted: dict[str, Any] = {
            "RepositoryName": properties.get("RepositoryName") or context.name(256, lower=True),
            "Tags": tag_list(properties),
        }
        for name in ("ImageScanningConfiguration", "ImageTagMutability", "EncryptionConfiguration"):
            if name in properties:
                wanted[name] = properties[name]
        repository = context.call("ecr", "create_repository", wanted)["repository"]
        attributes = {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}
        return Made(repository["repositoryName"], attributes)

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Repository policy and lifecycle policy."""
        place = {"RepositoryName": made.physical_id}
        if old.get("RepositoryPolicyText") != new.get("RepositoryPolicyText"):
            if "RepositoryPolicyText" in new:
                text = {"PolicyText": as_json(new["RepositoryPolicyText"])}
                context.call("ecr", "set_repository_policy", place | text)
            else:
                context.try_delete("ecr", "delete_repository_policy", place)
        if old.get("LifecyclePolicy") != new.get("LifecyclePolicy"):
            if "LifecyclePolicy" in new:
                text = {"LifecyclePolicyText": as_json(new["LifecyclePolicy"]["LifecyclePolicyText"])}
                context.call("ecr", "put_lifecycle_policy", place | text)
            else:
                context.try_delete("ecr", "delete_lifecycle_policy", place)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Policies, scanning and mutability change in place."""
        if any(old.get(name) != new.get(name) for name in ("RepositoryName", "EncryptionConfiguration")):
            raise NeedsReplacement
        place = {"RepositoryName": made.physical_id}
        if old.get("ImageScanningConfiguration") != new.get("ImageScanningConfiguration"):
            scanning = {"ImageScanningConfiguration": new.get("ImageScanningConfiguration") or {"ScanOnPush": False}}
            context.call("ecr", "put_image_scanning_configuration", place | scanning)
        if old.get("ImageTagMutability") != new.get("ImageTagMutability"):
            mutability = {"ImageTagMutability": new.get("ImageTagMutability", "MUTABLE")}
            context.call("ecr", "put_image_tag_mutability", place | mutability)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteRepository."""
        force = {"Force": properties.get("EmptyOnDelete", False)}
        context.try_delete("ecr", "delete_repository", {"RepositoryName": made.physical_id} | force)
