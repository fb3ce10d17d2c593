"""The errors of ECS's API, as they stand on the wire (AWS JSON 1.1)."""


class EcsError(Exception):
    """An error answer: ``code`` is the exception's name in the API reference, ``status`` that of HTTP."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> EcsError:
    """InvalidParameterException."""
    return EcsError("InvalidParameterException", message)


def client_error(message: str) -> EcsError:
    """ClientException."""
    return EcsError("ClientException", message)


def throttled() -> EcsError:
    """ThrottlingException."""
    return EcsError("ThrottlingException", "Rate exceeded")


def denied(who: str, action: str, resource: str) -> EcsError:
    """AccessDeniedException in IAM's words."""
    return EcsError(
        "AccessDeniedException",
        f"User: {who} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action",
    )
