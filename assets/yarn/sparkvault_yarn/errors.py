"""Errors of a YARN host's own programs."""


class YarnHostError(Exception):
    """What is wrong, where, and what to do: one line for a person."""
