"""Refusals in Systems Manager's own words."""


class SsmError(Exception):
    """An answer of Systems Manager that is an error: ``code`` as the API reference names it."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
