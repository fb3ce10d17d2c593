"""Deleting one resource of a stack, as its policies allow."""

from __future__ import annotations

import logging

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.cloudformation.records import ResourceRecord, Stack
from emulation.aws.resources.provider import Context, Made
from emulation.aws.resources.registry import provider_for

_log = logging.getLogger("emulation.aws.cloudformation")


def remove(stack: Stack, record: ResourceRecord, context: Context, *, policy: str, rolling_back: bool = False) -> bool:
    """Delete `record` unless `policy` (`DeletionPolicy` or `UpdateReplacePolicy`) retains it; False if that failed.

    `RetainExceptOnCreate` retains except while a creation is `rolling_back`.
    """
    if not record.physical_id:
        return True  # never came to be
    keep = record.definition.get(policy, "Delete")
    if keep == "Retain" or (keep == "RetainExceptOnCreate" and not rolling_back):
        stack.record_resource(record, "DELETE_SKIPPED")
        return True
    stack.record_resource(record, "DELETE_IN_PROGRESS")
    try:
        provider_for(record.type).delete(context, Made(record.physical_id, record.attributes), record.properties)
    except ResourceFailed as failure:
        stack.record_resource(record, "DELETE_FAILED", str(failure))
        return False
    except Exception as error:  # noqa: BLE001 - becomes the resource's reason
        _log.exception("deletion of %s of %s", record.logical_id, stack.name)
        reason = f"Internal failure of the embedded AWS: {type(error).__name__}: {error}"
        stack.record_resource(record, "DELETE_FAILED", reason)
        return False
    stack.record_resource(record, "DELETE_COMPLETE")
    return True
