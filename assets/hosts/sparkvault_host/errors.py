"""The base of every error that a program on a host reports as one line instead of a traceback."""


class HostError(Exception):
    """Something on this host, or something it depends on, is not as it must be; the message says what."""
