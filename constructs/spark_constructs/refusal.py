"""The base of every error with which a construct refuses what it was asked for."""


class RefusedError(ValueError):
    """What was asked for is unsafe or impossible; the message says why, and what to do."""
