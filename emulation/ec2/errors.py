"""What can go wrong in the emulation itself, apart from what it emulates."""

from __future__ import annotations


class Ec2EmulationError(RuntimeError):
    """The emulation cannot do its work: what is missing or went wrong, and what to do."""


class HostError(Ec2EmulationError):
    """A command on a host failed or took too long; `output` is what it printed."""

    def __init__(self, message: str, *, exit_code: int | None = None, output: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.output = output
