"""Custom resources of the CDK library that are done here natively: nothing executes their Lambda functions."""

from __future__ import annotations

from emulation.aws.resources.provider import Context, Made, Properties, Provider


class S3AutoDeleteObjects(Provider):
    """CDK's `Custom::S3AutoDeleteObjects`: empties the bucket, with all versions, before it is deleted."""

    type_name = "Custom::S3AutoDeleteObjects"

    def create(self, context: Context, properties: Properties) -> Made:
        """Nothing happens at creation."""
        return Made(f"{context.stack_name}-{context.logical_id}")

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """The function empties a bucket whose name changed; the old bucket's own replacement does that here."""
        if old.get("BucketName") != new.get("BucketName"):
            self.delete(context, made, old)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Delete every version and every delete marker."""
        bucket = {"Bucket": properties["BucketName"]}
        while True:
            listed = context.call("s3", "list_object_versions", bucket)
            found = [*(listed.get("Versions") or []), *(listed.get("DeleteMarkers") or [])]
            if not found:
                return
            objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            context.call("s3", "delete_objects", bucket | {"Delete": {"Objects": objects, "Quiet": True}})
