"""The errors of the engine, worded as CloudFormation words them."""

from __future__ import annotations


class ValidationError(Exception):
    """A request that CloudFormation refuses with HTTP 400 and the code `ValidationError`."""

    code = "ValidationError"


class AlreadyExists(ValidationError):
    """A stack of that name is there already."""

    code = "AlreadyExistsException"


class InsufficientCapabilities(ValidationError):
    """The template makes IAM resources and the caller did not acknowledge it."""

    code = "InsufficientCapabilitiesException"


class ChangeSetNotFound(ValidationError):
    """No change set of that name or ARN."""

    code = "ChangeSetNotFound"


class ResourceFailed(Exception):
    """A resource could not be created, updated or deleted; the message becomes its status reason."""
